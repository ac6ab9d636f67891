"""predict: geometry, stored values, channels, ranks, a run folder alone."""

import json
import shutil

import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pytest
import run_folders
import tiny

from jaxseg import loop
from jaxseg.verbs import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A trained 3D run, moved away from where it was trained."""
  workdir = tmp_path_factory.mktemp("run")
  loop.train(tiny.experiment(rank=3, steps=2), workdir / "here")
  shutil.move(workdir / "here", workdir / "elsewhere")
  return workdir / "elsewhere"


AFFINE = np.array([[0, 0, 2.0, 5], [-1.5, 0.2, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])


def image(path, shape=(20, 11, 33), channels=0):
  """A NIfTI with a sheared, permuted affine, larger than the patch along one axis."""
  voxels = np.random.default_rng(0).standard_normal((*shape, *([channels] if channels else [])))
  nib.save(nib.Nifti1Image(voxels.astype(np.float32), AFFINE), path)
  return path


def main(run, source, output, *options):
  predict.main(["--workdir", str(run), "--input", str(source), "--output", str(output), *options])


def test_output_has_the_inputs_geometry_and_the_stored_values(run, tmp_path):
  image(tmp_path / "scan.nii.gz")
  main(run, tmp_path / "scan.nii.gz", tmp_path / "out", "--overlay", "--probabilities")
  written = nib.load(tmp_path / "out" / "scan.nii.gz")
  np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
  assert written.shape == (20, 11, 33)
  assert set(np.unique(written.get_fdata())) <= {0, 5, 9}
  shares = np.load(tmp_path / "out" / "scan_probabilities.npz")["probabilities"]
  assert shares.shape == (33, 11, 20, 3)
  np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
  chosen = np.array([0, 5, 9])[shares.argmax(-1)]
  np.testing.assert_array_equal(chosen, written.get_fdata().transpose(2, 1, 0))
  assert (tmp_path / "out" / "scan_overlay.png").is_file()
  legend = json.loads((tmp_path / "out" / "labels.json").read_text())
  assert legend == {"background": 0, "dim": 5, "bright": 9}


def test_predictor_scores_as_validation_did(run):
  """What `predict` computes from the run folder is what training's own report scored."""
  model = predict.load(run)
  data = tiny.dataset(rank=3)
  from jaxseg import metrics
  from jaxseg.inference import Case

  report = json.loads((run / "report.json").read_text())["cases"]
  for index in (4, 5):
    sample = data.load(index)
    scores = model.logits(Case({"image": sample["image"], "spacing": sample["spacing"]}))
    counts = metrics.confusion(scores.argmax(-1).astype(np.int32), sample["label"], classes=3)
    expected = report[f"case_{index}"]["dice"]
    np.testing.assert_allclose(
      metrics.METRICS["dice"](counts)[1:], [expected["dim"], expected["bright"]], rtol=1e-6
    )


def test_a_folder_of_cases_and_the_best_checkpoint_with_mirroring(run, tmp_path):
  (tmp_path / "in").mkdir()
  for name in ("a_0000", "b_0000"):
    image(tmp_path / "in" / f"{name}.nii.gz", shape=(9, 8, 10))
  main(run, tmp_path / "in", tmp_path / "out", "--checkpoint", "best", "--mirror")
  assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda p: image(p / "x.nii.gz", channels=2), r"has 2 channel\(s\), but the checkpoint's"),
    (lambda p: image(p / "x.nii.gz", shape=(9, 9)), "has 2 spatial axes .*trained on cases with 3"),
    (lambda p: p / "missing.nii.gz", "missing.nii.gz: no such file or folder"),
    (lambda p: p, "holds no image"),
  ],
)
def test_what_the_network_cannot_take_is_told(run, tmp_path, make, message):
  (tmp_path / "in").mkdir()
  source = make(tmp_path / "in")
  with pytest.raises(SystemExit, match=message):
    main(run, source, tmp_path / "out")


def test_nan_voxels_are_refused(run, tmp_path):
  voxels = np.zeros((9, 9, 9), np.float32)
  voxels[2, 2, 2] = np.nan
  nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "x.nii.gz")
  with pytest.raises(SystemExit, match=r"x.nii.gz: 1 voxel\(s\) of the image are NaN"):
    main(run, tmp_path / "x.nii.gz", tmp_path / "out")


