"""FC-DenseNet, the "one hundred layers Tiramisu": a U-Net of dense blocks."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  Dropout,
  Norm,
  TransposedConv,
  centre_crop,
  choice,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
)
from jaxseg.networks.blocks.dense import DenseBlock
from jaxseg.networks.blocks.options import total_per_axis

# published depth -> layers of each block, finest first, the bottleneck's last; growth
DEPTHS = {
  57: ((4, 4, 4, 4, 4, 4), 12),
  67: ((5, 5, 5, 5, 5, 5), 16),
  103: ((4, 5, 7, 10, 12, 15), 16),
}


class FCDenseNet(nn.Module):
  """FC-DenseNet: dense blocks down and up; on the way up only new features go on.

      3x3 stem
      dense block, with its input ------------------------- [up, skip], dense block, with its input
        TD: BN, ReLU, 1x1, dropout, max-pool                  TU: 3x3 transposed, stride 2    - 1x1
        dense block, with its input ---------------------- [up, skip], dense block, new features
          TD                                                  TU
          dense block (the bottleneck), new features alone ---^

  A dense layer is BN, ReLU, 3x3 convolution to `growth` features, dropout; after L layers on C0
  channels there are C0 + L growth. All convolutions have biases. Dropout drops whole channels.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": ...,
  "decoder": features before the head}. Any size works: zero-padded inside and cropped.

  Attributes:
    classes: scores per voxel.
    layers: dense layers of each block, finest first and the bottleneck's last; the decoder's blocks
      have as many as the encoder's. Or a published depth: 57 (the paper's 56), 67 or 103.
    growth: new features of a layer; None for the published one of that depth (12, 16, 16), and 16.
    stem: channels of the first convolution.
    strides: between the blocks, each an integer or one per axis.
    dropout: rate at the end of each dense layer and in each transition down.
    norm, norm_groups: kind of normalisation, groups of "group".
    dtype: compute dtype, "float32" or "bfloat16".

  The published initialiser is He's uniform; here it is He's normal, of the same variance.
  Raises ValueError for options or inputs that do not fit. Source: Jegou et al., arXiv 1611.09326.
  """

  classes: int = 3
  layers: int | Sequence[int] = 103
  growth: int | None = None
  stem: int = 48
  strides: int | Sequence[Any] = 2
  dropout: float = 0.2
  norm: str = "batch"
  norm_groups: int = 8
  dtype: str = "float32"

  def __post_init__(self):
    layers, growth = self._layers_and_growth()
    if len(layers) < 2 or min(self.classes, self.stem, growth, *layers) < 1:
      raise ValueError(
        f"fc_densenet: classes={self.classes}, stem={self.stem}, growth={growth}, layers={layers}; "
        "expected two blocks or more, and 1 or more of each."
      )
    per_stage(self.strides, len(layers) - 1, "fc_densenet: strides")
    choice(self.dtype, ("float32", "bfloat16"), "fc_densenet: dtype")
    super().__post_init__()

  def _layers_and_growth(self) -> tuple[tuple[int, ...], int]:
    if isinstance(self.layers, Sequence):
      layers, published = tuple(self.layers), 16
    elif self.layers in DEPTHS:
      layers, published = DEPTHS[self.layers]
    else:
      raise ValueError(
        f"fc_densenet: layers={self.layers} is no published depth; choices: "
        f"{', '.join(map(str, DEPTHS))}, or the layers of each block, as (4, 5, 7)."
      )
    return layers, published if self.growth is None else self.growth

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    number = len(self._layers_and_growth()[0]) - 1
    strides = per_stage(self.strides, number, "fc_densenet: strides")
    return [per_axis(s, rank, "fc_densenet: strides of a block") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (1, 2, 3), "fc_densenet"), x.shape[1:-1]
    layers, strides = self._layers_and_growth()[0], self._strides(rank)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    x = Conv(self.stem, 3, dtype=self.dtype, name="stem")(x)
    skips = []
    for i in range(len(strides)):
      x = self._block(layers[i], True, f"down{i + 1}")(x)
      skips.append(x)
      x = self._transition_down(x, strides[i], f"transition_down{i + 1}")
    x = bottleneck = self._block(layers[-1], False, "bottleneck")(x)

    for i in reversed(range(len(strides))):
      options = {"padding": 0, "output_padding": 0, "dtype": self.dtype}
      up = TransposedConv(x.shape[-1], 3, strides[i], name=f"transition_up{i + 1}", **options)(x)
      x = jnp.concatenate([centre_crop(up, skips[i].shape[1:-1]), skips[i]], -1)
      x = self._block(layers[i], i == 0, f"up{i + 1}")(x)

    decoder = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(decoder).astype(jnp.float32)
    return {"bottleneck": bottleneck, "decoder": decoder, "logits": logits}

  def _block(self, layers, keep_input, name):
    layer = {
      "growth": self._layers_and_growth()[1],
      "bottleneck": None,
      "use_bias": True,
      "norm": self.norm,
      "norm_groups": self.norm_groups,
      "dropout": self.dropout,
      "spatial_dropout": True,
      "dtype": self.dtype,
    }
    return DenseBlock(layers, layer, keep_input, name=name)

  def _transition_down(self, x, stride, name):
    features = x.shape[-1]
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name=f"{name}_norm")(x)
    x = Activation("relu")(x)
    x = Conv(features, 1, dtype=self.dtype, name=f"{name}_conv")(x)
    return max_pool(Dropout(self.dropout, spatial=True)(x), stride=stride)
