"""Which files make which case, in a file, a folder and the folders in it."""

import os
import pathlib
import re

import numpy as np
import pytest
from dicom_files import dataset, save, volume, write_series

from jaxseg.data import write_image
from jaxseg.data.formats import dicom
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.case_files import find_cases
from jaxseg.data.sources.read_case import read_case


def write(path, value=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == ".png":
    write_image(path, np.full((5, 6), value, np.uint8), plain_geometry((5, 6), kind="picture"))
  else:
    write_image(path, np.full((4, 5, 6), value, np.float32), plain_geometry((4, 5, 6)))


def names(path, **options):
  return list(find_cases(path, **options).cases)


def test_images_are_found_at_any_depth_and_bear_their_folders_names(tmp_path):
  for file in ("sub-10/anat/t1.nii.gz", "sub-2/anat/t1.nii.gz", "sub-3/t1.nii", "top.mha"):
    write(tmp_path / file)
  (tmp_path / "sub-4").mkdir()
  found = find_cases(tmp_path)
  assert list(found.cases) == ["sub-2_anat_t1", "sub-3_t1", "sub-10_anat_t1", "top"]
  assert found.notes == (f"{tmp_path / 'sub-4'}: holds no image",)


def test_patients_studies_and_series_are_found_at_any_depth(tmp_path):
  for patient in "12":
    folder = tmp_path / f"p{patient}" / "study" / "series"
    write_series(folder, volume(seed=int(patient)), series=f"1.2.{patient}", names="IM{}")
  save(tmp_path / "DICOMDIR", dataset(volume()[0], sort="1.2.840.10008.1.3.10"))
  found = find_cases(tmp_path, rank=3, channels=("CT",))
  assert list(found.cases) == ["p1_study_series", "p2_study_series"]
  assert not found.notes
  for patient in "12":
    image = read_case(found.cases[f"p{patient}_study_series"], rank=3).image
    np.testing.assert_array_equal(image[..., 0], volume(seed=int(patient)))


def test_series_in_one_folder_are_cases_of_their_own(tmp_path):
  for i, text in enumerate(("Thorax 1.0/B30", "Thorax 1.0/B30", "Hals*")):
    tags = {"SeriesNumber": 2 + i // 2, "SeriesDescription": text}
    write_series(tmp_path / "p", volume(seed=i), series=f"1.2.{i}", names=f"{i}_{{}}", **tags)
  assert names(tmp_path) == ["p_2_Thorax_1.0_B30", "p_2_Thorax_1.0_B30-2", "p_3_Hals"]
  assert names(tmp_path / "p") == ["2_Thorax_1.0_B30", "2_Thorax_1.0_B30-2", "3_Hals"]


def test_the_folder_of_one_series_gives_its_name(tmp_path, monkeypatch):
  write_series(tmp_path / "scan", volume())
  assert names(tmp_path / "scan") == ["scan"]
  monkeypatch.chdir(tmp_path / "scan")
  assert names(".") == ["scan"]


def test_what_lies_beside_slices_is_not_the_scan(tmp_path):
  write_series(tmp_path, volume())
  write(tmp_path / "preview.png")
  write(tmp_path / "segmentation.nii.gz")
  for other in ("notes.txt", ".DS_Store", "Thumbs.db", "DICOMDIR", "._000.dcm", "x.json"):
    (tmp_path / other).write_bytes(b"\0" * 200)
  found = find_cases(tmp_path)
  (case,) = found.cases.values()
  np.testing.assert_array_equal(read_case(case).image[..., 0], volume())
  assert len(found.notes) == 1
  assert re.search(
    r"preview.png, .*segmentation.nii.gz: lies beside a DICOM series", found.notes[0]
  )


def test_files_that_are_no_images_are_named(tmp_path):
  write(tmp_path / "a.nii")
  for other in ("b.doc", "c.zip", "d.json", "e.nii.part", "f.hdr", "f.img", "g.mgz"):
    (tmp_path / other).write_bytes(b"words" * 40)
  notes = find_cases(tmp_path).notes
  assert [note.replace(f"{tmp_path}/", "") for note in notes] == [
    "b.doc, e.nii.part: is no image",
    "c.zip: is an archive: unpack it",
    "f.hdr, f.img, g.mgz: is of a format that is not read: convert it, a volume to NIfTI (.nii.gz)",
  ]


def test_x_rays_without_a_position_are_images_of_their_own(tmp_path):
  for name in ("a.dcm", "b.dcm", "c"):
    save(tmp_path / name, dataset(volume()[0], sort="DX"))
  write(tmp_path / "d.png")
  found = find_cases(tmp_path, rank=2)
  assert list(found.cases) == ["a", "b", "c", "d"]
  assert read_case(found.cases["b"], rank=2).image.shape == (5, 4, 1)
  assert names(tmp_path / "c") == ["c"]


def test_screens_and_reports_beside_a_scan_are_skipped_with_a_word(tmp_path):
  write_series(tmp_path / "ct", volume())
  save(tmp_path / "dose" / "1.dcm", dataset(np.zeros((5, 4, 3), np.uint8), sort="OT", series="7"))
  save(tmp_path / "sr" / "1.dcm", dataset(volume()[0], sort="1.2.840.10008.5.1.4.1.1.88.11"))
  found = find_cases(tmp_path, rank=3)
  assert list(found.cases) == ["ct"]
  assert [note.split(": ", 1)[1] for note in found.notes] == [
    "is a picture of a screen, not a scan",
    "is a Basic Text SR, not a scan",
  ]


def test_a_damaged_slice_refuses_the_series_of_its_folder_alone(tmp_path):
  for name in "ab":
    files = write_series(tmp_path / name, volume(), series=f"1.{ord(name)}")
  files[5].write_bytes(b"")
  found = find_cases(tmp_path, rank=3)
  assert not found.cases["a"].problem
  with pytest.raises(ValueError, match=r"005.dcm: cannot be read as DICOM"):
    read_case(found.cases["b"], rank=3)


def test_two_files_of_one_name_are_told_and_the_others_stay(tmp_path):
  for file in ("x.nii", "x.nii.gz", "y.nii"):
    write(tmp_path / file)
  found = find_cases(tmp_path, channels=("T1", "T2"))
  assert not found.cases["y"].problem
  assert re.search(r"x.nii and x.nii.gz, several files of one name", found.cases["x"].problem)


def test_gaps_among_channel_files_are_told_before_anything_is_read(tmp_path):
  for file in (
    "x_0000.nii",
    "x_0002.nii",
    "s/y_0000.nii",
    "s/y_0001.nii",
    "z.nii",
    "v_0001_0000.nii",
  ):
    write(tmp_path / file)
  found = find_cases(tmp_path, channels=("T1", "T2"))
  assert list(found.cases) == ["s_y", "v_0001", "x", "z"]
  problems = {name: case.problem for name, case in found.cases.items() if case.problem}
  assert list(problems) == ["x"]
  assert re.search(r"x_0000.nii, x_0002.nii; expected one per channel \(T1, T2\)", problems["x"])


def test_no_two_segmentations_share_a_name(tmp_path):
  for file in ("a_b/c.nii", "a/b_c.nii", "x.png", "x_overlay.png"):
    write(tmp_path / file)
  found = find_cases(tmp_path)
  assert list(found.cases) == ["a_b_c", "a_b_c-2", "x", "x_overlay-2"]
  assert len(found.notes) == 2
  assert "x_overlay.png: its segmentation is called 'x_overlay-2'" in found.notes[1]


def test_long_names_of_deep_folders_are_cut(tmp_path):
  folder = tmp_path.joinpath(*["längliche Ordner" * 4] * 8)
  write(folder / "scan.nii")
  (name,) = names(tmp_path)
  assert name.endswith("_scan")
  assert len(name.encode()) <= 180


def test_segmentations_that_were_written_into_a_folder_below_are_no_scans(tmp_path):
  write(tmp_path / "a.nii")
  write(tmp_path / "out" / "a.nii.gz")
  assert names(tmp_path, output=tmp_path / "out") == ["a", "out_a"]
  (tmp_path / "out" / "labels.json").write_text("{}")
  assert names(tmp_path, output=tmp_path / "out") == ["a"]


def test_linked_folders_count_once_and_circles_end(tmp_path):
  write(tmp_path / "data" / "a.nii")
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "s").symlink_to(tmp_path / "data")
  (tmp_path / "in" / "s" / "up").symlink_to(tmp_path / "in")
  assert names(tmp_path / "in") == ["s_a"]


def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch):
  for name in "ab":
    write_series(tmp_path / name, volume(), series=f"1.{ord(name)}", names="IM{}")
  (tmp_path / "lost.nii").symlink_to(tmp_path / "gone.nii")
  opened = pathlib.Path.open

  def refuse(path, *arguments, **options):
    if path.name == "IM5" and path.parent.name == "b":
      raise PermissionError(13, "Permission denied", str(path))
    return opened(path, *arguments, **options)

  monkeypatch.setattr(pathlib.Path, "open", refuse)
  monkeypatch.setattr(dicom.headers.pydicom, "dcmread", reading(dicom.headers.pydicom.dcmread))
  found = find_cases(tmp_path)
  assert not found.cases["a"].problem
  assert re.search(r"Permission denied: '.*b/IM5'", found.cases["b"].problem)
  assert found.notes == (f"{tmp_path / 'lost.nii'}: leads nowhere",)