def test_a_damaged_case_does_not_keep_the_others_from_being_segmented(run, tmp_path, capsys):
  (tmp_path / "in").mkdir()
  for name in ("a_0000", "b_0000", "c_0000"):
    whole = image(tmp_path / "in" / f"{name}.nii.gz", shape=(9, 8, 10)).read_bytes()
  damaged = tmp_path / "in" / "b_0000.nii.gz"
  damaged.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(SystemExit, match=r"b_0000.nii.gz: (.|\n)*1 of 3 case\(s\) not segmented"):
    main(run, tmp_path / "in", tmp_path / "out")
  assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
  assert "2 case(s) written" in capsys.readouterr().out


def test_a_folder_that_is_no_run_and_an_output_that_cannot_be_made_are_told(run, tmp_path):
  source = image(tmp_path / "x.nii.gz")
  with pytest.raises(SystemExit, match=r"config.json: not found; give the folder of a run"):
    main(tmp_path, source, tmp_path / "out")
  (tmp_path / "file").write_text("")
  with pytest.raises(SystemExit, match=r"--output .*file: cannot be written"):
    main(run, source, tmp_path / "file")


def test_scans_are_not_overwritten_by_their_segmentations(run, tmp_path):
  scan = image(tmp_path / "x.nii.gz")
  before = scan.read_bytes()
  for source in (scan, tmp_path):
    with pytest.raises(SystemExit, match=r"--output .*: holds images of --input \(case 'x'\)"):
      main(run, source, tmp_path / "new" / "..")
  assert scan.read_bytes() == before


def test_pictures_have_the_millimetres_of_the_training_set(tmp_path, monkeypatch):
  source = {"name": "paired_folder", "images": "x", "masks": "x", "spacing": (0.5, 0.25)}
  folder = run_folders.write(tmp_path / "run", **{"data.source": source})
  grids = []
  monkeypatch.setattr(predict, "segment", lambda models, raw, *a, **o: grids.append(raw) or 1 / 0)
  imageio.imwrite(tmp_path / "x.png", np.zeros((20, 30, 3), np.uint8))
  with pytest.raises(SystemExit, match=r"x.png \(case 'x'\): failed with ZeroDivisionError"):
    main(folder, tmp_path / "x.png", tmp_path / "out")
  np.testing.assert_array_equal(grids[0].geometry.spacing, (0.5, 0.25))
  assert grids[0].image.shape == (20, 30, 1)


@pytest.mark.parametrize("size", [0, np.nan])
def test_voxels_without_a_size_are_refused(run, tmp_path, size):
  header = nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), np.eye(4)).header
  header["srow_x"], header["sform_code"] = (size, 0, 0, 0), 1
  # nibabel writes no such affine
  body = np.zeros((9, 9, 9), np.float32).tobytes()
  (tmp_path / "x.nii").write_bytes(header.binaryblock + bytes(4) + body)
  with pytest.raises(SystemExit, match=r"x.nii: .* a spacing of"):
    main(run, tmp_path / "x.nii", tmp_path / "out")


def test_a_run_that_was_not_trained_to_the_end_is_told(run, tmp_path, capsys):
  scan = image(tmp_path / "x.nii.gz", shape=(9, 8, 10))
  main(run, scan, tmp_path / "out")
  assert "note" not in capsys.readouterr().err
  half = tmp_path / "half"
  shutil.copytree(run, half)
  # nothing but config, data set and checkpoint is read
  for name in ("report.json", "versions.json"):
    (half / name).write_text("{")
  config = json.loads((half / "config.json").read_text())
  del config["digests"]
  config["steps"] += 1
  (half / "config.json").write_text(json.dumps(config))
  main(half, scan, tmp_path / "out")
  assert f"note: {half}: not trained to the end" in capsys.readouterr().err


def test_a_choice_among_the_training_sets_channels_is_told(run, tmp_path, capsys):
  chosen = tmp_path / "chosen"
  shutil.copytree(run, chosen)
  config = json.loads((chosen / "config.json").read_text())
  del config["digests"]
  config["data"]["source"] = {"name": "nnunet_raw", "path": "gone", "channels": ["T2", "T1"]}
  (chosen / "config.json").write_text(json.dumps(config))
  main(chosen, image(tmp_path / "x.nii.gz", shape=(9, 8, 10)), tmp_path / "out")
  assert "note: of the training set's channels" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "dataset.json"])
@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_run_folder_is_told(run, tmp_path, name, text):
  damaged = tmp_path / "damaged"
  shutil.copytree(run, damaged)
  (damaged / name).write_text(text)
  words = {"{": "is damaged or no JSON", "{}": "lacks '", "[]": "holds a list, expected an object"}
  with pytest.raises(SystemExit, match=f"{name}: {words[text]}"):
    main(damaged, image(tmp_path / "x.nii.gz"), tmp_path / "out")
