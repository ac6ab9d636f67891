"""The probability from which on a voxel is of the second of two classes, wherever it is seen."""

import math
from typing import Any

import numpy as np

from jaxseg.interaction.session import Scan

# where the larger of two scores changes
HALF = 0.5


def check_threshold(threshold: Any) -> None:
  """Raises ValueError for what is no number between 0 and 1."""
  number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
  if not (number and 0 < threshold < 1):
    raise ValueError(f"threshold: {threshold!r}; expected a number above 0 and below 1.")


def at_threshold(scan: Scan, threshold: float) -> Scan:
  """The scan, of two classes, whose second one begins above that probability wherever it is seen.

  Logits, and with them answers, are the same: they are cut elsewhere. Raises ValueError for another
  threshold than 0.5 where there are more classes.
  """
  check_threshold(threshold)
  if threshold == HALF:
    return scan
  if len(scan.names) != 2:
    raise ValueError(
      f"threshold: {threshold}, but the run has {len(scan.names)} classes, not two, the largest "
      f"of which is seen; expected {HALF}."
    )
  shift, decode = np.array([math.log(threshold / (1 - threshold)), 0], np.float32), scan.decode
  return scan._replace(decode=lambda logits: decode(logits + shift))