def reading(dcmread):
  """pydicom's reader, which opens files by Python's own function, made to ask pathlib's."""

  def read(path, **options):
    with path.open("rb"):
      return dcmread(path, **options)

  return read


def test_folders_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
  write(tmp_path / "a.nii")
  (tmp_path / "closed").mkdir()
  scandir = os.scandir

  def refuse(path):
    if str(path).endswith("closed"):
      raise PermissionError(13, "Permission denied", str(path))
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)
  assert find_cases(tmp_path).notes == (
    f"{tmp_path / 'closed'}: cannot be opened (Permission denied)",
  )


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_archives_are_told(tmp_path, name):
  (tmp_path / name).write_bytes(b"PK" * 100)
  with pytest.raises(ValueError, match=f"{name}: is an archive; unpack it"):
    find_cases(tmp_path / name)


def test_a_training_set_is_told(tmp_path):
  write(tmp_path / "imagesTr" / "a_0000.nii")
  (tmp_path / "dataset.json").write_text("{}")
  with pytest.raises(ValueError, match="is a training set, with labels beside its images"):
    find_cases(tmp_path)


def test_a_folder_without_images_is_told_with_what_it_holds(tmp_path):
  save(tmp_path / "a.dcm", dataset(volume()[0], sort="1.2.840.10008.5.1.4.1.1.88.11"))
  with pytest.raises(ValueError, match=r"holds no image \(.*a.dcm: is a Basic Text SR, not a scan"):
    find_cases(tmp_path)
  with pytest.raises(FileNotFoundError, match="no such file or folder"):
    find_cases(tmp_path / "gone")
