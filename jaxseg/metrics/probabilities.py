"""Predicted probabilities beside the label, checked in one place and paired voxel by voxel."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.checks import check_binary, check_classes


class Pairs(NamedTuple):
  """The counted voxels of a case.

  Attributes:
    probabilities: (n, classes) floats.
    truth: class -> (n,) bool, whether the voxel belongs to it.
    regions: whether the label holds overlapping regions, not classes.
  """

  probabilities: np.ndarray
  truth: Callable[[int], np.ndarray]
  regions: bool


def inside(values: np.ndarray, c: int) -> np.ndarray:
  """(*space) bool: where integer classes are `c`, or where region `c` is more than 1/2."""
  return values == c if np.issubdtype(values.dtype, np.integer) else values[..., c] > 0.5


def check_probabilities(
  where: str, probabilities: Array, label: Array, weight: Array | None, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """The three arrays on the host; raises ValueError, beginning with `where`, if they don't fit.

  Args:
    probabilities: (*space, classes), softmax over classes or a sigmoid per region.
    label: (*space) int classes, or (*space, classes) regions, bool or all 0 and 1.
    weight: (*space), 0 = ignored, or None.
    classes: number of classes, background included, or of regions.
  """
  probabilities, label = np.asarray(probabilities), np.asarray(label)
  weight = None if weight is None else np.asarray(weight)
  if probabilities.dtype not in (np.float32, np.float64):
    # NumPy sorts and sums no bfloat16
    probabilities = probabilities.astype(np.float32)
  regions = not np.issubdtype(label.dtype, np.integer)
  space = label.shape[:-1] if regions else label.shape
  if regions and (label.ndim == 0 or label.shape[-1] != classes):
    raise ValueError(
      f"{where}: the {label.dtype} label has shape {label.shape}; regions need a last axis of "
      f"{classes}, and classes are integers."
    )
  if probabilities.shape != (*space, classes):
    raise ValueError(
      f"{where}: the probabilities have shape {probabilities.shape}; expected "
      f"{(*space, classes)}, the label's space and one of each class."
    )
  if weight is not None and weight.shape != space:
    raise ValueError(f"{where}: the weight has shape {weight.shape}; expected {space}.")
  if probabilities.size:
    low, high = probabilities.min(), probabilities.max()
    # half precision and averaging leave a little more than 1
    if not (low >= -1e-3 and high <= 1 + 1e-3):
      raise ValueError(
        f"{where}: the probabilities lie between {low} and {high}; expected 0 to 1, from a softmax "
        "or a sigmoid, not logits."
      )
  if regions:
    check_binary(where, "label", label, "the probability that a voxel is inside is held against")
  else:
    check_classes(where, "label", label, classes)
  return probabilities, label, weight


def pairs(
  where: str, probabilities: Array, label: Array, weight: Array | None, classes: int
) -> Pairs:
  """The counted voxels in one row, for metrics that don't ask where they lie.

  The arguments are those of `check_probabilities`.
  """
  probabilities, label, weight = check_probabilities(where, probabilities, label, weight, classes)
  counted = slice(None) if weight is None else weight.reshape(-1) > 0

  def truth(c: int) -> np.ndarray:
    return inside(label, c).reshape(-1)[counted]

  regions = not np.issubdtype(label.dtype, np.integer)
  return Pairs(probabilities.reshape(-1, classes)[counted], truth, regions)
