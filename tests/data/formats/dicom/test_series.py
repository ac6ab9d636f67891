"""Which files make a series; what makes no volume is told with the file's name."""

import re
import shutil

import dicom_files
import numpy as np
import pydicom
import pytest
from dicom_files import dataset, enhanced, save, volume, write_series

from jaxseg.data import read_image, read_label
from jaxseg.data.formats import dicom


def refused(folder, message):
  with pytest.raises(ValueError, match=message) as told:
    read_image(folder)
  assert "\n" not in str(told.value)


def test_a_gap_is_told_with_its_place(tmp_path):
  """Slices 7, 8 and 9 of 20 are missing."""
  places = [(0, 0, 2.0 * i) for i in range(20) if i not in (7, 8, 9)]
  write_series(tmp_path, volume((17, 5, 4)), positions=places)
  refused(
    tmp_path, r"unevenly spaced: 8 mm between 12 and 20 mm .*006.dcm, 007.dcm.*2 mm elsewhere"
  )


@pytest.mark.parametrize("lost", [1, 4])
def test_one_lost_slice_is_a_gap_wherever_it_is(tmp_path, lost):
  places = [(0, 0, 0.6 * i) for i in range(300) if i != lost]
  write_series(tmp_path, np.zeros((299, 2, 2), np.int16), positions=places)
  refused(tmp_path, "1.2 mm between .* but 0.6 mm elsewhere")


def test_steps_that_grow_are_no_even_grid(tmp_path):
  """Each step is within a tenth of a millimetre of the others, their sum is not."""
  places = [(0, 0, z) for z in np.cumsum(np.linspace(4.95, 5.05, 100))]
  write_series(tmp_path, np.zeros((100, 2, 2), np.int16), positions=places)
  refused(tmp_path, r"dcm: lies .* mm off the even grid")


def test_a_gap_in_one_file_is_told_with_its_frames(tmp_path):
  places = [(0, 0, 2.0 * i + 6 * (i > 3)) for i in range(6)]
  save(tmp_path / "a.dcm", enhanced(volume(), positions=places))
  refused(tmp_path / "a.dcm", r"8 mm between 6 and 14 mm .*a.dcm, frame 4, a.dcm, frame 5")


def test_files_without_uids_are_one_series_of_their_folder(tmp_path):
  for name in "ab":
    write_series(tmp_path / name, volume(), SeriesInstanceUID=None)
  parts = [dicom.find_series(sorted(folder.iterdir())).series for folder in tmp_path.iterdir()]
  apart, notes = dicom.joined([one for part in parts for one in part])
  assert [len(one.files) for one in apart] == [6, 6]
  assert not notes


def test_a_slice_moved_sideways_is_told(tmp_path):
  places = [(5.0 * (i == 3), 0, 2.0 * i) for i in range(6)]
  write_series(tmp_path, volume(), positions=places)
  refused(tmp_path, r"003.dcm: lies .* mm off the even grid")


ODD = {
  "matrix": (np.zeros((7, 4), np.int16), {}, r"matrix .* \(7, 4\), the rest .* \(5, 4\)"),
  "orientation": (None, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "the orientation"),
  "pixel size": (None, {"PixelSpacing": [1, 1.5]}, r"pixel size \(1, 1.5\)"),
  "kind": (None, {"SOPClassUID": dicom_files.SORTS["MR"]}, "the kind MR Image Storage"),
  "patient": (None, {"PatientID": "somebody"}, "the patient somebody"),
  "frame": (None, {"FrameOfReferenceUID": "1.9"}, "frame of reference 1.9"),
  "position": (None, {"ImagePositionPatient": None}, r"no position .* in 1 of 7 images"),
  "colour": (np.zeros((5, 4, 3), np.uint8), {}, "photometric interpretation"),
}


@pytest.mark.parametrize("what", ODD)
def test_a_file_that_does_not_fit_is_named(tmp_path, what):
  pixels, tags, message = ODD[what]
  write_series(tmp_path, volume())
  placed = {
    "ImagePositionPatient": [0, 0, 12],
    "ImageOrientationPatient": list(dicom_files.AXIAL),
    "PixelSpacing": [1, 1],
  }
  pixels = volume()[0] if pixels is None else pixels
  save(tmp_path / "odd.dcm", dataset(pixels, **(placed | tags)))
  refused(tmp_path, f"odd.dcm: .*{message}")


TWICE = {
  "TemporalPositionIdentifier": (1, 2),
  "EchoTime": (2.5, 5),
  "AcquisitionNumber": (1, 2),
  "DiffusionBValue": (0, 1000),
  "TriggerTime": (0, 40),
}


@pytest.mark.parametrize("tag", TWICE)
def test_two_slices_at_one_place_are_told_with_what_differs(tmp_path, tag):
  for t, value in enumerate(TWICE[tag]):
    write_series(tmp_path, volume(seed=t), names=f"{t}_{{:03d}}.dcm", **{tag: value})
  one, two = TWICE[tag]
  refused(tmp_path, f"share a place .*0_000.dcm and 1_000.dcm; .*{tag} {one}.* and {two}")


