"""Kernels for other numbers of channels and for volumes."""

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.runs.kernels import adapt, check_inflation, inflated


def test_channels_are_adapted_so_that_features_keep_their_size():
  kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 5)).astype(np.float32)
  of = {how: adapt(kernel, 4, how) for how in ("mean", "cycle", "zero")}
  for adapted in of.values():
    assert adapted.shape == (3, 3, 4, 5)
    # one grey image in all channels gives what it gave
    assert_close(adapted.sum(-2), kernel.sum(-2))
  assert_close(of["mean"][..., 1, :], kernel.mean(-2) / 2)
  assert_close(of["cycle"][..., 3, :], kernel[..., 1, :] / 2)
  np.testing.assert_array_equal(of["zero"][..., :2, :], kernel)
  assert not of["zero"][..., 2:, :].any()
  # colour to grey is the sum
  assert_close(adapt(kernel, 1, "mean")[..., 0, :], kernel.sum(-2))


@pytest.mark.parametrize("how", ["mean", "cycle", "zero"])
def test_of_a_dense_layer_of_patches_each_voxels_channels_are_adapted(how):
  # a convolution whose stride is its kernel is that dense layer, channels fastest
  kernel = np.random.default_rng(0).standard_normal((2, 2, 3, 5)).astype(np.float32)
  dense = adapt(kernel.reshape(12, 5), 4, how, places=4)
  np.testing.assert_array_equal(dense, adapt(kernel, 4, how).reshape(16, 5))


def convolved(x, kernel):
  """A "valid" convolution of an image or a volume without a batch."""
  space = "DHW"[-(x.ndim - 1) :]
  layout = (f"N{space}C", f"{space}IO", f"N{space}C")
  return jax.lax.conv_general_dilated(
    x[None], kernel, (1,) * len(space), "VALID", dimension_numbers=layout
  )[0]


@pytest.mark.parametrize("how", ["mean", "centre"])
def test_of_slices_that_are_all_alike_a_volume_has_the_images_features(how):
  random = np.random.default_rng(0)
  kernel = random.standard_normal((3, 3, 2, 4)).astype(np.float32)
  image = random.standard_normal((7, 6, 2)).astype(np.float32)
  volume = convolved(np.repeat(image[None], 6, 0), inflated(kernel, 3, how))
  assert volume.shape == (4, 5, 4, 4)
  for of in volume:
    assert_close(of, convolved(image, kernel))


def test_each_third_of_axial_features_looks_at_one_plane():
  random = np.random.default_rng(0)
  kernel = random.standard_normal((3, 3, 2, 7)).astype(np.float32)
  volume = random.standard_normal((5, 6, 7, 2)).astype(np.float32)
  found = np.asarray(convolved(volume, inflated(kernel, 3, "axial")))
  assert_close(found[1, ..., :2], convolved(volume[2], kernel)[..., :2])
  assert_close(found[:, 2, :, 2:4], convolved(volume[:, 3], kernel)[..., 2:4])
  assert_close(found[:, :, 3, 4:], convolved(volume[:, :, 4], kernel)[..., 4:])


@pytest.mark.parametrize(
  ("theirs", "own", "how", "words"),
  [
    ((2, 2, 4, 4), (2, 2, 2, 4, 4), "mean", "the same odd sizes"),
    ((3, 3, 4, 4), (3, 5, 5, 4, 4), "mean", "the same odd sizes"),
    ((3, 3, 4, 4), (1, 3, 3, 4, 4), "axial", "equal and odd sizes"),
  ],
)
def test_kernels_that_cannot_be_inflated_are_refused(theirs, own, how, words):
  with pytest.raises(ValueError, match=rf"^here has kernels of .*inflate='{how}' needs {words}"):
    check_inflation(theirs, own, how, "here")
  check_inflation((3, 3, 4, 4), (1, 3, 3, 4, 4), "centre", "here")
