"""What the losses share: labels as truth, weights, probabilities and reductions, all in float32.

A loss starts with `prepare` and ends with `weighted_mean`, over voxels, or with `class_mean`, over
classes. Whatever these take and return has the rank of the logits (voxels) or two axes (classes),
so that a loss broadcasts nothing itself.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses import blocks


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


def named_map(target: Target, name: str, shape: tuple[int, ...], loss: str) -> Array:
  """A map of the target; raises ValueError when the batch has none, or one of another shape."""
  if name not in target.maps:
    raise ValueError(
      f"{loss}: the batch has no '{name}' map; jaxseg.data.with_maps adds it to a data set (a run "
      f"does so where its config names a loss that needs it), or put it in Target.maps['{name}']; "
      "what a network guesses of cases without labels has none: choose another loss there "
      "(config.losses)."
    )
  found = target.maps[name]
  if tuple(found.shape) != tuple(shape):
    raise ValueError(
      f"{loss}: the '{name}' map has shape {tuple(found.shape)}; expected {tuple(shape)} for the "
      "logits' grid."
    )
  return found


def weigh_by_map(target: Target, name: str | None, shape: tuple[int, ...], loss: str) -> Target:
  """The target, its weight multiplied by a named (b, *space) map; as it is for None."""
  if name is None:
    return target
  values = named_map(target, name, shape, loss)
  return target._replace(weight=values if target.weight is None else target.weight * values)


def probabilities(logits: jax.Array, *, sigmoid: bool) -> jax.Array:
  """Probability of each class, by softmax, or of each channel on its own, by sigmoid."""
  return jax.nn.sigmoid(logits) if sigmoid else jax.nn.softmax(logits, -1)


def log_probabilities(logits: jax.Array, *, sigmoid: bool) -> jax.Array:
  """Logarithms of `probabilities`, exact where these round to 0 or 1."""
  return jax.nn.log_sigmoid(logits) if sigmoid else jax.nn.log_softmax(logits, -1)


def log_complements(logits: jax.Array, *, sigmoid: bool) -> jax.Array:
  """Logarithms of 1 - probability, exact where the probability rounds to 0 or 1."""
  if sigmoid:
    return jax.nn.log_sigmoid(-logits)
  # only the largest probability can be near 1: its complement is summed over the other classes
  largest = jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1], dtype=jnp.bool_)
  others = jax.nn.logsumexp(jnp.where(largest, -jnp.inf, logits), -1, keepdims=True)
  rest = others - jax.nn.logsumexp(logits, -1, keepdims=True)
  below_half = jnp.where(largest, 0, probabilities(logits, sigmoid=False))
  return jnp.where(largest, rest, jnp.log1p(-below_half))


def power(values: jax.Array, exponent: float) -> jax.Array:
  """values ** exponent, 0 with gradient 0 where a value is 0 or less, whatever the exponent."""
  # a comparison that NaN fails, so that it stays NaN
  nothing = values <= 0
  return jnp.where(nothing, 0, jnp.where(nothing, 1, values) ** exponent)


def per_class(values, like: jax.Array, what: str) -> jax.Array:
  """k numbers (None: ones) -> (1, ..., 1, k) float32, to multiply `like`, (..., k), with."""
  if isinstance(values, str):
    raise ValueError(
      f"loss: {what} is the name '{values}'; a loss takes one number per channel, which "
      "losses.class_weights(label_counts, how=...) gives (a config's name is resolved so)."
    )
  classes = like.shape[-1]
  values = jnp.ones(classes) if values is None else jnp.atleast_1d(jnp.asarray(values, jnp.float32))
  if values.shape != (classes,):
    raise ValueError(
      f"loss: {what} has shape {values.shape}; expected one number for each of the {classes} "
      "channels of the logits."
    )
  return values.reshape((1,) * (like.ndim - 1) + (classes,))


def class_factors(alpha, like: jax.Array, *, sigmoid: bool):
  """A loss's `alpha` as factors (1, ..., k) of voxels inside a class, and outside of a region.

  One number is that of the foreground, 1 - alpha of class 0 (of the outside of a region); k are
  those of the classes; None is 1.
  """
  if alpha is None or np.ndim(alpha) > 0:
    factors = per_class(alpha, like, "alpha")
    return factors, factors
  if sigmoid:
    return alpha, 1 - alpha
  return per_class((1 - alpha,) + (alpha,) * (like.shape[-1] - 1), like, "alpha"), None


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


class Overlap(NamedTuple):
  """Soft counts of each class, (b, k), or (1, k) of the whole batch.

  Attributes:
    shared: sum of p g, the true positives.
    predicted: sum of p, or of p^2.
    true: sum of g, or of g^2.
  """

  shared: jax.Array
  predicted: jax.Array
  true: jax.Array


def overlap(
  logits: Array, target: Target, *, batch: bool, sigmoid: bool, squared: bool = False
) -> Overlap:
  """What the prediction and the truth share, by class; ignored voxels enter no sum."""

  def sums(logits, target):
    logits, truth, weight = prepare(logits, target, sigmoid=sigmoid)
    scores = probabilities(logits, sigmoid=sigmoid)
    sizes = (scores**2, truth**2) if squared else (scores, truth)
    return tuple(class_sums(weight * x, batch=False) for x in (scores * truth, *sizes))

  samples = 1 if batch else logits.shape[0]
  parts = blocks.sums(sums, logits, target)
  return Overlap(*(x.reshape(samples, -1, x.shape[-1]).sum(1) for x in parts))


def dissimilarity(similar: jax.Array, whole: jax.Array) -> jax.Array:
  """1 - similar / whole; 0 where the whole is 0: nothing there, nothing predicted, is perfect."""
  # the gradient divides by the square, which must not underflow; and NaN fails the comparison, so
  # that a network that broke doesn't look perfect
  nothing = whole <= 1e-18
  return jnp.where(nothing, 0, 1 - similar / jnp.where(nothing, 1, whole))


def foreground(values: jax.Array, *, include_background: bool, sigmoid: bool) -> jax.Array:
  """(..., k) without class 0, unless that is included or every channel is a region of its own."""
  return values if include_background or sigmoid else values[..., 1:]


def class_mean(
  losses: jax.Array,
  weight: jax.Array | float = 1.0,
  *,
  class_weights: Sequence[float] | None,
  include_background: bool,
  sigmoid: bool,
) -> jax.Array:
  """Losses (..., k) -> the mean of class weight * loss over classes, and over `weight`, (..., 1).

  Class weights multiply and don't divide, as MONAI's do: doubled weights are a doubled loss.
  """
  scaled = losses * weight * per_class(class_weights, losses, "class_weights")
  scaled = foreground(scaled, include_background=include_background, sigmoid=sigmoid)
  return weighted_mean(scaled, jnp.broadcast_to(weight, (*losses.shape[:-1], 1)))