def test_time_points_with_places_that_differ_a_little_are_no_volume_of_both(tmp_path):
  for t in range(2):
    write_series(tmp_path, volume(seed=t), names=f"{t}_{{:03d}}.dcm", start=(0, 0, 0.01 * t))
  refused(tmp_path, "share a place")


def test_frames_at_one_place_in_one_file_are_told(tmp_path):
  places = [(0, 0, 2.0 * (i % 3)) for i in range(6)]
  save(tmp_path / "a.dcm", enhanced(volume(), positions=places))
  refused(tmp_path / "a.dcm", "share a place")


def test_a_copied_file_counts_once_and_another_of_the_same_name_does_not(tmp_path):
  files = write_series(tmp_path, volume())
  shutil.copy(files[2], tmp_path / "copy of 2.dcm")
  image, geometry = read_image(tmp_path)
  np.testing.assert_array_equal(image[..., 0], volume())
  assert geometry.spacing[0] == 2
  data = pydicom.dcmread(files[2])
  data.PixelData = bytes(len(data.PixelData))
  save(tmp_path / "copy of 2.dcm", data)
  refused(tmp_path, "share a place")


def test_what_is_no_scan_is_skipped_with_a_word(tmp_path):
  write_series(tmp_path, volume())
  for sort, name in (
    ("1.2.840.10008.5.1.4.1.1.66.4", "seg"),
    ("1.2.840.10008.5.1.4.1.1.88.11", "sr"),
  ):
    save(tmp_path / f"{name}.dcm", dataset(volume()[0], sort=sort, series="9"))
  scout = dataset(volume()[0], series="9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
  save(tmp_path / "scout.dcm", scout)
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())
  found = dicom.find_series(sorted(tmp_path.iterdir()))
  told = {file.stem: why for file, why in found.skipped.items()}
  assert told == {
    "seg": "is a Segmentation, not a scan",
    "sr": "is a Basic Text SR, not a scan",
    "scout": "is a localizer, to plan the scan on",
  }
  refused(tmp_path / "sr.dcm", "sr.dcm: is a Basic Text SR, not a scan; give the scan itself")


@pytest.mark.parametrize("name", ["{}", "IM{}", "{}.IMA", "{}.DCM", "slice {}.001"])
def test_the_ending_does_not_matter(tmp_path, name):
  write_series(tmp_path, volume(), names=name)
  for other in ("notes.txt", "DICOMDIR", ".DS_Store"):
    (tmp_path / other).write_bytes(b"abc" * 100)
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())


@pytest.mark.parametrize("end", [400, -50])
def test_a_file_that_was_cut_off_is_named(tmp_path, end):
  files = write_series(tmp_path, volume())
  files[5].write_bytes(files[5].read_bytes()[:end])
  refused(tmp_path, "005.dcm: cannot be read as DICOM .*copy it again, or remove it")


@pytest.mark.parametrize(
  ("tags", "message"),
  [
    ({"PixelSpacing": None}, "no pixel size"),
    ({"PixelSpacing": [0, 1]}, "pixel size is .* expected positive"),
    ({"ImageOrientationPatient": None}, "no orientation"),
    ({"ImageOrientationPatient": [0] * 6}, "not two directions at right angles"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two directions at right angles"),
    ({"ImagePositionPatient": None}, r"no position .* in 6 of 6 images"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic of slices in one picture"),
    ({"RescaleSlope": 0}, "give no units"),
  ],
)
def test_headers_that_make_no_volume_are_told(tmp_path, tags, message):
  write_series(tmp_path, volume(), **tags)
  with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.*dcm: .*{message}"):
    read_image(tmp_path, rank=3)


def test_a_frame_of_reference_that_a_converter_made_up_for_each_file_says_nothing(tmp_path):
  write_series(tmp_path, volume(), each=lambda i: {"FrameOfReferenceUID": f"1.2.{i}"})
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())


def test_films_are_told(tmp_path):
  save(tmp_path / "film.dcm", dataset(np.zeros((3, 5, 4), np.uint8), sort="US"))
  refused(tmp_path / "film.dcm", r"film.dcm: .* 3 frames without positions of their own")


def test_labels_may_be_dicom_but_segmentation_objects_are_told(tmp_path):
  mask = (volume() > 60).astype(np.uint8)
  write_series(tmp_path / "mask", mask)
  np.testing.assert_array_equal(read_label(tmp_path / "mask")[0], mask)


def test_a_series_in_several_folders_is_joined_where_only_the_whole_is_even(tmp_path):
  for part in range(3):
    write_series(
      tmp_path / f"part{part}", volume((9, 5, 4))[part::3], start=(0, 0, 2 * part), step=(0, 0, 6)
    )
  write_series(tmp_path / "other", volume(), step=(0, 0, 2))
  parts = [
    series
    for folder in sorted(tmp_path.glob("part*"))
    for series in dicom.find_series(sorted(folder.iterdir())).series
  ]
  (whole,), notes = dicom.joined(parts)
  np.testing.assert_array_equal(dicom.read_series(whole)[0][..., 0], volume((9, 5, 4)))
  assert whole.folder == tmp_path
  assert not notes
  other = dicom.find_series(sorted((tmp_path / "other").iterdir())).series
  apart, notes = dicom.joined([*parts, *other])
  assert len(apart) == 4
  assert "bear one series UID" in notes[0]
