"""Surface metrics: the fact sheet's table, SciPy's distance maps on random masks, empty masks."""

import math

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.metrics import (
  METRICS,
  assd,
  class_masks,
  hausdorff,
  hd95,
  masd,
  nsd,
  score,
  surface_distances,
)

# M1 of the fact sheet's Appendix G
LABEL = np.zeros((8, 8), np.int32)
LABEL[2:6, 2:6] = 1
PREDICTION = np.zeros((8, 8), np.int32)
PREDICTION[2:6, 3:8] = 1
DISTANCES = {"hausdorff": hausdorff, "hd95": hd95, "assd": assd, "masd": masd}


def surfaces_of(prediction, label, spacing, weight=None, classes=2):
  return surface_distances(class_masks(prediction, label, weight, classes=classes), spacing)


@pytest.mark.parametrize(
  ("metric", "options", "square", "wide"),
  [
    (hausdorff, {}, 2, 6),
    (hd95, {}, 2, 6),
    (hd95, {"percentile": 100}, 2, 6),
    (masd, {"direction": "prediction"}, 0.857143, 2.285714),
    (assd, {}, 0.692308, 1.769231),
    (assd, {"convention": "mean_of_means"}, 0.678571, 1.726190),
    (masd, {}, 0.678571, 1.726190),
    (nsd, {"tolerance": 0.5}, 0.461538, 0.461538),
    (nsd, {"tolerance": 1}, 0.846154, 0.615385),
    (nsd, {"tolerance": 2}, 1, 0.615385),
  ],
)
def test_m1_has_the_known_distances(metric, options, square, wide):
  for spacing, expected in (((1, 1), square), ((1, 3), wide)):
    value = metric(surfaces_of(PREDICTION, LABEL, spacing), **options)
    assert np.isnan(value[0])  # the background
    np.testing.assert_allclose(value[1], expected, atol=1e-6)


def test_m1_has_surfaces_of_14_and_12_pixels():
  distances = surfaces_of(PREDICTION, LABEL, (1, 1))[1]
  assert [len(d) for d in distances] == [14, 12]


def oracle(prediction, label, spacing, ignored=False):
  """Both directions' distances by SciPy's erosion and distance maps of the whole image."""
  cross = ndimage.generate_binary_structure(prediction.ndim, 1)
  edges = []
  for mask in (prediction, label):
    eroded = ndimage.binary_erosion(mask | ignored, cross, border_value=0)
    edges.append(mask & ~eroded & ~np.asarray(ignored))
  maps = [ndimage.distance_transform_edt(~e, sampling=spacing) for e in edges]
  return maps[1][edges[0]], maps[0][edges[1]]


def random_masks(seed):
  """Two related masks, blobs or noise, 2D or 3D, and an anisotropic spacing."""
  random = np.random.default_rng(seed)
  shape = tuple(random.integers(5, 24, 2 + seed % 2))
  noise = random.normal(size=(2, *shape))
  if seed % 4 < 2:
    noise = np.stack([ndimage.gaussian_filter(n, 2) for n in noise])
  noise[1] += random.uniform(0, 2) * noise[0]
  share = random.uniform(0.3, 0.95)
  masks = np.stack([n > np.quantile(n, share) for n in noise])
  return masks, random.uniform(0.3, 4.0, len(shape))


