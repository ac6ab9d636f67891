"""Methods that learn from cases without labels, from a config to a run that is resumed."""

import numpy as np
import pytest
import run_folders

from jaxseg import data, defaults, loop
from jaxseg.build import plain
from jaxseg.experiment import experiment
from jaxseg.runs import checkpoint

SMALL = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
STRONG = dict(strong=dict(noise=dict(p=1.0), brightness=dict()))


def config_of(home, method, *, steps=2, **fields):
  config = defaults.config()
  config.method = method
  config.network = SMALL
  config.steps = steps
  config.optimiser.schedule = dict(name="constant")  # whatever the number of steps
  config.streams = dict(unlabelled=dict(cases="unlabelled", batch=2))
  config.data.source = dict(name="phantom", cases=8, size=(32, 32))
  config.data.split.labelled = 2
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.data.folder = str(home / "prepared")
  config.data.workers = 1
  config.augment = dict(mirror=dict())
  return {**plain(config), **fields}


RUNS = {
  "unimatch": (dict(name="unimatch", threshold=0.3), {"views": STRONG}),
  "copy_paste": (dict(name="copy_paste", predict_with="teacher"), {}),
  "mean_teacher": (dict(name="mean_teacher", consistency=0.5, predict_with="teacher"), {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_resumed_is_the_uninterrupted_one(name, tmp_path):
  method, fields = RUNS[name]
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  run = experiment(config_of(tmp_path, method, steps=4, checkpoint_every=2, **fields))
  report = loop.train(run, whole)
  assert np.isfinite(report["validation"]["mean"]["dice"])
  assert loop.train(run, run_folders.back_at(2, whole, parts))["step"] == 4
  tables = []
  for folder in (whole, parts):
    kept = checkpoint.Checkpoints(folder)
    tables.append(kept.arrays(kept.steps[0]))
  assert tables[0].keys() == tables[1].keys()
  for array in tables[0]:
    np.testing.assert_array_equal(tables[0][array], tables[1][array], err_msg=array)


OTHER = dict(unlabelled=dict(cases="unlabelled", batch=4))
ONE = dict(unlabelled=dict(cases="unlabelled", batch=1))
WRONG = {
  "batches that are no pairs": (
    dict(name="copy_paste"),
    {"streams": OTHER},
    r"copy_paste: 2 images with labels and 4 without in a batch",
  ),
  "one image for CutMix": (
    dict(name="unimatch"),
    {"views": STRONG, "streams": ONE},
    r"unimatch: a batch of one image without labels",
  ),
  "no encoder": (
    dict(name="unimatch"),
    {"views": STRONG, "network": dict(name="kiunet", widths=(4, 6), ki_widths=(3,))},
    r"feature perturbation: the network's outputs .* have no 'bottleneck'",
  ),
  "no strong view": (dict(name="fixmatch"), {}, r"config\.views\.strong: is missing"),
  "no other network": (dict(name="cross_teaching"), {}, r"config\.networks\.other: is missing"),
  "no share": (
    dict(name="unimatch", cutmix=1.5),
    {"views": STRONG},
    r"config\.method\.cutmix: 1\.5; expected a number from 0 to 1",
  ),
  "a threshold that rises above 1": (
    dict(name="fixmatch", threshold=dict(name="linear", start=0.5, end=95)),
    {"views": STRONG},
    r"config\.method\.threshold\.end: 95; expected a number from 0 to 1",
  ),
  "labels that mixup made shares": (
    dict(name="copy_paste"),
    {"augment": dict(mixup=dict())},
    r"copy_paste: the labels are shares of classes, as mixup makes them",
  ),
  "a map of labels that nobody drew": (
    dict(name="fixmatch"),
    {"views": STRONG, "losses": dict(pseudo=dict(boundary=dict()))},
    r"boundary: the batch has no 'distance' map; .* without labels has none: choose another loss",
  ),
  "an average that nothing predicts with": (
    dict(name="copy_paste", predict_with="teacher"),
    {"average": 0.9},
    r"config\.average: 0\.9, but the method predicts with its 'teacher'",
  ),
  "no box": (dict(name="copy_paste", box=0.0), {}, r"config\.method\.box: 0\.0; expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_told_before_data_are_prepared(name, tmp_path, monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  method, fields, words = WRONG[name]
  with pytest.raises(ValueError, match=words):
    experiment(config_of(tmp_path, method, **fields))


@pytest.mark.parametrize("name", ["fixmatch", "unimatch", "cross_pseudo", "copy_paste"])
def test_losses_of_what_is_guessed_may_look_at_the_image(name, tmp_path, monkeypatch):
  class Ready(Exception):
    pass

  def ready(*_, **__):
    raise Ready

  monkeypatch.setattr(data, "prepare", ready)
  crf = dict(cross_entropy=dict(), gated_crf=dict(radius=1))
  fields = {"loss": crf} if name == "copy_paste" else {"losses": dict(pseudo=crf)}
  fields |= {"views": STRONG} if name in ("fixmatch", "unimatch") else {}
  with pytest.raises(Ready):
    experiment(config_of(tmp_path, dict(name=name), **fields))
