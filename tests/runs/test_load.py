"""Run folders and folds -> configurations: averages of logits, checks in words."""

import json
import shutil

import numpy as np
import pytest
import run_folders
import tiny

from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import Case
from jaxseg.inference.segmentation import prepared_case
from jaxseg.runs import folder as run_folder
from jaxseg.runs import load as trained


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
  """A cross-validation of two folds, and a run of another configuration."""
  home = tmp_path_factory.mktemp("runs")
  split = {"name": "kfold", "folds": 2, "seed": 0}
  for i in range(2):
    changes = {"data.split": {**split, "fold": i}}
    run_folders.write(home / "a" / f"fold_{i}", seed=i, **changes)
  run_folders.write(home / "b", **{"data.patch": (8, 8)})
  return home


CASE = Case({"image": tiny.case(0, 2)["image"], "spacing": np.ones(2, np.float32)})


def test_folds_average_their_logits(folds):
  paths = run_folder.run_folders(folds / "a")
  assert [path.name for path in paths] == ["fold_0", "fold_1"]
  alone = [trained.load(path).logits(CASE) for path in paths]
  together = trained.load(paths).logits(CASE)
  assert np.abs(alone[0] - alone[1]).max() > 1e-3
  np.testing.assert_allclose(together, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-5)


def test_folds_of_other_normalisations_see_the_scan_each_as_it_was_trained(tmp_path):
  numbers = {"name": "ct", "lower": -9.0, "upper": 9.0, "mean": 0.5}
  for i in range(3):
    scheme = {**numbers, "std": (0.5, 2.0, 0.5)[i]}
    split = {"data.split": {"name": "kfold", "folds": 3, "seed": 0, "fold": i}}
    run_folders.write(tmp_path / f"fold_{i}", seed=i, normalisation=scheme, **split)
  raw = RawCase(CASE.image, None, None, plain_geometry(CASE.space))
  model = trained.load(run_folder.run_folders(tmp_path))
  assert len(model.configuration.preparations) == 2
  case, _ = prepared_case(model.configuration, raw, "it")
  alone = []
  for i, std in enumerate((0.5, 2.0, 0.5)):
    image = (CASE.image - np.float32(0.5)) / np.float32(std)
    alone.append(trained.load(tmp_path / f"fold_{i}").logits(Case({**CASE.fields, "image": image})))
  np.testing.assert_allclose(model.logits(case), sum(alone) / 3, rtol=1e-4, atol=1e-5)


def test_a_run_is_its_own_only_folder(folds):
  assert run_folder.run_folders(folds / "b") == (folds / "b",)


def test_folds_of_one_configuration_belong_together(folds):
  paths = [*run_folder.run_folders(folds / "a"), folds / "b"]
  groups = trained.by_configuration(paths)
  assert [[path.name for path in group] for group in groups] == [["fold_0", "fold_1"], ["b"]]
  with pytest.raises(ValueError, match="differ in network, method or data options"):
    trained.load(paths)


def test_folds_of_two_cross_validations_are_two_configurations(folds, tmp_path):
  """Those that differ in what prediction does not see, as the loss: find-best took them for two."""
  for name in ("a", "other"):
    (tmp_path / name).mkdir()
    for path in run_folder.run_folders(folds / "a"):
      shutil.copytree(path, tmp_path / name / path.name)
  paths = [*run_folder.run_folders(tmp_path / "a"), *run_folder.run_folders(tmp_path / "other")]
  groups = trained.by_configuration(paths)
  assert [{path.parent.name for path in group} for group in groups] == [{"a"}, {"other"}]
  assert [len(group) for group in groups] == [2, 2]


def test_a_copy_of_a_fold_is_no_fold(folds, tmp_path):
  shutil.copytree(folds / "a", tmp_path / "a")
  shutil.copytree(tmp_path / "a" / "fold_0", tmp_path / "a" / "fold_0_old")
  names = [path.name for path in run_folder.run_folders(tmp_path / "a")]
  assert names == ["fold_0", "fold_1"]


def test_mirroring_keeps_to_the_axes_that_training_mirrored(tmp_path):
  axes = {"augment": {"sides": {"name": "mirror", "axes": (-1,)}}}
  folder = run_folders.write(tmp_path / "run", **axes)
  plain, mirrored = (trained.load(folder, mirror=m).logits for m in (False, True))
  # one window, as the weights of several don't mirror: their peak is at size // 2
  case = Case({**CASE.fields, "image": CASE.image[:16, :16]})
  flipped = Case({**CASE.fields, "image": case.image[:, ::-1]})
  truth = (plain(case) + plain(flipped)[:, ::-1]) / 2
  np.testing.assert_allclose(mirrored(case), truth, rtol=1e-4, atol=1e-5)