@pytest.mark.parametrize("seed", range(50))
def test_random_masks_agree_with_distance_maps(seed):
  (prediction, label), spacing = random_masks(seed)
  p, t = oracle(prediction, label, spacing)
  found = surfaces_of(prediction.astype(np.uint8), label.astype(np.uint8), spacing)
  # in the order of the surface's voxels
  np.testing.assert_allclose(found[1].from_prediction, p, rtol=1e-12)
  np.testing.assert_allclose(found[1].from_label, t, rtol=1e-12)
  both = np.concatenate([p, t])
  expected = {
    hausdorff: both.max(),
    hd95: max(np.percentile(p, 95), np.percentile(t, 95)),
    assd: both.mean(),
    masd: (p.mean() + t.mean()) / 2,
    nsd: (both <= 1).mean(),
  }
  for metric, value in expected.items():
    np.testing.assert_allclose(metric(found)[1], value, rtol=1e-12)
  pooled = hd95(found, convention="pooled", percentile=80)[1]
  np.testing.assert_allclose(pooled, np.percentile(both, 80), rtol=1e-12)
  np.testing.assert_allclose(masd(found, direction="label")[1], t.mean(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_random_masks_with_ignored_voxels_agree_with_distance_maps(seed):
  (prediction, label), spacing = random_masks(seed)
  weight = np.random.default_rng(seed).integers(0, 4, label.shape)
  weight[: label.shape[0] // 3] = 0
  p, t = oracle(prediction, label, spacing, weight == 0)
  assert len(p)
  assert len(t)
  found = surfaces_of(prediction.astype(int), label.astype(int), spacing, weight)[1]
  np.testing.assert_allclose(found.from_prediction, p, rtol=1e-12)
  np.testing.assert_allclose(found.from_label, t, rtol=1e-12)


def test_the_background_is_scored_when_asked_for():
  masks = class_masks(PREDICTION, LABEL, classes=2, background=True)
  p, t = oracle(PREDICTION == 0, LABEL == 0, (1, 3))
  np.testing.assert_allclose(
    assd(surface_distances(masks, (1, 3)))[0], np.concatenate([p, t]).mean(), rtol=1e-12
  )


def test_classes_and_overlapping_regions_score_alike():
  random = np.random.default_rng(0)
  prediction, label = random.integers(0, 4, (2, 6, 7, 8))
  weight = random.integers(0, 5, (6, 7, 8))
  spacing = (2.0, 0.5, 1.0)
  names = ("hausdorff", "hd95", "assd", "masd", "nsd", "boundary_iou", "cldice")
  chosen = {name: METRICS[name] for name in names}
  by_class = score(chosen, prediction, label, weight, classes=4, spacing=spacing)
  p, t = (x[..., None] == np.arange(1, 4) for x in (prediction, label))
  by_region = score(chosen, p, t.astype(np.float32), weight, classes=3, spacing=spacing)
  for name in names:
    assert by_region[name].shape == (3,)
    np.testing.assert_array_equal(by_class[name][1:], by_region[name])
    assert np.isfinite(by_region[name]).all()


def test_empty_masks_score_what_is_documented():
  empty = np.zeros_like(LABEL)
  for prediction, label, values in (
    (empty, empty, (math.nan, math.nan)),
    (PREDICTION, empty, (math.inf, 0)),
    (empty, LABEL, (math.inf, 0)),
  ):
    surfaces = surfaces_of(prediction, label, (1, 1))
    for metric in DISTANCES.values():
      np.testing.assert_array_equal(metric(surfaces), [np.nan, values[0]])
    np.testing.assert_array_equal(nsd(surfaces), [np.nan, values[1]])
    both = label is prediction
    for metric in (*DISTANCES.values(), nsd):
      value = metric(surfaces, empty=7.0, one_empty=373.13)[1]
      assert value == (7.0 if both else 373.13)


def test_ignored_voxels_have_no_surface_and_make_none():
  label = np.zeros((5, 9), np.int32)
  label[1:4, 1:5] = 1
  prediction = np.zeros((5, 9), np.int32)
  prediction[1:4, 1:8] = 1
  weight = np.ones((5, 9))
  weight[:, 4:] = 0
  # both go on as far as is known: rows 1 and 3 of columns 1 to 3, and the voxel between at left
  p, t = surfaces_of(prediction, label, (1, 1), weight)[1]
  assert len(p) == len(t) == 7
  assert p.max() == t.max() == 0
  # without weights the prediction's end is 3 columns too far
  assert hausdorff(surfaces_of(prediction, label, (1, 1)))[1] == 3
  # a mask all of whose outside is ignored has no surface
  around = np.zeros((5, 9))
  around[1:4, 1:5] = 1
  np.testing.assert_array_equal(nsd(surfaces_of(label, label, (1, 1), around)), [np.nan, np.nan])


def test_a_distance_of_exactly_the_tolerance_is_within_it():
  label, prediction = np.zeros((2, 9), np.int32), np.zeros((2, 9), np.int32)
  label[0, 2], prediction[0, 5] = 1, 1
  # 3 * 0.1 exceeds 0.3, as does 0.3 from a header in float32
  for spacing in (0.1, np.float32(0.1)):
    surfaces = surfaces_of(prediction, label, (1, spacing))
    np.testing.assert_array_equal(nsd(surfaces, tolerance=0.3)[1], 1)
    np.testing.assert_array_equal(nsd(surfaces, tolerance=0.299)[1], 0)


def test_a_tolerance_of_nothing_counts_what_both_surfaces_share():
  surfaces = surfaces_of(PREDICTION, LABEL, (1, 1))
  # of 14 and 12 pixels the two surfaces share rows 2 and 5 of columns 3 to 5
  np.testing.assert_allclose(nsd(surfaces, tolerance=0)[1], 12 / 26)
  np.testing.assert_array_equal(nsd(surfaces_of(LABEL, LABEL, (1, 3)), tolerance=0)[1], 1)
  np.testing.assert_allclose(nsd(surfaces, tolerance=(0, 1))[1], 22 / 26)


def test_every_class_may_have_its_own_tolerance():
  p, t = (np.stack([x, x], -1).astype(bool) for x in (PREDICTION, LABEL))
  surfaces = surfaces_of(p, t, (1, 1))
  np.testing.assert_allclose(nsd(surfaces, tolerance=(0.5, 1)), [0.461538, 0.846154], atol=1e-6)


def test_wrong_input_is_refused_in_words():
  for spacing in ((1,), (1, 1, 1), (1, 0), (1, -2), (1, np.nan)):
    with pytest.raises(ValueError, match="expected 2 positive numbers, millimetres"):
      score({"hd95": hd95}, PREDICTION, LABEL, classes=2, spacing=spacing)
  with pytest.raises(ValueError, match=r"prediction has shape \(8, 7\), the label \(8, 8\)"):
    class_masks(PREDICTION[:, :7], LABEL, classes=2)
  with pytest.raises(ValueError, match=r"weight has shape \(8,\); expected \(8, 8\)"):
    class_masks(PREDICTION, LABEL, np.ones(8), classes=2)
  with pytest.raises(ValueError, match="label holds classes 0 to 3; expected 0 to 1"):
    class_masks(PREDICTION, LABEL * 3, classes=2)
  with pytest.raises(ValueError, match=r"prediction's regions hold the value 0.25; .* threshold"):
    class_masks(PREDICTION[..., None] * 0.25, LABEL[..., None] > 0, classes=1)
  with pytest.raises(ValueError, match="holds regions, and needs a last axis of 2"):
    class_masks(PREDICTION > 0, LABEL > 0, classes=2)
  surfaces = surfaces_of(PREDICTION, LABEL, (1, 1))
  for tolerance in (-1, math.nan, (1, 2, 3)):
    with pytest.raises(ValueError, match="expected a number of millimetres, 0 or more, or 2 of"):
      nsd(surfaces, tolerance=tolerance)
  with pytest.raises(ValueError, match="convention is 'median'; expected one of max, pooled"):
    hd95(surfaces, convention="median")
  with pytest.raises(
    ValueError, match="convention is 'max'; expected one of pooled, mean_of_means"
  ):
    assd(surfaces, convention="max")
  with pytest.raises(
    ValueError, match="direction is 'up'; expected one of both, prediction, label"
  ):
    masd(surfaces, direction="up")
  for percentile in (0, 101, math.nan):
    with pytest.raises(ValueError, match="expected more than 0 and at most 100"):
      hd95(surfaces, percentile=percentile)
