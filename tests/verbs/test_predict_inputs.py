"""predict on what users bring: DICOM trees, folders of subjects, channel files, cases that fail."""

import re

import nibabel as nib
import numpy as np
import pytest
import run_folders
from dicom_files import dataset, save, standards_affine, volume, write_series

from jaxseg.inference.segmentation import Segmentation
from jaxseg.verbs import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return run_folders.write(tmp_path_factory.mktemp("run") / "r", rank=3)


@pytest.fixture
def quick(monkeypatch):
  """Segmentations without a network: which files are read and written is what counts here."""

  def blank(models, raw, where, **options):
    return Segmentation(np.zeros(raw.geometry.shape, np.int32))

  monkeypatch.setattr(predict, "segment", blank)


def main(run, source, output, *options):
  predict.main(["--workdir", str(run), "--input", str(source), "--output", str(output), *options])


def segmentations(folder):
  return sorted(file.name for file in folder.glob("*.nii.gz"))


def test_a_tree_of_patients_is_segmented_where_the_scans_lie(run, tmp_path):
  angle = np.deg2rad(15)
  tilted = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
  tree = tmp_path / "in"
  write_series(tree / "p1" / "study" / "s", volume((9, 8, 10)), series="1.1", spacing=(0.5, 0.7))
  files = write_series(
    tree / "p2" / "study" / "s",
    volume((9, 8, 10)),
    series="1.2",
    orientation=tilted,
    start=(5, 6, 7),
  )
  main(run, tree, tmp_path / "out")
  assert segmentations(tmp_path / "out") == ["p1_study_s.nii.gz", "p2_study_s.nii.gz"]
  straight = nib.load(tmp_path / "out" / "p1_study_s.nii.gz")
  np.testing.assert_allclose(straight.affine, np.diag([-0.7, -0.5, 2, 1]), atol=1e-6)
  # the standard's equation for the first slice; the next lies 2 mm up the table
  first = np.diag([-1, -1, 1]) @ standards_affine(files[0])
  sheared = nib.load(tmp_path / "out" / "p2_study_s.nii.gz")
  np.testing.assert_allclose(sheared.affine[:3, [0, 1, 3]], first, atol=1e-6)
  np.testing.assert_allclose(sheared.affine[:3, 2], (0, 0, 2), atol=1e-6)
  assert sheared.shape == (10, 8, 9)


def test_a_scout_among_the_slices_refuses_its_series_alone(run, quick, tmp_path, capsys):
  for name in "ab":
    write_series(tmp_path / "in" / name, volume((9, 8, 10)), series=f"1.{ord(name)}")
  scout = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
  pixels = volume((1, 30, 32))[0]
  save(
    tmp_path / "in" / "a" / "scout", dataset(pixels, series="1.97", PixelSpacing=[1, 1], **scout)
  )
  with pytest.raises(SystemExit, match=r"a/scout: has the matrix(.|\n)*1 of 2 case\(s\) not segm"):
    main(run, tmp_path / "in", tmp_path / "out")
  assert segmentations(tmp_path / "out") == ["b.nii.gz"]
  assert "1 case(s) written" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (RuntimeError("in C++\nwith a stack"), r"failed with RuntimeError: in C\+\+$"),
    (MemoryError(), "does not fit into memory"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "does not fit into memory"),
    (KeyError("x"), "failed with KeyError: 'x'"),
    (ValueError("of no file"), "of no file"),
  ],
)
def test_no_kind_of_failure_keeps_the_others_from_being_segmented(
  run, quick, tmp_path, monkeypatch, error, message
):
  for name in "abc":
    write_series(tmp_path / "in" / name, volume((9, 8, 10)), series=f"1.{ord(name)}")
  segment = predict.segment

  def failing(models, raw, where, **options):
    if "/b/" in where:
      raise error
    return segment(models, raw, where, **options)

  monkeypatch.setattr(predict, "segment", failing)
  with pytest.raises(SystemExit) as told:
    main(run, tmp_path / "in", tmp_path / "out")
  first, last = str(told.value).splitlines()
  assert last == "predict: 1 of 3 case(s) not segmented, see above."
  assert first.startswith(f"predict: {tmp_path / 'in' / 'b' / '000.dcm'} (case 'b'): ")
  assert re.match(message, first.split("(case 'b'): ")[1])
  assert segmentations(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]


