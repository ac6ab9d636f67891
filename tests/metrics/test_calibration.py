import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import (
  METRICS,
  auc,
  average_precision,
  expected_calibration_error,
  score,
  v_rand,
)

PROBABILISTIC = (expected_calibration_error, auc, average_precision)


def of_two(positive):
  """(n, 2) probabilities from those of class 1."""
  positive = np.asarray(positive, np.float64)
  return np.stack([1 - positive, positive], -1)


def random_case(seed, classes=3, shape=(7, 9), levels=6):
  """Labels and coarse probabilities, so that there are ties."""
  random = np.random.default_rng(seed)
  label = random.integers(0, classes, shape)
  raised = random.integers(0, levels, (*shape, classes)) + 2.0 * np.eye(classes)[label]
  return np.asarray(raised / raised.sum(-1, keepdims=True)), label


def test_auc_is_the_share_of_pairs_in_order():
  """Mann-Whitney over all pairs of voxels, ties counting half."""
  for seed in range(4):
    probabilities, label = random_case(seed)
    weight = np.random.default_rng(seed + 100).integers(0, 2, label.shape)
    for given in (None, weight):
      kept = np.ones(label.shape, bool) if given is None else given > 0
      values = auc(probabilities, label, given, 3)
      for c in range(3):
        p, truth = probabilities[kept, c], label[kept] == c
        higher = p[truth][:, None] > p[~truth]
        tied = p[truth][:, None] == p[~truth]
        assert values[c] == pytest.approx((higher + tied / 2).mean())


def test_auc_and_average_precision_of_a_small_example_are_those_of_scikit_learn():
  # the example of roc_auc_score's and average_precision_score's documentation
  label, positive = np.array([0, 0, 1, 1]), [0.1, 0.4, 0.35, 0.8]
  assert auc(of_two(positive), label, None, 2)[1] == pytest.approx(0.75)
  assert average_precision(of_two(positive), label, None, 2)[1] == pytest.approx(
    0.8333333, abs=1e-6
  )


def test_average_precision_sums_over_thresholds():
  for seed in range(4):
    probabilities, label = random_case(seed)
    for c in range(3):
      p, truth = probabilities[..., c].ravel(), (label == c).ravel()
      total = before = 0.0
      for level in sorted(set(p), reverse=True):
        chosen = p >= level
        recall, precision = truth[chosen].sum() / truth.sum(), truth[chosen].mean()
        total, before = total + (recall - before) * precision, recall
      assert average_precision(probabilities, label, None, 3)[c] == pytest.approx(total)


def test_calibration_error_of_a_worked_example():
  # two bins: confidences .6 .7 .9 .9 in the upper one, of which three are right
  positive, label = [0.4, 0.7, 0.9, 0.1], np.array([0, 1, 0, 0])
  expected = abs(3 / 4 - (0.6 + 0.7 + 0.9 + 0.9) / 4)
  values = expected_calibration_error(of_two(positive), label, None, 2, bins=2)
  np.testing.assert_allclose(values, [expected, expected])
  # of class 1: lower bin .1 .4, none right; upper .7 .9, one right
  expected = (abs(0 - 0.5) + abs(1 - 1.6)) / 4
  values = expected_calibration_error(of_two(positive), label, None, 2, bins=2, form="per_class")
  np.testing.assert_allclose(values[1], expected)


@pytest.mark.parametrize("form", ["top_label", "per_class"])
def test_calibration_error_agrees_with_a_loop_over_bins(form):
  probabilities, label = random_case(5)
  weight = np.random.default_rng(105).integers(0, 2, label.shape)
  values = expected_calibration_error(probabilities, label, weight, 3, bins=10, form=form)
  p, t = probabilities[weight > 0], label[weight > 0]
  for c in range(3):
    if form == "top_label":
      confidence, right = p.max(-1), p.argmax(-1) == t
    else:
      confidence, right = p[:, c], t == c
    total = 0.0
    for low in np.arange(10) / 10:
      chosen = (confidence > low) & (confidence <= low + 0.1) | ((low == 0) & (confidence == 0))
      if chosen.any():
        total += chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())
    assert values[c] == pytest.approx(total)


