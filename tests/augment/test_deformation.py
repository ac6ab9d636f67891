import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.augment import crop_size, spatial
from jaxseg.augment.deformation import displacement_field
from jaxseg.augment.resampling import affine_coordinates, resample

RNG = np.random.default_rng(17)
KEY = jax.random.key(9)


def coordinates_of(size):
  grid = np.stack(np.meshgrid(*[np.arange(s) for s in size], indexing="ij"), -1)
  return {"image": jnp.asarray(grid, jnp.float32)}


@pytest.mark.parametrize("how", [{"control": (3, 3)}, {"control": (5, 4)}, {"sigma": 3.0}])
def test_a_displacement_is_smooth_with_unit_deviation(how):
  fields = jax.jit(jax.vmap(lambda key: displacement_field(key, (25, 31), **how)))(
    jax.random.split(KEY, 500)
  )
  fields = np.asarray(fields)
  assert fields.shape == (500, 25, 31)
  np.testing.assert_allclose(fields.mean(), 0, atol=0.08)
  # noise has it everywhere, a grid at its points: here the corners
  np.testing.assert_allclose(fields[:, 0, 0].std(), 1, atol=0.12)
  # white numbers differ by 1.4 between neighbours, these by a small part of it
  assert np.diff(fields, axis=1).std() < 0.4


def test_smoothed_noise_has_the_correlation_of_a_gaussian():
  fields = jax.jit(jax.vmap(lambda key: displacement_field(key, (3, 21), sigma=3.0)))(
    jax.random.split(KEY, 4000)
  )
  fields = np.asarray(fields)[:, 1]
  for lag in (3, 6):
    found = np.mean(fields[:, 8] * fields[:, 8 + lag])
    np.testing.assert_allclose(found, np.exp(-(lag**2) / (4 * 3.0**2)), atol=0.07)


def test_a_grid_passes_through_its_control_points():
  # five points over 21 voxels: one every five
  field = np.asarray(displacement_field(KEY, (21, 21), control=(5, 5)))
  points = np.asarray(jax.random.normal(KEY, (5, 5)))
  assert_close(field[::5, ::5], points, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 44), (20, 22, 24)])
@pytest.mark.parametrize("how", ["grid", "smooth"])
def test_elastic_coordinates_are_moved_by_the_asked_deviation(size, how):
  act = functools.partial(
    spatial, p_rotation=0.0, p_scale=0.0, p_elastic=1.0, elastic=how, sigma=5.0, displacement=1.5
  )
  act = jax.jit(act)
  sample = coordinates_of(size)
  inner = tuple(slice(6, -6) for _ in size)
  moved = [act(jax.random.key(n), sample)["image"] - sample["image"] for n in range(6)]
  values = np.asarray([m[inner] for m in moved])
  # between control points, cubic interpolation shrinks the deviation of white numbers
  low = 1.2 if how == "smooth" else 0.6
  assert low < values.std() < 1.9
  assert np.abs(np.diff(values, axis=1)).max() < 1.2


def test_millimetres_and_planes_are_respected_by_elastic():
  sample = {**coordinates_of((9, 24, 24)), "spacing": jnp.asarray([4.0, 1.0, 1.0])}
  act = functools.partial(spatial, p_rotation=0.0, p_scale=0.0, p_elastic=1.0, displacement=2.0)
  middle = (slice(3, 6), slice(9, 15), slice(9, 15))
  all_axes = [
    (jax.jit(act)(jax.random.key(n), sample)["image"] - sample["image"])[middle] for n in range(20)
  ]
  deviation = np.asarray(all_axes).std((0, 1, 2, 3))
  np.testing.assert_allclose(deviation[0] / deviation[1:].mean(), 0.25, atol=0.12)
  plane = jax.jit(functools.partial(act, axes="inplane"))(KEY, sample)["image"]
  # away from the border, beyond which lies padding
  assert_close(plane[middle][..., 0], sample["image"][middle][..., 0], atol=1e-5)
  np.testing.assert_allclose(plane[3, 9:15, 9:15, 1:], plane[5, 9:15, 9:15, 1:], atol=1e-4)


