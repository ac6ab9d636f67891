"""Crop and paste: exact inverses inside the box, whatever the box, in 2D and 3D, under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.networks.blocks.regions import (
  bounding_box,
  crop,
  crop_resized,
  inside,
  keep_largest,
  paste,
  paste_resized,
  whole_box,
  window,
)

SPACES = ((13, 10), (9, 12, 7))


def masks(space, samples=4, seed=0):
  """Random boxes as masks; the last one empty, the first one in a corner."""
  rng = np.random.default_rng(seed)
  out, boxes = np.zeros((samples, *space), bool), np.zeros((samples, 2 * len(space)), int)
  for i in range(samples - 1):
    low = np.array([0 if i == 0 else rng.integers(0, n - 3) for n in space])
    high = low + rng.integers(1, 4, len(space))
    out[(i, *(slice(a, b) for a, b in zip(low, high, strict=True)))] = True
    boxes[i] = [*low, *high]
  boxes[-1] = [*[0] * len(space), *space]
  return out, boxes


@pytest.mark.parametrize("space", SPACES)
def test_a_bounding_box_is_half_open_and_an_empty_mask_gives_the_whole_image(space):
  found, expected = masks(space)
  np.testing.assert_array_equal(jax.jit(bounding_box)(found), expected)


def test_a_bounding_box_takes_a_margin_clamped_at_the_border():
  mask = np.zeros((2, 10, 12), bool)
  mask[0, 1:3, 9:11] = True
  mask[1, 5, 5] = True
  got = bounding_box(mask, margin=(3, 2))
  np.testing.assert_array_equal(got, [[0, 7, 6, 12], [2, 3, 9, 8]])


def test_a_bounding_box_grows_to_a_multiple_of_the_divisor_inside_the_image():
  mask = np.zeros((3, 20, 10), bool)
  mask[0, 9:12, 4:7] = True
  mask[1, 18:20, 0:2] = True
  mask[2, 2:19, 3:5] = True
  got = np.asarray(bounding_box(mask, divisor=(4, 4)))
  size = got[:, 2:] - got[:, :2]
  np.testing.assert_array_equal(size, [[4, 4], [4, 4], [20, 4]])
  low, high = extent(mask)
  assert (got[:, :2] <= low).all()
  assert (got[:, 2:] >= high).all()
  assert (got[:, :2] >= 0).all()
  assert (got[:, 2:] <= [20, 10]).all()
  # a side whose multiple doesn't fit is the whole image's
  wide = np.zeros((1, 10, 10), bool)
  wide[0, 0:9, 2:4] = True
  np.testing.assert_array_equal(bounding_box(wide, divisor=4), [[0, 1, 10, 5]])


def extent(mask):
  where = [np.argwhere(m) for m in mask]
  return np.stack([w.min(0) for w in where]), np.stack([w.max(0) + 1 for w in where])


def largest(mask):
  """SciPy's first component of the largest size, connected by corners too."""
  labels, number = ndimage.label(mask, np.ones((3,) * mask.ndim))
  return labels == 1 + np.argmax(np.bincount(labels.reshape(-1))[1:]) if number else mask


@pytest.mark.parametrize(
  ("space", "shares"), [((23, 20), (0.1, 0.2, 0.3, 0.4)), ((9, 8, 10), (0.03, 0.06, 0.1, 0.2))]
)
def test_the_largest_component_is_scipys_for_sparse_and_dense_masks(space, shares):
  rng = np.random.default_rng(0)
  found = [rng.random(space) < share for share in shares for _ in range(4)]
  found = np.stack([*found, np.zeros(space, bool), np.ones(space, bool)])
  expected = np.stack([largest(mask) for mask in found])
  got = np.asarray(jax.jit(jax.vmap(keep_largest))(found.reshape(2, -1, *space)))
  np.testing.assert_array_equal(got.reshape(found.shape), expected)


def test_the_largest_component_may_wind_and_of_equals_the_first_counts():
  snake = np.zeros((1, 9, 7), bool)
  snake[0, ::2] = True
  snake[0, 1::4, -1] = snake[0, 3::4, 0] = True
  dots = np.zeros((1, 9, 7), bool)
  dots[0, 2, 5] = dots[0, 2, 2] = dots[0, 7, 0] = True
  keep = jax.jit(keep_largest)
  np.testing.assert_array_equal(keep(snake), snake)
  np.testing.assert_array_equal(np.argwhere(keep(dots)), [[0, 2, 2]])


