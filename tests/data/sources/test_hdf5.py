"""HDF5 folders: ACDC, the left atrium, and what is refused."""

import h5py
import numpy as np
import pytest

from jaxseg.data.sources.hdf5 import h5

NAMES = ("background", "heart")


@pytest.fixture
def folder(tmp_path):
  for case in ("p10", "p2"):
    with h5py.File(tmp_path / f"{case}.h5", "w") as file:
      file["image"] = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
      file["label"] = (np.arange(60).reshape(3, 4, 5) % 2).astype(np.uint8)
  return tmp_path


def test_cases_are_read_with_the_given_spacing(folder):
  source = h5(folder, names=NAMES, spacing=(10, 1.5, 1.25))
  assert source.cases == ("p2", "p10")
  raw = source.read("p10")
  assert raw.image.shape == (3, 4, 5, 1)
  np.testing.assert_allclose(raw.geometry.spacing, (10, 1.5, 1.25))


def test_axes_are_turned_to_z_y_x(folder):
  stored = h5(folder, names=NAMES).read("p2")
  turned = h5(folder, names=NAMES, axes="xyz").read("p2")
  np.testing.assert_array_equal(turned.label, stored.label.transpose(2, 1, 0))
  np.testing.assert_array_equal(turned.image[..., 0], stored.image[..., 0].transpose(2, 1, 0))
  with pytest.raises(ValueError, match="'zzz' must be made of"):
    h5(folder, names=NAMES, axes="zzz")


def test_missing_data_set_is_named(folder):
  with pytest.raises(ValueError, match=r"p2\.h5: has no data set 'mask', it holds: image, label"):
    h5(folder, names=NAMES, label="mask").read("p2")


def test_damaged_file_is_named(folder):
  (folder / "p2.h5").write_bytes((folder / "p2.h5").read_bytes()[:500])
  with pytest.raises(ValueError, match=r"p2\.h5: cannot be read as HDF5"):
    h5(folder, names=NAMES).read("p2")


def test_wrong_number_of_axes_is_told(folder):
  with pytest.raises(ValueError, match=r"p2\.h5: image \(3, 4, 5\) .* don't have the axes 'yx'"):
    h5(folder, names=NAMES, axes="yx").read("p2")


def test_missing_folder_and_empty_folder_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="the folder of HDF5 files not found"):
    h5(tmp_path / "gone", names=NAMES)
  with pytest.raises(ValueError, match=r"no HDF5 file matches '\*\.h5'"):
    h5(tmp_path, names=NAMES)


def test_two_files_of_one_case_are_named(folder):
  (folder / "site").mkdir()
  (folder / "p2.h5").rename(folder / "site/p2.h5")
  assert h5(folder, names=NAMES, pattern="**/*.h5").cases == ("p2", "p10")
  (folder / "site/p10.h5").write_bytes((folder / "p10.h5").read_bytes())
  with pytest.raises(ValueError, match=r"/p10\.h5 and .*site/p10\.h5: are both case 'p10'"):
    h5(folder, names=NAMES, pattern="**/*.h5")


@pytest.mark.parametrize(
  ("value", "taken"), [(1.0000001, True), (0.98, False), (np.nan, False), (True, True)]
)
def test_labels_are_whole_up_to_rounding(folder, value, taken):
  kind = bool if value is True else np.float64
  with h5py.File(folder / "p2.h5", "w") as file:
    file["image"], file["label"] = np.ones((3, 4, 5)), np.full((3, 4, 5), value, kind)
  source = h5(folder, names=NAMES)
  if taken:
    np.testing.assert_array_equal(source.read("p2").label, 1)
  else:
    with pytest.raises(ValueError, match=r"p2\.h5: label values must be whole numbers"):
      source.read("p2")


def test_complex_images_are_refused(folder):
  with h5py.File(folder / "p2.h5", "w") as file:
    file["image"], file["label"] = np.ones((3, 4, 5)) * 1j, np.zeros((3, 4, 5), np.uint8)
  with pytest.raises(ValueError, match=r"p2\.h5: the image's numbers are of the type complex128"):
    h5(folder, names=NAMES).read("p2")


def test_real_acdc_reads(real_data):
  names = ("background", "right ventricle", "myocardium", "left ventricle")
  source = h5(real_data / "acdc", names=names, spacing=(10, 1.5, 1.5))
  assert len(source.cases) == 16
  raw = source.read("patient002_frame01")
  assert raw.image.shape == (10, 256, 232, 1)
  assert set(np.unique(raw.label)) == {0, 1, 2, 3}


def test_real_left_atrium_reads(real_data):
  source = h5(real_data / "la2018", names=NAMES, axes="xyz", spacing=(0.625,) * 3)
  assert len(source.cases) == 5
  raw = source.read("06SR5RBREL16DQ6M8LWS")
  assert raw.label.shape == (88, 140, 183)
  assert set(np.unique(raw.label)) == {0, 1}
