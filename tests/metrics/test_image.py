"""Metrics of images against the rules written out voxel by voxel."""

import itertools
import math

import numpy as np
import pytest
import skimage.metrics

from jaxseg.metrics.image import IMAGE_METRICS, mae, mse, psnr, ssim


def pair(shape, seed=0):
  random = np.random.default_rng(seed)
  reference = random.normal(100, 30, shape).astype(np.float32)
  return reference + random.normal(5, 12, shape).astype(np.float32), reference


def windows(shape, axes, radius=5):
  """The centres whose window lies inside, and the window's offsets and weights."""
  spans = [range(radius, n - radius) if a in axes else range(n) for a, n in enumerate(shape)]
  reach = [range(-radius, radius + 1) if a in axes else (0,) for a in range(len(shape))]
  offsets = np.array(list(itertools.product(*reach)))
  weights = np.exp(-0.5 * (offsets**2).sum(1) / 1.5**2)
  return itertools.product(*spans), offsets, weights / weights.sum()


def ssim_by_voxel(x, y, width, axes, weight=None):
  """Wang et al. 2004, equations 13 and 14 to 16, one window after the other."""
  centres, offsets, taps = windows(x.shape, axes)
  x, y = x.astype(np.float64), y.astype(np.float64)
  c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
  values, shares = [], []
  for centre in centres:
    at = tuple((np.array(centre) + offsets).T)
    a, b = x[at], y[at]
    ma, mb = (taps * a).sum(), (taps * b).sum()
    va, vb = (taps * (a - ma) ** 2).sum(), (taps * (b - mb) ** 2).sum()
    cov = (taps * (a - ma) * (b - mb)).sum()
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    values.append(top / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    shares.append(1.0 if weight is None else weight[centre])
  return np.average(values, weights=shares)


@pytest.mark.parametrize(
  ("shape", "axes"),
  [((17, 15), (0, 1)), ((12, 13, 14), (0, 1, 2)), ((3, 14, 13), (1, 2)), ((10, 30), (1,))],
)
def test_ssim_is_the_rule_window_by_window(shape, axes):
  made, true = pair(shape)
  expected = ssim_by_voxel(made, true, float(np.ptp(true)), axes)
  assert ssim(made, true) == pytest.approx(expected, rel=1e-6)
  assert ssim(made, true, data_range=255.0) == pytest.approx(
    ssim_by_voxel(made, true, 255.0, axes), rel=1e-6
  )
  assert ssim(true, true) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("shape", [(30, 41), (14, 13, 15)])
def test_ssim_and_psnr_are_scikit_images(shape):
  made, true = pair(shape)
  options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  known = skimage.metrics.structural_similarity(true, made, data_range=200.0, **options)
  assert ssim(made, true, data_range=200.0) == pytest.approx(known, abs=1e-6)
  known = skimage.metrics.peak_signal_noise_ratio(true, made, data_range=200.0)
  assert psnr(made, true, data_range=200.0) == pytest.approx(known, rel=1e-6)


def test_voxels_of_weight_0_do_not_count():
  made, true = pair((16, 15))
  weight = (np.random.default_rng(1).random((16, 15)) < 0.6).astype(np.float32)
  counted = weight > 0
  error = np.abs(made.astype(np.float64) - true)[counted]
  assert mae(made, true, weight) == pytest.approx(error.mean(), rel=1e-6)
  assert mse(made, true, weight) == pytest.approx((error**2).mean(), rel=1e-6)
  width = float(np.ptp(true[counted]))
  expected = 20 * math.log10(width) - 10 * math.log10((error**2).mean())
  assert psnr(made, true, weight) == pytest.approx(expected, rel=1e-6)
  assert ssim(made, true, weight) == pytest.approx(
    ssim_by_voxel(made, true, width, (0, 1), weight), rel=1e-6
  )
  # what does not count may be anything
  made[~counted] += 1e6
  assert mae(made, true, weight) == pytest.approx(error.mean(), rel=1e-6)


def test_psnr_of_a_known_difference():
  true = np.zeros((4, 5))
  true[0, 0] = 255
  assert psnr(true + 5, true) == pytest.approx(10 * math.log10(255**2 / 25), rel=1e-9)
  assert psnr(true + 5, true, data_range=1.0) == pytest.approx(-10 * math.log10(25), rel=1e-9)
  assert psnr(true, true) == math.inf


def test_what_has_no_range_or_no_voxel_is_undefined():
  flat = np.ones((12, 12), np.float32)
  assert math.isnan(psnr(flat, flat))
  assert math.isnan(ssim(flat, flat))
  nothing = np.zeros((12, 12), np.float32)
  made, true = pair((12, 12))
  assert all(math.isnan(metric(made, true, nothing)) for metric in IMAGE_METRICS.values())


def test_other_grids_are_refused():
  with pytest.raises(ValueError, match=r"shape \(12, 12\), the reference \(12, 11\)"):
    mae(np.zeros((12, 12)), np.zeros((12, 11)))
