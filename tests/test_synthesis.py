"""Images that are made of images or labels: from a config to files, and what is refused."""

import json

import numpy as np
import optax
import pytest
from flax import linen as nn
from made_images import SOURCE, TASK, config

from jaxseg import loop, methods
from jaxseg.data import read_image, write_image
from jaxseg.data.prepared.normalise import undone
from jaxseg.data.sources.phantom import phantom
from jaxseg.evaluation import held_out
from jaxseg.evaluation.while_training import validate
from jaxseg.experiment import experiment
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.regression import regression
from jaxseg.metrics.image import mae
from jaxseg.report import views
from jaxseg.runs.first_stage import folds_of
from jaxseg.runs.folder import identity, record
from jaxseg.runs.load import load
from jaxseg.verbs.find_best import find_best
from jaxseg.verbs.predict import main as predict
from jaxseg.verbs.report import report


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared):
  workdir = tmp_path_factory.mktemp("run")
  run = experiment(config(prepared))
  return run, workdir, loop.train(run, workdir)


def test_a_sample_holds_the_inputs_and_what_is_to_be_made(trained):
  run, _, _ = trained
  raw = phantom(**{k: v for k, v in SOURCE.items() if k != "name"}).read(run.main.dataset.names[0])
  sample = run.main.dataset.load(0)
  assert run.main.dataset.channels == ("t1", "pd")
  assert sample["image"].shape == (24, 20, 2)
  scheme = run.targets["t2"]
  assert scheme["name"] == "standard"
  expected = (raw.image[..., 1] - scheme["mean"]) / scheme["std"]
  np.testing.assert_allclose(sample["target_image"][..., 0], expected, atol=1e-5)
  part = run.main.dataset.crop(0, (2, 3), (5, 6))
  np.testing.assert_array_equal(part["target_image"], sample["target_image"][2:7, 3:9])


def test_the_numbers_of_a_target_are_those_of_the_training_cases(trained):
  run, _, _ = trained
  read = phantom(**{k: v for k, v in SOURCE.items() if k != "name"}).read
  values = np.stack([read(run.main.dataset.names[i]).image[..., 1] for i in run.main.cases])
  assert run.targets["t2"]["mean"] == pytest.approx(values.mean(dtype=np.float64), rel=1e-6)
  assert run.targets["t2"]["std"] == pytest.approx(values.std(dtype=np.float64), rel=1e-6)


def test_what_is_written_has_the_reported_scores(trained):
  run, workdir, told = trained
  for name in (run.main.dataset.names[i] for i in run.validation):
    made, geometry = read_image(workdir / "validation" / f"{name}.nii.gz")
    raw = run.read(name)
    assert made.dtype == np.float32
    np.testing.assert_allclose(geometry.affine, raw.geometry.affine)
    expected = mae(made[..., 0], raw.image[..., 1])
    assert told["cases"][name]["mae"]["t2"] == pytest.approx(expected, rel=1e-5)
    assert set(told["cases"][name]) == {"psnr", "ssim", "mae", "mse"}
  # nothing is resampled: both grids have the same scores
  scored = held_out.read_scores(workdir)["cases"]
  for case in scored.values():
    assert case["network"]["psnr"]["t2"] == pytest.approx(case["own"]["psnr"]["t2"], rel=1e-4)
  assert told["best_checkpoint"]["metric"] == "psnr"
  row = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  assert row["validation/psnr"] == pytest.approx(told["validation"]["mean"]["psnr"], rel=1e-4)


