"""Two domains without pairs: from a config to files, the second stage, and what is refused."""

import json

import numpy as np
import pytest
import run_folders
from two_domains import CT, GENERATOR, HOUNSFIELD, MR, SIGNAL, UNET, cyclegan, second_stage, synseg

from jaxseg import data, loop
from jaxseg.data import read_image, write_image
from jaxseg.data.sources.phantom import phantom
from jaxseg.data.sources.translated import translated
from jaxseg.experiment import experiment
from jaxseg.metrics.image import mae
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.verbs.predict import main as predict
from jaxseg.verbs.report import report


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared):
  workdir = tmp_path_factory.mktemp("run")
  run = experiment(cyclegan(prepared))
  return run, workdir, loop.train(run, workdir)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory, prepared):
  workdir = tmp_path_factory.mktemp("segmenter")
  run = experiment(synseg(prepared))
  return run, workdir, loop.train(run, workdir)


def ct():
  return phantom(**{name: value for name, value in CT.items() if name != "name"})


def test_images_are_written_in_the_other_domains_units_and_scored_against_what_was_given(trained):
  run, workdir, told = trained
  assert run.targets == {"t1": {**SIGNAL}}
  name = run.main.dataset.names[run.validation[0]]
  made, geometry = read_image(workdir / "validation" / f"{name}.nii.gz")
  raw = run.read(name)
  np.testing.assert_allclose(geometry.affine, raw.geometry.affine)
  assert (made.min(), made.max()) >= (0, 0)
  assert made.max() <= 900
  given = 2 * (np.clip(raw.image, -1000, 450) + 1000) / 1450 - 1
  expected = mae(2 * made[..., 0] / 900 - 1, given[..., 0])
  assert told["cases"][name]["mae"]["t1"] == pytest.approx(expected, rel=1e-4)
  assert told["best_checkpoint"]["metric"] == "ssim"
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  row = next(row for row in rows if "critic_accuracy" in row)
  for metric in ("source_critic_accuracy", "source_cycle_loss", "target_cycle_loss"):
    assert np.isfinite(row[metric])
  assert np.isfinite(row["identity_loss"])


def test_the_run_folder_alone_translates_what_it_is_given(trained, tmp_path):
  run, workdir, _ = trained
  name = run.main.dataset.names[run.validation[0]]
  raw = run.read(name)
  write_image(tmp_path / "in" / f"{name}_0000.nii.gz", raw.image[..., 0], raw.geometry)
  arguments = ["--workdir", str(workdir), "--input", str(tmp_path / "in")]
  predict([*arguments, "--output", str(tmp_path / "out")])
  made, _ = read_image(tmp_path / "out" / f"{name}.nii.gz")
  expected, _ = read_image(workdir / "validation" / f"{name}.nii.gz")
  np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)
  with pytest.raises(SystemExit, match="--overlay: is of segmentations"):
    predict([*arguments, "--output", str(tmp_path / "out"), "--overlay"])
  text = report(workdir, tmp_path / "report")
  assert text["foreground"]["ssim"] is not None


def test_a_run_resumes_with_its_pools(trained, tmp_path):
  run, workdir, _ = trained
  parts = run_folders.back_at(1, workdir, tmp_path / "parts")
  loop.train(run, parts)
  tables = []
  for folder in (workdir, parts):
    kept = checkpoint.Checkpoints(folder)
    tables.append(kept.arrays(max(kept.steps)))
  assert any("extra" in name for name in tables[0])
  assert tables[0].keys() == tables[1].keys()
  for name, values in tables[0].items():
    np.testing.assert_array_equal(values, tables[1][name], err_msg=name)


def test_a_segmenter_of_the_joint_method_gives_labels(segmenter):
  run, workdir, told = segmenter
  name = run.main.dataset.names[run.validation[0]]
  made, _ = read_image(workdir / "validation" / f"{name}.nii.gz")
  assert set(np.unique(made)) <= set(run.main.dataset.labels.stored_values)
  assert np.isfinite(told["validation"]["mean"]["dice"])


def test_the_second_stage_learns_the_labels_on_translated_images(trained, prepared):
  run, workdir, _ = trained
  second = experiment(second_stage(prepared, workdir))
  source = translated(source=CT, run=str(workdir))
  assert source.channels == second.main.dataset.channels == ("t1",)
  assert source.cases == ct().cases
  raw, plain = source.read(source.cases[1]), ct().read(source.cases[1])
  np.testing.assert_array_equal(raw.label, plain.label)
  assert raw.image.shape == plain.image.shape
  assert np.abs(raw.image - plain.image).max() > 1
  name = run.main.dataset.names[run.validation[0]]
  made, _ = read_image(workdir / "validation" / f"{name}.nii.gz")
  np.testing.assert_allclose(source.read(name).image, made, rtol=1e-4, atol=1e-2)
  number = second.main.dataset.names.index(name)
  expected = 2 * made / 900 - 1
  np.testing.assert_allclose(second.main.dataset.load(number)["image"], expected, atol=1e-4)


def test_another_generator_is_other_data(trained, prepared, tmp_path):
  _, workdir, _ = trained
  run = experiment(cyclegan(prepared, seed=1))
  folder = run_folders.leave(tmp_path / "other", run, step=2, seed=1)
  first, other = (translated(source=CT, run=str(of)) for of in (workdir, folder))
  assert first.fingerprint != other.fingerprint
  assert first.fingerprint == translated(source=CT, run=str(workdir)).fingerprint
  fewer = translated(source={**CT, "cases": 3}, run=str(workdir))
  assert fewer.fingerprint != first.fingerprint
  second = [experiment(second_stage(prepared, of)).main.dataset for of in (workdir, folder)]
  assert second[0].folder != second[1].folder


