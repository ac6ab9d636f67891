"""H-DenseUNet: a 2D network on slices and a 3D network on the volume, fused."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Activation, Conv, Dropout, Norm, choice, need_rank
from jaxseg.networks.inner import inner
from jaxseg.networks.pseudo3d import Pseudo3D


class HDenseUNet(nn.Module):
  """H-DenseUNet: within slices in 2D, across them in 3D, and a hybrid feature fusion (HFF) layer.

      volume --- stacks of 3 slices --- DenseUNet-161, 2D --- as volumes: scores, features (64)
        |                                                          |         |
        +------------------- [volume, 250 x scores] ---------------+         |
                                       |                                     |
                              DenseUNet-65, 3D --- features (64) ----------- + --- HFF --- 1x1x1

  HFF is a 3x3x3 convolution (to 64), dropout, BN, ReLU. The outermost slices stand in for the
  neighbours that they lack.

  Shapes: (b, z, y, x, channels), any size -> {"logits": (b, z, y, x, classes) float32, "logits_2d",
  "logits_3d": the scores of the parts, on the same grid, "decoder": features before the head}.
  "logits_3d" does not enter the fusion, so that a loss on "logits" alone leaves the 3D part's head
  as it is; the published count includes it.

  Attributes:
    classes: scores per voxel.
    net2d, net3d: options of `DenseUNet161` and `DenseUNet3D`, as `dict(growth=16)`; the decoders
      must end with the same width.
    score_scale: of the 2D scores beside the volume. The published 250 makes them as large as
      Hounsfield units; for normalised intensities take 1, or they drown the volume.
    freeze_2d: "none"; "statistics", the 2D part's batch norms use their running statistics and
      leave them, also in training; "all", furthermore no gradient enters the 2D part.
    dropout: rate in the HFF layer.
    scale_layers: of both parts, see `DenseUNet161`: 65,860,753 parameters for 1 channel, else
      65,616,289.
    dtype: compute dtype, "float32" or "bfloat16".

  The authors train in stages: the 2D part alone (`pseudo3d` with slices=3 around `dense_unet161`;
  its parameters are this network's "net2d"), the rest with freeze_2d="all", everything with
  freeze_2d="statistics" (in the release the 3D part's dense layers keep theirs, too). Their loss
  leaves out the first and last slice of a volume, which lack a neighbour: give these weight 0.
  Raises ValueError for images and for options that do not fit. Source: Li et al., arXiv 1709.07330.
  """

  classes: int = 3
  net2d: Mapping[str, Any] | None = None
  net3d: Mapping[str, Any] | None = None
  score_scale: float = 250.0
  freeze_2d: str = "none"
  dropout: float = 0.3
  scale_layers: bool = False
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.freeze_2d, ("none", "statistics", "all"), "h_denseunet: freeze_2d")
    choice(self.dtype, ("float32", "bfloat16"), "h_denseunet: dtype")
    widths = [self._part(option, parent=None).widths[0] for option in ("net2d", "net3d")]
    if widths[0] != widths[1]:
      raise ValueError(
        f"h_denseunet: the decoders of net2d and net3d end with {widths[0]} and {widths[1]} "
        "channels; their sum needs the same: make the first of their widths equal."
      )
    super().__post_init__()

  def _spec(self, option):
    name = {"net2d": "dense_unet161", "net3d": "dense_unet3d"}[option]
    given = {key: getattr(self, key) for key in ("scale_layers", "dtype")}
    return {"name": name, **given, **(getattr(self, option) or {})}

  def _part(self, option, **linen):
    return inner(self._spec(option), self.classes, option=option, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarser part's bottleneck, per axis."""
    need_rank(rank, (3,), "h_denseunet")
    within, all_axes = (self._part(o, parent=None) for o in ("net2d", "net3d"))
    pairs = zip((1, *within.total_stride(2)), all_axes.total_stride(3), strict=True)
    return tuple(math.lcm(*pair) for pair in pairs)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * need_rank(rank, (3,), "h_denseunet")

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (3,), "h_denseunet")
    slices = Pseudo3D(self.classes, slices=3, inner=self._spec("net2d"), name="net2d")
    in_2d = self._on_slices(slices, x, train)
    scores = self.score_scale * in_2d["logits"]
    both = jnp.concatenate([x.astype(jnp.float32), scores], -1).astype(self.dtype)
    in_3d = self._part("net3d", name="net3d")(both, train=train)

    x = in_2d["decoder"] + in_3d["decoder"]
    x = Conv(x.shape[-1], 3, dtype=self.dtype, name="fusion_conv")(x)
    x = Dropout(self.dropout, name="dropout")(x)
    x = Norm(epsilon=1e-3, dtype=self.dtype, name="fusion_norm")(x)
    x = Activation("relu")(x)
    return {
      "logits": Conv(self.classes, 1, dtype=self.dtype, name="head")(x).astype(jnp.float32),
      "logits_2d": in_2d["logits"],
      "logits_3d": in_3d["logits"],
      "decoder": x,
    }

  def _on_slices(self, slices, x, train):
    def run(network, x):
      return network(x, train=train)

    if self.freeze_2d != "none" and not self.is_initializing():
      # inside, the statistics are immutable, which is how `Norm` is told not to update them
      run = nn.map_variables(run, "batch_stats", mutable=False)
    outputs = run(slices, x)
    return jax.lax.stop_gradient(outputs) if self.freeze_2d == "all" else outputs
