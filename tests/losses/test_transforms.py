"""Distance transforms on the device."""

import distances
import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.losses.transforms import distance_transform

transform = jax.jit(distance_transform)


@pytest.mark.parametrize(
  ("shape", "spacing"),
  [((9, 14), (1, 1)), ((9, 14), (0.7, 2.5)), ((6, 7, 9), (1, 1, 1)), ((6, 7, 9), (3, 1, 0.8))],
)
def test_the_transform_equals_scipys_on_random_masks(shape, spacing):
  for share in (0.02, 0.1, 0.5, 0.95):
    for seed in range(3):
      sources = np.random.default_rng(seed).random(shape) < share
      sources[0, 0] = True
      expected = ndimage.distance_transform_edt(~sources, sampling=spacing)
      found = transform(sources, np.array(spacing, np.float32))
      assert_close(found, expected)


def test_the_transform_takes_any_rank_and_lone_sources():
  for shape in ((11,), (4, 3, 3, 2)):
    sources = np.zeros(shape, bool)
    sources[(-1,) * len(shape)] = True
    assert_close(transform(sources), distances.to_nearest(sources))


def test_without_sources_everything_is_infinitely_far_and_sources_are_at_0():
  assert np.isinf(transform(np.zeros((5, 4), bool))).all()
  np.testing.assert_array_equal(transform(np.ones((5, 4), bool)), 0)


def test_a_spacing_of_another_rank_is_refused():
  with pytest.raises(ValueError, match=r"spacing has shape \(3,\); expected \(2,\)"):
    distance_transform(np.ones((5, 4), bool), (1.0, 1.0, 1.0))