def test_a_run_folder_alone_makes_of_its_inputs_what_validation_made(trained, tmp_path):
  run, workdir, _ = trained
  name = run.main.dataset.names[run.validation[0]]
  raw = run.read(name)
  for channel, place in ((0, "0000"), (2, "0001")):
    image = raw.image[..., channel]
    write_image(tmp_path / "in" / f"{name}_{place}.nii.gz", image, raw.geometry)
  arguments = ["--workdir", str(workdir), "--input", str(tmp_path / "in")]
  predict([*arguments, "--output", str(tmp_path / "out")])
  made, _ = read_image(tmp_path / "out" / f"{name}.nii.gz")
  expected, _ = read_image(workdir / "validation" / f"{name}.nii.gz")
  np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)
  assert not (tmp_path / "out" / "labels.json").exists()
  for option in ("--overlay", "--probabilities"):
    with pytest.raises(SystemExit, match=f"{option}: is of segmentations"):
      predict([*arguments, "--output", str(tmp_path / "out"), option])


def test_the_page_shows_images_beside_each_other_and_ranks_by_what_judged(trained, tmp_path):
  _, workdir, told = trained
  page = report(workdir, tmp_path / "report")
  assert page["foreground"]["psnr"] == pytest.approx(told["validation"]["mean"]["psnr"])
  text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
  assert "mean PSNR over channels" in text
  assert "Dice" not in text
  name = next(iter(told["cases"]))
  seen = views.load(workdir / "validation" / "views", name)
  assert not seen.classes
  assert seen.picture(0).shape[0] == 240


def test_runs_that_make_other_channels_of_the_same_cases_are_two_runs(prepared, tmp_path):
  for target, inputs in (("t2", ("t1", "pd")), ("pd", ("t1", "t2"))):
    task = dict(TASK, inputs=inputs, targets=(target,))
    (tmp_path / target).mkdir()
    record(tmp_path / target, experiment(config(prepared, task=task)))
  assert identity(tmp_path / "t2") != identity(tmp_path / "pd")


def test_find_best_compares_segmentations_alone(trained, tmp_path):
  with pytest.raises(ValueError, match="makes images, and find-best compares segmentations"):
    find_best([trained[1]], tmp_path)


def test_a_run_that_makes_images_is_no_first_stage_of_a_cascade(trained):
  with pytest.raises(ValueError, match="makes images; expected the run of a first stage"):
    folds_of({"run": str(trained[1])})


def test_folds_whose_numbers_differ_are_averaged_as_intensities(trained, tmp_path):
  import shutil

  run, workdir, _ = trained
  own, other = tmp_path / "fold_0", tmp_path / "fold_1"
  shutil.copytree(workdir, own)
  shutil.copytree(workdir, other)
  told = json.loads((other / "dataset.json").read_text())
  told["targets"]["t2"] |= {"mean": 0.0, "std": 1.0}
  del told["digests"]
  (other / "dataset.json").write_text(json.dumps(told))
  both = load([own, other])
  sample = run.main.dataset.load(0)
  from jaxseg.batch import inputs
  from jaxseg.inference import Case

  case = Case(inputs(sample))
  first, second = load(own).logits(case), load(other).logits(case)
  np.testing.assert_allclose(first, undone(second, run.targets["t2"]), rtol=1e-4, atol=1e-2)
  np.testing.assert_allclose(both.logits(case), (first + second) / 2, rtol=1e-4, atol=1e-2)


def test_an_image_is_made_of_a_label_and_predicted_of_a_label_file(prepared, tmp_path):
  made_of_label = dict(name="synthesis", inputs="label", targets=("t1", "t2"), data_range=800.0)
  run = experiment(config(prepared, task=made_of_label, loss=dict(l2=dict())))
  sample = run.main.dataset.load(0)
  assert sample["image"].shape == (24, 20, 7)
  np.testing.assert_array_equal(sample["image"].argmax(-1), sample["label"])
  told = loop.train(run, tmp_path / "run")
  assert set(told["validation"]["classes"]["psnr"]) == {"t1", "t2"}
  name = run.main.dataset.names[run.validation[0]]
  raw = run.read(name)
  write_image(tmp_path / "in" / "slice.nii.gz", raw.label, raw.geometry)
  arguments = ["--workdir", str(tmp_path / "run"), "--input", str(tmp_path / "in")]
  predict([*arguments, "--output", str(tmp_path / "out")])
  made, _ = read_image(tmp_path / "out" / "slice.nii.gz")
  assert made.shape == (1, 24, 20, 2)  # NIfTI has its channels in the fourth axis
  expected, _ = read_image(tmp_path / "run" / "validation" / f"{name}.nii.gz")
  np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)


