"""Segmentations as files: what lies beside them is of the same prediction."""

import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, read_label
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.inference.segmentation import Segmentation
from jaxseg.inference.writing import write

LABELS = LabelSpec(("background", "a"), (0, 5))
RAW = RawCase(np.ones((4, 5, 6, 1), np.float32), None, None, plain_geometry((4, 5, 6)))


def test_probabilities_and_pictures_of_an_earlier_segmentation_go(tmp_path):
  (tmp_path / "neighbour_probabilities.npz").touch()
  shares = np.full((4, 5, 6, 2), 0.5, np.float32)
  before = Segmentation(np.full((4, 5, 6), 5, np.int32), shares)
  path = write(tmp_path, "x", RAW, before, LABELS, overlay=True)
  names = {"neighbour_probabilities.npz", "x.nii.gz", "x_overlay.png", "x_probabilities.npz"}
  assert {file.name for file in tmp_path.iterdir()} == names
  write(tmp_path, "x", RAW, Segmentation(np.zeros((4, 5, 6), np.int32)), LABELS)
  assert not read_label(path)[0].any()
  left = {file.name for file in tmp_path.iterdir()}
  assert left == {"neighbour_probabilities.npz", "x.nii.gz"}


@pytest.mark.parametrize(
  ("values", "ending"),
  [((0, 255), ".png"), ((0, 65535), ".png"), ((0, 70000), ".nii.gz"), ((-1, 3), ".nii.gz")],
)
def test_values_that_a_picture_cannot_hold_are_written_as_nifti(tmp_path, values, ending):
  raw = RawCase(np.ones((4, 5, 1), np.uint8), None, None, plain_geometry((4, 5), kind="picture"))
  stored = np.resize(values, (4, 5)).astype(np.int32)
  path = write(tmp_path, "x", raw, Segmentation(stored), LabelSpec(("background", "a"), values))
  assert path.name == f"x{ending}"
  np.testing.assert_array_equal(read_label(path)[0], stored)
