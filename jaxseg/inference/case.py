"""What a predictor is given: one whole case."""

from typing import NamedTuple

import numpy as np

from jaxseg.batch import Batch, space_of


class Case(NamedTuple):
  """One case in the training orientation.

  Attributes:
    fields: those of a batch, without its axis: "image" (*space, channels), normalised as in
      training, "spacing" (rank,) in millimetres, and what else a method takes: "prior", "clicks",
      ... Predictors cut, pad and mirror each by its kind; nested ones as well.
  """

  fields: Batch

  @property
  def image(self) -> np.ndarray:
    return self.fields["image"]

  @property
  def spacing(self) -> np.ndarray:
    return self.fields["spacing"]

  @property
  def space(self) -> tuple[int, ...]:
    """Voxels per axis."""
    return space_of(self.fields)