@pytest.mark.parametrize(
  ("options", "error", "words"),
  [
    (dict(run="nowhere"), FileNotFoundError, r"source\.run: nowhere: holds no run; expected"),
    (dict(source=dict(CT, channels=2)), ValueError, r"takes images with the channels portal and 2"),
    (dict(source=dict(CT, size=(8, 24, 20))), ValueError, r"have portal and 3; expected a run of"),
    (dict(source=dict(name="fantom")), ValueError, r"config\.data\.source\.source\.name: 'fantom'"),
  ],
)
def test_runs_that_cannot_translate_a_source_are_told(trained, options, error, words):
  with pytest.raises(error, match=words):
    translated(**{"source": CT, "run": str(trained[1]), **options})


def test_a_segmenter_is_no_generator_and_the_reverse(trained, segmenter, prepared, tmp_path):
  with pytest.raises(
    ValueError, match="its method 'synseg' segments; expected a run that makes im"
  ):
    experiment(second_stage(prepared, segmenter[1]))
  with pytest.raises(ValueError, match=r"its config\.task .*translation.* is not this run's"):
    experiment(
      second_stage(prepared, trained[1], data__source=dict(CT), network=dict(run=str(trained[1])))
    )
  unfinished = tmp_path / "unfinished"
  run_folder_of(cyclegan(prepared), unfinished)
  with pytest.raises(ValueError, match="stands at step 0 of 2; train it to its end first"):
    experiment(second_stage(prepared, unfinished))


def run_folder_of(config, folder):
  folder.mkdir()
  run_folder.record(folder, experiment(config))


REFUSED = {
  "no stream": (
    cyclegan,
    dict(streams=dict()),
    r"config\.streams\.target: is missing; .*domain",
  ),
  "no domain": (
    cyclegan,
    dict(streams=dict(target=dict(cases="unlabelled"))),
    r"config\.streams\.target: has no source of its own; the method 'cyclegan'",
  ),
  "channels": (
    synseg,
    dict(streams=dict(target=dict(source=dict(MR, channels=2), normalise=dict(SIGNAL)))),
    r"config\.streams\.target\.source: the images of 'phantom\dd' have 2 channel.s., those of",
  ),
  "axes": (
    synseg,
    dict(streams=dict(target=dict(source=dict(MR, size=(8, 16, 16)), normalise=dict(SIGNAL)))),
    r"config\.streams\.target\.source: the images of 'phantom\dd' have 3 spatial axes",
  ),
  "range": (
    cyclegan,
    dict(data__normalise="zscore"),
    r"config\.data\.normalise: 'zscore' of the channel 'portal', but the generators of 'cyclegan'",
  ),
  "unsigned": (
    synseg,
    dict(streams=dict(target=dict(source=dict(MR), normalise=dict(SIGNAL, signed=False)))),
    r"config\.streams\.target\.normalise: 'window' of the channel 't1'.*expected .*signed=True",
  ),
  "task": (
    cyclegan,
    dict(task=dict(name="segmentation"), loss=dict(dice=dict())),
    r"config\.task: 'segmentation', but the method 'cyclegan' is of 'translation'",
  ),
  "task of the segmenter": (
    synseg,
    dict(task=dict(name="translation"), loss=dict(l1=dict())),
    r"config\.task: 'translation', but the method 'synseg' is of 'segmentation'",
  ),
  "method": (
    cyclegan,
    dict(method=dict(name="supervised"), networks=dict(), optimisers=dict()),
    r"config\.method: 'supervised' makes no images of another domain.*do: cyclegan",
  ),
  "segmenter": (cyclegan, dict(network=dict(UNET)), r"config\.network: UNet gives .*and no image"),
  "generator": (synseg, dict(network=dict(GENERATOR)), r"ResnetGenerator gives .*and no logits"),
  "loss": (cyclegan, dict(loss=dict(dice=dict())), r"'dice' is a loss of segmentation"),
  "labels": (
    synseg,
    dict(data__source=dict(CT, labelled=False)),
    r"none of the 4 case.s. of 'phantom2d' has a label",
  ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_translated_is_refused_before_data_are_prepared(what, tmp_path, monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("data were prepared"))
  made, changes, words = REFUSED[what]
  with pytest.raises(ValueError, match=words):
    experiment(made(tmp_path, **changes))


def test_cases_without_labels_are_translated(prepared):
  assert experiment(cyclegan(prepared, data__source=dict(CT, labelled=False))).main.cases


def test_images_with_numbers_of_their_own_are_made_from_0_to_255(prepared):
  own = dict(name="minmax", signed=True)
  streams = dict(target=dict(source=dict(MR, labelled=False)))
  run = experiment(cyclegan(prepared, data__normalise=own, streams=streams))
  ends = run.task.decode(np.array([[[-1.0], [1.0]]], np.float32))
  np.testing.assert_allclose(ends.ravel(), [0, 255])
  sample = run.main.dataset.load(0)
  scores = run.task.score(
    run.task.metrics, run.task.truth(sample), run.task.truth(sample), None, None
  )
  assert scores["ssim"]["t1"] == pytest.approx(1)
  assert HOUNSFIELD["signed"]


def test_cases_that_lack_channels_are_not_translated(tmp_path, monkeypatch):
  incomplete = ct()._replace(incomplete={"phantom_0": ("portal",)})
  monkeypatch.setitem(data.SOURCES, "phantom", lambda **options: incomplete)
  with pytest.raises(ValueError, match=r"case 'phantom_0' lacks portal, and images are made"):
    data.SOURCES["translated"](source=dict(name="phantom"), run=str(tmp_path))
