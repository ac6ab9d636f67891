"""Label maps from noise: DCGAN's generator up to the size of the data, and a VAE's encoder."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Norm, crop_to, linear_up, need_rank
from jaxseg.networks.blocks.transposed import TransposedConv

_WEIGHTS = nn.initializers.normal(0.02)


class MaskGenerator(nn.Module):
  """Noise -> scores of classes: a linear layer, then 4x4 transposed convolutions of stride 2.

  Batch norm and ReLU follow all but the last. Of an image that it is given only the size counts:
  the maps cover that, from a grid that is `coarser` 2^stages times coarser; the linear layer's
  weights are of that size alone. The noise is N(0, 1), drawn where the network is given a "dropout"
  key; without one it is 0, whose map is the same for all. Weights from N(0, 0.02).

  Shapes: (b, *space, any) -> {"logits": (b, *space, classes) float32}; images and volumes.

  Attributes:
    classes: number of scores per voxel.
    widths: of each stage, finest first; each doubles the grid.
    latent: numbers of noise for each map.
    coarser: scores are made on a grid that is so many times coarser and interpolated linearly, so
      that borders of classes are smooth; 1 is DCGAN's.
    norm: "batch", "instance", "group" or "none".
    dtype: of the computation, "float32" or "bfloat16".

  64x64 pixels of 3 channels have DCGAN's 3,576,704 parameters.
  Source: Radford et al., arXiv 1511.06434; for masks: Guibas et al., arXiv 1709.01872.
  """

  classes: int = 2
  widths: Sequence[int] = (64, 128, 256, 512)
  latent: int = 100
  coarser: int = 1
  norm: str = "batch"
  dtype: str = "float32"

  def __post_init__(self):
    if not self.widths or min(self.widths) < 1 or self.latent < 1 or self.coarser < 1:
      raise ValueError(
        f"mask_generator: widths={tuple(self.widths)}, latent={self.latent} and "
        f"coarser={self.coarser}; expected at least one stage, of at least one channel, at least "
        "one number of noise, and a grid that is at least 1 times coarser."
      )
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """1: maps of any size are cut out of those of a multiple."""
    return (1,) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, noise=None, *, train: bool = False):
    del train
    rank, space = x.ndim - 2, x.shape[1:-1]
    need_rank(rank, (2, 3), "mask_generator")
    if noise is None:
      shape = (len(x), self.latent)
      noisy = self.has_rng("dropout")
      noise = jax.random.normal(self.make_rng("dropout"), shape) if noisy else jnp.zeros(shape)
    stride = self.coarser * 2 ** len(self.widths)
    coarse = tuple(-(-n // stride) for n in space)
    options = {"kernel_init": _WEIGHTS, "use_bias": self.norm == "none", "dtype": self.dtype}
    x = nn.Dense(math.prod(coarse) * self.widths[-1], name="first", **options)(noise)
    x = x.reshape(len(x), *coarse, self.widths[-1])
    for i in range(len(self.widths) - 1, 0, -1):
      x = self._layer(x, i)
      x = TransposedConv(self.widths[i - 1], 4, 2, 1, 0, name=f"up{i + 1}", **options)(x)
    x = self._layer(x, 0)
    options["use_bias"] = False
    x = TransposedConv(self.classes, 4, 2, 1, 0, name="up1", **options)(x)
    x = linear_up(x.astype(jnp.float32), stride=self.coarser) if self.coarser > 1 else x
    return {"logits": crop_to(x, space).astype(jnp.float32)}

  def _layer(self, x, i: int):
    return jax.nn.relu(Norm(self.norm, dtype=self.dtype, name=f"norm{i + 1}")(x))


class MaskEncoder(nn.Module):
  """Label maps -> mean and log variance of what they are made of, for a VAE's `mask_generator`.

  4x4 convolutions of stride 2 with norm and leaky ReLU, then one linear layer.

  Shapes: (b, *space, k) -> {"mean": (b, latent), "log_variance": (b, latent)} float32.

  Attributes:
    latent: as the generator's.
    widths: of each stage, finest first; each halves the map.
    norm: "batch", "instance", "group" or "none".
    dtype: of the computation, "float32" or "bfloat16".

  Source: Kingma, Welling, arXiv 1312.6114.
  """

  latent: int = 100
  widths: Sequence[int] = (64, 128, 256, 512)
  norm: str = "batch"
  dtype: str = "float32"

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 ** len(self.widths),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    x = x.astype(self.dtype)
    for i, width in enumerate(self.widths, start=1):
      x = jnp.pad(x, [(0, 0), *[(1, 1)] * (x.ndim - 2), (0, 0)])
      options = {"kernel_init": _WEIGHTS, "use_bias": self.norm == "none", "dtype": self.dtype}
      x = Conv(width, 4, 2, padding="valid", name=f"down{i}", **options)(x)
      x = jax.nn.leaky_relu(Norm(self.norm, dtype=self.dtype, name=f"norm{i}")(x), 0.2)
    x = nn.Dense(2 * self.latent, name="last")(x.reshape(len(x), -1).astype(jnp.float32))
    mean, log_variance = jnp.split(x, 2, -1)
    return {"mean": mean, "log_variance": log_variance}
