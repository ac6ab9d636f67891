"""Entropy, disagreement and temperature, by their formulas."""

import numpy as np
import pytest

from jaxseg.explain import uncertainty
from jaxseg.explain.temperature import calibrate, likelihood


def test_entropy_is_0_where_one_class_is_sure_and_1_where_all_are_alike():
  shares = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
  np.testing.assert_allclose(uncertainty.entropy(shares, False), [0, 1, 0.5], atol=1e-9)
  np.testing.assert_allclose(uncertainty.entropy(shares[:, :2], True), [0, 0.811278, 1], atol=1e-6)


def test_what_answers_disagree_about_is_apart_from_what_each_is_unsure_of():
  unsure = np.zeros((1, 2))
  sure = [np.array([[20.0, -20]]), np.array([[-20.0, 20]])]
  alike = uncertainty.disagreement([unsure, unsure], False)
  apart = uncertainty.disagreement(sure, False)
  for found, expected in ((alike, (0, 1, 0)), (apart, (1, 1, 0.5))):
    values = [found[k][0] for k in ("mutual_information", "entropy", "deviation")]
    np.testing.assert_allclose(values, expected, atol=1e-6)
  with pytest.raises(ValueError, match=r"1 answer.*expected two or more"):
    uncertainty.disagreement([unsure], False)


@pytest.mark.parametrize("regions", [False, True])
def test_the_temperature_that_logits_were_sharpened_by_is_found(regions):
  random = np.random.default_rng(0)
  logits = random.standard_normal((40_000, 3)) * 2
  shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  truth = (random.random((40_000, 1)) > shares.cumsum(-1)).sum(-1)
  if regions:
    truth = (random.random((40_000, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
  found = calibrate([(logits * 2.5, truth)])
  assert found.temperature == pytest.approx(2.5, rel=0.03)
  assert found.error[1] < 0.02 < found.error[0]
  assert found.likelihood[1] < found.likelihood[0]


def test_the_likelihood_is_the_cross_entropy():
  logits, truth = np.array([[1.0, 3], [0, 0]]), np.array([1, 0])
  expected = (np.log(1 + np.exp(-1)) + np.log(2)) / 2
  assert likelihood(logits, truth, 2.0) == pytest.approx(expected)
