"""Cases that lack channels, from files to training, validation and prediction."""

import json

import nibabel as nib
import numpy as np
import pytest

from jaxseg import defaults
from jaxseg.data.stream import Feeder
from jaxseg.experiment import experiment
from jaxseg.loop import train
from jaxseg.verbs import predict

CHANNELS = ("flair", "t1")
UNLABELLED = {
  "streams": {"unlabelled": {"cases": "unlabelled", "batch": 4}},
  "data__split": {"name": "explicit", "validation": ("c2", "c4"), "labelled": 2},
}


def save(path, array):
  path.parent.mkdir(exist_ok=True, parents=True)
  nib.save(nib.Nifti1Image(np.moveaxis(array, (0, 1, 2), (2, 1, 0)), np.eye(4)), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Three cases with both channels, c3 and c4 without t1."""
  root = tmp_path_factory.mktemp("data") / "Dataset009_Few"
  root.mkdir()
  description = {
    "channel_names": {str(i): name for i, name in enumerate(CHANNELS)},
    "labels": {"background": 0, "tumour": 3},
    "file_ending": ".nii.gz",
  }
  (root / "dataset.json").write_text(json.dumps(description))
  for case in range(5):
    random = np.random.default_rng(case)
    label = np.zeros((3, 12, 12), np.uint8)
    label[:, 3:8, 4:9] = 3
    for number in range(1 if case > 2 else 2):
      image = (5 + label + random.normal(size=label.shape)).astype(np.float32)
      save(root / f"imagesTr/c{case}_{number:04d}.nii.gz", image)
    save(root / f"labelsTr/c{case}.nii.gz", label)
  return root


def config_of(folder, home, **changes):
  config = defaults.config()
  config.steps = 2
  config.network = dict(
    name="decision_fusion", member=dict(name="unet", widths=(3, 4), depth=1, decoder_depth=1)
  )
  config.data.source = dict(name="nnunet_raw", path=str(folder), incomplete=True)
  config.data.split = dict(name="explicit", validation=("c2", "c4"))
  config.data.folder = str(home / "prepared")
  config.data.workers = 1
  config.data.slices = 0
  config.data.patch = (8, 8)
  config.data.batch = 4
  config.predictor = dict(name="slices", batch=2)
  config.augment = dict(noise=dict(p=1.0), modality_dropout=dict())
  config.evaluate.every = 2
  config.log_every = 1
  for path, value in changes.items():
    defaults.assign(config, {path.replace("__", "."): value})
  return config


def test_training_validates_and_predicts_cases_as_their_channels_are(folder, tmp_path):
  run = experiment(config_of(folder, tmp_path))
  feeder = Feeder(run.streams, cache="device")
  lacking = {}
  for name, stored in zip(run.main.dataset.names, range(5), strict=True):
    lacking[name] = run.main.dataset.load(stored)["modalities"].tolist()
  assert lacking["c0"] == [1, 1]
  assert lacking["c3"] == [1, 0]
  assert "modalities" in feeder.store()[""]
  report = train(run, tmp_path / "run")
  assert set(report["cases"]) == {"c2", "c4"}
  # what validation wrote of the case without t1 is what a user gets who has no such file
  scans = tmp_path / "scans"
  scans.mkdir()
  (scans / "c4_0000.nii.gz").write_bytes((folder / "imagesTr/c4_0000.nii.gz").read_bytes())
  arguments = ["--workdir", str(tmp_path / "run"), "--input", str(scans)]
  outputs = []
  for number, options in enumerate(((), ("--missing", "t1"))):
    output = tmp_path / f"out{number}"
    predict.main([*arguments, "--output", str(output), *options])
    outputs.append(nib.load(output / "c4.nii.gz").get_fdata())
  validated = nib.load(tmp_path / "run" / "validation" / "c4.nii.gz").get_fdata()
  np.testing.assert_array_equal(outputs[0], validated)
  np.testing.assert_array_equal(outputs[1], validated)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"data__source": {"name": "phantom", "cases": 6}, "data__split": {"name": "kfold"}},
      r"config.augment.modality_dropout: the image has one channel, which always stays",
    ),
    (
      {"data__normalise": ("zscore", "standard")},
      r"config.data.normalise: 'standard' takes its numbers from the training cases, and case 'c3'",
    ),
    (
      {"augment": {"mixup": {}, "modality_dropout": {}}},
      r"field 'modalities' cannot be mixed as labels are; leave out mixup",
    ),
    (
      {"augment": {"cutmix": {}}},
      r"field 'modalities' cannot be mixed as labels are; leave out cutmix",
    ),
    (
      {**UNLABELLED, "method": {"name": "unimatch"}, "views": {"strong": {"noise": {}}}},
      r"incomplete: the method 'unimatch' \(cutmix=0.5; 0 does without\) pastes a part of one",
    ),
    (
      {**UNLABELLED, "method": {"name": "copy_paste"}},
      r"config.data.source.incomplete: the method 'copy_paste' pastes a part of one image",
    ),
    (
      {"augment": {"modality_dropout": {"rule": "count", "p_channel": 0.2}}},
      r"modality_dropout.p_channel: 0.2 has no effect with rule='count'",
    ),
    (
      {
        "task": {"name": "synthesis", "inputs": ("flair",), "targets": ("t1",)},
        "method": {"name": "regression"},
        "network": {"name": "unet", "widths": (3, 4), "depth": 1, "decoder_depth": 1},
        "loss": {"l1": {}},
        "data__normalise": "none",
        "augment": {},
      },
      r"config.data.source.incomplete: config.task makes images, of all its inputs",
    ),
  ],
)
def test_what_cannot_be_done_with_them_is_refused_before_any_work(
  folder, tmp_path, changes, message
):
  if "data__source" in changes:
    changes = {**changes, "data__slices": None}
  with pytest.raises(ValueError, match=message):
    experiment(config_of(folder, tmp_path, **changes))
  assert not (tmp_path / "prepared").exists()
