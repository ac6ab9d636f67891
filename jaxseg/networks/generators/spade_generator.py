"""SPADE's generator: an image grows from a coarse label map, and the map says how to normalise."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Norm, crop_to, nearest_up, need_rank, pad_to_multiple
from jaxseg.networks.critics.convolution import normalised

_WEIGHTS = nn.initializers.xavier_normal()


class SpatiallyAdaptiveNorm(nn.Module):
  """x without mean and deviation, times 1 + scale, plus shift, both made of the label map.

  Shapes: x (b, *space, c), labels (b, *space, k) -> (b, *space, c). A 3x3 convolution with ReLU,
  then one each for scale and shift.

  Source: Park et al., arXiv 1903.07291.
  """

  hidden: int = 128
  norm: str = "batch"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, labels):
    options = {"kernel_init": _WEIGHTS, "dtype": self.dtype}
    seen = jax.nn.relu(Conv(self.hidden, 3, name="shared", **options)(labels))
    scale = Conv(x.shape[-1], 3, name="scale", **options)(seen)
    shift = Conv(x.shape[-1], 3, name="shift", **options)(seen)
    return Norm(self.norm, affine=False, dtype=self.dtype, name="norm")(x) * (1 + scale) + shift


class _Block(nn.Module):
  """A residual block whose norms see the label map; its shortcut is learnt where widths differ."""

  width: int
  hidden: int
  norm: str
  spectral: bool
  dtype: str

  @nn.compact
  def __call__(self, x, labels):
    middle = min(x.shape[-1], self.width)
    inner = self._conv(middle, 3, "conv1", jax.nn.leaky_relu(self._norm("norm1")(x, labels), 0.2))
    inner = jax.nn.leaky_relu(self._norm("norm2")(inner, labels), 0.2)
    inner = self._conv(self.width, 3, "conv2", inner)
    if x.shape[-1] != self.width:
      x = self._conv(self.width, 1, "shortcut", self._norm("norm")(x, labels), use_bias=False)
    return x + inner

  def _norm(self, name: str):
    return SpatiallyAdaptiveNorm(self.hidden, self.norm, self.dtype, name=name)

  def _conv(self, width: int, kernel: int, name: str, x, **options):
    options |= {"kernel_init": _WEIGHTS, "dtype": self.dtype, "name": name}
    layer = Conv(width, kernel, **options)
    return normalised(layer, x) if self.spectral else layer(x)


class SPADEGenerator(nn.Module):
  """Residual blocks with spatially adaptive norms, doubled by nearest neighbours, tanh at the end.

  The label map, thinned out to each stage's grid, is all that it is given: the coarsest features
  are a convolution of it. Two blocks work on the second coarsest grid, one on each other.

  Shapes: (b, *space, channels) label maps (one-hot) -> {"image": (b, *space, made) float32 in
  [-1, 1], "bottleneck": the coarsest features}; images, and volumes where memory allows. Any size
  works: the map is continued by zeros to a multiple of `total_stride`, the image cropped.

  Attributes:
    channels: of the image that is made; None: as many as it is given.
    widths: of each stage, finest first.
    hidden: channels between the label map and a norm's scale and shift.
    noise: channels of Gaussian noise beside the coarsest map, where the network is given a
      "dropout" key, and zeros without: other images of one map. 0 is the paper's without an
      encoder of styles.
    norm: what is adapted, "batch" or "instance".
    spectral: kernels of the blocks are divided by their largest singular value (1802.05957).
    dtype: of the computation, "float32" or "bfloat16".

  97,480,899 parameters for the 184 classes of COCO-Stuff, 93,048,003 for Cityscapes' 36.
  Source: Park et al., arXiv 1903.07291, as in its PyTorch release.
  """

  channels: int | None = None
  widths: Sequence[int] = (64, 128, 256, 512, 1024, 1024)
  hidden: int = 128
  noise: int = 0
  norm: str = "batch"
  spectral: bool = True
  dtype: str = "float32"

  def __post_init__(self):
    if len(self.widths) < 2 or min(self.widths) < 1 or self.noise < 0:
      raise ValueError(
        f"spade_generator: widths={tuple(self.widths)} and noise={self.noise}; expected at least "
        "two stages of at least one channel, and 0 channels of noise or more."
      )
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
    rank, space, coarsest = x.ndim - 2, x.shape[1:-1], len(self.widths) - 1
    channels = x.shape[-1] if self.channels is None else self.channels
    need_rank(rank, (2, 3), "spade_generator")
    labels = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    def thinned(i: int):
      # PyTorch's nearest neighbour of a whole factor is the first voxel
      return labels[(slice(None), *(slice(None, None, 2**i),) * rank)]

    x = thinned(coarsest)
    if self.noise:
      shape = (*x.shape[:-1], self.noise)
      noisy = self.has_rng("dropout")
      drawn = jax.random.normal(self.make_rng("dropout"), shape) if noisy else jnp.zeros(shape)
      x = jnp.concatenate([x, drawn.astype(x.dtype)], -1)
    options = {"kernel_init": _WEIGHTS, "dtype": self.dtype}
    bottleneck = x = Conv(self.widths[-1], 3, name="first", **options)(x)
    for i in range(coarsest, -1, -1):
      x = x if i == coarsest else nearest_up(x)
      for number in range(1, 3 if i == coarsest - 1 else 2):
        # the first of two keeps the width that it is given
        width = self.widths[i + 1] if i == coarsest - 1 and number == 1 else self.widths[i]
        block = (width, self.hidden, self.norm, self.spectral, self.dtype)
        x = _Block(*block, name=f"block{i + 1}_{number}")(x, thinned(i))
      bottleneck = x if i == coarsest else bottleneck
    x = Conv(channels, 3, name="last", **options)(jax.nn.leaky_relu(x, 0.2))
    image = jnp.tanh(crop_to(x, space).astype(jnp.float32))
    return {"image": image, "bottleneck": bottleneck}
