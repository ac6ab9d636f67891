"""PSPNet: pyramid pooling on a dilated encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, ConvNormAct, Dropout, crop_to, need_rank, resize
from jaxseg.networks.blocks.ppm import PPM
from jaxseg.networks.encoders import encoder, pad_to_grid, smallest_input


class PSPNet(nn.Module):
  """Pyramid scene parsing network.

      x - dilated encoder (stride 8) - pyramid pooling - 3x3 join - dropout - head - linear x8
                      \\ stage before the last: 3x3 - dropout - aux head - linear x8

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the
  encoder's features, "decoder": the joined ones, both at stride `output_stride`}, and in training,
  with `aux`, "aux": one (b, *space, classes), interpolated like the logits, as published.

  The input is zero-padded to a size of 1 mod 8, as the paper's 473, so that first and last voxel of
  the features lie on those of the image; the logits are interpolated with these corners aligned
  and cropped.

  Attributes:
    classes: number of scores per voxel.
    encoder: a name of `encoders.ENCODERS`, or a dict with its options.
    output_stride: of the encoder's last features: 8, 16 or 32.
    level: which of the encoder's features are pooled, an index. Those after it are counted but
      serve nothing (as in segmentation_models.pytorch's PSPNet, level 2).
    bins, pooling, norm_of_one: of the pyramid, see `blocks.ppm.PPM`.
    width: channels of the join; half as many in the auxiliary branch.
    join_kernel, head_kernel: of the join, of the last convolution.
    dropout, spatial_dropout: before the heads; drops whole channels.
    aux: adds the auxiliary head; the paper weights its loss with 0.4.
    norm, norm_groups, activation: of everything after the encoder.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError if the input is too small for the bins.
  Source: Zhao et al., "Pyramid scene parsing network", arXiv 1612.01105.
  """

  classes: int = 3
  encoder: str | Mapping[str, Any] = "resnet50"
  output_stride: int = 8
  level: int = -1
  bins: Sequence[int] = (1, 2, 3, 6)
  pooling: str = "average"
  norm_of_one: str | None = None
  width: int = 512
  join_kernel: int = 3
  head_kernel: int = 1
  dropout: float = 0.1
  spatial_dropout: bool = False
  aux: bool = True
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    levels = len(self._encoder(parent=None).strides())
    if not -levels <= self.level < levels or self.level % levels == 0:
      raise ValueError(
        f"pspnet: level={self.level}; the encoder's {levels} features are numbered 0 (finest) to "
        f"{levels - 1}, or -1 from the end, and the auxiliary head needs one before it."
      )
    super().__post_init__()

  def _encoder(self, **linen):
    options = {"output_stride": self.output_stride, "dtype": self.dtype}
    return encoder(self.encoder, **options, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the pooled features, per axis."""
    return (self._encoder(parent=None).strides()[self.level],) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (1, 2, 3), "pspnet")
    made, space = self._encoder(name="encoder"), x.shape[1:-1]
    smallest = smallest_input(made, self.level, max(self.bins))
    if min(space) < smallest:
      raise ValueError(
        f"pspnet: an input of size {space} gives too few features for the bins "
        f"{tuple(self.bins)}; give at least {smallest} voxels per axis, or fewer bins."
      )
    x = pad_to_grid(x.astype(self.dtype), made)
    size, features = x.shape[1:-1], made(x)

    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}

    def scores(x, name, kernel):
      x = Dropout(self.dropout, self.spatial_dropout, name=f"{name}_dropout")(x)
      x = Conv(self.classes, kernel, dtype=self.dtype, name=name)(x).astype(jnp.float32)
      return crop_to(resize(x, size, align_corners=made.corners), space)

    x = features[self.level]
    outputs = {"bottleneck": x}
    pyramid = {"bins": self.bins, "pooling": self.pooling, "norm_of_one": self.norm_of_one}
    x = PPM(self.width, self.join_kernel, name="ppm", **pyramid, **options)(x)
    outputs |= {"decoder": x, "logits": scores(x, "head", self.head_kernel)}
    if train and self.aux:
      x = ConvNormAct(self.width // 2, 3, name="aux_layer", **options)(features[self.level - 1])
      outputs["aux"] = (scores(x, "aux", 1),)
    return outputs
