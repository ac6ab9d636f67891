"""MedNeXt, in 3D and 2D."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  Norm,
  choice,
  convolve,
  crop_to,
  he_normal,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
  resize,
)

# blocks, then expansion ratios, along the encoder, bottleneck and decoder
SIZES = {
  "S": ((2,) * 9, (2,) * 9),
  "B": ((2,) * 9, (2, 3, 4, 4, 4, 4, 4, 3, 2)),
  "M": ((3, 4, 4, 4, 4, 4, 4, 4, 3), (2, 3, 4, 4, 4, 4, 4, 3, 2)),
  "L": ((3, 4, 8, 8, 8, 8, 8, 4, 3), (3, 4, 8, 8, 8, 8, 8, 4, 3)),
}
linear_init = he_normal(slope=1.0)  # no activation follows


class MedNeXt(nn.Module):
  """MedNeXt: a U-Net of ConvNeXt blocks throughout, resampling included; skips by addition.

      1x1 to 32, 2 blocks -------------------------- + -> 2 blocks -> 1x1 -> logits
        down block 64, 2 blocks ----------- + -> 2 blocks, up block    ... aux[0]
          down block 128, 2 blocks -- + -> 2 blocks, up block          ... aux[1]
            ... 256                  ...                               ... aux[2]
              down block 512, 2 blocks, up block                       ... aux[3]

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest stage, "decoder": features before the head}, and in training "aux": coarser
  logits, finest first, (b, *ceil(space / stride), classes). Any size works: the input is
  zero-padded to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    size: "S", "B", "M" or "L": the blocks and expansion ratios of five stages.
    kernel: of the depthwise convolutions, odd; 3 or 5 as published, an integer or one per axis.
      Parameters for 5 are trained from those for 3: see `upkern`.
    widths: channels of each stage, finest first.
    blocks, expansion: if given, instead of the size's: blocks of each stage and the ratio in its
      perceptrons, one for all or one each along encoder, bottleneck and decoder (twice the stages
      less one). A down or up block has the ratio of the stage that it leads to.
    strides: down-sampling between the stages, each an integer or one per axis.
    deep_supervision: number of auxiliary heads; None for one at every stage but the finest, the
      bottleneck included.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  Parameters at 1 channel and 3 classes in 3D without auxiliary heads (2,892 with 4 of them), as
  MIC-DKFZ/MedNeXt's `create_mednext_v1` but for one dummy; MONAI's B, M and L are smaller because
  its down blocks take the ratio of the stage that they leave:

              S           B           M           L
      k3  5,550,947  10,526,339  17,548,995  61,779,299
      k5  5,980,579  10,955,971  18,260,867  62,992,931

  Raises ValueError for bad options.
  Source: Roy et al., arXiv 2303.09975.
  """

  classes: int = 3
  size: str = "S"
  kernel: int | Sequence[int] = 3
  widths: Sequence[int] = (32, 64, 128, 256, 512)
  blocks: int | Sequence[int] | None = None
  expansion: int | Sequence[int] | None = None
  strides: int | Sequence[Any] = 2
  deep_supervision: int | None = None
  dtype: str = "float32"

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"mednext: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two stages of at least one channel."
      )
    choice(self.size, SIZES, "mednext: size")
    for option, preset in zip(("blocks", "expansion"), SIZES[self.size], strict=True):
      if getattr(self, option) is None:
        if stages != 5:
          raise ValueError(
            f"mednext: widths={tuple(self.widths)} has {stages} stages, size='{self.size}' has 5; "
            f"give '{option}' too, one number or {2 * stages - 1}."
          )
        setattr(self, option, preset)
      per_stage(getattr(self, option), 2 * stages - 1, f"mednext: {option}")
    kernels = self.kernel if isinstance(self.kernel, Sequence) else (self.kernel,)
    if any(k < 1 or k % 2 == 0 for k in kernels):
      raise ValueError(f"mednext: kernel={self.kernel}; expected odd numbers, as 3 or 5.")
    per_stage(self.strides, stages - 1, "mednext: strides")
    if self.deep_supervision is None:
      self.deep_supervision = stages - 1
    if not 0 <= self.deep_supervision < stages:
      raise ValueError(
        f"mednext: deep_supervision={self.deep_supervision} auxiliary heads; {stages} stages have "
        f"room for 0 to {stages - 1}."
      )
    choice(self.dtype, ("float32", "bfloat16"), "mednext: dtype")
    super().__post_init__()

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "mednext: strides")
    return [per_axis(s, rank, "mednext: strides of a stage") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest stage, per axis."""
    total = (1,) * rank
    for stride in self._strides(rank):
      total = tuple(t * s for t, s in zip(total, stride, strict=True))
    return total

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, stages, space = x.ndim - 2, len(self.widths), x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "mednext")
    strides, places = self._strides(rank), 2 * stages - 1
    blocks = per_stage(self.blocks, places, "mednext: blocks")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    x = self._conv(self.widths[0], "stem")(x)
    skips = []
    for i in range(stages):
      if i > 0:
        skips.append(x)
        x = self._block(i, i, f"down{i + 1}", down=strides[i - 1])(x)
      for j in range(blocks[i]):
        x = self._block(i, i, f"encoder{i + 1}_block{j + 1}")(x)
    outputs, levels = {"bottleneck": x}, [x]

    for i in reversed(range(stages - 1)):
      place = places - 1 - i
      x = skips[i] + self._block(i, place, f"up{i + 1}", up=strides[i])(x)
      for j in range(blocks[place]):
        x = self._block(i, place, f"decoder{i + 1}_block{j + 1}")(x)
      levels.insert(0, x)
    outputs["decoder"] = crop_to(x, space)
    logits = self._conv(self.classes, "head")(outputs["decoder"])
    outputs["logits"] = logits.astype(jnp.float32)

    aux = []
    for i in range(1, self.deep_supervision + 1):
      space = [-(-n // s) for n, s in zip(space, strides[i - 1], strict=True)]
      if train:
        aux.append(self._conv(self.classes, f"aux{i}")(crop_to(levels[i], space)))
    return {**outputs, "aux": tuple(a.astype(jnp.float32) for a in aux)} if aux else outputs

  def _block(self, i, place, name, **resample):
    expansion = per_stage(self.expansion, 2 * len(self.widths) - 1, "mednext: expansion")
    options = {"kernel": self.kernel, "dtype": self.dtype, **resample}
    return MedNeXtBlock(self.widths[i], expansion[place], name=name, **options)

  def _conv(self, features, name):
    return Conv(features, 1, dtype=self.dtype, kernel_init=linear_init, name=name)


class MedNeXtBlock(nn.Module):
  """Depthwise convolution, norm per channel, 1x1 expansion, GELU, 1x1 compression; residual.

  Shapes: (b, *space, in) -> (b, *space', features). The depthwise convolution resamples if asked
  to: by stride with `down`, transposed with `up` (per axis). The residual then is a 1x1
  convolution with that stride, transposed for `up`. A transposed convolution leaves (n - 1) s + 1
  voxels of an axis, which s - 1 zeros complete at its start, after the block, as published.
  """

  features: int
  expansion: int
  kernel: int | Sequence[int] = 3
  down: Sequence[int] | None = None
  up: Sequence[int] | None = None
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    options = {"kernel_init": linear_init, "dtype": self.dtype}
    if self.up is None:
      stride = self.down or 1
      depthwise = Conv(channels, self.kernel, stride, groups=channels, name="depthwise", **options)
    else:
      depthwise = TransposedDepthwise(self.kernel, self.up, self.dtype, name="depthwise")
    y = Norm("instance", dtype=self.dtype, name="norm")(depthwise(x))
    y = Conv(self.expansion * channels, 1, dtype=self.dtype, name="expand")(y)
    y = Conv(self.features, 1, name="compress", **options)(Activation("gelu")(y))
    if self.down is None and self.up is None:
      return x + y

    if self.down is not None:
      return y + Conv(self.features, 1, self.down, name="residual", **options)(x)
    # what a transposed 1x1 convolution does: voxels apart from each other, a bias everywhere
    shortcut = Conv(self.features, 1, use_bias=False, name="residual", **options)(x)
    bias = self.param("residual_bias", nn.initializers.zeros, (self.features,), jnp.float32)
    y += spread(shortcut, self.up) + bias.astype(y.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
    return jnp.pad(y, [(0, 0), *((s - 1, 0) for s in self.up), (0, 0)])


class TransposedDepthwise(nn.Module):
  """Transposed convolution of each channel by itself, an axis of n voxels to (n - 1) stride + 1.

  Padding is half the kernel. The kernel is (*kernel, 1, channels): PyTorch's moved, not flipped.
  """

  kernel: int | Sequence[int]
  stride: Sequence[int]
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    rank, channels, dtype = x.ndim - 2, x.shape[-1], self.dtype or x.dtype
    kernel = per_axis(self.kernel, rank, "kernel")
    weights = self.param("kernel", linear_init, (*kernel, 1, channels), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
    x = convolve(
      spread(x, self.stride).astype(dtype),
      jnp.flip(weights.astype(dtype), range(rank)),
      stride=(1,) * rank,
      padding=tuple((k // 2, k // 2) for k in kernel),
      dilation=(1,) * rank,
      groups=channels,
    )
    return x + bias.astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def spread(x, stride: Sequence[int]):
  """Zeros between the voxels: (b, *space, c) -> (b, *((space - 1) stride + 1), c)."""
  holes = [(0, 0, 0), *((0, 0, s - 1) for s in stride), (0, 0, 0)]
  return jax.lax.pad(x, jnp.zeros((), x.dtype), holes)


def upkern(params: Mapping[str, Any], kernel: int | Sequence[int]) -> dict[str, Any]:
  """MedNeXt's parameters with depthwise kernels resized to `kernel`, to start training from.

  Each kernel is interpolated linearly along its axes (corners not aligned, values not rescaled);
  all else is kept. Source: Roy et al., arXiv 2303.09975 ("UpKern").
  """

  def enlarge(path, leaf):
    if [key.key for key in path[-2:]] != ["depthwise", "kernel"]:
      return leaf
    rank = leaf.ndim - 2
    taps = leaf.reshape(1, *leaf.shape[:rank], -1)
    taps = resize(taps, per_axis(kernel, rank, "upkern: kernel"))
    return taps.reshape(*taps.shape[1:-1], *leaf.shape[rank:])

  return jax.tree_util.tree_map_with_path(enlarge, params)
