"""Mistakes put into the `prior`, so that a cascade's second stage doesn't trust the first blindly.

They act on per-class maps in 0..1, channel by channel in random order, as nnU-Net does with the
one-hot segmentation of its low-resolution stage (arXiv 1809.10486, numbers of its version 2). A
voxel belongs to a class above 0.5.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.draws import checked_probability, checked_range, within
from jaxseg.batch import Array, Batch
from jaxseg.morphology import components, dilate


def prior_morphology(
  key,
  sample: Batch,
  *,
  p: float = 0.4,
  p_label: float = 0.5,
  radius: tuple[float, float] = (1.0, 8.0),
  background: bool = False,
) -> Batch:
  """Dilates, erodes, opens or closes classes of the prior with a ball.

  Args:
    key: random key.
    sample: fields without batch axis; one without a `prior` is left alone.
    p: probability.
    p_label: probability of each class, where the sample is drawn.
    radius: range of the ball's radius in voxels, drawn per class. What lies beyond the border
      neither grows inwards nor erodes.
    background: the prior's channel 0 is the background, which takes what the classes leave.
      nnU-Net's prior has no such channel.

  Returns:
    The sample; a voxel that a class gains is taken from the others. Maps become 0 or 1 where
    they were drawn.
  """
  checked_probability("prior_morphology.p", p)
  checked_probability("prior_morphology.p_label", p_label)
  bounds = checked_range("prior_morphology.radius", radius, 0.0, 64.0)
  if "prior" not in sample:
    return sample
  reach, channels = math.floor(bounds[1]), sample["prior"].shape[-1]
  first = int(background)
  draw = jax.random.uniform(key, (4, channels + 1))
  order = first + jnp.argsort(draw[0, : channels - first])

  def act(mask, operator, size):
    # 0 dilation, 1 erosion, 2 opening, 3 closing; eroding is growing the complement
    def grow(mask, erode):
      return dilate(mask ^ erode, size, reach=reach) ^ erode

    erodes = (operator == 1) | (operator == 2)
    once = grow(mask, erodes)
    return lax.cond(operator >= 2, lambda m: grow(m, ~erodes), lambda m: m, once)

  def step(number, maps):
    channel = order[number]
    old = maps[channel] > 0.5
    operator = jnp.floor(draw[1, channel] * 4).astype(jnp.int32)
    size = within(draw[2, channel], bounds)

    def changed(maps):
      new = act(old, operator, size)
      gained = (new & ~old)[None]
      return jnp.where(gained, 0, maps).at[channel].set(new.astype(maps.dtype))

    return lax.cond(draw[3, channel] < p_label, changed, lambda maps: maps, maps)

  def changed(prior):
    maps = lax.fori_loop(0, channels - first, step, jnp.moveaxis(prior, -1, 0))
    return jnp.moveaxis(_with_background(maps) if background else maps, 0, -1)

  prior = lax.cond(draw[0, -1] < p, changed, lambda prior: prior, sample["prior"])
  return {**sample, "prior": prior}


def _with_background(maps: Array) -> Array:
  return maps.at[0].set(jnp.maximum(1 - maps[1:].sum(0), 0))


def prior_components(
  key,
  sample: Batch,
  *,
  p: float = 0.2,
  p_label: float = 1.0,
  largest: float = 0.15,
  background: bool = False,
) -> Batch:
  """Removes a random connected component of each class of the prior.

  Args:
    key: random key.
    sample: fields without batch axis; one without a `prior` is left alone.
    p: probability.
    p_label: probability of each class, where the sample is drawn.
    largest: components of this share of the patch or more stay.
    background: see `prior_morphology`.
  """
  checked_probability("prior_components.p", p)
  checked_probability("prior_components.p_label", p_label)
  checked_probability("prior_components.largest", largest)
  if "prior" not in sample:
    return sample
  channels = sample["prior"].shape[-1]
  first = int(background)
  draw = jax.random.uniform(key, (1 + channels,))

  def one(item):
    channel, chosen = item

    def changed(channel):
      numbers = components(channel > 0.5)
      flat = numbers.reshape(-1)
      sizes = jnp.zeros(flat.size + 1, jnp.int32).at[flat].add(1)
      removable = (sizes > 0) & (sizes < largest * flat.size)
      lots = jax.random.uniform(jax.random.fold_in(key, 1), (flat.size + 1,))
      # 0 is what lies outside of all components
      lots = jnp.where(removable, lots, -1.0).at[0].set(-1.0)
      victim = jnp.where(lots.max() >= 0, jnp.argmax(lots), -1)
      return jnp.where(numbers == victim, 0, channel)

    return lax.cond(chosen, changed, lambda channel: channel, channel)

  def changed(prior):
    maps = jnp.moveaxis(prior, -1, 0)
    cut = lax.map(one, (maps[first:], draw[1 + first :] < p_label))
    maps = jnp.concatenate([maps[:first], cut])
    return jnp.moveaxis(_with_background(maps) if background else maps, 0, -1)

  prior = lax.cond(draw[0] < p, changed, lambda prior: prior, sample["prior"])
  return {**sample, "prior": prior}
