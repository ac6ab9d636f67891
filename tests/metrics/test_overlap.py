import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.build import bind
from jaxseg.metrics import METRICS, confusion, dice, f_beta, iou, mcc, score

OVERLAP = (
  "dice",
  "iou",
  "sensitivity",
  "specificity",
  "precision",
  "accuracy",
  "f_beta",
  "mcc",
  "volume_similarity",
)

# M1 of the fact sheet's Appendix G
LABEL = np.zeros((8, 8), np.int32)
LABEL[2:6, 2:6] = 1
PREDICTION = np.zeros((8, 8), np.int32)
PREDICTION[2:6, 3:8] = 1


def by_hand(prediction, label, classes):
  rows = []
  for c in range(classes):
    p, t = prediction == c, label == c
    rows.append([(p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum()])
  return np.array(rows)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_m1_has_the_known_scores(array):
  counts = confusion(array(PREDICTION), array(LABEL), classes=2)
  np.testing.assert_array_equal(counts, [[40, 4, 8, 12], [12, 8, 4, 40]])
  known = {
    "dice": 0.666667,
    "iou": 0.5,
    "sensitivity": 0.75,
    "specificity": 0.833333,
    "precision": 0.6,
    "accuracy": 0.8125,
    "mcc": 0.544949,
    # by hand: 1 - |4 - 8| / (2 * 12 + 8 + 4)
    "volume_similarity": 0.888889,
    "f_beta": 0.666667,
  }
  assert set(known) == set(OVERLAP)
  for name, value in known.items():
    np.testing.assert_allclose(METRICS[name](counts)[1], value, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(jax.jit(METRICS[name])(counts)[1], value, atol=1e-6, err_msg=name)


def test_f_beta_weighs_sensitivity_by_beta_squared():
  counts = confusion(PREDICTION, LABEL, classes=2)
  # precision 0.6, sensitivity 0.75: 5 * 0.45 / (4 * 0.6 + 0.75)
  np.testing.assert_allclose(f_beta(counts, beta=2.0)[1], 2.25 / 3.15, rtol=1e-12)
  with pytest.raises(ValueError, match="beta is 0; expected a positive number"):
    f_beta(counts, beta=0)


def test_mcc_is_the_correlation_of_the_two_masks():
  random = np.random.default_rng(0)
  for _ in range(5):
    prediction, label = random.integers(0, 2, (2, 500))
    value = mcc(confusion(prediction, label, classes=2))
    np.testing.assert_allclose(value, np.corrcoef(prediction, label)[0, 1], rtol=1e-9)


def test_host_and_device_count_alike():
  random = np.random.default_rng(0)
  prediction, label = random.integers(0, 5, (2, 3, 7, 9)).astype(np.uint8)
  weight = random.integers(0, 2, (3, 7, 9)).astype(np.float32)
  host = confusion(prediction, label, classes=5)
  assert isinstance(host, np.ndarray)
  assert host.dtype == np.int64
  np.testing.assert_array_equal(host, by_hand(prediction, label, 5))
  device = jax.jit(confusion, static_argnames="classes")(prediction, label, classes=5)
  assert device.dtype == jnp.int32
  np.testing.assert_array_equal(device, host)
  kept = weight > 0
  expected = by_hand(prediction[kept], label[kept], 5)
  np.testing.assert_array_equal(confusion(prediction, label, weight, classes=5), expected)
  arrays = (jnp.asarray(x) for x in (prediction, label, weight))
  np.testing.assert_array_equal(confusion(*arrays, classes=5), expected)


def test_large_volumes_are_counted_exactly():
  # more voxels than float32 can count, in several slabs
  label = np.zeros((270, 250, 256), np.uint8)
  prediction = label.copy()
  prediction[0, 0, :3] = 1
  counts = confusion(prediction, label, classes=2)
  np.testing.assert_array_equal(counts, [[17_279_997, 0, 3, 0], [0, 3, 0, 17_279_997]])


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_overlapping_regions_are_counted_one_by_one(array):
  random = np.random.default_rng(0)
  prediction, label = random.integers(0, 2, (2, 4, 5, 3)).astype(bool)
  weight = random.integers(0, 2, (4, 5))
  counts = confusion(array(prediction), array(label.astype(np.float32)), array(weight), classes=3)
  kept = weight > 0
  for region in range(3):
    p, t = prediction[kept, region], label[kept, region]
    np.testing.assert_array_equal(counts[region], by_hand(p, t, 2)[1])


def test_integer_predictions_of_regions_are_no_classes():
  # what thresholded scores are, beside a float label of regions
  random = np.random.default_rng(0)
  prediction, label = random.integers(0, 2, (2, 4, 5, 3))
  counts = confusion(prediction, label.astype(np.float32), classes=3)
  expected = [by_hand(prediction[..., r], label[..., r], 2)[1] for r in range(3)]
  np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["host", "device"])
def test_empty_classes_are_undefined_and_half_empty_ones_score_zero(array):
  counts = array(np.array([[0, 0, 0, 9], [0, 5, 0, 9], [0, 0, 5, 9], [3, 0, 0, 9]]))
  for metric in (dice, iou, f_beta, METRICS["volume_similarity"]):
    np.testing.assert_array_equal(metric(counts), [np.nan, 0, 0, 1])
    np.testing.assert_array_equal(metric(counts, empty=1.0), [1, 0, 0, 1])
    assert np.nanmean(metric(counts)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["host", "device"])
@pytest.mark.parametrize(
  ("name", "counts", "expected"),
  [
    ("sensitivity", [0, 5, 0, 9], "empty"),
    ("sensitivity", [0, 0, 5, 9], 0),
    ("specificity", [4, 0, 3, 0], "empty"),
    ("specificity", [4, 3, 0, 0], 0),
    ("precision", [0, 0, 5, 9], "empty"),
    ("precision", [0, 5, 0, 9], 0),
    ("accuracy", [0, 0, 0, 0], "empty"),
    ("accuracy", [0, 0, 0, 9], 1),
    ("mcc", [0, 0, 0, 9], "empty"),
    ("mcc", [9, 0, 0, 0], "empty"),
    ("mcc", [0, 5, 0, 9], 0),
    ("mcc", [0, 0, 5, 9], 0),
    ("mcc", [0, 5, 5, 0], -1),
  ],
)
def test_what_has_no_denominator_is_empty(name, counts, expected, array):
  counts = array(np.array([counts]))
  for empty in (np.nan, 0.25):
    value = empty if expected == "empty" else expected
    np.testing.assert_allclose(METRICS[name](counts, empty=empty), [value], atol=1e-6)


def test_scores_of_int32_counts_near_their_limit_do_not_overflow():
  counts = jnp.array([[2**29, 2**28, 2**28, 2**29]], jnp.int32)
  known = dict(
    zip(OVERLAP, (2 / 3, 1 / 2, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 3, 1), strict=True)
  )
  for name, value in known.items():
    np.testing.assert_allclose(METRICS[name](counts), [value], rtol=1e-5, err_msg=name)


def test_wrong_shapes_and_values_are_refused_in_words():
  with pytest.raises(ValueError, match=r"prediction has shape \(8, 7\)"):
    confusion(PREDICTION[:, :7], LABEL, classes=2)
  with pytest.raises(ValueError, match="holds classes 0 to 2; expected 0 to 1"):
    confusion(PREDICTION * 2, LABEL, classes=2)
  with pytest.raises(ValueError, match="holds regions, and needs a last axis of 2"):
    confusion(PREDICTION.astype(float), LABEL.astype(float), classes=2)
  with pytest.raises(ValueError, match=r"weight has shape \(8,\)"):
    confusion(PREDICTION, LABEL, np.ones(8), classes=2)


def test_score_gives_each_metric_what_it_asks_for(monkeypatch):
  made = []

  def counting(name):
    function = getattr(metrics, name)

    def counted(*args, **options):
      made.append(name)
      return function(*args, **options)

    return counted

  for name in ("confusion", "class_masks", "surface_distances"):
    monkeypatch.setattr(metrics.scoring, name, counting(name))

  def volume(prediction, spacing, *, scale=1.0):
    return np.array([scale * (prediction == c).sum() * np.prod(spacing) for c in range(2)])

  names = [*OVERLAP, "hd95", "assd", "boundary_iou"]
  chosen = {name: bind(METRICS, {"name": name}, "metrics") for name in names} | {"ml": volume}
  values = score(chosen, PREDICTION, LABEL, classes=2, spacing=np.array([2.0, 3.0]))
  assert set(values) == {*names, "ml"}
  assert sorted(made) == ["class_masks", "confusion", "surface_distances"]
  np.testing.assert_allclose(values["dice"], [80 / 92, 24 / 36])
  np.testing.assert_allclose(values["ml"], [44 * 6, 20 * 6])
  with pytest.raises(ValueError, match="metric 'odd' asks for logits"):
    score({"odd": lambda logits: logits}, PREDICTION, LABEL, classes=2)