def test_what_was_left_out_is_said(run, quick, tmp_path, capsys):
  write_series(tmp_path / "in" / "scan", volume((9, 8, 10)))
  (tmp_path / "in" / "scan" / "preview.png").write_bytes(b"x")
  (tmp_path / "in" / "empty").mkdir()
  main(run, tmp_path / "in", tmp_path / "in" / "out")
  first = capsys.readouterr().err
  assert "predict: note: " in first
  assert "preview.png: lies beside a DICOM series, is not the scan.\n" in first
  assert "empty: holds no image.\n" in first
  # once more, with segmentations in a folder below the scans
  main(run, tmp_path / "in", tmp_path / "in" / "out")
  assert segmentations(tmp_path / "in" / "out") == ["scan.nii.gz"]


def test_an_image_of_one_value_is_told(run, quick, tmp_path, capsys):
  for name, voxels in (("a", np.zeros((6, 7, 8), np.int16)), ("b", volume((6, 7, 8)))):
    (tmp_path / "in").mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "in" / f"{name}.nii.gz")
  main(run, tmp_path / "in", tmp_path / "out")
  (line,) = [line for line in capsys.readouterr().err.splitlines() if "one value" in line]
  assert line.startswith("predict: note: a: one value everywhere in ")
  assert segmentations(tmp_path / "out") == ["a.nii.gz", "b.nii.gz"]


def test_channel_files_with_a_gap_are_told_before_any_is_segmented(run, quick, tmp_path):
  for name in ("x_0000.nii.gz", "x_0001.nii.gz", "y.nii.gz", "y.nii", "z.nii.gz"):
    nib.save(nib.Nifti1Image(np.zeros((9, 8, 10), np.float32), np.eye(4)), tmp_path / name)
  with pytest.raises(SystemExit) as told:
    main(run, tmp_path, tmp_path / "out")
  words = str(told.value)
  assert "case 'x' has the image files x_0000.nii.gz, x_0001.nii.gz; expected one per" in words
  assert "case 'y' has y.nii and y.nii.gz, several files of one name" in words
  assert segmentations(tmp_path / "out") == ["z.nii.gz"]


def test_a_single_slice_is_told_where_volumes_are_expected(run, tmp_path):
  write_series(tmp_path / "in", volume((9, 8, 10)))
  with pytest.raises(SystemExit, match=r"000.dcm: is one slice alone, expected a volume; give the"):
    main(run, tmp_path / "in" / "000.dcm", tmp_path / "out")


def test_a_volume_is_told_where_pictures_are_expected_and_an_x_ray_is_segmented(quick, tmp_path):
  flat = run_folders.write(tmp_path / "flat", rank=2)
  write_series(tmp_path / "ct", volume((9, 8, 10)))
  with pytest.raises(SystemExit, match=r"has 3 spatial axes .* trained on cases with 2"):
    main(flat, tmp_path / "ct", tmp_path / "out")
  pixels = volume((1, 40, 36))[0]
  save(tmp_path / "x" / "a.dcm", dataset(pixels, sort="DX", ImagerPixelSpacing=[0.2, 0.1]))
  save(tmp_path / "x" / "b.dcm", dataset(pixels, sort="DX"))
  main(flat, tmp_path / "x", tmp_path / "out")
  written = nib.load(tmp_path / "out" / "a.nii.gz")
  assert written.shape == (36, 40)
  np.testing.assert_allclose(np.abs(np.diag(written.affine))[:2], (0.1, 0.2), rtol=1e-6)
  assert (tmp_path / "out" / "b.png").is_file()
