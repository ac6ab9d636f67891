"""What every metric's arrays must be, checked in one place."""

import numpy as np

from jaxseg.batch import Array


def holds_regions(
  where: str, prediction: Array, label: Array, weight: Array | None, classes: int
) -> bool:
  """Whether a pair holds (*space, classes) regions; if not, it holds (*space) integer classes.

  Raises ValueError, beginning with `where`, for shapes that do not belong together.
  """
  if prediction.shape != label.shape:
    raise ValueError(
      f"{where}: the prediction has shape {tuple(prediction.shape)}, the label "
      f"{tuple(label.shape)}; both are (*space) classes or (*space, {classes}) regions."
    )
  regions = not all(np.issubdtype(x.dtype, np.integer) for x in (prediction, label))
  if regions and (prediction.ndim == 0 or prediction.shape[-1] != classes):
    raise ValueError(
      f"{where}: a {prediction.dtype} prediction with a {label.dtype} label, of shape "
      f"{tuple(prediction.shape)}, holds regions, and needs a last axis of {classes}; classes are "
      "integers."
    )
  space = prediction.shape[:-1] if regions else prediction.shape
  if weight is not None and weight.shape != space:
    raise ValueError(
      f"{where}: the weight has shape {tuple(weight.shape)}; expected {tuple(space)}."
    )
  return regions


def check_classes(where: str, what: str, values: np.ndarray, classes: int) -> None:
  """Raises ValueError where integer classes lie outside 0 to `classes` - 1."""
  if values.size and (values.min() < 0 or values.max() >= classes):
    raise ValueError(
      f"{where}: the {what} holds classes {values.min()} to {values.max()}; expected 0 to "
      f"{classes - 1}. Encode stored values with LabelSpec.encode first."
    )


def check_binary(where: str, what: str, values: np.ndarray, need: str) -> None:
  """Raises ValueError where regions hold other values than 0 and 1; `need` says why they must."""
  if values.dtype == bool:
    return
  odd = values[(values != 0) & (values != 1)]
  if odd.size:
    raise ValueError(
      f"{where}: the {what}'s regions hold the value {odd[0]}; {need} masks of 0 and 1: threshold "
      "it first."
    )


def check_spacing(where: str, spacing, rank: int) -> np.ndarray:
  """(rank,) float64 millimetres; raises ValueError for another length or values of no size."""
  spacing = np.asarray(spacing, np.float64)
  if spacing.shape != (rank,) or not (np.isfinite(spacing) & (spacing > 0)).all():
    raise ValueError(
      f"{where}: the spacing is {spacing.tolist()}; expected {rank} positive numbers, millimetres "
      "in the order of the array's axes."
    )
  return spacing
