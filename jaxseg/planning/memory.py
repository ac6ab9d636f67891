"""nnU-Net's measure of a network's memory: the elements of all that its convolutions put out."""

import math
from collections.abc import Sequence


def feature_map_elements(
  patch: Sequence[int],
  *,
  widths: Sequence[int],
  strides: Sequence[Sequence[int]],
  depth: Sequence[int],
  decoder_depth: Sequence[int],
  labels: int,
  residual: bool,
) -> int:
  """Elements of the convolutions' outputs for one patch, without deep supervision's heads.

  Args:
    patch: (rank,) voxels.
    widths: channels of each stage, finest first.
    strides: per stage, one step per axis; the first is 1.
    depth: convolutions of each encoder stage, or residual blocks of two.
    decoder_depth: convolutions of each decoder stage, finest first.
    labels: scores per voxel.
    residual: a residual encoder, whose blocks have a convolution in the shortcut where width or
      grid changes, and which starts with a stem.

  Source: `compute_conv_feature_map_size` of dynamic_network_architectures 0.4.4.
  """
  sizes, size = [], tuple(patch)
  for stride in strides:
    size = tuple(n // step for n, step in zip(size, stride, strict=True))
    sizes.append(math.prod(size))
  total = widths[0] * sizes[0] if residual else 0
  for i, (width, voxels, layers) in enumerate(zip(widths, sizes, depth, strict=True)):
    convolutions = 2 * layers + (i > 0) if residual else layers
    total += convolutions * width * voxels
  for width, voxels, layers in zip(widths[:-1], sizes[:-1], decoder_depth, strict=True):
    total += (layers + 1) * width * voxels
  return total + labels * sizes[0]
