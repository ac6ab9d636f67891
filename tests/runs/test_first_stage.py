"""A cascade: the first stage's segmentations as the second one's input, in training and after."""

import functools
import json

import jax
import numpy as np
import pytest
import run_folders
import tiny

from jaxseg import data, methods
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared import label_files
from jaxseg.data.prepared.fields import with_fields
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.inference import Case
from jaxseg.inference.segmentation import segment
from jaxseg.method import Method
from jaxseg.runs import first_stage as cascade
from jaxseg.runs import folder as run_folder
from jaxseg.runs import load as trained

VALUES = np.array([0, 5, 9])


def test_the_prior_follows_the_image_in_the_channels():
  seen = {}

  def method():
    def init(key, batch):
      seen["init"] = batch["image"].shape
      return "state"

    def train_step(state, batch, key):
      seen["train"] = batch["image"]
      return state, {}

    return Method(init, train_step, lambda state, batch: {"logits": batch["image"]})

  image, prior = np.ones((2, 3, 4, 1), np.float32), np.full((2, 3, 4, 3), 7.0, np.float32)
  batch = {"image": image, "prior": prior}
  both = methods.cascaded.cascaded(method())
  assert both.init(jax.random.key(0), batch) == "state"
  both.train_step("state", batch, jax.random.key(0))
  assert seen["init"] == (2, 3, 4, 4)
  np.testing.assert_array_equal(seen["train"], np.concatenate([image, prior], -1))
  np.testing.assert_array_equal(both.apply("state", batch)["logits"], seen["train"])


def folds(home, names, change=lambda label: label):
  """Two folds of a first stage with the segmentations of their validation cases."""
  for i, name in enumerate(names):
    folder = home / f"fold_{i % 2}" / "validation"
    label = change(VALUES[tiny.case(i, 2)["label"]])
    data.write_label(folder / f"{name}.nii.gz", label[None], plain_geometry((1, *label.shape)))
  return [home / "fold_0", home / "fold_1"]


def flat(path):
  """2D cases are stored as one slice here."""
  stored, _ = data.read_label(path)
  return stored[0], plain_geometry(stored.shape[1:])


def with_prior(dataset, said, read):
  return with_fields(dataset, {"prior": cascade.prior(dataset, said, read)})


def test_training_sees_what_the_first_stages_folds_said(tmp_path, monkeypatch):
  monkeypatch.setattr(cascade, "from_files", functools.partial(label_files.from_files, load=flat))
  dataset = tiny.dataset()._replace(folder=tmp_path / "set")
  said = folds(tmp_path / "low", dataset.names, lambda label: np.where(label == 9, 5, label))

  def read(name):
    return tiny.raw(name, 2)

  given = with_prior(dataset, said, read)
  for i in (0, 3):
    label = dataset.load(i)["label"]
    truth = np.stack([label == 0, label > 0, np.zeros_like(label)], -1).astype(np.float32)
    np.testing.assert_array_equal(given.load(i)["prior"], truth)
    np.testing.assert_array_equal(given.load(i)["image"], dataset.load(i)["image"])
  whole, part = given.load(3), given.crop(3, (2, 1), (5, 4))
  for field in ("image", "prior"):
    np.testing.assert_array_equal(part[field], whole[field][2:7, 1:5])
  # another segmentation makes another prior
  folds(tmp_path / "low", dataset.names)
  again = with_prior(dataset, said, read).load(0)["prior"]
  np.testing.assert_array_equal(again.argmax(-1), dataset.load(0)["label"])


def test_a_case_that_no_fold_validated_is_told(tmp_path):
  dataset = tiny.dataset()._replace(folder=tmp_path / "set")
  said = folds(tmp_path / "low", dataset.names[:4])
  with pytest.raises(ValueError, match=r"low: case 'case_4' \(and 1 more\) has no segmentation"):
    cascade.prior(dataset, said, tiny.raw)


@pytest.mark.parametrize("how", [{"orientation": "RAS"}, {"seen": ("RAS",)}])
def test_a_prior_lies_in_the_training_orientation(how):
  labels = LabelSpec(("background", "a"), (0, 3))
  affine = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
  stored = np.zeros((2, 2, 4), np.uint8)
  stored[0, 0, 0] = 3
  turned = Preparation(("x",), 3, ({"name": "none"},), **how)
  grid = turned.grid(Geometry(affine, stored.shape, "nifti"))
  classes = label_files.on_grid(stored, grid, labels, "it") - 1
  assert classes[0, 0].tolist() == [0, 0, 0, 1]
  assert labels.one_hot(classes).sum() == stored.size


def test_regions_are_a_prior_as_they_are():
  regions = np.zeros((2, 2, 2), np.uint8)
  regions[0, 0] = 1
  spec = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  np.testing.assert_array_equal(spec.one_hot(regions), regions.astype(np.float32))


def test_prediction_runs_the_first_stage_first(tmp_path):
  low = run_folders.write(tmp_path / "low")
  high = run_folders.write(tmp_path / "high", prior=3, **{"data.prior": {"run": str(low)}})
  raw = RawCase(
    tiny.case(0, 2)["image"], None, None, plain_geometry(tiny.case(0, 2)["label"].shape)
  )
  second = trained.load(high)
  found = segment([second.configuration], raw).labels
  first = trained.load(low)
  fields = {"image": raw.image, "spacing": np.ones(2, np.float32)}
  early = first.logits(Case(fields)).argmax(-1)
  prior = (early[..., None] == np.arange(3)).astype(np.float32)
  logits = second.logits(Case({**fields, "prior": prior}))
  np.testing.assert_array_equal(found, VALUES[logits.argmax(-1)])
  nothing = second.logits(Case({**fields, "prior": np.zeros_like(prior)}))
  assert np.abs(nothing - logits).max() > 1e-3


def test_a_first_stage_that_is_gone_and_other_fields_are_told(tmp_path):
  gone = {"data.prior": {"run": str(tmp_path / "gone")}}
  high = run_folders.write(tmp_path / "high", prior=3, **gone)
  with pytest.raises(FileNotFoundError, match=r"gone: not found; it is the first stage"):
    trained.load(high)
  with pytest.raises(ValueError, match=r"config.data.prior: .*expected dict\(run=FOLDER\)"):
    cascade.run_of({"path": "x"})


def test_both_stages_may_be_moved_together(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  here = tmp_path / "here"
  run_folders.write(here / "runs" / "low")
  changes = {"data.prior": {"run": "runs/low"}, "data.split": {"name": "kfold", "folds": 1}}
  run_folders.write(here / "runs" / "high" / "fold_0", prior=3, **changes)
  trained.load(here / "runs" / "high" / "fold_0")  # as told, from a folder above
  (here / "runs").rename(tmp_path / "elsewhere")
  moved = tmp_path / "elsewhere" / "high" / "fold_0"
  assert cascade.run_beside({"run": "runs/low"}, moved) == tmp_path / "elsewhere" / "low"
  trained.load(moved)


def test_a_run_is_found_by_its_config(tmp_path):
  (tmp_path / "fold_0").mkdir()
  (tmp_path / "fold_0" / "config.json").write_text(
    json.dumps({"data": {"split": {"name": "file"}}})
  )
  assert run_folder.run_folders(tmp_path) == (tmp_path / "fold_0",)
