"""Transforms that take something away whole: boxes, channels, what lies outside of the body.

The body is where the data were normalised: nonzero voxels (nnU-Net, arXiv 1809.10486).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.draws import checked_probability, checked_range, images_of, within
from jaxseg.batch import Array, Batch, space_of


def box_mask(space: Sequence[int], centre: Array, width: Array) -> Array:
  """(*space) bool: a box whose centre and width are shares of each axis, cut at the border."""
  rank = len(space)
  inside = jnp.ones(space, bool)
  for axis, size in enumerate(space):
    at = (jnp.arange(size) + 0.5) / size
    line = jnp.abs(at - centre[axis]) <= width[axis] / 2
    shape = [-1 if a == axis else 1 for a in range(rank)]
    inside &= jnp.broadcast_to(line.reshape(shape), space)
  return inside


def cutout(
  key,
  sample: Batch,
  *,
  p: float = 0.2,
  boxes: int = 1,
  size: tuple[float, float] = (0.1, 0.3),
  fill: float = 0.0,
  ignore: bool = False,
) -> Batch:
  """Fills random boxes of the image.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    boxes: how many.
    size: range of a box's width as a share of each axis, drawn per axis. Its centre lies anywhere
      in the sample, so that part of it may lie beyond the border.
    fill: the value inside; 0 is the mean of images that were normalised.
    ignore: also set the weight inside to 0, in samples with a weight. Else the network must guess
      what it cannot see.

  Source: DeVries and Taylor (arXiv 1708.04552).
  """
  bounds = checked_range("cutout.size", size, 0.0, 1.0)
  checked_probability("cutout.p", p)
  if boxes < 1:
    raise ValueError(f"cutout.boxes: {boxes} must be at least 1.")
  space = space_of(sample)
  draw = jax.random.uniform(key, (1 + 2 * boxes * len(space),))
  # what a field is inside of a box
  values = dict.fromkeys(images_of(sample), fill)
  if ignore and "weight" in sample:
    values["weight"] = 0.0

  def changed(fields):
    centres, widths = draw[1:].reshape(2, boxes, len(space))
    inside = jnp.zeros(space, bool)
    for centre, width in zip(centres, within(widths, bounds), strict=True):
      inside |= box_mask(space, centre, width)
    out = {}
    for field, x in fields.items():
      within_x = inside.reshape(inside.shape + (1,) * (x.ndim - inside.ndim))
      out[field] = jnp.where(within_x, jnp.asarray(values[field], x.dtype), x)
    return out

  changing = {field: sample[field] for field in values}
  return {**sample, **lax.cond(draw[0] < p, changed, lambda fields: fields, changing)}


def channel_dropout(
  key, sample: Batch, *, p: float = 0.1, p_channel: float = 0.5, fill: float = 0.0
) -> Batch:
  """Blanks channels of the image, so that a network learns to do without any one of them.

  Args:
    key: random key.
    sample: fields without batch axis. An image of one channel is left alone.
    p: probability.
    p_channel: probability of each channel, where the sample is drawn; one at least stays.
    fill: the value of a blank channel.

  Source: ModDrop (Neverova et al., arXiv 1501.00102); on MRI sequences, HeMIS (1607.05194).
  """
  checked_probability("channel_dropout.p", p)
  checked_probability("channel_dropout.p_channel", p_channel)
  out = dict(sample)
  for field, x in images_of(sample).items():
    channels = x.shape[-1]
    draw = jax.random.uniform(key, (2, channels))
    blank = (draw[0] < p_channel) & (draw[0] != draw[0].max()) & (draw[1, 0] < p)
    blank = blank.reshape((1,) * (x.ndim - 1) + (-1,))
    out[field] = jnp.where(blank, jnp.asarray(fill, x.dtype), x)
  return out


def find_body(key, sample: Batch) -> Batch:
  """Adds the field `body`: 1 where any channel of the image differs from 0, else 0.

  Exact where the images were normalised inside a nonzero mask (outside they are 0, padding is 0,
  and a z-score of exactly 0 in every channel has no probability). It comes after the geometry and
  before what changes values. A `body` that the data brought along stays.

  Args:
    key: unused; all transforms take one.
    sample: fields without batch axis.
  """
  del key
  if "body" in sample:
    return sample
  seen = [jnp.any(x != 0, -1) for x in images_of(sample).values()]
  if not seen:
    return sample
  return {**sample, "body": functools.reduce(jnp.logical_or, seen).astype(jnp.float32)}


def mask_body(key, sample: Batch) -> Batch:
  """Sets images to 0 outside of the `body`, and drops that field: nnU-Net's last step in value.

  Args:
    key: unused; all transforms take one.
    sample: fields without batch axis; one without a `body` is left alone.
  """
  del key
  if "body" not in sample:
    return sample
  inside = (sample["body"] > 0)[..., None]
  out = {field: jnp.where(inside, x, 0).astype(x.dtype) for field, x in images_of(sample).items()}
  out = {**sample, **out}
  del out["body"]
  return out