def test_honest_probabilities_are_calibrated_and_boasting_ones_are_not():
  random = np.random.default_rng(0)
  positive = random.random(200_000)
  label = (random.random(200_000) < positive).astype(int)
  assert expected_calibration_error(of_two(positive), label, None, 2)[0] < 0.005
  boast = of_two(np.where(positive > 0.5, 1.0, 0.0))
  # certain each time, right in three of four
  assert expected_calibration_error(boast, label, None, 2)[0] == pytest.approx(0.25, abs=0.005)


def test_regions_are_scored_one_by_one():
  random = np.random.default_rng(1)
  probabilities = random.random((6, 5, 2))
  label = (random.random((6, 5, 2)) < 0.4).astype(np.float32)
  for metric in PROBABILISTIC:
    for c in range(2):
      alone = metric(of_two(probabilities[..., c]), label[..., c].astype(int), None, 2)[1]
      assert metric(probabilities, label, None, 2)[c] == pytest.approx(alone)


def test_classes_that_are_nowhere_or_everywhere_are_undefined():
  label = np.zeros((3, 3), int)
  probabilities = of_two(np.full((3, 3), 0.2))
  assert np.isnan(auc(probabilities, label, None, 2)).all()
  np.testing.assert_array_equal(np.isnan(average_precision(probabilities, label, None, 2)), [0, 1])
  for metric in PROBABILISTIC:
    assert np.isnan(metric(probabilities, label, np.zeros((3, 3)), 2)).all()


def test_device_arrays_and_score_are_served():
  probabilities, label = random_case(2)
  prediction = probabilities.argmax(-1)
  chosen = {name: METRICS[name] for name in ("auc", "average_precision")}
  expected = auc(probabilities, label, None, 3)
  values = score(chosen, prediction, label, classes=3, probabilities=probabilities)
  np.testing.assert_allclose(values["auc"], expected)
  softmax = jax.nn.softmax(jnp.log(probabilities + 1e-30).astype(jnp.bfloat16), -1)
  assert auc(softmax, jnp.asarray(label), None, 3) == pytest.approx(expected, abs=1e-2)
  with pytest.raises(ValueError, match="metric 'auc' needs probabilities"):
    score(chosen, prediction, label, classes=3)


def test_regions_that_are_not_binary_are_refused():
  probabilities, _ = random_case(2)
  soft = np.where(probabilities > 0.4, 0.7, 0.2).astype(np.float32)
  several = np.random.default_rng(0).integers(0, 3, probabilities.shape).astype(np.float32)
  for metric in (*PROBABILISTIC, v_rand):
    inputs = (probabilities,) if metric in PROBABILISTIC else (probabilities > 0.5,)
    words = rf"{metric.__name__}: the label's regions hold the value .*; .* masks of 0 and 1"
    for label in (soft, several, several * np.nan):
      with pytest.raises(ValueError, match=words):
        metric(*inputs, label, None, 3)
    for label in (soft > 0.5, (soft > 0.5).astype(np.float32)):
      metric(*inputs, label, None, 3)


def test_bad_input_is_refused_in_words():
  probabilities, label = random_case(2)
  with pytest.raises(ValueError, match=r"auc: the probabilities have shape \(7, 9, 3\); expected"):
    auc(probabilities, label, None, 4)
  with pytest.raises(ValueError, match="expected 0 to 1, from a softmax or a sigmoid, not logits"):
    auc(probabilities * 9 - 3, label, None, 3)
  with pytest.raises(ValueError, match="lie between nan and nan"):
    auc(probabilities * np.nan, label, None, 3)
  with pytest.raises(ValueError, match="label holds classes 0 to 2; expected 0 to 1"):
    auc(probabilities[..., :2], label, None, 2)
  with pytest.raises(ValueError, match="regions need a last axis of 3"):
    auc(probabilities, label.astype(float), None, 3)
  with pytest.raises(ValueError, match=r"weight has shape \(7,\)"):
    auc(probabilities, label, np.ones(7), 3)
  with pytest.raises(ValueError, match="bins is 0; expected a whole number"):
    expected_calibration_error(probabilities, label, None, 3, bins=0)
  with pytest.raises(ValueError, match="form is 'both'; expected one of top_label, per_class"):
    expected_calibration_error(probabilities, label, None, 3, form="both")
