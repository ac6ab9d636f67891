"""Several volumes under one series UID are told apart where one tag does it without doubt."""

import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, save, volume, write_series

from jaxseg.data.formats import dicom
from jaxseg.data.sources.case_files import find_cases
from jaxseg.data.sources.read_case import read_case

TAGS = {
  "TemporalPositionIdentifier": ((1, 2), ("t1", "t2")),
  "EchoTime": ((2.5, 5), ("te2.5", "te5")),
  "DiffusionBValue": ((0, 1000), ("b0", "b1000")),
  "AcquisitionNumber": ((7, 8), ("acquisition7", "acquisition8")),
  "AcquisitionTime": (("120000", "120001.5"), ("time120000", "time120001.5")),
  "ImageType": ((["DERIVED", "WATER"], ["DERIVED", "FAT"]), ("DERIVED_WATER", "DERIVED_FAT")),
}


@pytest.mark.parametrize("tag", TAGS)
def test_volumes_at_one_place_are_cases_of_their_own(tmp_path, tag):
  values, names = TAGS[tag]
  for t, value in enumerate(values):
    write_series(tmp_path / "s", volume(seed=t), names=f"{t}_{{}}", **{tag: value})
  found = find_cases(tmp_path, rank=3)
  assert set(found.cases) == {f"s_{name}" for name in names}
  assert found.notes == (f"{tmp_path / 's'}: holds 2 volumes at one place, told apart by {tag}",)
  for t, name in enumerate(names):
    raw = read_case(found.cases[f"s_{name}"], rank=3)
    np.testing.assert_array_equal(raw.image[..., 0], volume(seed=t))
    np.testing.assert_allclose(raw.geometry.affine, np.diag([-1, -1, 2, 1]))


def test_frames_of_one_file_at_one_place_are_cases_of_their_own(tmp_path):
  """Frames of three time points in turn, each with its own slope."""
  frames = np.stack([volume(seed=t) for t in range(3)], 1).reshape(-1, 5, 4)
  places = [(0, 0, 2.0 * (i // 3)) for i in range(18)]
  slopes = [(1 + i, 0) for i in range(18)]
  data = enhanced(frames, positions=places, rescale=slopes)
  for i, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
    content = pydicom.Dataset()
    content.TemporalPositionIndex = 1 + i % 3
    groups.FrameContentSequence = [content]
  save(tmp_path / "a.dcm", data)
  found = find_cases(tmp_path, rank=3)
  assert list(found.cases) == ["a_t1", "a_t2", "a_t3"]
  scale = np.reshape(1 + np.arange(18), (6, 3, 1, 1))
  for t in range(3):
    image = read_case(found.cases[f"a_t{t + 1}"], rank=3).image[..., 0]
    np.testing.assert_array_equal(image, volume(seed=t) * scale[:, t])


def test_what_no_tag_tells_apart_without_doubt_is_refused(tmp_path):
  one, two = tmp_path / "two tags", tmp_path / "uneven"
  for t in range(4):  # two echoes at two times: neither tag is enough
    tags = {"EchoTime": t % 2 + 1, "TemporalPositionIdentifier": t // 2 + 1}
    write_series(one, volume(seed=t), names=f"{t}_{{}}", series="1.1", **tags)
  for t, slices in enumerate((6, 5)):  # the second time point is cut off
    write_series(
      two, volume()[:slices], names=f"{t}_{{}}", series="1.2", TemporalPositionIdentifier=t + 1
    )
  found = find_cases(tmp_path, rank=3)
  assert list(found.cases) == ["two tags", "uneven"]
  for case in found.cases.values():
    with pytest.raises(ValueError, match="share a place"):
      read_case(case, rank=3)


def test_two_slabs_of_one_series_are_a_gap_not_two_volumes(tmp_path):
  for t in range(2):
    start = (0, 0, 100 * t)
    write_series(tmp_path, volume(seed=t), names=f"{t}_{{}}", start=start, AcquisitionNumber=t + 1)
  (series,) = dicom.find_series(sorted(tmp_path.iterdir())).series
  assert dicom.split(series) == ({"": series}, "")
  with pytest.raises(ValueError, match="unevenly spaced: 90 mm between 10 and 100 mm"):
    dicom.read_series(series)
