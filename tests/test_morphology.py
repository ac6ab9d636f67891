"""Components, distances, growing and shrinking on the device, against SciPy's."""

import functools

import distances
import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.morphology import components, dilate, distance_transform, erode, largest_component, thin

transform = jax.jit(distance_transform)
SPACES = ((37,), (13, 17), (7, 8, 9), (9, 1), (1, 6, 5), (1, 1, 1))


def assert_same_partition(numbers, mask, structure):
  truth, count = ndimage.label(mask, structure)
  np.testing.assert_array_equal(numbers > 0, mask)
  pairs = set(zip(numbers[mask].tolist(), truth[mask].tolist(), strict=True))
  assert len(pairs) == len(set(numbers[mask].tolist())) == count


@pytest.mark.parametrize("space", SPACES)
def test_components_are_scipys_for_every_connectivity(space):
  rank = len(space)
  for connectivity in (None, *range(1, rank + 1)):
    label = jax.jit(functools.partial(components, connectivity=connectivity))
    structure = ndimage.generate_binary_structure(rank, connectivity or rank)
    for share in (0.0, 0.25, 0.5, 1.0):
      mask = np.random.default_rng(0).random(space) < share
      assert_same_partition(np.asarray(label(mask)), mask, structure)


def test_a_component_has_the_number_of_its_last_voxel():
  mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
  np.testing.assert_array_equal(components(mask), [[2, 2, 0, 0], [0, 0, 0, 8]])


def test_a_winding_component_is_one():
  mask = np.zeros((31, 31), bool)
  mask[::2] = True
  mask[1::4, -1] = True
  mask[3::4, 0] = True
  assert len(np.unique(jax.jit(components)(mask))) == 2


def test_a_connectivity_that_cannot_be_is_refused():
  for connectivity in (0, 3):
    with pytest.raises(ValueError, match=f"connectivity={connectivity}; expected 1 to 2 for a"):
      components(np.ones((3, 3), bool), connectivity=connectivity)


def test_the_largest_component_of_equals_is_the_first_and_of_nothing_is_nothing():
  keep = jax.jit(largest_component)
  mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
  np.testing.assert_array_equal(np.argwhere(keep(mask)), [[0, 2], [0, 3]])
  assert not keep(np.zeros((3, 4), bool)).any()
  assert keep(np.ones((3, 4), bool)).all()


def test_masks_of_a_batch_are_each_for_itself():
  masks = np.random.default_rng(1).random((3, 9, 8)) < np.array([0.0, 0.4, 1.0]).reshape(3, 1, 1)
  numbers, far = jax.jit(jax.vmap(lambda m: (components(m), distance_transform(m))))(masks)
  for i, mask in enumerate(masks):
    np.testing.assert_array_equal(numbers[i], components(mask))
    np.testing.assert_array_equal(far[i], transform(mask))


@pytest.mark.parametrize(
  ("shape", "spacing"),
  [
    ((14,), (0.3,)),
    ((9, 14), (1, 1)),
    ((9, 14), (0.7, 2.5)),
    ((1, 14), (5, 2)),
    ((6, 7, 9), (1, 1, 1)),
    ((6, 7, 9), (3, 1, 0.8)),
    ((6, 1, 9), (3, 1, 0.8)),
  ],
)
def test_the_transform_equals_scipys_on_random_masks(shape, spacing):
  for share in (0.02, 0.1, 0.5, 0.95):
    for seed in range(3):
      sources = np.random.default_rng(seed).random(shape) < share
      sources[(0,) * len(shape)] = True
      expected = ndimage.distance_transform_edt(~sources, sampling=spacing)
      assert_close(transform(sources, np.array(spacing, np.float32)), expected)


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


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("radius", [0.0, 1.0, 1.5, 2.0])
def test_growing_and_shrinking_are_what_is_within_a_distance(space, radius):
  grow, shrink = (jax.jit(functools.partial(f, reach=2)) for f in (dilate, erode))
  for share in (0.0, 0.1, 0.6, 1.0):
    mask = np.random.default_rng(2).random(space) < share
    near = ndimage.distance_transform_edt(~mask) <= radius if mask.any() else mask
    far = ndimage.distance_transform_edt(mask) > radius if not mask.all() else mask
    np.testing.assert_array_equal(grow(mask, radius), near)
    np.testing.assert_array_equal(shrink(mask, radius), far)


def thinned_by_hand(mask):
  """Zhang and Suen's rule voxel by voxel."""
  mask = np.pad(mask, 1).astype(int)
  sides = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
  while True:
    before = mask.copy()
    for first in (True, False):
      gone = []
      for y, x in np.argwhere(mask[1:-1, 1:-1]) + 1:
        p = [mask[y + a, x + b] for a, b in sides]
        runs = sum(p[i] == 0 and p[(i + 1) % 8] == 1 for i in range(8))
        up, right, down, left = p[0], p[2], p[4], p[6]
        if first:
          edge = up * right * down == 0 and right * down * left == 0
        else:
          edge = up * right * left == 0 and up * down * left == 0
        if 2 <= sum(p) <= 6 and runs == 1 and edge:
          gone.append((y, x))
      for place in gone:
        mask[place] = 0
    if (mask == before).all():
      return mask[1:-1, 1:-1] > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_is_thinned_as_the_published_rule_says(seed):
  random = np.random.default_rng(seed)
  mask = ndimage.gaussian_filter(random.standard_normal((24, 30)), 2) > 0
  np.testing.assert_array_equal(jax.jit(thin)(mask), thinned_by_hand(mask))
