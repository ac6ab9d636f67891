"""Images handed to predict: files, folders, channels, DICOM series."""

import numpy as np
import pytest
import SimpleITK as sitk

from jaxseg.data import write_image
from jaxseg.data.cases import find_cases, read_case
from jaxseg.data.geometry import plain_geometry

GRID = plain_geometry((4, 5, 6), (3.0, 1.0, 2.0))


def write(path, value=0.0):
  write_image(path, np.full((4, 5, 6), value, np.float32), GRID)


def test_channels_in_files_of_their_own_are_one_case(tmp_path):
  for name in ("b_0000", "b_0001", "a_0000", "a_0001"):
    write(tmp_path / f"{name}.nii.gz", float(name[-1]))
  cases = find_cases(tmp_path)
  assert list(cases) == ["a", "b"]
  raw = read_case(cases["b"])
  assert raw.image.shape == (4, 5, 6, 2)
  np.testing.assert_array_equal(raw.image[0, 0, 0], [0, 1])
  np.testing.assert_allclose(raw.geometry.spacing, [3, 1, 2])


def test_a_year_in_a_name_is_no_channel(tmp_path):
  write(tmp_path / "scan_1998.nii.gz")
  write(tmp_path / "scan_1999.nii.gz")
  assert list(find_cases(tmp_path)) == ["scan_1998", "scan_1999"]


def test_a_dicom_series_is_read_in_space(tmp_path):
  volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
  for z in range(4):
    image = sitk.GetImageFromArray(volume[z][None])
    image.SetSpacing((2.0, 1.0, 3.0))
    for tag, value in {
      "0008|0060": "CT",
      "0020|000e": "1.2.3.4",
      "0020|000d": "1.2.3",
      "0020|0032": f"0\\0\\{3 * z}",
      "0020|0037": "1\\0\\0\\0\\1\\0",
      "0020|0013": str(z),
    }.items():
      image.SetMetaData(tag, value)
    image.SetOrigin((0.0, 0.0, 3.0 * z))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(tmp_path / f"slice{9 - z}.dcm"))
    writer.Execute(image)
  cases = find_cases(tmp_path)
  assert list(cases.values()) == [(tmp_path,)]
  raw = read_case(cases[tmp_path.name])
  np.testing.assert_array_equal(raw.image[..., 0], volume)
  np.testing.assert_allclose(raw.geometry.spacing, [3, 1, 2])


def test_channels_on_different_grids_are_refused(tmp_path):
  write(tmp_path / "a_0000.nii.gz")
  other = np.zeros((4, 5, 7), np.float32)
  write_image(tmp_path / "a_0001.nii.gz", other, plain_geometry(other.shape))
  with pytest.raises(ValueError, match=r"a_0001.nii.gz: the image has shape .* the other channel"):
    read_case(find_cases(tmp_path)["a"])
