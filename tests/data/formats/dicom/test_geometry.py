"""Where the voxels of a DICOM series lie, against the standard's own equation."""

import dicom_files
import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, volume, write_series

from jaxseg.data import read_image, write_label

ANGLE = np.deg2rad(20)
ORIENTATIONS = {
  "axial": AXIAL,
  "feet first": (-1, 0, 0, 0, 1, 0),
  "prone": (-1, 0, 0, 0, -1, 0),
  "sagittal": (0, 1, 0, 0, 0, -1),
  "coronal": (1, 0, 0, 0, 0, -1),
  "oblique": (np.cos(ANGLE), np.sin(ANGLE), 0, 0, 0, -1),
  "tilted": (1, 0, 0, 0, np.cos(ANGLE), np.sin(ANGLE)),
}


def check_places(folder, image, geometry):
  """Each voxel of each file is where its own header puts it, in RAS."""
  found = set()
  for file in sorted(folder.iterdir()):
    pixels = pydicom.dcmread(file).pixel_array
    plane = dicom_files.standards_affine(file)
    for row, column in ((0, 0), (1, 3), (4, 2)):
      place = np.diag([-1, -1, 1]) @ plane @ [column, row, 1]
      index = np.linalg.solve(geometry.affine, [*place, 1])[:3]
      np.testing.assert_allclose(index, index.round(), atol=1e-4)
      x, y, z = index.round().astype(int)
      assert image[z, y, x, 0] == pixels[row, column]
      found.add(z)
  assert found == set(range(len(image)))


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("backwards", [False, True])
def test_voxels_lie_where_the_standard_puts_them(tmp_path, name, backwards):
  orientation = np.array(ORIENTATIONS[name])
  normal = np.cross(orientation[:3], orientation[3:])
  step = (-2.5 if backwards else 2.5) * normal
  write_series(
    tmp_path,
    volume(),
    orientation=orientation,
    spacing=(0.75, 0.5),
    start=(-30.5, 12.25, 100),
    step=step,
  )
  image, geometry = read_image(tmp_path)
  assert image.shape == (6, 5, 4, 1)
  check_places(tmp_path, image, geometry)
  np.testing.assert_allclose(geometry.spacing, (2.5, 0.75, 0.5), rtol=1e-6)


def test_a_tilted_gantry_is_a_sheared_grid_and_is_written_as_one(tmp_path):
  """Slices tilted by 20 degrees, 3 mm apart along the table: the step is not their normal."""
  import nibabel as nib

  orientation = ORIENTATIONS["tilted"]
  write_series(
    tmp_path / "s", volume(), orientation=orientation, spacing=(0.8, 0.6), step=(0, 0, 3)
  )
  image, geometry = read_image(tmp_path / "s")
  check_places(tmp_path / "s", image, geometry)
  expected = np.array(
    [
      [-0.6, 0, 0, 0],
      [0, -0.8 * np.cos(ANGLE), 0, 0],
      [0, 0.8 * np.sin(ANGLE), 3, 0],
      [0, 0, 0, 1],
    ]
  )
  np.testing.assert_allclose(geometry.affine, expected, atol=1e-6)
  label = (image[..., 0] > 50).astype(np.uint8)
  write_label(tmp_path / "out.nii.gz", label, geometry)
  written = nib.load(tmp_path / "out.nii.gz")
  np.testing.assert_allclose(written.affine, expected, atol=1e-6)
  np.testing.assert_array_equal(np.asarray(written.dataobj).T, label)


def test_the_order_of_the_files_does_not_matter(tmp_path):
  mixed = np.random.default_rng(1).permutation(6)
  write_series(tmp_path, volume()[mixed], positions=[(0, 0, 2.0 * i) for i in mixed])
  image, geometry = read_image(tmp_path)
  np.testing.assert_array_equal(image[..., 0], volume())
  np.testing.assert_allclose(geometry.affine, np.diag([-1, -1, 2, 1]))


@pytest.mark.parametrize("thickness", [0.5, 10])
def test_the_step_is_that_of_the_positions_not_of_the_thickness(tmp_path, thickness):
  tags = {"SliceThickness": thickness, "SpacingBetweenSlices": thickness}
  write_series(tmp_path, volume(), **tags)
  np.testing.assert_allclose(read_image(tmp_path)[1].spacing, (2, 1, 1))


@pytest.mark.parametrize(
  ("step", "digits", "noise"),
  [(0.625, 1, 0), (1.25, 2, 0), (3, 6, 0.01), (5, 6, 0.01), (0.3, 2, 0), (2.0000001, 16, 0)],
)
def test_rounded_positions_pass(tmp_path, step, digits, noise):
  """Positions rounded to tenths of a millimetre, and steps that are off by one percent."""
  steps = step * (1 + noise * (-1.0) ** np.arange(40))
  places = [(0, 0, round(-100 + z, digits)) for z in np.cumsum(steps)]
  write_series(tmp_path, volume((40, 5, 4)), positions=places)
  image, geometry = read_image(tmp_path)
  np.testing.assert_array_equal(image[..., 0], volume((40, 5, 4)))
  np.testing.assert_allclose(geometry.spacing[0], step, rtol=0.02)
  np.testing.assert_allclose(geometry.affine[:2, 2], 0)


def test_a_single_slice_keeps_its_place(tmp_path):
  (file,) = write_series(tmp_path, volume((1, 5, 4)), start=(1, 2, 3), spacing=(0.75, 0.5))
  image, geometry = read_image(file)
  assert image.shape == (5, 4, 1)
  np.testing.assert_allclose(geometry.spacing, (0.75, 0.5))
  np.testing.assert_allclose(geometry.affine[:3, 3], (-1, -2, 3))
  with pytest.raises(ValueError, match=r"000.dcm: is one slice alone, expected a volume"):
    read_image(file, rank=3)


def test_frames_of_one_file_lie_where_their_groups_say(tmp_path):
  mixed = np.random.default_rng(1).permutation(6)
  data = dicom_files.enhanced(
    volume()[mixed], positions=[(1, 2, 3 + 2.5 * i) for i in mixed], spacing=(0.75, 0.5)
  )
  image, geometry = read_image(dicom_files.save(tmp_path / "a.dcm", data))
  np.testing.assert_array_equal(image[..., 0], volume())
  np.testing.assert_allclose(geometry.affine[:3, :3], np.diag([-0.5, -0.75, 2.5]))
  np.testing.assert_allclose(geometry.affine[:3, 3], (-1, -2, 3))
