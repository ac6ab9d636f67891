"""The ResNet generator of CycleGAN: an image in another style, of the same size."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Dropout, Norm, crop_to, need_rank, pad_to_multiple
from jaxseg.networks.blocks.transposed import TransposedConv

_WEIGHTS = nn.initializers.normal(0.02)


class _Residual(nn.Module):
  """x + [conv, norm, ReLU, dropout, conv, norm] of x, of 3 voxels a side, edges mirrored."""

  width: int
  norm: str = "instance"
  dropout: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    options = {"norm": self.norm, "dtype": self.dtype}
    inner = _mirrored(x, self.width, 3, name="conv1", **options)
    inner = Dropout(self.dropout)(jax.nn.relu(_normed(inner, self.norm, "norm1")))
    inner = _mirrored(inner, self.width, 3, name="conv2", **options)
    return x + _normed(inner, self.norm, "norm2")


def _mirrored(x, width: int, kernel: int, *, norm: str, dtype, name: str):
  """A convolution whose input goes on beyond its edges as its mirror image."""
  side = kernel // 2
  x = jnp.pad(x, [(0, 0), *[(side, side)] * (x.ndim - 2), (0, 0)], mode="reflect")
  options = {"padding": "valid", "use_bias": norm != "batch", "dtype": dtype}
  return Conv(width, kernel, kernel_init=_WEIGHTS, name=name, **options)(x)


def _normed(x, norm: str, name: str):
  # torch's instance norm has no parameters of its own
  return Norm(norm, affine=norm != "instance", dtype=x.dtype, name=name)(x)


def check(name: str, widths: Sequence[int], blocks: int) -> None:
  """Raises ValueError for a number of stages or residual blocks that cannot be."""
  if not widths or min(widths) < 1 or blocks < 0:
    raise ValueError(
      f"{name}: widths={tuple(widths)} and blocks={blocks}; expected at least one width of at "
      "least one channel, and 0 blocks or more."
    )


def translate(x, channels: int, *, widths, blocks, norm, dropout, dtype):
  """The layers, inside a `__call__`: (b, *space, c) -> ((b, *space, channels), bottleneck).

  No activation follows the last convolution.
  """
  rank, space = x.ndim - 2, x.shape[1:-1]
  x = pad_to_multiple(x.astype(dtype), (2 ** (len(widths) - 1),) * rank, mode="edge")
  options = {"kernel_init": _WEIGHTS, "use_bias": norm != "batch", "dtype": dtype}
  x = _mirrored(x, widths[0], 7, norm=norm, dtype=dtype, name="first")
  x = jax.nn.relu(_normed(x, norm, "first_norm"))
  for i, width in enumerate(widths[1:], start=1):
    x = Conv(width, 3, 2, name=f"down{i}", **options)(x)
    x = jax.nn.relu(_normed(x, norm, f"down{i}_norm"))
  for i in range(1, blocks + 1):
    x = _Residual(widths[-1], norm, dropout, dtype, name=f"block{i}")(x)
  bottleneck = x
  for i, width in reversed(list(enumerate(widths[:-1], start=1))):
    x = TransposedConv(width, 3, 2, 1, 1, name=f"up{i}", **options)(x)
    x = jax.nn.relu(_normed(x, norm, f"up{i}_norm"))
  x = _mirrored(x, channels, 7, norm="none", dtype=dtype, name="last")
  return crop_to(x, space), bottleneck


class ResnetGenerator(nn.Module):
  """c7s1-64, d128, d256, N x R256, u128, u64, c7s1: CycleGAN's ResNet, with tanh at its end.

  7x7 convolutions at both ends and residual blocks of 3x3, their edges mirrored; 3x3 convolutions
  of stride 2 down, transposed ones (PyTorch's, padding 1 and output_padding 1) up. Instance norm
  has no parameters, and each convolution a bias. Weights from N(0, 0.02).

  Shapes: (b, *space, channels) -> {"image": (b, *space, channels) float32 in [-1, 1], "bottleneck":
  the coarsest features}; images and volumes. Any size works whose coarsest features have 2 voxels
  an axis: the input is continued to a multiple of `total_stride`, the image cropped.

  Attributes:
    channels: of the image that is made; None: as many as it is given.
    widths: of each stage, the finest first; all but the first halve the image.
    blocks: residual blocks of the coarsest stage: 9, and 6 for images of 128 x 128, in the paper.
    norm: "instance", "batch", "group" or "none".
    dropout: inside the residual blocks; pix2pix's code has 0.5 there, CycleGAN's none.
    skip: the input is added before the tanh, so that a change is what is learnt, and a short
      training keeps what is there; of as many channels as are made. CycleGAN's ports to TensorFlow
      have it, and SIFA's generator (2002.02255).
    dtype: of the computation, "float32" or "bfloat16".

  11,365,633 parameters from 1 to 1 channel, 11,378,179 from 3 to 3.
  Source: Zhu et al., arXiv 1703.10593; Johnson et al., arXiv 1603.08155.
  """

  channels: int | None = None
  widths: Sequence[int] = (64, 128, 256)
  blocks: int = 9
  norm: str = "instance"
  dropout: float = 0.0
  skip: bool = False
  dtype: str = "float32"

  def __post_init__(self):
    check("resnet_generator", self.widths, self.blocks)
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    need_rank(x.ndim - 2, (2, 3), "resnet_generator")
    channels = x.shape[-1] if self.channels is None else self.channels
    if self.skip and channels != x.shape[-1]:
      raise ValueError(
        f"resnet_generator: skip=True adds the input, which has {x.shape[-1]} channel(s), to an "
        f"image of {channels}; expected skip=False, or as many."
      )
    made, bottleneck = translate(
      x,
      channels,
      widths=self.widths,
      blocks=self.blocks,
      norm=self.norm,
      dropout=self.dropout,
      dtype=self.dtype,
    )
    made = made.astype(jnp.float32)
    made = jnp.tanh(made + x.astype(jnp.float32) if self.skip else made)
    return {"image": made, "bottleneck": bottleneck}
