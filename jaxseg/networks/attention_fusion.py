"""Fusion by attention: a small mmFormer, whose transformers leave missing modalities out."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Conv,
  Stage,
  UpConv,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
)
from jaxseg.networks.blocks.modalities import of_channel, present
from jaxseg.networks.blocks.transformer import LayerNorm, TransformerBlock

# added to the scores of what is not there: its weight is 0 to the bit
_NOWHERE = -1e30


class AttentionFusion(nn.Module):
  """Modalities meet in a transformer: an encoder each, one decoder for all.

      modality 1 -> convolutions -> tokens -> intra-modal layers -+
                                                                  +-> inter-modal -> decoder
      modality 2 -> convolutions -> tokens -> intra-modal layers -+   layers        + skips of both

  Each channel goes through a convolutional encoder and a transformer of its own; the tokens of all
  go through a common one, in which those of missing modalities (`blocks.modalities`) get no
  attention; one decoder takes what comes out, and at every resolution the encoders' features, those
  of missing modalities set to 0. So neither a missing modality's content nor its own weights have
  any influence.

  Shapes: (b, *space, modalities) -> {"logits": (b, *space, classes) float32, "bottleneck": (b,
  *coarse, modalities * hidden) tokens, "decoder": features before the head}. Any size works: the
  input is zero-padded to a multiple of `total_stride` and the outputs are cropped. Positions are
  sines of each axis (Vaswani et al., arXiv 1706.03762), so that no size is preferred. Attention
  takes (modalities * tokens)^2 memory.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage of encoders and decoder, finest first; strides of 2 between.
    depth: convolutions of a stage.
    hidden, mlp, heads: the transformers' width, its perceptron's, its attention heads.
    intra_layers, inter_layers: layers of each modality's transformer, and of the common one.
    norm: of the convolutions, "instance" or "none"; a batch norm's statistics would be those of
      missing modalities, too.
    activation: of the convolutions, a name of `ACTIVATIONS`.
    dropout: rate in the transformers.
    dtype: compute dtype, "float32" or "bfloat16"; parameters, softmax and statistics stay float32.

  The paper's has widths (16, 32, 64, 128, 256), hidden 512, 8 heads and mlp 4096 on volumes, and
  regularises by auxiliary decoders, which are left out here.

  Raises ValueError for bad options.
  Source: mmFormer, Zhang et al., MICCAI 2022, arXiv 2206.02425.
  """

  classes: int = 3
  widths: Sequence[int] = (8, 16, 32, 64)
  depth: int = 2
  hidden: int = 64
  mlp: int = 128
  heads: int = 4
  intra_layers: int = 1
  inter_layers: int = 1
  norm: str = "instance"
  activation: str = "leaky_relu"
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    counts = (self.classes, *self.widths, self.depth, self.hidden, self.mlp, self.heads)
    if len(self.widths) < 2 or min(counts) < 1 or min(self.intra_layers, self.inter_layers) < 0:
      raise ValueError(
        f"attention_fusion: classes={self.classes}, widths={tuple(self.widths)}, depth="
        f"{self.depth}, hidden={self.hidden}, mlp={self.mlp}, heads={self.heads}, intra_layers="
        f"{self.intra_layers}, inter_layers={self.inter_layers}; expected two stages or more, no "
        "layer below 0, and at least 1 of the others."
      )
    if self.hidden % self.heads:
      raise ValueError(
        f"attention_fusion: heads={self.heads} do not divide hidden={self.hidden}; choose heads "
        "that do."
      )
    choice(self.norm, [n for n in NORMS if n not in ("group", "batch")], "attention_fusion: norm")
    choice(self.activation, ACTIVATIONS, "attention_fusion: activation")
    choice(self.dtype, ("float32", "bfloat16"), "attention_fusion: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per token, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space, modalities = x.ndim - 2, x.shape[1:-1], x.shape[-1]
    need_rank(rank, (1, 2, 3), "attention_fusion")
    there = present(x)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    levels = [[] for _ in self.widths]  # features of every modality, by resolution
    for m in range(modalities):
      features = x[..., m : m + 1]
      for i, width in enumerate(self.widths):
        features = self._stage(width, f"encoder{m + 1}_{i + 1}", stride=2 if i else 1)(features)
        levels[i].append(features * of_channel(there, m, features))
    x = self._fused(levels[-1], there)
    outputs = {"bottleneck": x}

    x = self._stage(self.widths[-1], f"decoder{len(self.widths)}")(x)
    for i in reversed(range(len(self.widths) - 1)):
      width = self.widths[i]
      up = UpConv(width, 2, use_bias=False, dtype=self.dtype, name=f"up{i + 1}")(x)
      skip = jnp.concatenate(levels[i], -1)
      skip = Conv(width, 1, dtype=self.dtype, name=f"skip{i + 1}")(skip)
      x = self._stage(width, f"decoder{i + 1}")(jnp.concatenate([skip, up], -1))
    outputs["decoder"] = x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}

  def _stage(self, width: int, name: str, stride: int = 1):
    options = {"norm": self.norm, "activation": self.activation, "dtype": self.dtype}
    # without a norm nothing else shifts the features
    bias = self.norm == "none"
    return Stage(width, self.depth, stride=stride, use_bias=bias, name=name, **options)

  def _fused(self, features, there):
    """[(b, *grid, c) of each modality] -> (b, *grid, modalities * hidden)."""
    batch, *grid, _ = features[0].shape
    position = jnp.asarray(positions(grid, self.hidden), self.dtype)
    options = (self.heads, self.mlp, True, self.dropout, self.dtype)
    all_tokens = []
    for m, of in enumerate(features):
      dense = nn.Dense(self.hidden, dtype=self.dtype, name=f"embedding{m + 1}")
      tokens = dense(of.reshape(batch, -1, of.shape[-1])) + position[None]
      for i in range(self.intra_layers):
        tokens = TransformerBlock(*options, name=f"intra{m + 1}_{i + 1}")(tokens)
      all_tokens.append(tokens * of_channel(there, m, tokens))
    number = all_tokens[0].shape[1]
    tokens = jnp.concatenate(all_tokens, 1)
    shown = jnp.repeat(there, number, 1)
    names = self.param(
      "modality", nn.initializers.normal(0.02), (len(features), self.hidden), jnp.float32
    )
    tokens += jnp.repeat(names.astype(tokens.dtype), number, 0)[None]
    hidden = jnp.where(shown > 0, 0.0, _NOWHERE)[:, None, None, :]
    for i in range(self.inter_layers):
      tokens = TransformerBlock(*options, name=f"inter{i + 1}")(tokens, hidden)
    tokens = LayerNorm(dtype=self.dtype, name="norm")(tokens) * shown[..., None].astype(
      tokens.dtype
    )
    tokens = tokens.reshape(batch, len(features), *grid, self.hidden)
    return jnp.moveaxis(tokens, 1, -2).reshape(batch, *grid, -1)


def positions(grid: Sequence[int], hidden: int) -> np.ndarray:
  """(tokens, hidden) float32: sines and cosines of each axis, side by side, 0 in what is left."""
  width = hidden // (2 * len(grid))
  out = np.zeros((*grid, hidden), np.float32)
  rates = 10_000.0 ** (-np.arange(width) / max(width, 1))
  for axis, size in enumerate(grid):
    angles = np.arange(size)[:, None] * rates
    shape = [size if a == axis else 1 for a in range(len(grid))]
    for part, wave in enumerate((np.sin(angles), np.cos(angles))):
      first = (2 * axis + part) * width
      out[..., first : first + width] = wave.reshape(*shape, width)
  return out.reshape(-1, hidden)
