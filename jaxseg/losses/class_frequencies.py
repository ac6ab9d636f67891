"""Class weights from how often each label occurs."""

import functools

import numpy as np


def _inverse(counts, **_):
  total = counts.sum(0)
  return total.sum() / (len(total) * total)


def _inverse_sqrt(counts, **_):
  total = counts.sum(0)
  return np.sqrt(total.sum() / total)


def _complement(counts, **_):
  return 1 - counts.sum(0) / counts.sum()


def _median_frequency(counts, **_):
  # the voxels of all cases that have the class, whatever their label
  voxels = (counts.sum(1, keepdims=True) * (counts > 0)).sum(0)
  share = counts.sum(0) / voxels
  return np.nanmedian(share) / share


def _effective_number(counts, *, beta):
  # (1 - beta^n) / (1 - beta) of n voxels, without losing the digits of a beta near 1
  effective = -np.expm1(counts.sum(0) * np.log(beta)) / (1 - beta)
  weights = 1 / effective
  return weights * np.isfinite(weights).sum() / weights[np.isfinite(weights)].sum()


_FORMULAS = {
  "inverse": _inverse,
  "inverse_sqrt": _inverse_sqrt,
  "complement": _complement,
  "median_frequency": _median_frequency,
  "effective_number": _effective_number,
}


def class_weights(counts, *, how: str = "inverse", beta: float = 0.999999) -> tuple[float, ...]:
  """Weights that make rare classes count more, from voxels per class.

  Args:
    counts: (k,), or (cases, k): how many voxels of each class, or region, the training cases have.
    how: with N_k the voxels of class k, N all and f_k = N_k / N,
      "inverse": N / (K N_k), so that the mean over all voxels is 1 if every class has some;
      "inverse_sqrt": sqrt(N / N_k) (Wong et al. 2018, 1809.00076);
      "complement": 1 - f_k (Dou et al. 2020, 2001.03111, who count each batch);
      "median_frequency": median(f) / f_k, where N counts only the cases that have the class
      (Eigen and Fergus 2014, 1411.4734);
      "effective_number": (1 - beta) / (1 - beta^N_k), scaled to mean 1 (Cui et al. 2019,
      1901.05555).
    beta: of "effective_number", below 1: of more than 1 / (1 - beta) voxels the further ones
      hardly count.

  Returns:
    k numbers. A class that has no voxel has weight 0.

  Raises:
    ValueError: no voxel at all, negative counts, an unknown name, weights of 0 alone.
  """
  if how not in _FORMULAS:
    raise ValueError(f"class_weights: '{how}' is unknown; choices: {', '.join(_FORMULAS)}.")
  counts = np.atleast_2d(np.asarray(counts, np.float64))
  if counts.ndim != 2 or (counts < 0).any() or not counts.any():
    raise ValueError(
      f"class_weights: counts of shape {counts.shape} must be (k,) or (cases, k) numbers, none "
      "negative and not all 0."
    )
  if not 0 < beta < 1:
    raise ValueError(f"class_weights: beta is {beta}; expected a number between 0 and 1.")
  # a class without voxels: infinity or 0 / 0
  with np.errstate(divide="ignore", invalid="ignore"):
    weights = _FORMULAS[how](counts, beta=beta)
  weights = np.where(counts.sum(0) > 0, weights, 0)
  if not weights.any():
    raise ValueError(
      f"class_weights: '{how}' gives every class the weight 0, because one alone has voxels; "
      "expected another weighting, or none."
    )
  return tuple(weights.tolist())


# what a config's class_weights="inverse" names: counts -> weights
CLASS_WEIGHTINGS = {how: functools.partial(class_weights, how=how) for how in _FORMULAS}
