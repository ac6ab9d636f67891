"""Intensity statistics of a data set's foreground, from a sample that weighs all cases alike."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
  """Drawn voxels of one channel: the distinct values, ascending, and how often each was drawn."""

  values: np.ndarray
  counts: np.ndarray


def draw(foreground: np.ndarray, number: int, seed: int) -> tuple[Sample, ...]:
  """Draws `number` foreground voxels per channel with replacement; one Sample per channel.

  With replacement, so that a case with a small object weighs as much as any other. The draws are
  nnU-Net's own: numpy's RandomState, one after the other over the channels.

  Args:
    foreground: (voxels, channels) float32, in the order of the array.
    number: of draws per channel.
    seed: of the draws.
  """
  random = np.random.RandomState(seed)
  samples = []
  for channel in foreground.T:
    values, which = np.unique(channel, return_inverse=True)
    drawn = which[random.randint(0, len(channel), number)] if len(channel) else which
    counts = np.bincount(drawn, minlength=len(values))
    samples.append(Sample(values[counts > 0], counts[counts > 0]))
  return tuple(samples)


def merge(samples: Iterable[Sample]) -> Sample:
  """All draws together."""
  samples = list(samples)
  values, which = np.unique(np.concatenate([s.values for s in samples]), return_inverse=True)
  counts = np.zeros(len(values), np.int64)
  np.add.at(counts, which, np.concatenate([s.counts for s in samples]))
  return Sample(values, counts)


def statistics(sample: Sample) -> dict[str, float]:
  """Mean, median, std, min, max and the percentiles 0.5 and 99.5, under nnU-Net's names."""
  values, counts = sample.values.astype(np.float64), sample.counts
  mean = np.average(values, weights=counts)
  low, median, high = (_percentile(values, counts, q) for q in (0.5, 50.0, 99.5))
  return {
    "max": float(values[-1]),
    "mean": float(mean),
    "median": low_precision(median),
    "min": float(values[0]),
    "percentile_00_5": low_precision(low),
    "percentile_99_5": low_precision(high),
    "std": float(np.sqrt(np.average((values - mean) ** 2, weights=counts))),
  }


def low_precision(value: float) -> float:
  """Rounded to the images' float32, which a percentile of them has."""
  return float(np.float32(value))


def _percentile(values: np.ndarray, counts: np.ndarray, q: float) -> float:
  """Linear between the two nearest ranks, as np.percentile."""
  upto = np.cumsum(counts)
  rank = (upto[-1] - 1) * q / 100
  below, above = np.floor(rank), np.ceil(rank)
  first, second = values[np.searchsorted(upto, (below, above), side="right")]
  return float(first + (second - first) * (rank - below))
