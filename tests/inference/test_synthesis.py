"""Images that are made: on the case's own grid, in files of its kind."""

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import LabelSpec
from jaxseg.data import read_image
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase
from jaxseg.inference.segmentation import Configuration
from jaxseg.inference.synthesis import synthesise, write_image

LABELS = LabelSpec(("background", "a"), (0, 1))
NONE = ({"name": "none"},)


def ramp(shape):
  """Linear in every axis: what linear interpolation keeps."""
  axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
  return sum((i + 1) * axis for i, axis in enumerate(axes))[..., None]


@pytest.mark.parametrize("spacing", [(), (1.0, 1.0, 1.0)], ids=["own grid", "resampled"])
def test_an_image_comes_back_on_the_grid_and_the_way_round_of_its_input(spacing):
  shape = (8, 12, 10)
  preparation = Preparation(("t1",), 3, NONE, spacing=spacing, transpose=(2, 0, 1))
  geometry = plain_geometry(shape, (2.0, 1.0, 1.0))
  raw = RawCase(ramp(shape), None, None, geometry)

  def doubled(case, *, progress=None):
    del progress
    assert case.image.shape[:3] == ((10, 16, 12) if spacing else (10, 8, 12))
    return 2 * case.image + 1

  configuration = Configuration((preparation,), LABELS, doubled)
  made = synthesise([configuration], raw)
  inner = (slice(1, -1),) * 3
  assert made.dtype == np.float32
  assert_close(made[inner], (2 * raw.image + 1)[inner], atol=0.2 if spacing else 1e-5)
  other = configuration._replace(logits=lambda case, **_: 4 * case.image + 1)
  assert_close(synthesise([configuration, other], raw)[inner], (3 * raw.image + 1)[inner], atol=0.3)


def test_of_a_picture_a_picture_is_made_rounded_and_cut_off_at_its_ends(tmp_path):
  geometry = plain_geometry((2, 3), None, "picture")
  values = np.array([[-3.0, 0.4, 0.6], [254.4, 300.0, 7.0]], np.float32)[..., None]
  path = write_image(tmp_path, "a", values, geometry, np.dtype(np.uint8))
  assert path.suffix == ".png"
  np.testing.assert_array_equal(read_image(path)[0][..., 0], [[0, 0, 1], [254, 255, 7]])
  colours = np.repeat(values, 3, -1)
  path = write_image(tmp_path, "b", colours * 100, geometry, np.dtype(np.uint16))
  assert path.suffix == ".tif"
  assert read_image(path)[0][1].tolist() == [[25440] * 3, [30000] * 3, [700] * 3]


@pytest.mark.parametrize("channels", [1, 2])
def test_all_else_is_nifti_of_floats_with_the_inputs_geometry(tmp_path, channels):
  geometry = plain_geometry((3, 4, 5), (3.0, 1.0, 0.5))
  image = np.random.default_rng(0).normal(size=(3, 4, 5, channels)).astype(np.float32)
  path = write_image(tmp_path, "a", image, geometry, np.dtype(np.int16))
  read, told = read_image(path)
  assert path.name == "a.nii.gz"
  np.testing.assert_array_equal(read, image)
  assert_close(told.spacing, (3.0, 1.0, 0.5))
