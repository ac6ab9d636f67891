"""Modality dropout: which channels of its image a sample has, and what the others are.

A channel that a sample lacks is 0 everywhere, the mean of images that were normalised, in training
and in prediction; the field `modalities` tells which these are.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxseg.augment.draws import checked_probability, images_of
from jaxseg.batch import Array, Batch, kind

INDEPENDENT, COUNT = "independent", "count"
RULES = (INDEPENDENT, COUNT)


def modality_dropout(
  key,
  sample: Batch,
  *,
  p: float = 1.0,
  rule: str = INDEPENDENT,
  p_channel: float | None = None,
) -> Batch:
  """Takes channels of the image away, so that a network learns to do with those that there are.

  At least one stays of those that hold anything. Channels that the sample lacks (`modalities`) or
  that are 0 everywhere count as dropped. Of a sample without any content nothing is dropped.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability that a sample is drawn; the others keep what they have.
    rule: "independent": each channel goes with `p_channel`, given that one stays: with 0.5 every
      subset is as likely as every other. "count": so many of all M channels go, 0 to M - 1 with the
      same probability, those that lack among them.
    p_channel: of "independent", 0.5 if None.

  Returns:
    The sample with `modalities` (channels,), 1 of those that stay; the image is 0 in the others.
    Source of "count": ivadomed's input-level dropout; HeMIS (1607.05194), mmFormer (2206.02425)
    draw subsets.
  """
  checked_probability("modality_dropout.p", p)
  if rule not in RULES:
    raise ValueError(f"modality_dropout.rule: {rule!r} is unknown; choices: {', '.join(RULES)}.")
  if rule == COUNT and p_channel is not None:
    raise ValueError(
      f"modality_dropout.p_channel: {p_channel} has no effect with rule='{COUNT}', which draws how "
      f"many channels go; leave it out, or choose rule='{INDEPENDENT}'."
    )
  images = images_of(sample)
  if not images:
    return dict(sample)
  channels = max(x.shape[-1] for x in images.values())
  known = sample.get("modalities")
  known = jnp.ones(channels, bool) if known is None else known > 0
  content = [jnp.any(x != 0, tuple(range(x.ndim - 1))) for x in images.values()]
  there = known & jnp.any(jnp.stack(content), 0)
  draw = jax.random.uniform(key, (1 + channels,))
  if rule == COUNT:
    stays = _all_but_a_number(jax.random.fold_in(key, 1), draw[1:], there)
  else:
    share = checked_probability(
      "modality_dropout.p_channel", 0.5 if p_channel is None else p_channel
    )
    stays = _each_for_itself(draw[1:], there, share)
  stays = jnp.where(draw[0] < p, stays, there)
  stays = jnp.where(there.any(), stays, known)
  return without_missing({**sample, "modalities": stays.astype(jnp.float32)})


def _each_for_itself(draw: Array, there: Array, p: float) -> Array:
  """(channels,) bool: each of those that are there goes with `p`, given that one stays.

  One after the other: as long as none stays, the next of r that are left stays with (1 - p) /
  (1 - p^r), which is 1 / (1 + p + ... + p^(r - 1)).
  """
  stays, some = [], jnp.zeros((), bool)
  powers = jnp.asarray([p**k for k in range(len(draw))], jnp.float32)
  for i in range(len(draw)):
    left = there[i:].sum()
    needed = 1 / jnp.maximum(jnp.where(jnp.arange(len(draw)) < left, powers, 0.0).sum(), 1.0)
    one = there[i] & (draw[i] < jnp.where(some, 1 - p, needed))
    stays.append(one)
    some |= one
  return jnp.stack(stays)


def _all_but_a_number(key, draw: Array, there: Array) -> Array:
  """(channels,) bool: a number of the channels, from 0 to all but one, are not there or go."""
  channels = len(draw)
  number = jax.random.randint(key, (), 0, channels)
  going = number - (channels - there.sum())
  rank = jnp.argsort(jnp.argsort(jnp.where(there, draw, jnp.inf)))
  return there & (rank >= going)


def without_missing(batch: Batch) -> Batch:
  """A sample or a batch, its images 0 in the channels that `modalities` says are not there.

  One that doesn't tell them is left as it is; so are those nested in it, each for itself.
  """
  out = {
    name: without_missing(values) if isinstance(values, Mapping) else values
    for name, values in batch.items()
  }
  there = out.get("modalities")
  if there is None:
    return out
  for name, values in out.items():
    if not isinstance(values, Mapping) and kind(name).intensity:
      space = (1,) * (values.ndim - there.ndim)
      shown = (there > 0).reshape(*there.shape[:-1], *space, there.shape[-1])
      out[name] = jnp.where(shown, values, jnp.zeros((), values.dtype))
  return out
