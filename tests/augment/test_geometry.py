import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.augment import crop_size, mirror, spatial

RNG = np.random.default_rng(1)
KEY = jax.random.key(7)


def coordinate_sample(size, spacing=None):
  """Channel i of the image is voxel coordinate i; the label is the first coordinate."""
  grid = np.stack(np.meshgrid(*[np.arange(s) for s in size], indexing="ij"), -1)
  sample = {"image": jnp.asarray(grid, jnp.float32), "label": jnp.asarray(grid[..., 0], jnp.int32)}
  if spacing is not None:
    sample["spacing"] = jnp.asarray(spacing, jnp.float32)
  return sample


def moved(sample, **options):
  return jax.jit(functools.partial(spatial, **options))(KEY, sample)


def map_of(image):
  """The affine map (output voxel -> input voxel) that an augmented coordinate image shows."""
  rank = image.ndim - 1
  middle = tuple(s // 2 for s in image.shape[:-1])
  columns = []
  for axis in range(rank):
    ahead = tuple(m + (k == axis) for k, m in enumerate(middle))
    columns.append(np.asarray(image[ahead] - image[middle]))
  return np.stack(columns, -1)


def test_mirroring_twice_is_the_identity():
  sample = {
    "image": RNG.normal(size=(5, 6, 7, 2)).astype(np.float32),
    "label": RNG.integers(0, 4, (5, 6, 7)).astype(np.int32),
    "soft_label": RNG.random((5, 6, 7, 4)).astype(np.float32),
    "spacing": np.ones(3, np.float32),
  }
  act = jax.jit(functools.partial(mirror, swap=((1, 2),)))
  for seed in range(4):
    key = jax.random.key(seed)
    twice = act(key, act(key, sample))
    for field, value in sample.items():
      np.testing.assert_array_equal(twice[field], value)
      assert twice[field].dtype == value.dtype


def test_mirroring_reverses_the_axes_named_and_no_other():
  sample = coordinate_sample((4, 5, 6))
  out = mirror(KEY, sample, p=1.0, axes=(0, -1))
  np.testing.assert_array_equal(out["image"], np.asarray(sample["image"])[::-1, :, ::-1])
  np.testing.assert_array_equal(out["label"], np.asarray(sample["label"])[::-1, :, ::-1])


def test_left_and_right_exchange_names_only_when_their_axis_is_mirrored():
  label = RNG.integers(0, 5, (6, 6)).astype(np.int32)
  soft = np.eye(5, dtype=np.float32)[label]
  sample = {"label": label, "soft_label": soft, "weight": np.full((6, 6), 2.0, np.float32)}
  table = np.array([0, 2, 1, 4, 3])
  out = mirror(KEY, sample, p=1.0, axes=(1,), swap=((1, 2), (3, 4)))
  np.testing.assert_array_equal(out["label"], table[label[:, ::-1]])
  np.testing.assert_array_equal(np.argmax(out["soft_label"], -1), table[label[:, ::-1]])
  np.testing.assert_array_equal(out["weight"], sample["weight"])
  out = mirror(KEY, sample, p=1.0, axes=(0,), swap=((1, 2), (3, 4)))
  np.testing.assert_array_equal(out["label"], label[::-1])


def test_each_axis_is_mirrored_half_of_the_time_independently():
  sample = coordinate_sample((2, 2))
  keys = jax.random.split(KEY, 400)
  first = jax.jit(jax.vmap(lambda k: mirror(k, sample)["image"][0, 0]))(keys)
  share = np.asarray(first).mean(0)
  np.testing.assert_allclose(share, 0.5, atol=0.08)
  both = np.asarray(first).prod(-1).mean()
  np.testing.assert_allclose(both, 0.25, atol=0.07)


@pytest.mark.parametrize(
  ("size", "spacing"), [((31, 31), None), ((15, 31), (2.0, 1.0)), ((21, 21, 21), None)]
)
def test_the_map_is_a_rotation_times_a_scale_within_range(size, spacing):
  sample = coordinate_sample(size, spacing)
  rank = len(size)
  act = jax.jit(functools.partial(spatial, rotation=40.0, p_rotation=1.0, p_scale=1.0))
  unit = np.ones(rank) if spacing is None else np.asarray(spacing)
  for seed in range(5):
    out = act(jax.random.key(seed), sample)
    step = map_of(out["image"])
    physical = unit[:, None] * step / unit[None, :]
    gram = physical.T @ physical
    scale = np.sqrt(gram[0, 0])
    np.testing.assert_allclose(gram, scale**2 * np.eye(rank), atol=1e-3)
    assert 0.7 <= scale <= 1.4
    assert np.linalg.det(physical) > 0
    if rank == 2:
      assert abs(np.degrees(np.arctan2(physical[1, 0], physical[0, 0]))) <= 40.0
    middle = tuple(s // 2 for s in size)
    np.testing.assert_allclose(out["image"][middle], middle, atol=1e-3)


def test_image_and_label_stay_aligned():
  sample = coordinate_sample((17, 19, 18))
  out = jax.jit(
    functools.partial(spatial, patch=(8, 9, 8), p_rotation=1.0, p_scale=0.0, rotation=20.0)
  )(KEY, sample)
  assert out["label"].shape == (8, 9, 8)
  # the first coordinate, interpolated, lies within half a voxel of the label's
  assert float(jnp.abs(out["image"][..., 0] - out["label"]).max()) <= 0.5 + 1e-4


def test_no_label_appears_that_was_not_there():
  label = jnp.asarray(RNG.choice([1, 4], (24, 24)), jnp.int32)
  act = jax.jit(functools.partial(spatial, p_rotation=1.0, p_scale=1.0))
  for seed in range(3):
    out = act(jax.random.key(seed), {"label": label})
    assert set(np.unique(out["label"])) <= {0, 1, 4}  # 0 is the padding


def test_in_plane_leaves_every_slice_where_it_is():
  sample = coordinate_sample((5, 25, 25), (5.0, 1.0, 1.0))
  out = jax.jit(functools.partial(spatial, axes="inplane", p_rotation=1.0, p_scale=1.0))(
    KEY, sample
  )
  np.testing.assert_array_equal(out["label"][:, 12, 12], np.arange(5))
  step = map_of(out["image"])
  assert_close(step[0], [1, 0, 0], atol=1e-5)
  assert_close(step[:, 0], [1, 0, 0], atol=1e-5)
  assert abs(step[1, 2]) > 1e-3


def test_one_angle_per_axis_turns_about_that_axis_only():
  sample = coordinate_sample((21, 21, 21))
  out = jax.jit(functools.partial(spatial, rotation=(0.0, 0.0, 25.0), p_rotation=1.0, p_scale=0.0))(
    KEY, sample
  )
  step = map_of(out["image"])
  assert_close(step[:, 2], [0, 0, 1], atol=1e-5)
  assert abs(step[0, 1]) > 1e-3


def test_without_a_draw_the_centre_is_cropped_and_nothing_resampled():
  sample = {"image": RNG.normal(size=(12, 14, 1)).astype(np.float16)}
  out = moved(sample, patch=(8, 8), p_rotation=0.0, p_scale=0.0)
  np.testing.assert_array_equal(out["image"], sample["image"][2:10, 3:11])
  assert out["image"].dtype == jnp.float16


def test_the_same_key_gives_the_same_sample_and_another_does_not():
  sample = coordinate_sample((16, 16))
  act = jax.jit(functools.partial(spatial, p_rotation=1.0))
  np.testing.assert_array_equal(act(KEY, sample)["image"], act(KEY, sample)["image"])
  assert not np.array_equal(act(KEY, sample)["image"], act(jax.random.key(8), sample)["image"])


def test_bad_options_are_refused_in_words():
  sample = coordinate_sample((8, 8))
  with pytest.raises(ValueError, match="choices: all, inplane"):
    spatial(KEY, sample, axes="xy")
  with pytest.raises(ValueError, match="one non-negative angle"):
    spatial(KEY, sample, rotation=(1.0, 2.0))
  with pytest.raises(ValueError, match="2 spatial axes"):
    mirror(KEY, sample, axes=(2,))
  with pytest.raises(ValueError, match=r"field 'soft_label': swap \(1, 2\) names a class"):
    mirror(KEY, {"soft_label": jnp.zeros((4, 4, 2))}, p=1.0, swap=((1, 2),))


def test_crop_size_has_room_for_the_worst_rotation_and_scale():
  # a square turned by 45 degrees needs its diagonal; a step of 1 / 0.85 is the most it allows for
  assert crop_size((100, 100), p_scale=0.0) == (142, 142)
  assert crop_size((100, 100)) == (167, 167)
  assert crop_size((100, 100), scale=(0.8, 1.1), p_rotation=0.0) == (110, 110)
  assert crop_size((100, 100), p_rotation=0.0, p_scale=0.0) == (100, 100)
  # 30 degrees: 100 (cos 30 + sin 30) = 136.6
  assert crop_size((100, 100, 100), p_scale=0.0) == (137, 137, 137)
  assert crop_size((20, 100, 100), axes="inplane") == (20, 167, 167)
  # in millimetres the patch is a square
  assert crop_size((50, 100), p_scale=0.0, spacing=(2.0, 1.0)) == (71, 142)


def test_a_crop_of_crop_size_shows_no_padding():
  patch = (24, 20)
  size = crop_size(patch, p_scale=0.0)
  sample = {"image": jnp.ones((*size, 1))}
  act = jax.jit(functools.partial(spatial, patch=patch, p_rotation=1.0, p_scale=0.0))
  for seed in range(30):
    assert_close(act(jax.random.key(seed), sample)["image"], 1.0, atol=1e-5)
