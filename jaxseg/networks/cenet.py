"""CE-Net: a context extractor between a classifier's encoder and a light decoder."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  Norm,
  TransposedConv,
  crop_to,
  need_rank,
  pad_to_multiple,
)
from jaxseg.networks.blocks.rmp import ContextExtractor
from jaxseg.networks.encoders import encoder
from jaxseg.networks.parts import need_size


class CENet(nn.Module):
  """Context encoder network.

      stride 2   stem                 decoder - transposed 4x4 - 3x3 - head
      stride 4   stage 1 ---------- + decoder
      stride 8   stage 2 ---------- + decoder       decoder: 1x1 to a quarter of the channels,
      stride 16  stage 3 ---------- + decoder                3x3 transposed convolution, 1x1
      stride 32  stage 4 - DAC - RMP ---^

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the
  context extractor's features, "decoder": features before the head}. The input is zero-padded to a
  multiple of `total_stride` and the outputs are cropped. Skips are sums; the finest features have
  none. The tail's stride is theirs: 2, or 1 for VGG, whose tail is a 3x3 convolution.

  Attributes:
    classes: number of scores per voxel.
    encoder: a name of `encoders.ENCODERS`, or a dict with its options.
    rates: of the DAC block.
    pools: windows of the RMP block; the largest must fit into the coarsest features.
    shared: branches of both blocks share their convolutions.
    width: channels of the tail.
    norm, norm_groups: of the decoder; its convolutions have biases too, as published.
    activation: of everything after the encoder.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError if the input is too small for the pooling windows: 161 voxels per axis by
  default.
  Source: Gu et al., "CE-Net: Context encoder network for 2D medical image segmentation", arXiv
  1903.02740; equals `CE_Net_` of Guzaiwang/CE-Net: 29,003,093 parameters for 3 channels, 1 class.
  """

  classes: int = 3
  encoder: str | Mapping[str, Any] = "resnet34"
  rates: Sequence[int] = (1, 3, 5)
  pools: Sequence[int] = (2, 3, 5, 6)
  shared: bool = True
  width: int = 32
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    # what they refuse is told before anything is traced
    self._strides()
    ContextExtractor(self.rates, self.pools, parent=None)
    super().__post_init__()

  def _strides(self):
    return encoder(self.encoder, parent=None).strides()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (self._strides()[-1],) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (1, 2, 3), "cenet"), x.shape[1:-1]
    strides = self._strides()
    context = {"activation": self.activation, "dtype": self.dtype, "name": "context"}
    context = ContextExtractor(self.rates, self.pools, self.shared, **context)
    need_size(context, "dac_rmp", space, self.total_stride(rank), "cenet")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    finest, *skips, x = encoder(self.encoder, dtype=self.dtype, name="encoder")(x)
    x = context(x)
    outputs = {"bottleneck": x}

    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}
    for i in reversed(range(len(skips) + 1)):
      # the last decoder has no skip, only the finest features' resolution and width
      features = skips[i - 1].shape[-1] if i > 0 else finest.shape[-1]
      stride = strides[i + 1] // strides[i]
      x = Decoder(features, stride, name=f"decoder{i + 1}", **options)(x)
      x = x + skips[i - 1] if i > 0 else x

    tail, stride = {"dtype": self.dtype}, strides[0]
    # 4x4 from stride 2; this kernel and padding give `stride` times the size, whatever the stride
    x = TransposedConv(self.width, stride + 2, stride, 1, 0, name="tail1", **tail)(x)
    x = Activation(self.activation, name="tail1_activation")(x)
    x = Conv(self.width, 3, name="tail2", **tail)(x)
    x = Activation(self.activation, name="tail2_activation")(x)
    logits = Conv(self.classes, 3, name="head", **tail)(x)
    outputs |= {"decoder": crop_to(x, space), "logits": crop_to(logits, space).astype(jnp.float32)}
    return outputs


class Decoder(nn.Module):
  """1x1 to a quarter of the channels, 3x3 transposed, 1x1; norm and activation after each.

  Shapes: (b, *coarse, in) -> (b, *(coarse * stride), features).
  """

  features: int
  stride: int
  norm: str
  norm_groups: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    quarter = max(1, x.shape[-1] // 4)
    up = TransposedConv(
      quarter, 3, self.stride, 1, self.stride - 1, dtype=self.dtype, name="deconv2"
    )
    layers = (
      Conv(quarter, 1, dtype=self.dtype, name="conv1"),
      up,
      Conv(self.features, 1, dtype=self.dtype, name="conv3"),
    )
    for i, layer in enumerate(layers, start=1):
      x = layer(x)
      groups = math.gcd(self.norm_groups, x.shape[-1])  # 516 / 4 = 129 channels
      x = Norm(self.norm, groups, dtype=self.dtype, name=f"norm{i}")(x)
      x = Activation(self.activation, name=f"activation{i}")(x)
    return x