@pytest.mark.parametrize("size", [(31, 31), (15, 16, 17)])
def test_a_shear_keeps_the_volume_and_moves_along_one_axis(size):
  act = jax.jit(functools.partial(spatial, p_rotation=0.0, p_scale=0.0, p_shear=1.0, shear=0.3))
  rank = len(size)
  for seed in range(4):
    image = act(jax.random.key(seed), coordinates_of(size))["image"]
    middle = tuple(s // 2 for s in size)
    step = np.stack(
      [
        np.asarray(image[tuple(m + (k == axis) for k, m in enumerate(middle))] - image[middle])
        for axis in range(rank)
      ],
      -1,
    )
    np.testing.assert_allclose(np.diag(step), 1.0, atol=1e-4)
    np.testing.assert_allclose(np.tril(step, -1), 0.0, atol=1e-4)
    assert 0.005 < np.abs(np.triu(step, 1)).max() <= 0.3 + 1e-4


@pytest.mark.parametrize("size", [(18, 20), (10, 11, 12)])
def test_majority_is_the_argmax_of_linear_one_hot_maps(size):
  rank = len(size)
  label = RNG.integers(0, 4, size).astype(np.int32)
  matrix = np.eye(rank) * 0.8 + RNG.normal(size=(rank, rank)) * 0.2
  coordinates = affine_coordinates(jnp.asarray(matrix, jnp.float32), size, size)
  out = resample({"label": label}, coordinates, majority=True)["label"]
  maps = [
    ndimage.map_coordinates(
      (label == k).astype(float),
      np.asarray(coordinates),
      order=1,
      mode="grid-constant",
      cval=k == 0,
    )
    for k in range(4)
  ]
  ordered = np.sort(maps, 0)
  clear = ordered[-1] - ordered[-2] > 1e-4
  assert clear.mean() > 0.9
  np.testing.assert_array_equal(np.asarray(out)[clear], np.argmax(maps, 0)[clear])
  assert out.dtype == jnp.int32


def test_the_same_map_moves_image_and_label():
  sample = coordinates_of((24, 24))
  sample["label"] = sample["image"][..., 0].astype(jnp.int32)
  act = functools.partial(spatial, p_rotation=1.0, rotation=20.0, p_elastic=1.0, displacement=1.0)
  for seed in range(3):
    out = jax.jit(act)(jax.random.key(seed), sample)
    inner = (slice(6, -6), slice(6, -6))
    difference = out["image"][..., 0][inner] - out["label"][inner]
    assert float(jnp.abs(difference).max()) <= 0.5 + 1e-4


def test_the_four_changes_are_drawn_apart_with_their_probabilities():
  sample = {"image": jnp.asarray(RNG.normal(size=(8, 8, 1)), jnp.float32)}
  keys = jax.random.split(KEY, 1000)
  for name in ("rotation", "scale", "shear", "elastic"):
    chances = {f"p_{n}": 0.0 for n in ("rotation", "scale", "shear", "elastic")}
    act = functools.partial(spatial, **{**chances, f"p_{name}": 0.2})
    changed = jax.jit(jax.vmap(lambda k, a=act: (a(k, sample)["image"] != sample["image"]).any()))
    np.testing.assert_allclose(np.mean(changed(keys)), 0.2, atol=4 * np.sqrt(0.16 / 1000))
  both = jax.jit(jax.vmap(lambda k: (spatial(k, sample)["image"] != sample["image"]).any()))
  # rotation or scale: 1 - 0.8^2
  np.testing.assert_allclose(np.mean(both(keys)), 0.36, atol=4 * np.sqrt(0.23 / 1000))


def test_crop_size_has_room_for_shear_and_displacement():
  still = {"p_rotation": 0.0, "p_scale": 0.0}
  assert crop_size((100, 50), **still, p_elastic=1.0, displacement=4.0) == (108, 58)
  assert crop_size((100, 50), **still, p_shear=1.0, shear=0.2) == (110, 50)
  assert crop_size((10, 50, 50), **still, p_elastic=1.0, displacement=4.0, axes="inplane") == (
    10,
    58,
    58,
  )
  # one voxel of 2 mm is two of the finest
  assert crop_size((50, 100), **still, p_elastic=1.0, displacement=4.0, spacing=(2.0, 1.0)) == (
    54,
    108,
  )
