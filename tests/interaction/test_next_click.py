"""The next click of a simulated user, against scipy's distances and the published rule."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxseg.interaction import next_click, unclicked

# the fact sheet's mask and prediction, systems.md's Appendix G
TRUTH, PREDICTION = np.zeros((2, 8, 8), np.int32)
TRUTH[2:6, 2:6] = 1
PREDICTION[2:6, 3:8] = 1


def by_scipy(truth, prediction):
  """RITM's rule written out: (point, class)."""
  missed, wrong = truth.astype(bool) & ~prediction, ~truth.astype(bool) & prediction
  depth = [
    ndimage.distance_transform_edt(np.pad(m, 1))[(slice(1, -1),) * m.ndim] for m in (missed, wrong)
  ]
  positive = depth[0].max() > depth[1].max()
  of = depth[0] if positive else depth[1]
  return np.unravel_index(of.argmax(), of.shape), int(positive)


@pytest.mark.parametrize("space", [(17, 23), (7, 9, 11)])
def test_a_click_is_in_the_middle_of_the_largest_error(space):
  rng = np.random.default_rng(0)
  for _ in range(5):
    truth, prediction = (ndimage.gaussian_filter(rng.normal(size=space), 2) > 0 for _ in range(2))
    click = next_click(truth.astype(np.int32), prediction.astype(np.int32), classes=2)
    point, of_class = by_scipy(truth, prediction)
    assert tuple(click.point.tolist()) == tuple(map(int, point))
    assert int(click.of_class) == of_class
    assert bool(click.there)


def test_of_equal_errors_the_background_is_clicked_and_the_border_counts_as_outside():
  click = next_click(TRUTH, PREDICTION, classes=2)
  assert (click.point.tolist(), int(click.of_class)) == ([2, 6], 0)


def test_nothing_is_clicked_where_nothing_is_wrong():
  assert not next_click(TRUTH, TRUTH, classes=2).there
  # nor where it does not count
  assert not next_click(TRUTH, PREDICTION, classes=2, weight=np.zeros((8, 8))).there


def test_a_voxel_is_clicked_once():
  free = unclicked((8, 8), [(2, 6)])
  click = next_click(TRUTH, PREDICTION, classes=2, free=free)
  assert (click.point.tolist(), int(click.of_class)) == ([2, 7], 0)


def test_in_training_any_deep_voxel_of_the_error_is_clicked():
  truth = np.zeros((9, 30), np.int32)
  truth[1:8, 1:28] = 1
  nothing = np.zeros_like(truth)
  depth = ndimage.distance_transform_edt(truth)
  pick = jax.jit(lambda key: next_click(truth, nothing, classes=2, key=key).point)
  points = {tuple(pick(jax.random.key(i)).tolist()) for i in range(40)}
  assert len(points) > 20
  assert all(depth[point] > depth.max() / 2 for point in points)


def test_of_several_classes_the_one_with_the_deepest_error_is_clicked():
  truth = np.zeros((12, 12), np.int32)
  truth[1:4, 1:4], truth[5:12, 5:12] = 1, 2
  click = next_click(truth, np.zeros_like(truth), classes=3)
  assert (click.point.tolist(), int(click.of_class)) == ([8, 8], 2)
  # found, but as another class
  click = next_click(truth, np.where(truth == 2, 1, truth).astype(np.int32), classes=3)
  assert int(click.of_class) == 2


def test_batches_are_clicked_under_jit_and_vmap():
  pairs = np.stack([TRUTH, PREDICTION]), np.stack([PREDICTION, TRUTH])
  click = jax.jit(jax.vmap(lambda t, p: next_click(t, p, classes=2)))(*pairs)
  assert click.point.shape == (2, 2)
  assert click.of_class.tolist() == [0, 0]
