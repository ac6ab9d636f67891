"""The U-Net generator of pix2pix: every stage halves the image, down to a voxel or two."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Dropout, Norm, crop_to, need_rank, pad_to_multiple
from jaxseg.networks.blocks.transposed import TransposedConv

_WEIGHTS = nn.initializers.normal(0.02)


class UNetGenerator(nn.Module):
  """4x4 convolutions of stride 2 down, transposed ones up, a skip at every stage, tanh at the end.

  Neither the first nor the last convolution is normalised, nor the coarsest stage on its way down;
  a norm without parameters leaves the convolution before it a bias. Dropout follows a decoder's
  stage that is as wide as the finer one: it is the only noise of pix2pix, and is on where the
  network is given a "dropout" key, in training or afterwards. Weights from N(0, 0.02).

  Shapes: (b, *space, channels) -> {"image": (b, *space, made) float32 in [-1, 1], "bottleneck":
  the coarsest features}; images, and volumes where memory allows. Any size works: the input is
  continued to a multiple of `total_stride`, the image cropped.

  Attributes:
    channels: of the image that is made; None: as many as it is given.
    widths: of each stage, finest first; eight stages are pix2pix's unet_256, seven its unet_128.
    norm: "batch", "instance", "group" or "none"; batch norm's statistics of one image are its own,
      as "instance" has them for any batch.
    dropout: rate.
    dtype: of the computation, "float32" or "bfloat16".

  unet_256 has 54,413,955 parameters from 3 to 3 channels, unet_128 41,828,995.
  Source: Isola et al., arXiv 1611.07004, as in its PyTorch release.
  """

  channels: int | None = None
  widths: Sequence[int] = (64, 128, 256, 512, 512, 512, 512, 512)
  norm: str = "batch"
  dropout: float = 0.5
  dtype: str = "float32"

  def __post_init__(self):
    if len(self.widths) < 2 or min(self.widths) < 1:
      raise ValueError(
        f"unet_generator: widths={tuple(self.widths)}; expected at least two stages of at least "
        "one channel."
      )
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 ** len(self.widths),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    rank, space, last = x.ndim - 2, x.shape[1:-1], len(self.widths) - 1
    channels = x.shape[-1] if self.channels is None else self.channels
    need_rank(rank, (2, 3), "unet_generator")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    # torch's instance norm has no parameters of its own
    plain = {"kernel_init": _WEIGHTS, "use_bias": self.norm in ("instance", "none")}
    plain["dtype"] = self.dtype
    skips = []
    for i, width in enumerate(self.widths):
      x = x if i == 0 else jax.nn.leaky_relu(x, 0.2)
      x = jnp.pad(x, [(0, 0), *[(1, 1)] * rank, (0, 0)])
      x = Conv(width, 4, 2, padding="valid", name=f"down{i + 1}", **plain)(x)
      x = self._norm(f"down{i + 1}_norm")(x) if 0 < i < last else x
      skips.append(x)
    bottleneck = skips.pop()
    for i in range(last, 0, -1):
      width = self.widths[i - 1]
      x = TransposedConv(width, 4, 2, 1, 0, name=f"up{i + 1}", **plain)(jax.nn.relu(x))
      x = self._norm(f"up{i + 1}_norm")(x)
      if i < last and width == self.widths[i]:
        x = Dropout(self.dropout)(x)
      x = jnp.concatenate([skips.pop(), x], -1)
    plain["use_bias"] = True
    x = TransposedConv(channels, 4, 2, 1, 0, name="up1", **plain)(jax.nn.relu(x))
    image = jnp.tanh(crop_to(x, space).astype(jnp.float32))
    return {"image": image, "bottleneck": bottleneck}

  def _norm(self, name: str):
    return Norm(self.norm, affine=self.norm != "instance", dtype=self.dtype, name=name)
