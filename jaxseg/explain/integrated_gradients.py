"""Integrated gradients, refined until they add up to what they have to explain."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.explain.baselines import BASELINES
from jaxseg.explain.target import Apply, Attribution, score
from jaxseg.networks.blocks.options import choice

RULES = ("gauss_legendre", "midpoint")
# a part of the path is not divided further than this
_SHORTEST = 2.0**-80
# what is left of the part that begins at the baseline: norms after norms amplify what is nearly
# nothing, each by its own hundreds
_FIRST = 1 / 16


def nodes(steps: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
  """Places in (0, 1) and their weights, which add up to 1."""
  choice(rule, RULES, "integrated_gradients: rule")
  if rule == "midpoint":
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
  places, weights = np.polynomial.legendre.leggauss(steps)
  return (places + 1) / 2, weights / 2


@functools.partial(jax.jit, static_argnames="apply")
def _along(apply: Apply, params, image, start, target, places, weights):
  """The weighted sum of gradients at places of the way from `start` to the image, times the way."""

  def add(total, at):
    place, weight = at
    step = jax.grad(lambda x: score(apply(params, x), target))(start + place * (image - start))
    return total + weight * step, None

  total, _ = jax.lax.scan(add, jnp.zeros_like(image), (places, weights))
  return total * (image - start)


@functools.partial(jax.jit, static_argnames="apply")
def _score_at(apply: Apply, params, image, start, target, place):
  return score(apply(params, start + place * (image - start)), target)


def integrated_gradients(
  apply: Apply,
  params,
  image,
  target,
  *,
  baseline: str = "zero",
  rule: str = "gauss_legendre",
  steps: int = 8,
  tolerance: float = 0.005,
  most: int = 128,
) -> Attribution:
  """Integrated gradients (Sundararajan et al., arXiv 1703.01365), (b, *space, c).

  They add up to f(image) - f(baseline). The way from the one to the other is divided wherever a
  part of it does not add up to its own difference of scores: with instance norms all of it may
  happen in its first millionth, where evenly spread steps see nothing.

  Args:
    apply, params, image, target: as `gradient`'s.
    baseline: a name of `baselines.BASELINES`.
    rule: "gauss_legendre" or "midpoint".
    steps: gradients in each part of the way; even, as a ReLU often turns on half way.
    tolerance: of the sum's error, as a share of the difference; 0 does not divide.
    most: parts of the way that are tried; a part that is left counts with its error.

  Returns:
    The attribution; numbers: "completeness_error" (a share of the difference), "difference", and
    "gradients" that were computed.
  """
  choice(baseline, BASELINES, "integrated_gradients: baseline")
  if steps < 1 or most < 1:
    raise ValueError(f"integrated_gradients: steps={steps}, most={most}; expected at least 1.")
  image = jnp.asarray(image)
  start = BASELINES[baseline](image)
  places, weights = nodes(steps, rule)

  def score_at(place):
    return float(_score_at(apply, params, image, start, target, place))

  first, last = score_at(0.0), score_at(1.0)
  difference = last - first
  total, tried = np.zeros(image.shape, np.float64), 0
  waiting = [(0.0, 1.0, first, last)]
  while waiting:
    low, high, at_low, at_high = waiting.pop()
    where = jnp.float32(low + (high - low) * places), jnp.float32((high - low) * weights)
    values = np.asarray(_along(apply, params, image, start, target, *where), np.float64)
    tried += 1
    error = abs(values.sum() - (at_high - at_low))
    divides = tolerance > 0 and tried + len(waiting) < most and high - low > _SHORTEST
    if divides and error > tolerance * abs(difference) / 4:
      middle = (low + high) / 2 if low else high * _FIRST
      at_middle = score_at(middle)
      waiting += [(middle, high, at_middle, at_high), (low, middle, at_low, at_middle)]
      continue
    total += values
  missing = abs(total.sum() - difference)
  return Attribution(
    total.astype(np.float32),
    {
      "completeness_error": missing / abs(difference) if difference else missing,
      "difference": difference,
      "gradients": tried * steps,
    },
  )
