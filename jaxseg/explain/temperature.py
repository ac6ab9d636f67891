"""Temperature calibration: one number by which all logits are divided."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.batch import Array
from jaxseg.explain.uncertainty import probabilities
from jaxseg.metrics.calibration import expected_calibration_error

_GOLDEN = (5**0.5 - 1) / 2
# ranges far beyond what networks need
_LOWEST, _HIGHEST = 0.05, 50.0


class Calibration(NamedTuple):
  """A temperature, and the mean negative log-likelihood and calibration error before and after."""

  temperature: float
  likelihood: tuple[float, float]
  error: tuple[float, float]


def likelihood(logits: Array, truth: Array, temperature: float) -> float:
  """Mean negative log-likelihood a voxel.

  Args:
    logits: (n, k).
    truth: (n,) int classes, or (n, k) regions of 0 and 1.
    temperature: that the logits are divided by.
  """
  scores = np.asarray(logits, np.float64) / temperature
  if truth.ndim == 2:
    return float((np.logaddexp(0, scores) - truth * scores).mean())
  chosen = np.take_along_axis(scores, truth[:, None], -1)[:, 0]
  return float((np.logaddexp.reduce(scores, -1) - chosen).mean())


def calibrate(
  cases: Sequence[tuple[Array, Array]], *, voxels: int = 100_000, seed: int = 0
) -> Calibration:
  """The temperature with the highest likelihood (Guo et al. 2017, arXiv 1706.04599).

  Args:
    cases: ((*space, k) logits, (*space) classes or (*space, k) regions) of each.
    voxels: that are drawn from each case; fewer of smaller ones.
    seed: of the draw.

  Raises ValueError without cases, or without a voxel in any of them.
  """
  if not any(np.size(truth) for _, truth in cases):
    raise ValueError(
      "temperature: no voxel to calibrate with; expected a case with a label that is not ignored "
      "everywhere."
    )
  random, scores, truths = np.random.default_rng(seed), [], []
  for logits, truth in cases:
    flat = np.asarray(logits, np.float32).reshape(-1, logits.shape[-1])
    truth = np.asarray(truth).reshape(len(flat), *truth.shape[logits.ndim - 1 :])
    drawn = random.permutation(len(flat))[:voxels]
    scores.append(flat[drawn])
    truths.append(truth[drawn])
  logits, truth = np.concatenate(scores), np.concatenate(truths)
  temperature = _lowest(lambda log: likelihood(logits, truth, np.exp(log)))
  both = (1.0, temperature)
  regions, classes = truth.ndim == 2, logits.shape[-1]

  def error(t: float) -> float:
    shares = probabilities(logits / np.float32(t), regions)
    return float(np.nanmean(expected_calibration_error(shares, truth, None, classes)))

  return Calibration(
    temperature,
    tuple(likelihood(logits, truth, t) for t in both),
    tuple(error(t) for t in both),
  )


def _lowest(loss) -> float:
  """The temperature where a loss of its logarithm, of one minimum, is lowest (golden section)."""
  low, high = np.log(_LOWEST), np.log(_HIGHEST)
  left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
  at_left, at_right = loss(left), loss(right)
  while high - low > 1e-4:
    if at_left < at_right:
      high, right, at_right = right, left, at_left
      left = high - _GOLDEN * (high - low)
      at_left = loss(left)
    else:
      low, left, at_left = left, right, at_right
      right = low + _GOLDEN * (high - low)
      at_right = loss(right)
  return float(np.exp((low + high) / 2))
