"""Scores class by class, so that a case with many classes never lies in memory as a whole.

A `ByClass` is a function: class or region -> its (*space) float32 scores. Each call may compute
them anew, for example by resampling what a network gave.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.batch import LabelSpec

ByClass = Callable[[int], np.ndarray]


def of_array(scores: np.ndarray) -> ByClass:
  """(*space, k) scores as a function of the class."""
  return lambda k: scores[..., k]


def probabilities(scores: ByClass, labels: LabelSpec) -> ByClass:
  """Softmax of logits over classes, or a sigmoid per region; computed when a class is asked for."""
  if labels.regions:

    def sigmoid(k):
      with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-scores(k)))

    return sigmoid
  highest = np.array(scores(0), np.float32)
  total = np.ones(highest.shape, np.float32)  # of exp(score - highest), over the classes so far
  for k in range(1, labels.channels):
    current = scores(k)
    higher = np.maximum(highest, current)
    total *= np.exp(highest - higher)
    total += np.exp(current - higher)
    highest = higher

  def softmax(k):
    return np.exp(scores(k) - highest) / total

  return softmax


def mean(members: Sequence[ByClass]) -> ByClass:
  """The mean over ensemble members."""

  def averaged(k):
    total = np.array(members[0](k), np.float32)
    for member in members[1:]:
      total += member(k)
    return total / len(members) if len(members) > 1 else total

  return averaged