def test_a_missing_fold_is_told(folds, tmp_path):
  home = tmp_path / "three"
  for i in (0, 2):
    (home / f"fold_{i}").mkdir(parents=True)
    config = {"data": {"split": {"name": "kfold", "folds": 3, "fold": i}}}
    (home / f"fold_{i}" / "config.json").write_text(json.dumps(config))
  with pytest.raises(ValueError, match=r"fold_1 of 3 folds missing.*--workdir .*fold_0 .*fold_2"):
    run_folder.run_folders(home)
  with pytest.raises(FileNotFoundError, match=r"config.json: not found; give the folder of a run"):
    run_folder.run_folders(tmp_path)


def test_a_run_without_a_checkpoint_is_told(folds, tmp_path):
  run = tmp_path / "run"
  run.mkdir()
  for name in ("config.json", "dataset.json"):
    (run / name).write_bytes((folds / "b" / name).read_bytes())
  with pytest.raises(FileNotFoundError, match="no checkpoint there"):
    trained.load(run)


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("names", ["background", "dim", "dark"], "its labels .*dark.* are not those of"),
    ("stored_values", [0, 5, 8], "its labels"),
    ("channels", ["other"], "its channels .'other'"),
  ],
)
def test_runs_on_other_labels_or_channels_are_told(folds, tmp_path, field, value, message):
  other = tmp_path / "other"
  other.mkdir()
  (other / "config.json").write_bytes((folds / "b" / "config.json").read_bytes())
  told = json.loads((folds / "b" / "dataset.json").read_text())
  del told["digests"]
  told["preparation"]["channels"] = ["other"] if field == "channels" else ["brightness"]
  (told if field == "channels" else told["labels"])[field] = value
  (other / "dataset.json").write_text(json.dumps(told))
  with pytest.raises(ValueError, match=message):
    trained.load([folds / "b", other])


@pytest.mark.parametrize(
  ("network", "words"),
  [
    ({"name": "unet", "widths": [4, 12], "depth": 1, "decoder_depth": 1}, r"that has an array"),
    # it would take a part of what the checkpoint holds, and be another network
    (
      {"name": "unet", "widths": [4, 8], "depth": 1, "decoder_depth": 1, "norm": "none"},
      "the checkpoint an array",
    ),
    ({"name": "vnet"}, "that has|the checkpoint"),
    ({"name": "unett"}, r"config.json: its model cannot be built .*did you mean 'unet'"),
    ({"name": "unet", "widths": "abc"}, r"config.json: "),
    (
      {"name": "unet", "conv_bias": True},
      r"give bias=dict\(conv=\.\.\.\)\); .*another version .*: use that one, which versions.json",
    ),
  ],
)
def test_a_config_that_does_not_fit_the_weights_is_one_sentence(folds, tmp_path, network, words):
  shutil.copytree(folds / "b", tmp_path / "b")
  config = json.loads((tmp_path / "b" / "config.json").read_text())
  del config["digests"]
  config["network"] = network
  (tmp_path / "b" / "config.json").write_text(json.dumps(config))
  with pytest.raises(ValueError, match=words):
    trained.load(tmp_path / "b")


def test_the_weights_of_a_run_with_further_streams_fit_as_any(folds, tmp_path):
  """A method may ask the batch for a stream where it is initialised, which the check does."""
  shutil.copytree(folds / "b", tmp_path / "b")
  config = json.loads((tmp_path / "b" / "config.json").read_text())
  del config["digests"]
  config["streams"] = {"unlabelled": {"batch": 2}}
  (tmp_path / "b" / "config.json").write_text(json.dumps(config))
  logits = trained.load(tmp_path / "b").logits(CASE)
  np.testing.assert_array_equal(logits, trained.load(folds / "b").logits(CASE))


def test_a_fold_in_anothers_place_is_told(folds, tmp_path):
  shutil.copytree(folds / "a" / "fold_1", tmp_path / "a" / "fold_1")
  shutil.copytree(folds / "a" / "fold_1", tmp_path / "a" / "fold_0")
  with pytest.raises(ValueError, match=r"fold_0: holds fold 1 of config\.data\.split"):
    run_folder.run_folders(tmp_path / "a")


def test_another_runs_checkpoint_is_told(folds, tmp_path):
  other = run_folders.write(tmp_path / "other", **{"network.widths": (4, 12)})
  shutil.copytree(folds / "b", tmp_path / "b")
  shutil.rmtree(tmp_path / "b" / "checkpoints")
  shutil.copytree(other / "checkpoints", tmp_path / "b" / "checkpoints")
  with pytest.raises(ValueError, match=r"checkpoints/0: is a checkpoint of another run"):
    trained.load(tmp_path / "b").logits(CASE)


def test_mirror_images_along_other_axes_are_not_averaged(tmp_path):
  for i, axes in enumerate([(0,), (1,)]):
    changes = {"augment": {"mirror": {"axes": axes}}, "data.split": {"name": "kfold", "fold": i}}
    run_folders.write(tmp_path / f"fold_{i}", **changes)
  paths = [tmp_path / "fold_0", tmp_path / "fold_1"]
  trained.load(paths)
  with pytest.raises(ValueError, match=r"fold_1: was trained with mirror images along the axes"):
    trained.load(paths, mirror=True)