@pytest.mark.parametrize("space", SPACES)
def test_crop_then_paste_is_the_identity_inside_the_box_and_background_outside(space):
  found, boxes = masks(space)
  size = (6,) * len(space)
  x = np.random.default_rng(1).normal(size=(*found.shape, 2)).astype(np.float32)

  @jax.jit
  def there_and_back(x, found):
    box = bounding_box(found)
    start = window(box, size, space)
    patch = crop(x, start, size)
    pasted = paste(patch, start, jnp.zeros_like(x))
    return patch, pasted, jnp.where(inside(box, space)[..., None], pasted, -1.0)

  patch, pasted, result = map(np.asarray, there_and_back(x, found))
  assert patch.shape == (4, *size, 2)
  for i in range(3):
    np.testing.assert_array_equal(pasted[i][found[i]], x[i][found[i]])
    # the masks are boxes: outside them nothing is left
    np.testing.assert_array_equal(result[i][found[i]], x[i][found[i]])
    assert (result[i][~found[i]] == -1).all()
    # the window never leaves the image, so that it holds as many voxels as it promises
    assert (pasted[i] != 0).sum() == patch[i].size
  # no mask: the whole image, of which a window of this size holds the centre
  centre = tuple(slice((n - 6) // 2, (n - 6) // 2 + 6) for n in space)
  np.testing.assert_array_equal(patch[3], x[3][centre])
  np.testing.assert_array_equal(result[3], pasted[3])
  np.testing.assert_array_equal(boxes[3], whole_box(space))


@pytest.mark.parametrize("space", SPACES)
def test_a_window_larger_than_the_image_is_filled_up_and_pasted_back(space):
  x = np.random.default_rng(1).normal(size=(2, *space, 1)).astype(np.float32)
  size = (16,) * len(space)
  start = window(jnp.asarray([[0] * len(space) + list(space)] * 2), size, space)
  np.testing.assert_array_equal(start, 0)
  patch = crop(x, start, size)
  assert patch.shape == (2, *size, 1)
  assert_close(patch.sum(), x.sum())
  np.testing.assert_array_equal(paste(patch, start, jnp.zeros_like(x)), x)


def test_the_gradient_of_the_pair_passes_inside_the_window_only():
  x = np.ones((1, 6, 6, 1), np.float32)
  start = jnp.asarray([[2, 1]], jnp.int32)

  def total(x):
    return paste(crop(x, start, (3, 4)), start, jnp.zeros_like(x)).sum()

  expected = np.zeros((1, 6, 6, 1))
  expected[:, 2:5, 1:5] = 1
  np.testing.assert_array_equal(jax.grad(total)(x), expected)


def test_inside_asks_for_the_voxels_centre():
  got = inside(jnp.asarray([[0.4, 2.6, 2.5, 4.0], [1.0, 1.0, 1.0, 1.0]]), (3, 5))
  expected = np.zeros((2, 3, 5), bool)
  expected[0, 0:2, 3:4] = True
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("space", SPACES)
def test_resized_crop_of_whole_voxels_is_an_exact_crop_and_its_paste_the_inverse(space):
  rank = len(space)
  x = np.random.default_rng(2).normal(size=(2, *space, 3)).astype(np.float32)
  low = np.array([[[1] * rank, [3] * rank], [[0] * rank, [2] * rank]])
  boxes = np.concatenate([low, low + 4], -1).astype(np.float32)

  @jax.jit
  def run(x, boxes):
    patches = crop_resized(x, boxes, (4,) * rank)
    return patches, paste_resized(patches, boxes, jnp.full_like(x, -1))

  patches, back = map(np.asarray, run(x, boxes))
  assert patches.shape == (2, 2, *(4,) * rank, 3)
  for i in range(2):
    covered = np.zeros(space, bool)
    for k in range(2):
      box = tuple(slice(n, n + 4) for n in low[i, k])
      assert_close(patches[i, k], x[i][box], atol=1e-6)
      covered[box] = True
    assert_close(back[i][covered], x[i][covered], atol=1e-6)
    assert (back[i][~covered] == -1).all()


def test_resized_crop_samples_the_centres_of_the_bins_linearly():
  """A linear image stays linear at any box and size, and constant beyond its outermost centres."""
  z, y = np.meshgrid(np.arange(8) + 0.5, np.arange(9) + 0.5, indexing="ij")
  image = (2 * z - y)[None, ..., None].astype(np.float32)
  box = np.asarray([[[1.25, 2.0, 6.5, 7.5]]], np.float32)
  sample = jax.jit(crop_resized, static_argnums=2)
  got = np.asarray(sample(image, box, (3, 5)))[0, 0, ..., 0]
  rows = 1.25 + (np.arange(3) + 0.5) / 3 * 5.25
  columns = 2.0 + (np.arange(5) + 0.5) / 5 * 5.5
  assert_close(got, 2 * rows[:, None] - columns[None], atol=1e-5)
  whole = np.asarray([[[0, 0, 8, 9]]], np.float32)
  wide = np.asarray(sample(image, whole, (16, 9)))[0, 0, ..., 0]
  assert_close(wide[0], image[0, 0, :, 0], atol=1e-5)  # above the first centre


def test_resized_paste_inverts_a_resized_crop_of_a_linear_image():
  z, y = np.meshgrid(np.arange(12) + 0.5, np.arange(10) + 0.5, indexing="ij")
  image = (z + 3 * y)[None, ..., None].astype(np.float32)
  box = np.asarray([[[2.0, 1.0, 10.0, 9.0]]], np.float32)

  @jax.jit
  def run(image):
    return paste_resized(crop_resized(image, box, (16, 16)), box, jnp.zeros_like(image))

  back = np.array(run(image))[0, ..., 0]
  np.testing.assert_allclose(back[2:10, 1:9], image[0, 2:10, 1:9, 0], atol=1e-4)
  back[2:10, 1:9] = 0
  assert not back.any()


def test_where_boxes_overlap_the_first_counts_and_a_box_of_no_size_leaves_nothing():
  patches = np.stack([np.full((4, 4, 1), v, np.float32) for v in (1, 2, 3)])[None]
  boxes = np.asarray([[[1, 1, 4, 4], [2, 2, 6, 6], [0, 0, 0, 0]]], np.float32)

  @jax.jit
  def run(patches, boxes):
    image = jnp.ones((1, 7, 7, 1))
    return paste_resized(patches, boxes, 0 * image), crop_resized(image, boxes, (4, 4))

  back, cropped = map(np.asarray, run(patches, boxes))
  expected = np.zeros((7, 7))
  expected[2:6, 2:6] = 2
  expected[1:4, 1:4] = 1
  np.testing.assert_array_equal(back[0, ..., 0], expected)
  assert np.isfinite(cropped).all()
