"""An anchor-free detector: every cell of a coarse grid says whether an object's centre lies in it,
and where the object ends."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks.boxes import centre_and_size, decode, nms
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.padding import pad_to_multiple
from jaxseg.networks.blocks.resample import linear_up
from jaxseg.networks.blocks.resize import pool
from jaxseg.networks.blocks.stage import Stage


class CentreDetector(nn.Module):
  """Heat map of centres and box offsets: (b, *space, channels) -> two float32 arrays of logits
  (b, *cells, 1) and of offsets (b, *cells, 2 * rank), cells = ceil(space / stride).

  A strided encoder, a top-down pathway with lateral 1x1 convolutions (FPN) to the output level, and
  two heads of 3x3, activation, 1x1. Offsets are coded as in `boxes.encode`, relative to the cells.

  Attributes:
    widths: channels of the encoder's stages, finest first; each has half the resolution of the one
      before.
    level: stage whose resolution the heat map has; its stride is 2^level.
    features: channels of the pathway and the heads.

  Source: CenterNet, Zhou et al., arXiv 1904.07850; FPN: Lin et al., arXiv 1612.03144.
  """

  widths: Sequence[int] = (16, 32, 64, 128)
  level: int = 2
  features: int = 64
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x):
    rank = x.ndim - 2
    cells = grid_of(x.shape[1:-1], 2**self.level)
    x = pad_to_multiple(x.astype(self.dtype), (2 ** (len(self.widths) - 1),) * rank)
    layer = {"norm": self.norm, "norm_groups": self.norm_groups, "activation": self.activation}
    pyramid = []
    for i, width in enumerate(self.widths):
      stride = 2 if i else 1
      stage = Stage(width, stride=stride, **layer, dtype=self.dtype, name=f"encoder{i + 1}")
      pyramid.append(x := stage(x))
    x = None
    for i in reversed(range(self.level, len(self.widths))):
      lateral = Conv(self.features, 1, dtype=self.dtype, name=f"lateral{i + 1}")(pyramid[i])
      x = lateral if x is None else lateral + linear_up(x)
    x = x[(slice(None), *(slice(n) for n in cells))]

    def head(name, outputs):
      y = Stage(self.features, 1, **layer, dtype=self.dtype, name=f"{name}_stage")(x)
      return Conv(outputs, 1, dtype=self.dtype, name=f"{name}_head")(y).astype(jnp.float32)

    # RetinaNet's prior (1708.02002): every cell starts with a probability of 0.1
    return head("heat", 1) + np.float32(np.log(0.1 / 0.9)), head("box", 2 * rank)


def grid_of(space: Sequence[int], stride: int) -> tuple[int, ...]:
  """Cells per axis of a heat map."""
  return tuple(-(-n // stride) for n in space)


def cell_boxes(cells: Sequence[int], stride: int):
  """The box of each cell, in voxels: (*cells, 2 * rank) float32."""
  low = jnp.stack(jnp.meshgrid(*(jnp.arange(n) for n in cells), indexing="ij"), -1) * stride
  return jnp.concatenate([low, low + stride], -1).astype(jnp.float32)


def detect(
  heat,
  offsets,
  space: Sequence[int],
  *,
  stride: int,
  limit: int,
  candidates: int = 64,
  threshold: float = 0.3,
  overlap: float = 0.5,
):
  """Boxes from a detector's outputs, with static shapes.

  A cell is a candidate if its score is the maximum of its 3^rank neighbourhood; the best
  `candidates` go through non-maximum suppression (`boxes.nms`).

  Args:
    heat, offsets: (b, *cells, 1) logits, (b, *cells, 2 * rank).
    space: of the image; boxes are clipped to it.
    limit: boxes returned per image.

  Returns:
    Boxes (b, limit, 2 * rank) and their probabilities (b, limit), best first, filled up with zeros.
  """
  cells = heat.shape[1:-1]
  scores = jax.nn.sigmoid(heat)
  scores = jnp.where(scores == pool(scores, "max", kernel=3, stride=1, padding=1), scores, 0)
  boxes = decode(offsets, cell_boxes(cells, stride)[None])
  scores, boxes = scores.reshape(len(heat), -1), boxes.reshape(len(heat), -1, boxes.shape[-1])
  boxes = jnp.clip(boxes, 0, jnp.asarray([[[*space, *space]]], jnp.float32))
  scores, order = jax.lax.top_k(scores, min(candidates, scores.shape[1]))
  boxes = jnp.take_along_axis(boxes, order[..., None], 1)

  def suppress(boxes, scores):
    return nms(boxes, scores, limit=limit, threshold=threshold, overlap=overlap)

  return jax.vmap(suppress)(boxes, scores)


def centre_cells(boxes, cells: Sequence[int], stride: int):
  """The cell that each box's centre lies in: (b, k, 2 * rank) -> (b, k, rank) int32."""
  centre, _ = centre_and_size(boxes)
  last = jnp.asarray(cells, jnp.int32).reshape(1, 1, -1) - 1
  return jnp.clip(jnp.floor(centre / stride).astype(jnp.int32), 0, last)


def heat_map(boxes, cells: Sequence[int], stride: int):
  """What a detector should say: (b, k, 2 * rank) boxes -> (b, *cells, 1) in [0, 1].

  1 in the cell of each centre and a Gaussian around it, sigma 0.09 of the box per axis (TTFNet,
  arXiv 1909.00700); the largest counts where several meet. A box of no size leaves no trace.
  """
  rank = len(cells)
  _, size = centre_and_size(boxes)
  sigma = jnp.maximum(size / stride * (0.54 / 6), 1e-2)
  exponent = jnp.zeros(boxes.shape[:2] + (1,) * rank)
  at = centre_cells(boxes, cells, stride)
  for axis, n in enumerate(cells):
    shape = [1] * rank
    shape[axis] = n
    steps = (jnp.arange(n)[None, None] - at[..., axis, None]) / sigma[..., axis, None]
    exponent -= (jnp.square(steps) / 2).reshape(*boxes.shape[:2], *shape)
  there = (size > 0).all(-1).reshape(*boxes.shape[:2], *(1,) * rank)
  return jnp.where(there, jnp.exp(exponent), 0).max(1)[..., None]
