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


def decode(scores: ByClass, labels: LabelSpec, *, threshold: float = 0.0) -> np.ndarray:
  """As `LabelSpec.decode`, one class at a time: (*space) int32 stored values.

  Args:
    scores: logits or probabilities.
    labels: classes go by the largest score, the first of equals; regions by score > `threshold`,
      later ones on top.
    threshold: of regions: 0 for logits, 0.5 for probabilities.
  """
  if labels.regions:
    out = None
    for k, region in enumerate(labels.regions):
      inside = scores(k) > threshold
      out = np.zeros(inside.shape, np.int32) if out is None else out
      out[inside] = region[0]
    return out
  best = np.array(scores(0), np.float32)
  out = np.full(best.shape, labels.stored_values[0], np.int32)
  for k in range(1, labels.channels):
    current = scores(k)
    higher = current > best
    np.copyto(best, current, where=higher)
    out[higher] = labels.stored_values[k]
  return out


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