def test_volumes_are_made_by_windows_that_are_averaged(prepared):
  changes = dict(data__patch=(8, 16, 16), predictor=dict(name="sliding_window", overlap=0.5))
  source = {**SOURCE, "size": (10, 20, 18), "spacing": (3.0, 1.0, 1.0)}
  run = experiment(config(prepared, data__source=source, **changes))

  def identity(state, batch):
    del state
    return {"image": batch["image"][..., :1] * 2 + 1}

  seen = run.predict(lambda batch: identity(None, batch), _case(run.main.dataset.load(0)))
  np.testing.assert_allclose(
    seen, run.main.dataset.load(0)["image"][..., :1] * 2 + 1, rtol=1e-4, atol=1e-4
  )
  scores = validate(run, identity, None, [run.watched_cases[0]._replace(cases=(0,))])
  assert scores.metrics == ("psnr", "ssim", "mae")
  assert np.isfinite(scores.mean)


def _case(sample):
  from jaxseg.batch import inputs
  from jaxseg.inference import Case

  return Case(inputs(sample))


def test_cases_without_labels_train_where_labels_are_no_input(prepared, tmp_path):
  source = phantom(**{k: v for k, v in SOURCE.items() if k != "name"})
  raw_folder = tmp_path / "Dataset001_Phantom"
  for name in source.cases:
    raw = source.read(name)
    for channel in range(3):
      path = raw_folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
      write_image(path, raw.image[..., channel][None], _volume(raw))
  (raw_folder / "dataset.json").write_text(
    json.dumps(
      {
        "channel_names": {"0": "t1", "1": "t2", "2": "pd"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
      }
    )
  )
  of_files = dict(name="nnunet_raw", path=str(raw_folder), labelled=False)
  changes = dict(data__source=of_files, data__slices=0, predictor=dict(name="slices"))
  run = experiment(config(prepared, **changes))
  assert len(run.main.cases) == 4
  assert "label" not in run.main.dataset.load(0)
  told = loop.train(run, tmp_path / "run")
  assert np.isfinite(told["validation"]["mean"]["mae"])
  with pytest.raises(ValueError, match="label"):
    experiment(config(prepared, task={**TASK, "inputs": "label"}, **changes))


def _volume(raw):
  from jaxseg.data.formats.geometry import plain_geometry

  return plain_geometry((1, *raw.image.shape[:-1]), (1.0, 1.0, 1.0))


def test_the_unlabelled_rest_has_no_image_that_is_to_be_made(prepared, monkeypatch):
  entries = set()

  def halved(network: nn.Module, loss: Loss, optimiser: optax.GradientTransformation) -> Method:
    """Regression, and the mean of what a stream holds: exists only here."""
    scheme = regression(network, loss, optimiser)

    def train_step(state, batch, key):
      rest = batch.pop("rest")
      entries.update(rest)
      state, metrics = scheme.train_step(state, batch, key)
      return state, {**metrics, "rest": rest["image"].mean()}

    return scheme._replace(train_step=train_step)

  monkeypatch.setitem(methods.METHODS, "halved", halved)
  made = config(prepared, method=dict(name="halved"), streams=dict(rest=dict(cases="unlabelled")))
  made.data.split = dict(name="kfold", fold=0, folds=5, labelled=2)
  run = experiment(made)
  assert entries == {"image", "spacing"}
  assert set(run.streams["rest"].dataset.load(0)) == {"image", "spacing"}
  assert "target_image" in run.main.dataset.load(run.main.cases[0])
