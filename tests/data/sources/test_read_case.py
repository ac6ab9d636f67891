"""A case that is handed to predict, read as its training set was."""

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
from dicom_files import dataset, save

from jaxseg.data import SOURCES, write_image
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.case_files import CaseFiles, find_cases
from jaxseg.data.sources.read_case import read_case

GRID = plain_geometry((4, 5, 6), (3.0, 1.0, 2.0))


def write(path, value=0.0):
  write_image(path, np.full((4, 5, 6), value, np.float32), GRID)


def test_channels_in_files_of_their_own_are_one_case(tmp_path):
  for name in ("b_0000", "b_0001", "a_0000", "a_0001"):
    write(tmp_path / f"{name}.nii.gz", float(name[-1]))
  cases = find_cases(tmp_path).cases
  assert list(cases) == ["a", "b"]
  raw = read_case(cases["b"])
  assert raw.image.shape == (4, 5, 6, 2)
  np.testing.assert_array_equal(raw.image[0, 0, 0], [0, 1])
  np.testing.assert_allclose(raw.geometry.spacing, [3, 1, 2])


def test_channels_on_different_grids_are_refused(tmp_path):
  write(tmp_path / "a_0000.nii.gz")
  other = np.zeros((4, 5, 7), np.float32)
  write_image(tmp_path / "a_0001.nii.gz", other, plain_geometry(other.shape))
  with pytest.raises(ValueError, match=r"a_0001.nii.gz: the image has shape .* the channel"):
    read_case(find_cases(tmp_path).cases["a"])


@pytest.mark.parametrize("colour", [False, True])
def test_dicom_pictures_are_read_as_their_training_set_was(tmp_path, colour):
  picture = np.random.default_rng(0).integers(0, 255, (8, 9, 3)[: 2 + colour]).astype(np.uint8)
  (case,) = find_cases(save(tmp_path / "x.dcm", dataset(picture, sort="DX")), rank=2).cases.values()
  source = {"name": "paired_folder", "channels": ("red", "green", "blue"), "spacing": (0.5, 0.25)}
  raw = read_case(case, rank=2, source=source)
  expected = picture if colour else np.repeat(picture[..., None], 3, -1)
  np.testing.assert_array_equal(raw.image, expected)
  np.testing.assert_array_equal(raw.geometry.spacing, (0.5, 0.25))


@pytest.mark.parametrize("channels", [("grey",), ("red", "green", "blue")])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_pictures_are_read_as_their_training_set_was(tmp_path, channels, shape):
  random = np.random.default_rng(0)
  for folder in ("images", "masks"):
    (tmp_path / folder).mkdir()
  file = tmp_path / "images" / "a.png"
  imageio.imwrite(file, random.integers(0, 255, shape).astype(np.uint8))
  imageio.imwrite(tmp_path / "masks" / "a.png", random.integers(0, 2, (8, 9)).astype(np.uint8))
  options = {
    "images": str(tmp_path / "images"),
    "masks": str(tmp_path / "masks"),
    "channels": channels,
    "spacing": (0.5, 0.25),
  }
  seen = SOURCES["paired_folder"](**options).read("a")
  raw = read_case(CaseFiles((file,)), rank=2, source={"name": "paired_folder", **options})
  np.testing.assert_array_equal(raw.image, seen.image)
  np.testing.assert_array_equal(raw.geometry.spacing, (0.5, 0.25))
  np.testing.assert_array_equal(read_case(CaseFiles((file,)), rank=2).geometry.spacing, (1, 1))


def test_hdf5_is_turned_as_its_training_set_was(tmp_path):
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["mri"] = np.arange(60.0).reshape(3, 4, 5)
    file["label"] = np.zeros((3, 4, 5), np.uint8)
  options = {"image": "mri", "axes": "xyz", "spacing": (3.0, 2.0, 1.0)}
  seen = SOURCES["h5"](str(tmp_path), names=("none", "one"), **options).read("a")
  raw = read_case(CaseFiles((tmp_path / "a.h5",)), rank=3, source={"name": "h5", **options})
  assert raw.image.shape == (5, 4, 3, 1)
  np.testing.assert_array_equal(raw.image, seen.image)
  np.testing.assert_array_equal(raw.geometry.affine, seen.geometry.affine)
  with pytest.raises(ValueError, match=r"a.h5: its mri .* doesn't have the axes 'yx'"):
    read_case(CaseFiles((tmp_path / "a.h5",)), source={"name": "h5", "image": "mri", "axes": "yx"})


def test_files_that_tell_their_spacing_keep_it(tmp_path):
  write(tmp_path / "a.nii.gz")
  source = {"name": "h5", "spacing": (7.0, 7.0, 7.0)}
  raw = read_case(CaseFiles((tmp_path / "a.nii.gz",)), rank=3, source=source)
  np.testing.assert_allclose(raw.geometry.spacing, [3, 1, 2])
