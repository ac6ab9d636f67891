import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.augment.resampling import affine_coordinates, centre_crop, resample
from jaxseg.batch import space_of

RNG = np.random.default_rng(0)


@functools.partial(jax.jit, static_argnums=2)
def resampled(sample, matrix, patch):
  return resample(sample, affine_coordinates(matrix, space_of(sample), patch))


def matrix_of(rank):
  return np.eye(rank) * 0.9 + RNG.normal(size=(rank, rank)) * 0.15


@pytest.mark.parametrize(("size", "patch"), [((13, 18), (9, 12)), ((9, 12, 10), (6, 7, 9))])
def test_linear_and_nearest_agree_with_scipy(size, patch):
  rank = len(size)
  image = RNG.normal(size=(*size, 2)).astype(np.float32)
  label = RNG.integers(0, 5, size).astype(np.int32)
  matrix = matrix_of(rank)
  start = np.array([(s - p) // 2 for s, p in zip(size, patch, strict=True)])
  middle = (np.array(patch) - 1) / 2
  offset = start + middle - matrix @ middle
  out = resampled({"image": image, "label": label}, matrix.astype(np.float32), patch)
  for channel in range(2):
    oracle = ndimage.affine_transform(
      image[..., channel], matrix, offset, patch, order=1, mode="grid-constant"
    )
    assert_close(out["image"][..., channel], oracle, atol=2e-5)
  nearest = ndimage.affine_transform(label, matrix, offset, patch, order=0, mode="grid-constant")
  assert np.mean(np.asarray(out["label"]) == nearest) > 0.995  # ties of half a voxel may differ
  assert out["label"].dtype == jnp.int32


def test_identity_resampling_is_the_centre_crop_bit_for_bit():
  sample = {"image": RNG.normal(size=(9, 10, 2)).astype(np.float32), "case": jnp.int32(3)}
  for patch in [(9, 10), (6, 7)]:
    moved = resampled(sample, jnp.eye(2), patch)
    cropped = centre_crop(sample, patch)
    np.testing.assert_array_equal(moved["image"], cropped["image"])
    assert int(cropped["case"]) == 3


def test_what_lies_outside_is_the_padding_of_the_kind():
  sample = {"image": jnp.ones((4, 4, 1)), "weight": jnp.ones((4, 4))}
  out = resampled(sample, jnp.eye(2) * 10, (4, 4))
  assert float(jnp.abs(out["image"]).max()) == 0.0
  assert float(out["weight"].max()) == 0.0


def test_soft_labels_of_one_keep_their_sum_inside():
  soft = jax.nn.softmax(jnp.asarray(RNG.normal(size=(12, 12, 3)), jnp.float32))
  out = resampled({"soft_label": soft}, jnp.asarray(matrix_of(2)), (6, 6))
  assert_close(out["soft_label"].sum(-1), np.ones((6, 6)), atol=1e-5)


def test_integer_images_come_from_the_nearest_voxel():
  image = jnp.asarray(RNG.integers(0, 9, (8, 8, 1)), jnp.uint8)
  out = resampled({"image": image}, jnp.eye(2) * 0.7, (8, 8))
  assert out["image"].dtype == jnp.uint8


def test_a_patch_larger_than_the_sample_is_refused_in_words():
  with pytest.raises(ValueError, match=r"patch \(9, 4\) doesn't fit into a sample of \(8, 8\)"):
    centre_crop({"image": jnp.zeros((8, 8, 1))}, (9, 4))
  with pytest.raises(ValueError, match="none of its fields"):
    space_of({"case": jnp.int32(0)})
