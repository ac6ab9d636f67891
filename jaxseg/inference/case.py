"""What a predictor is given: one whole case."""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
  """One case in the training orientation.

  Attributes:
    image: (*space, channels) float32, normalised as in training.
    spacing: (rank,) float32 millimetres, in array order.
    prior: (*space, k) float32, an earlier stage's scores; None if there is none.
    clicks: a user's clicks, for interactive predictors; None if there are none.
  """

  image: np.ndarray
  spacing: np.ndarray
  prior: np.ndarray | None = None
  clicks: np.ndarray | None = None
