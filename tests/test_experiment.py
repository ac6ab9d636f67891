"""What a config's losses become."""

import numpy as np
import pytest

from jaxseg import defaults
from jaxseg.batch import Target
from jaxseg.build import plain
from jaxseg.experiment import class_weights, loss

LABELS = np.array([[[0, 0, 0], [0, 1, 2]]])


def config(**class_weights):
  full = plain(defaults.config())
  full["loss"] = {
    key: {"name": "cross_entropy", "class_weights": value} for key, value in class_weights.items()
  }
  return full


def test_named_class_weights_become_numbers():
  given = config(named="inverse", detailed={"name": "effective_number", "beta": 0.5}, own=(1, 2, 3))
  made = class_weights(given, lambda: np.array([[4, 1, 1]]))
  numbers = {key: spec["class_weights"] for key, spec in made["loss"].items()}
  assert numbers["named"] == pytest.approx((0.5, 2, 2))
  # 1 / (1 + 1/2 + 1/4 + 1/8) and 1, scaled to mean 1
  assert numbers["detailed"] == pytest.approx(np.array([8, 15, 15]) * 3 / 38)
  assert numbers["own"] == (1, 2, 3)
  assert given["loss"]["named"]["class_weights"] == "inverse"
  logits = np.zeros((*LABELS.shape, 3), np.float32)
  assert float(loss(made)(logits, Target(LABELS))) == pytest.approx(3 * np.log(3))


def test_cases_are_counted_only_if_a_loss_asks():
  given = config(own=(1, 2, 3), none=None)
  assert class_weights(given, lambda: pytest.fail("counted")) == given


def test_a_misspelt_weighting_is_told_before_any_case_is_read():
  with pytest.raises(
    ValueError, match=r"config\.loss\.dice\.class_weights.*did you mean 'inverse'"
  ):
    class_weights(config(dice="invers"))
