"""Entropy, disagreement and temperature, by their formulas."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import runs_to_explain

from jaxseg.explain import calibration_cases, uncertainty
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


@pytest.mark.parametrize("cases", [[], [(np.zeros((0, 2)), np.zeros(0, int))]])
def test_nothing_to_calibrate_with_is_told(cases):
  with pytest.raises(ValueError, match="no voxel to calibrate with"):
    calibrate(cases)


def test_the_likelihood_is_the_cross_entropy():
  logits, truth = np.array([[1.0, 3], [0, 0]]), np.array([1, 0])
  expected = (np.log(1 + np.exp(-1)) + np.log(2)) / 2
  assert likelihood(logits, truth, 2.0) == pytest.approx(expected)


@pytest.mark.parametrize("told_by", ["label", "weight"])
def test_ignored_voxels_do_not_calibrate(told_by, tmp_path):
  subject = runs_to_explain.subject(tmp_path)
  raw = runs_to_explain.raw((20, 18))
  label = np.full((20, 18), 5, np.int32)
  spec, weight = subject.labels, None
  if told_by == "label":
    label[:6] = 255
    spec = dataclasses.replace(spec, ignore=255)
    told = subject.model.described._replace(labels=spec)
    subject = subject._replace(model=subject.model._replace(described=told))
  else:
    weight = np.ones((20, 18), np.float32)
    weight[:6] = 0
  source = SimpleNamespace(read=lambda name: raw._replace(label=label, weight=weight))
  logits, truth = calibration_cases._case(subject, source, "one", 0)
  assert logits.shape == (14 * 18, spec.channels)
  assert (truth == 1).all()
