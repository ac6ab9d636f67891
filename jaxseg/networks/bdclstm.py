"""kU-Net and BDC-LSTM: 2D networks within the slices, a recurrent one across them."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks import (
  BiConvLSTM,
  Conv,
  ConvLSTM,
  choice,
  crop_to,
  from_slices,
  linear_up,
  need_rank,
  pad_to_multiple,
  pool,
  to_slices,
)
from jaxseg.networks.unet import UNet


class BDCLSTM(nn.Module):
  """A volume slice by slice: kU-Net gives each slice's features, BDC-LSTM relates the slices.

      slice / 4 -> U-Net -> features --x2--+      (k = 3 shown; each U-Net sees the slice at its
      slice / 2 --------------> U-Net -> features --x2--+         scale and the coarser features)
      slice ------------------------------> U-Net -> features of slice z
                                                        |
          ... z - 1 <-> z <-> z + 1 ...   bidirectional ConvLSTMs, `layers` deep -> 1x1 -> logits

  Shapes: (b, z, y, x, channels) -> {"logits": (b, z, y, x, classes) float32, "decoder": features
  before the head, "slices": kU-Net's features}, and in training "aux": the U-Nets' own scores of
  every slice, finest first, at (z, ceil(y / 2^i), ceil(x / 2^i)) (the paper trains them before the
  recurrent part; deep supervision trains all at once). Any size works, a single slice included.

  Slices may be far apart: nothing but the ConvLSTMs mixes them. In training, batch statistics are
  those of all slices. Reversing the slices and exchanging the weights of both directions reverses
  the output (with fusion="sum").

  Attributes:
    classes: scores per voxel.
    k: U-Nets, each at half the resolution of the next. The coarser one's last features, enlarged,
      are concatenated to the finer one's input.
    widths: channels of each U-Net's stages, finest first.
    hidden: channels of the ConvLSTMs.
    layers: ConvLSTMs on top of each other.
    kernel: of the ConvLSTMs.
    bidirectional: both directions along z; otherwise from the first slice to the last.
    fusion: "sum" or "concat" of the directions' hidden states.
    rho: a slice's context, z - rho to z + rho as far as the volume reaches, each slice having a
      sequence of its own (2 rho + 1 times the work and memory); None is all slices at once.
    norm, activation: of the U-Nets.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for images and for options that do not fit.
  Source: Chen et al., NIPS 2016, arXiv 1609.01006.
  """

  classes: int = 3
  k: int = 2
  widths: Sequence[int] = (32, 64, 128, 256)
  hidden: int = 64
  layers: int = 2
  kernel: int | Sequence[int] = 3
  bidirectional: bool = True
  fusion: str = "sum"
  rho: int | None = None
  norm: str = "batch"
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    if min(self.classes, self.k, self.layers, self.hidden) < 1 or (self.rho or 0) < 0:
      raise ValueError(
        f"bdclstm: classes={self.classes}, k={self.k}, layers={self.layers}, hidden={self.hidden}, "
        f"rho={self.rho}; expected 1 or more of each, and rho None or 0 or more."
      )
    choice(self.dtype, ("float32", "bfloat16"), "bdclstm: dtype")
    # what its parts refuse is told before anything is traced
    self._unet(parent=None)
    self._lstm(parent=None)
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest U-Net's bottleneck, per axis: 1 across the slices."""
    need_rank(rank, (3,), "bdclstm")
    in_plane = 2 ** (self.k + len(self.widths) - 2)
    return 1, in_plane, in_plane

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * need_rank(rank, (3,), "bdclstm")

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (3,), "bdclstm")
    batch, *space, _ = x.shape
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(3))
    scales = [to_slices(x, 0)]
    for _ in range(self.k - 1):
      scales.append(pool(scales[-1], "average", kernel=2))
    features, aux = None, []
    for i in reversed(range(self.k)):
      inputs = scales[i]
      if features is not None:
        inputs = jnp.concatenate([inputs, linear_up(features)], -1)
      outputs = self._unet(name=f"unet{i + 1}")(inputs, train=train)
      features = outputs["decoder"]
      size = (space[0], *(-(-n // 2**i) for n in space[1:]))
      aux.insert(0, crop_to(from_slices(outputs["logits"], batch, 0), size))

    slices = from_slices(features, batch, 0)
    outputs = {"slices": crop_to(slices, space)}
    outputs["decoder"] = crop_to(self._across_slices(slices), space)
    head = Conv(self.classes, 1, dtype=self.dtype, name="head")
    outputs["logits"] = head(outputs["decoder"]).astype(jnp.float32)
    return {**outputs, "aux": tuple(aux)} if train else outputs

  def _unet(self, **linen):
    options = ("classes", "widths", "norm", "activation", "dtype")
    return UNet(**{option: getattr(self, option) for option in options}, **linen)

  def _lstm(self, **linen):
    options = {"kernel": self.kernel, "dtype": self.dtype}
    if self.bidirectional:
      return BiConvLSTM(self.hidden, fusion=self.fusion, **options, **linen)
    return ConvLSTM(self.hidden, **options, **linen)

  def _across_slices(self, x):
    """(b, z, y, x, c) -> (b, z, y, x, hidden), or twice that."""
    layers = [self._lstm(name=f"lstm{i + 1}") for i in range(self.layers)]
    if self.rho is None:
      for layer in layers:
        x = layer(x)
      return x

    batch, depth = x.shape[:2]
    at = np.arange(depth)[:, None] + np.arange(-self.rho, self.rho + 1)
    present = np.tile((at >= 0) & (at < depth), (batch, 1))
    x = x[:, np.clip(at, 0, depth - 1)].reshape(batch * depth, -1, *x.shape[2:])
    for layer in layers:
      x = layer(x, present)
    return x[:, self.rho].reshape(batch, depth, *x.shape[2:])
