"""Grids survive reading, turning, turning back and writing."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from jaxseg.data.formats.geometry import (
  Geometry,
  displacement,
  orient,
  oriented,
  plain_geometry,
  restore,
)

OBLIQUE = np.array(
  [[-1.9, 0.3, 0.1, 12], [0.25, 0.2, 2.9, -7], [0.1, -0.9, 0.4, 3], [0, 0, 0, 1.0]]
)
SHEARED = np.array([[0.8, 0.3, 0, 5], [0, 0.8, 0.2, -4], [0, 0, 3, 9], [0, 0, 0, 1.0]])


def position(affine, x, y, z):
  return affine[:3] @ np.array([x, y, z, 1.0])


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED, np.diag([-1.0, -1, 1, 1])])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_turning_to_ras_is_undone_exactly(affine, channels):
  array = np.random.default_rng(0).random((4, 5, 6, *channels))
  geometry = Geometry(affine, (4, 5, 6))
  turned = orient(array, geometry, "RAS")
  np.testing.assert_array_equal(restore(turned, geometry, "RAS"), array)
  np.testing.assert_array_equal(orient(array, geometry, "stored"), array)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED, np.diag([-1.0, -1, 1, 1])])
def test_turned_grid_keeps_every_voxel_in_its_place(affine):
  geometry = Geometry(affine, (4, 5, 6))
  turned = oriented(geometry, "RAS")
  assert turned.axcodes == "RAS"
  # an image of each voxel's own position in millimetres must stay true
  z, y, x = np.meshgrid(range(4), range(5), range(6), indexing="ij")
  where = np.stack([position(affine, *v) for v in zip(x.flat, y.flat, z.flat, strict=True)])
  where = orient(where.reshape(4, 5, 6, 3), geometry, "RAS")
  assert where.shape[:3] == turned.shape
  for index in [(0, 0, 0), (1, 2, 3), tuple(n - 1 for n in turned.shape)]:
    np.testing.assert_allclose(where[index], position(turned.affine, *index[::-1]), atol=1e-9)


def test_spacing_is_in_array_order_and_known_to_simpleitk():
  array = np.zeros((3, 4, 5), np.float32)
  image = sitk.GetImageFromArray(array)
  image.SetSpacing((0.5, 0.7, 3.0))
  assert sitk.GetArrayFromImage(image).shape == (3, 4, 5)
  geometry = Geometry(np.diag([-0.5, -0.7, 3.0, 1]), (3, 4, 5))
  np.testing.assert_allclose(geometry.spacing, image.GetSpacing()[::-1], rtol=1e-6)


def test_sheared_spacing_is_the_length_of_a_step():
  np.testing.assert_allclose(
    Geometry(SHEARED, (2, 2, 2)).spacing, np.sqrt([9 + 0.04, 0.64 + 0.09, 0.64]), rtol=1e-6
  )


def test_images_of_rank_two_are_never_turned():
  geometry = Geometry(np.diag([-1.0, -1, 1, 1]), (4, 5))
  array = np.arange(20).reshape(4, 5)
  np.testing.assert_array_equal(orient(array, geometry, "RAS"), array)
  assert oriented(geometry, "RAS") is geometry


def test_nibabel_agrees_on_the_canonical_image():
  array = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
  canonical = nib.as_closest_canonical(nib.Nifti1Image(array.transpose(2, 1, 0), OBLIQUE))
  geometry = Geometry(OBLIQUE, (4, 5, 6))
  expected = canonical.get_fdata(dtype=np.float32).transpose(2, 1, 0)
  np.testing.assert_array_equal(orient(array, geometry, "RAS"), expected)
  np.testing.assert_allclose(oriented(geometry, "RAS").affine, canonical.affine, atol=1e-12)


def test_displacement_is_measured_in_voxels():
  a = plain_geometry((3, 4, 5), (2, 2, 2))
  moved = a.affine.copy()
  moved[0, 3] += 1
  assert displacement(a, Geometry(moved, (3, 4, 5))) == pytest.approx(0.5)


def test_unknown_orientation_lists_the_choices():
  for wrong in ("lps", "LR", "LRS", "upright", "", None):
    with pytest.raises(ValueError, match=f"'{wrong}' is unknown; choices: stored, RAS, or"):
      orient(np.zeros((2, 2, 2)), plain_geometry((2, 2, 2)), wrong)


def test_spacing_of_the_wrong_length_is_refused():
  with pytest.raises(ValueError, match="expected 3 positive numbers in millimetres"):
    plain_geometry((2, 2, 2), (1.0, 1.0))
