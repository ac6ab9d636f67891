"""Augmenting a map equals mapping the augmented label, away from the border of the patch."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.augment import mirror, spatial
from jaxseg.augment.resampling import affine_coordinates, resample
from jaxseg.data.prepared.maps import border_weight, signed_distance


def sample_of(shape, spacing, seed):
  """Two smooth blobs of classes 1 and 2 with their maps."""
  random = np.random.default_rng(seed)
  places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * np.array(spacing)
  extent = np.array(shape) * np.array(spacing)
  label = np.zeros(shape, np.int32)
  for k, centre in ((1, 0.36), (2, 0.66)):
    middle = extent * (centre + random.uniform(-0.04, 0.04, len(shape)))
    label[np.linalg.norm(places - middle, axis=-1) < 0.14 * extent.min()] = k
  return {
    "label": label,
    "distance": signed_distance(label, spacing, 3),
    "border": border_weight(label, spacing, sigma=20.0),
    "spacing": np.array(spacing, np.float32),
  }


@pytest.mark.parametrize(
  ("shape", "spacing"), [((48, 40), (1.0, 1.0)), ((12, 26, 24), (2.0, 1.0, 1.0))]
)
def test_mirrored_maps_are_the_maps_of_the_mirrored_label(shape, spacing):
  sample = sample_of(shape, spacing, 0)
  act = jax.jit(functools.partial(mirror, p=1.0, swap=((1, 2),)))
  out = act(jax.random.key(0), sample)
  label = np.asarray(out["label"])
  assert (label != sample["label"]).any()
  expected = signed_distance(label, spacing, 3)
  assert_close(out["distance"], expected, atol=1e-5)
  assert_close(out["border"], border_weight(label, spacing, sigma=20.0), atol=1e-5)


@pytest.mark.parametrize(
  ("shape", "spacing"), [((72, 66), (1.0, 1.0)), ((24, 52, 48), (2.0, 1.0, 1.0))]
)
def test_turned_and_scaled_distances_are_those_of_the_turned_label(shape, spacing):
  act = jax.jit(
    functools.partial(spatial, rotation=60.0, p_rotation=1.0, p_scale=1.0, scale=(0.7, 1.4))
  )
  for seed in range(4):
    sample = sample_of(shape, spacing, seed)
    out = act(jax.random.key(seed), sample)
    label = np.asarray(out["label"])
    expected = signed_distance(label, spacing, 3)[..., 1:]
    found = np.asarray(out["distance"])[..., 1:]
    # interior: nearer to the object, which lies inside whole, than to the border of the patch
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij")
    border = np.min(
      [np.minimum(g, n - 1 - g) * s for g, n, s in zip(grid, shape, spacing, strict=True)], 0
    )
    interior = border[..., None] > np.abs(expected)
    assert interior.mean() > 0.1
    error = np.abs(found - expected)[interior]
    # nearest labels move a border by up to half a voxel's diagonal, and a voxel of offset scales
    assert error.max() < 1.3 * max(spacing)
    assert error.mean() < 0.5
    # without the scaling of lengths far voxels would be off by up to 40 %
    far = interior & (expected > 6)
    np.testing.assert_allclose(np.mean(found[far] / expected[far]), 1, atol=0.06)


def test_turned_border_weights_are_those_of_the_turned_label():
  shape, spacing = (72, 66), (1.0, 1.0)
  act = jax.jit(functools.partial(spatial, rotation=60.0, p_rotation=1.0, p_scale=0.0))
  for seed in range(4):
    sample = sample_of(shape, spacing, seed)
    out = act(jax.random.key(seed), sample)
    # the inner half: what came from outside the patch repeats its edge
    inner = tuple(slice(n // 4, -(n // 4)) for n in shape)
    expected = border_weight(np.asarray(out["label"]), spacing, sigma=20.0)[inner]
    found = np.asarray(out["border"])[inner]
    # the weight falls by at most 0.3 a voxel, and jumps at the border of an object
    close = np.abs(found - expected) < 0.6
    edge = ndimage.morphological_gradient(np.asarray(out["label"]), size=(3, 3))[inner] > 0
    assert close[~edge].all()
    assert found.max() > 4


def test_scaling_alone_divides_lengths_by_the_sampling_step():
  shape, step = (60, 60), 1.3
  sample = sample_of(shape, (1.0, 1.0), 1)
  key = jax.random.key(0)
  options = {"p_rotation": 0.0, "p_scale": 1.0, "scale": (step, step)}
  out = jax.jit(functools.partial(spatial, **options))(key, sample)
  plain = resample(
    {"distance": sample["distance"]}, affine_coordinates(step * np.eye(2), shape, shape)
  )
  assert_close(out["distance"], plain["distance"] / step, atol=1e-5)
  # an independent resampling, with the nearest voxel's value beyond the border
  oracle = ndimage.affine_transform(
    sample["distance"][..., 1], step * np.eye(2), 29.5 * (1 - step), order=1, mode="nearest"
  )
  np.testing.assert_allclose(out["distance"][..., 1], oracle / step, atol=1e-4)
  still = jax.jit(functools.partial(spatial, p_rotation=0.0, p_scale=0.0))(key, sample)
  np.testing.assert_array_equal(still["distance"], sample["distance"])
