"""Metrics of images: how near what was made comes to what is there, one channel at a time.

A metric is `(prediction, reference, weight, *, options) -> number` of (*space) intensities and a
row in `IMAGE_METRICS`; NaN where it is undefined. Voxels of weight 0 do not count.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from jaxseg.batch import Array

_SIGMA, _RADIUS = 1.5, 5


def mae(prediction: Array, reference: Array, weight: Array | None = None) -> float:
  """Mean absolute difference, in the unit of the images."""
  return _mean(np.abs(_difference(prediction, reference)), weight)


def mse(prediction: Array, reference: Array, weight: Array | None = None) -> float:
  """Mean squared difference, in the unit of the images squared."""
  return _mean(_difference(prediction, reference) ** 2, weight)


def psnr(
  prediction: Array,
  reference: Array,
  weight: Array | None = None,
  *,
  data_range: float | None = None,
) -> float:
  """Peak signal-to-noise ratio in decibel, 10 log10(range^2 / mean squared difference).

  Infinite where the two are equal, NaN where the range is 0.

  Args:
    prediction, reference: (*space) intensities.
    weight: (*space), 0 = ignored.
    data_range: of the intensities; None is that of the reference's counted voxels.
  """
  width = _range(reference, weight, data_range)
  error = mse(prediction, reference, weight)
  if not width > 0 or math.isnan(error):
    return math.nan
  return math.inf if error == 0 else 10 * math.log10(width**2 / error)


def ssim(
  prediction: Array,
  reference: Array,
  weight: Array | None = None,
  *,
  data_range: float | None = None,
  k1: float = 0.01,
  k2: float = 0.03,
) -> float:
  """Structural similarity, -1 to 1: its mean over the voxels whose window lies in the image.

  The window is a Gaussian of 1.5 voxels, cut at 5 (Wang et al. 2004, doi 10.1109/TIP.2003.819861),
  in every axis that is as long as it; a thin volume is compared slice by slice. Moments are those
  of the window, not of a sample. The rule is scikit-image's `structural_similarity` with
  `gaussian_weights=True, use_sample_covariance=False`.

  Args:
    prediction, reference: (*space) intensities.
    weight: (*space), 0 = ignored; such voxels are seen by their neighbours' windows all the same.
    data_range: of the intensities; None is that of the reference's counted voxels.
    k1, k2: of the constants (k * range)^2.
  """
  width = _range(reference, weight, data_range)
  if not width > 0:
    return math.nan
  x, y = (np.asarray(a, np.float64) for a in (prediction, reference))
  long = [n > 2 * _RADIUS for n in x.shape]
  sigma = [_SIGMA if one else 0.0 for one in long]

  def smooth(values):
    return ndimage.gaussian_filter(values, sigma, truncate=_RADIUS / _SIGMA)

  mean_x, mean_y = smooth(x), smooth(y)
  var_x, var_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
  shared = smooth(x * y) - mean_x * mean_y
  c1, c2 = (k1 * width) ** 2, (k2 * width) ** 2
  above = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
  below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
  inner = tuple(slice(_RADIUS, -_RADIUS) if one else slice(None) for one in long)
  return _mean((above / below)[inner], None if weight is None else np.asarray(weight)[inner])


IMAGE_METRICS: dict[str, Callable[..., float]] = {
  "psnr": psnr,
  "ssim": ssim,
  "mae": mae,
  "mse": mse,
}


def _difference(prediction: Array, reference: Array) -> np.ndarray:
  prediction, reference = np.asarray(prediction), np.asarray(reference)
  if prediction.shape != reference.shape:
    raise ValueError(
      f"image metric: the prediction has shape {prediction.shape}, the reference "
      f"{reference.shape}; expected the same (*space) grid."
    )
  return prediction.astype(np.float64) - reference.astype(np.float64)


def _mean(values: np.ndarray, weight: Array | None) -> float:
  """Weighted mean; NaN where nothing counts."""
  if weight is None:
    return float(values.mean())
  weight = np.asarray(weight, np.float64)
  total = weight.sum()
  return float((values * weight).sum() / total) if total > 0 else math.nan


def _range(reference: Array, weight: Array | None, given: float | None) -> float:
  if given is not None:
    return float(given)
  counted = np.asarray(reference, np.float64)
  counted = counted if weight is None else counted[np.asarray(weight) > 0]
  return float(np.ptp(counted)) if counted.size else math.nan
