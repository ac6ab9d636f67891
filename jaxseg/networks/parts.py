"""Parts of a network by name: what a config may put into `unet` and its relatives, in any mixture.

An option that names a part is a name ("se") or a dict with the name and the part's own options
(`dict(name="se", reduction=8)`). Adding a part is adding a row to its table.

- BLOCKS: a stage. Constructed with `features`, `depth`, `kernel`, `stride`, `norm`, `norm_groups`,
  `activation`, `use_bias`, `dropout`, `spatial_dropout`, `drop_block`, `drop_block_ramp`,
  `stochastic_depth`, `residual`, `conv`, `dtype` as far as it takes them; (b, *space, in) ->
  (b, *ceil(space / stride), features).
- ATTENTIONS: follow a stage; (b, *space, c) -> the same shape. Take `norm`, `norm_groups`,
  `activation`, `dtype`.
- BOTTLENECKS: follow the coarsest stage; (b, *space, c) -> (b, *space, c'). Take `features` (the
  stage's width), `norm`, `norm_groups`, `activation`, `dtype`. One that needs features of some size
  tells it as `smallest`, voxels of every axis or of each.
- SKIPS: join encoder and decoder; called with the encoder's features (b, *space, c), the decoder's
  up-sampled ones (b, *space, c') and, from before up-sampling or the centre's, (b, *coarse, c'');
  return the joint features (b, *space, c''') and an attention map (b, *space, k) or None. Take
  `features` (the stage's width), `norm`, `norm_groups`, `activation`, `dtype`. One that looks at
  the coarse features says so as `takes_gating`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.build import bind
from jaxseg.networks.blocks import GLCA, ConvLSTMSkip, RecurrentBlock, Stage
from jaxseg.networks.blocks.aspp import ASPP
from jaxseg.networks.blocks.attention_gate import AttentionGate, GridAttentionGate
from jaxseg.networks.blocks.cbam import CBAM
from jaxseg.networks.blocks.dac import DAC
from jaxseg.networks.blocks.dense import DenseStage
from jaxseg.networks.blocks.gce import GCE
from jaxseg.networks.blocks.graph_reasoning import GraphReasoning
from jaxseg.networks.blocks.graph_unet import GraphUNet
from jaxseg.networks.blocks.hdc import HDC
from jaxseg.networks.blocks.inception import Inception
from jaxseg.networks.blocks.multires import MultiRes, ResPath
from jaxseg.networks.blocks.nonlocal_block import NonLocal
from jaxseg.networks.blocks.options import named, per_axis
from jaxseg.networks.blocks.p3d import P3D
from jaxseg.networks.blocks.ppm import PPM
from jaxseg.networks.blocks.residual import ResidualBlocks
from jaxseg.networks.blocks.rmp import RMP, ContextExtractor
from jaxseg.networks.blocks.scse import ScSE
from jaxseg.networks.blocks.squeeze_excitation import SqueezeExcitation


class Identity(nn.Module):
  """x -> x, whatever its shape: no part."""

  @nn.compact
  def __call__(self, x):
    return x


class Concatenation(nn.Module):
  """The U-Net's skip: encoder features, then up-sampled ones, on the channel axis."""

  @nn.compact
  def __call__(self, skip, up, coarse):
    return jnp.concatenate([skip, up], -1), None


class Sum(nn.Module):
  """A skip by addition; both sides need the same number of channels."""

  @nn.compact
  def __call__(self, skip, up, coarse):
    return skip + up, None


BLOCKS = {
  "plain": Stage,
  "p3d": P3D,
  "recurrent": RecurrentBlock,
  "residual": ResidualBlocks,
  "inception": Inception,
  "multires": MultiRes,
  "hdc": HDC,
  "dense": DenseStage,
}
ATTENTIONS = {
  "none": Identity,
  "graph_reasoning": GraphReasoning,
  "se": SqueezeExcitation,
  "cbam": CBAM,
  "scse": ScSE,
  "nonlocal": NonLocal,
}
BOTTLENECKS = {
  "none": Identity,
  "nonlocal": NonLocal,
  "graph_reasoning": GraphReasoning,
  "graph_unet": GraphUNet,
  "glca": GLCA,
  "ppm": PPM,
  "aspp": ASPP,
  "hdc": HDC,
  "gce": GCE,
  "dac": DAC,
  "rmp": RMP,
  "dac_rmp": ContextExtractor,
}
SKIPS = {
  "concat": Concatenation,
  "sum": Sum,
  "attention_gate": AttentionGate,
  "grid_gate": GridAttentionGate,
  "conv_lstm": ConvLSTMSkip,
  "respath": ResPath,
}


def part(
  table: Mapping[str, Callable], spec: str | Mapping[str, Any] | None, option: str, **given
) -> Callable[..., nn.Module]:
  """The constructor that `spec` names, its options bound; call it with `name=`.

  `given` is passed on as far as the part takes it. Raises ValueError that lists the choices for an
  unknown name or option.
  """
  spec = named(spec)
  return bind(table, spec, f"network.{option}", **given)


def try_part(
  table: Mapping[str, Callable], spec: str | Mapping[str, Any] | None, option: str, **given
) -> None:
  """Makes the part and drops it: what it refuses then is told before data are read.

  Arguments and errors as `part`'s. A module checks in `__post_init__` what it can without inputs.
  """
  part(table, spec, option, **given)(parent=None)


def need_size(
  bottleneck: nn.Module,
  spec: str | Mapping[str, Any],
  space: Sequence[int],
  stride: Sequence[int],
  who: str,
) -> None:
  """Raises ValueError that tells the smallest input, if it leaves a bottleneck too few voxels.

  Args:
    bottleneck: the part of BOTTLENECKS that `spec` names.
    space: size of the input, which is padded to a multiple of `stride`.
    stride: voxels of the input per voxel of the features, per axis.
    who: the network, for the message.
  """
  name = named(spec)["name"]
  least = getattr(bottleneck, "smallest", 1)
  least = per_axis(least, len(space), f"{who}: the smallest features of the bottleneck '{name}'")
  smallest = tuple((n - 1) * s + 1 for n, s in zip(least, stride, strict=True))
  if any(n < m for n, m in zip(space, smallest, strict=True)):
    raise ValueError(
      f"{who}: an input of size {tuple(space)} is too small for the bottleneck "
      f"'{name}', which needs {least} voxels at stride {tuple(stride)}; give at "
      f"least {smallest} voxels, or smaller windows, or another bottleneck."
    )
