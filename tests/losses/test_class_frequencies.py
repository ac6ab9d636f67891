"""Class weights from counts, by hand."""

import numpy as np
import pytest

from jaxseg.batch import Target
from jaxseg.losses import class_weights, cross_entropy

# two cases, 100 voxels each; the second lacks class 2, neither has class 3
COUNTS = [[50, 40, 10, 0], [80, 20, 0, 0]]


@pytest.mark.parametrize(
  ("how", "expected"),
  [
    # 200 / (4 * N_k), N = 130, 60, 10
    ("inverse", (0.384615, 0.833333, 5, 0)),
    ("inverse_sqrt", (1.240347, 1.825742, 4.472136, 0)),
    ("complement", (0.35, 0.7, 0.95, 0)),
    # shares 130 / 200, 60 / 200, 10 / 100; the median is 0.3
    ("median_frequency", (0.461538, 1, 3, 0)),
  ],
)
def test_weights_by_hand(how, expected):
  np.testing.assert_allclose(class_weights(COUNTS, how=how), expected, atol=1e-6)


def test_the_mean_weight_over_all_voxels_is_one():
  weights = class_weights([130, 60, 10], how="inverse")
  assert np.dot(weights, [130, 60, 10]) / 200 == pytest.approx(1)


def test_the_effective_number_counts_voxels_until_they_repeat():
  # 1 + 0.5 + 0.25 + ... terms: 1.75 of 3 voxels, 1 of one; 1 / 1.75 and 1, scaled to mean 1
  weights = class_weights([3, 1], how="effective_number", beta=0.5)
  np.testing.assert_allclose(weights, [8 / 11, 14 / 11], rtol=1e-6)
  # beta near 0 sees no difference, beta near 1 the inverse frequency
  np.testing.assert_allclose(class_weights([9, 3], how="effective_number", beta=1e-6), 1, rtol=1e-5)
  near_one = class_weights([9, 3, 0], how="effective_number", beta=1 - 1e-9)
  np.testing.assert_allclose(near_one, [0.5, 1.5, 0], rtol=1e-6)


def test_bad_counts_and_names_are_refused_in_words():
  with pytest.raises(ValueError, match="'rare' is unknown; choices: inverse, inverse_sqrt, comple"):
    class_weights([1, 2], how="rare")
  with pytest.raises(ValueError, match="not all 0"):
    class_weights([0, 0])
  with pytest.raises(ValueError, match="none negative"):
    class_weights([1, -1])
  with pytest.raises(ValueError, match="beta is 1"):
    class_weights([1, 2], how="effective_number", beta=1)


def test_a_loss_does_not_take_a_name():
  with pytest.raises(
    ValueError, match=r"class_weights is the name 'inverse'.*losses\.class_weights"
  ):
    cross_entropy(
      np.zeros((1, 2, 2, 3), np.float32), Target(np.zeros((1, 2, 2), int)), class_weights="inverse"
    )


def test_weights_that_are_all_0_are_told():
  for counts in ([12], [0, 7, 0]):
    with pytest.raises(ValueError, match="'complement' gives every class the weight 0"):
      class_weights(counts, how="complement")
