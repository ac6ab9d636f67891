"""What the losses share: labels as truth, weights, probabilities and reductions, all in float32.

A loss starts with `prepare` and ends with `weighted_mean` or `class_sums`. Everything that these
return has the rank of the logits, so that a loss broadcasts nothing itself.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target


class Voxels(NamedTuple):
  """A loss's arrays, all float32.

  Attributes:
    logits: (b, *space, k).
    truth: (b, *space, k), the labels as probabilities (one-hot for integer labels).
    weight: (b, *space, 1), 0 = ignored.
  """

  logits: jax.Array
  truth: jax.Array
  weight: jax.Array


def prepare(logits: Array, target: Target, *, sigmoid: bool) -> Voxels:
  """Logits (b, *space, k) and their target -> Voxels; raises ValueError when they don't match."""
  labels, weight = target.labels, target.weight
  space, classes = tuple(logits.shape[:-1]), logits.shape[-1]
  if classes == 1 and not sigmoid:
    raise ValueError(
      "loss: the softmax over a single channel is constant; set sigmoid=True, or give the network "
      "one channel per class, background included."
    )
  if tuple(labels.shape) == space and labels.ndim == logits.ndim - 1:
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
      raise ValueError(
        f"loss: labels of shape {tuple(labels.shape)} are {labels.dtype}; expected integers, or "
        f"soft labels with a channel axis, {(*space, classes)}."
      )
    # a single channel is the foreground's: class 1
    index = jnp.ones(1, jnp.int32) if classes == 1 else jnp.arange(classes)
    truth = labels[..., None] == index.reshape((1,) * len(space) + (classes,))
  elif tuple(labels.shape) == tuple(logits.shape):
    truth = labels
  else:
    raise ValueError(
      f"loss: labels have shape {tuple(labels.shape)}; expected {space} (integers) or "
      f"{(*space, classes)} (soft or region labels) for logits of shape {tuple(logits.shape)}; "
      "networks with a margin need centre_crop_target."
    )
  if weight is None:
    weight = jnp.ones(space, jnp.float32)
  elif tuple(weight.shape) != space:
    raise ValueError(f"loss: the weight has shape {tuple(weight.shape)}; expected {space}.")
  logits, truth, weight = (jnp.asarray(x, jnp.float32) for x in (logits, truth, weight))
  return Voxels(logits, truth, weight[..., None])


def probabilities(logits: jax.Array, *, sigmoid: bool) -> jax.Array:
  """Probability of each class, by softmax, or of each channel on its own, by sigmoid."""
  return jax.nn.sigmoid(logits) if sigmoid else jax.nn.softmax(logits, -1)


def per_class(values, like: jax.Array, what: str) -> jax.Array:
  """k numbers (None: ones) -> (1, ..., 1, k) float32, to multiply `like`, (..., k), with."""
  classes = like.shape[-1]
  values = jnp.ones(classes) if values is None else jnp.atleast_1d(jnp.asarray(values, jnp.float32))
  if values.shape != (classes,):
    raise ValueError(
      f"loss: {what} has shape {values.shape}; expected one number for each of the {classes} "
      "channels of the logits."
    )
  return values.reshape((1,) * (like.ndim - 1) + (classes,))


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
  """Sum of `values` (already weighted) over the sum of `weight`; 0 when every weight is 0.

  `weight` may have an axis of size 1 where `values` has more: it then counts once for each.
  """
  total = weight.sum() * (math.prod(values.shape) / math.prod(weight.shape))
  return values.sum() / jnp.where(total > 0, total, 1)


def class_sums(values: jax.Array, *, batch: bool) -> jax.Array:
  """(b, *space, k) -> (b, k), sums over each sample's voxels; (1, k) over the whole batch's."""
  axes = tuple(range(0 if batch else 1, values.ndim - 1))
  sums = values.sum(axes)
  return sums[None] if batch else sums
