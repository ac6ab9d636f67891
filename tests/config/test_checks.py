"""Fields and options of a config: what is no value for them is one sentence, before anything."""

import re

import numpy as np
import pytest

from jaxseg import compose, data, defaults, experiment
from jaxseg.build import plain

ENDS = (
  {"name": "window", "lower": 3, "upper": 1},
  {"name": "window", "lower": 1, "upper": 1},
  {"name": "ct", "lower": 3, "upper": 1, "mean": 0, "std": 1},
)
MESH = plain(defaults.config().mesh)
WRONG = {
  "seed": (-1, 2**32, 0.5, True, None),
  "steps": (0, -5, "abc", 1.5, np.int64(0)),
  "average": (1.0, -0.1, float("nan")),
  "log_every": (0, -1),
  "checkpoint_every": (0,),
  "evaluate.every": (0,),
  "evaluate.cases": (-1,),
  "evaluate.probabilities": (1, "yes"),
  "deterministic": ("no",),
  "data.batch": (0, -1, 2.0),
  "data.patch": ((32.5, 32.0), (0, 32), "abc", (32,), (8, 8, 8, 8), 32),
  "data.foreground": (2.0, -0.1, float("inf")),
  "data.workers": (-1,),
  "data.slices": (3, "z"),
  "data.spacing": ((1.0, -1.0), ("a", "b"), (1.0,), 1.0),
  "data.transpose": ((0, 0), (0, 5)),
  "data.orientation": ("XYZ", 3),
  "data.cache": ("disc",),
  "data.normalise": ("zscor", 3, ("zscore", 3), {"name": "window"}, *ENDS),
  "data.resampling": ({"order": 9}, {"ordr": 1}, "linear"),
  "network": ("unet", {}, {"name": "unet", "widths": "abc"}, {"name": "unet", "widths": (8, -8)}),
  "network.dropout": (1.0, -0.1, "x"),
  "network.residual": (1,),
  "method": ({"name": "supervised", "head_decay": -1.0}, {"name": "supervised", "auxiliary": "x"}),
  "loss": (
    {},
    {"dice": 1.0},
    {"dice": {"weight": -1}},
    {"dice": {"batch": 1}},
    {"dice": {"weight": 0}},
  ),
  "optimiser.learning_rate": (0.0, -1.0, float("nan"), "fast", None),
  "optimiser.weight_decay": (-0.1, float("inf")),
  "optimiser.l2": (-1.0,),
  "optimiser.clip": (-1.0, float("nan")),
  "optimiser.accumulate": (0, 1.5, 1001),
  "optimiser.b1": (1.0,),
  "optimiser.schedule": ({"name": "polynomial", "power": -1}, "cosine"),
  "augment": ({"mirror": True}, {"mirror": {"p": 2}}, {"mirror": {"axes": (3,)}}, {"noize": {}}),
  "predictor": ("slices", {"name": "slices", "overlap": 1.0}, {"name": "slices", "batch": 0}),
  "data.split": ({"name": "file"}, {"name": "kfold", "folds": 1}, {"name": "kfold", "fold": -1}),
  "data.source": ({"name": "phantom", "seed": "a"}, {"name": "h5", "path": "x"}, {}),
  "initialise": ({"network": 3}, "runs/a"),
  "mesh": ({**MESH, "batch": -1, "space": -1}, 4),
  "mesh.batch": (0, -2, 1.5, "all"),
  "mesh.space": (0,),
  "mesh.member": (0,),
  "mesh.parameters": ("zero3", {"encoder*": "split"}, 3),
  "mesh.smallest": (0,),
  "members": (0, -1, 1.5),
}


def test_a_field_that_the_mesh_lacks_is_told():
  with pytest.raises(ValueError, match=r"config\.mesh\.devices: no such field.*batch, member"):
    compose.complete(changed("mesh", {**MESH, "devices": 4}))


def changed(path: str, value):
  config = plain(defaults.config())
  *groups, last = path.split(".")
  inner = config
  for name in groups:
    inner = inner[name]
  inner[last] = value
  return config


@pytest.mark.parametrize(
  ("path", "value"),
  [(path, value) for path, values in WRONG.items() for value in values],
  ids=lambda x: str(x)[:40],
)
def test_a_wrong_value_is_told_with_its_field(path, value):
  with pytest.raises(
    ValueError, match=rf"config\.{re.escape(path)}.*(expected|choices|need|option)"
  ):
    compose.complete(changed(path, value))


@pytest.mark.parametrize(
  ("path", "value"),
  [
    ("seed", 2**32 - 1),
    ("steps", np.int64(5)),
    ("optimiser.learning_rate", np.float32(0.5)),
    ("optimiser.clip", None),
    ("optimiser.clip", 0),
    ("data.patch", [32, 32]),
    ("data.spacing", (None, 1)),
    ("data.foreground", 1),
    ("evaluate.cases", 0),
    ("average", 0),
    ("network.norm", "instance"),
    ("network.dropout", (0.0, 0.1, 0.1, 0.1, 0.1)),
    ("loss", {"entropy": {"weight": -0.1}}),
    ("loss", {"dice": {"class_weights": "inverse"}, "cross_entropy": None}),
    ("loss", {"dice": {"class_weights": (1, 2.5)}}),
    ("augment", {"mirror": {"axes": (-1,)}, "noise": None}),
    ("optimiser.schedule", None),
    ("network.attention", None),
    ("data.normalise", {"name": "ct", "lower": 1, "upper": 1, "mean": 1, "std": 0}),
    ("data.normalise", ("zscore", {"name": "window", "lower": -100, "upper": 300})),
  ],
)
def test_a_right_value_passes(path, value):
  config = compose.complete(changed(path, value))
  assert None not in config["augment"].values()
  assert type(config["steps"]) is int


def test_slices_need_the_predictor_of_slices():
  config = changed("data.slices", 0)
  with pytest.raises(ValueError, match=r"config\.predictor\.name: 'sliding_window'.*'slices'"):
    compose.complete(config)


@pytest.mark.parametrize(
  ("path", "words"),
  [
    ("streams", r"expected dict\(STREAM=dict\(\.\.\.\)\)"),
    ("initialise", r"expected dict\(LEARNER=FOLDER\)"),
    ("networks", r"expected dict\(ROLE=dict\(name=\.\.\.\)\)"),
    ("data.prior", r"expected dict\(run=FOLDER\)"),
    ("network", r"expected dict\(name=\.\.\., OPTION=\.\.\.\)"),
  ],
)
def test_a_word_where_a_group_belongs_is_told_what_the_group_is_made_of(path, words):
  with pytest.raises(ValueError, match=rf"^config\.{path}: 'runs/a'; {words}\.$"):
    compose.complete(changed(path, "runs/a"))


def test_fields_that_are_missing_or_unknown_are_told():
  config = plain(defaults.config())
  with pytest.raises(ValueError, match=r"config\.stepz: no such field \(did you mean 'steps'\?\)"):
    compose.complete(config | {"stepz": 1})
  del config["data"]["batch"]
  with pytest.raises(ValueError, match=r"config\.data\.batch: missing"):
    compose.complete(config)


@pytest.mark.parametrize(
  ("path", "value", "words"),
  [
    ("network.deep_supervision", 7, r"config\.network: unet: deep_supervision=7"),
    ("network.norm", "bach", r"config\.network: .*bach"),
    ("predictor.weighting", "gausian", r"config\.predictor: .*gausian"),
    ("predictor", {"name": "slices", "axis": 1, "padding": "zeros"}, r"config\.predictor: .*zeros"),
    ("method.head_weights", (1.0, 0.5), r"\(1\.0, 0\.5\) for 1 levels"),
    ("loss.cross_entropy.class_weights", (1, 2), r"class_weights has shape \(2,\)"),
    ("augment", {"mirror": {"axes": (2,)}}, "mirror"),
    ("augment", {"noise": {"sigma": (0.5, 0.1)}}, r"noise"),
    ("data.patch", (32, 32, 32), r"config\.data\.patch: \(32, 32, 32\) has 3 axes"),
    ("data.split.folds", 9, r"config\.data\.split\.folds: 9 folds of 6 cases; expected 2 to 6"),
    (
      "optimiser.scale",
      {"encodr*": 0.1},
      r"config\.optimiser\.scale: the pattern 'encodr",
    ),
    ("initialise", {"netwerk": "x"}, r"config\.initialise\.netwerk: .*did you mean 'network'"),
    ("initialise", {"network": "no_such"}, r"config\.initialise\.network: no_such"),
    ("initialise", {"network": "."}, r"config\.initialise\.network: \.: holds no checkpoint"),
    ("augment", {"mirror": {"swap": ((1, 7),)}}, r"config\.augment\.mirror\.swap: .*0 to 6"),
    ("loss", {"tversky": {"alpha": 0, "beta": 0}}, "tversky: alpha and beta are 0"),
    ("loss", {"focal_tversky": {"alpha": 0, "beta": 0}}, "tversky: alpha and beta are 0"),
    ("data.split.group", "(", r"config\.data\.split\.group: r'\(' is no regular expression"),
    ("mesh.batch", 3, r"config\.mesh: batch=3 x space=1 x member=1 does not fill the 2 device"),
    ("mesh.member", 2, r"config\.mesh\.member: 2 devices for 1 network"),
    ("mesh.parameters", {"*": "fsdp", "enc": "fsdp"}, r"mesh\.parameters: the pattern 'enc' names"),
    ("method", {"name": "detected"}, r"config\.method: detected: trains"),
    ("method", {"name": "edge_supervision"}, r"config\.method: edge_supervision: the network UNet"),
    ("network", {"name": "pseudo3d"}, r"config\.network: pseudo3d: an input with 2"),
  ],
)
def test_what_shapes_tell_is_told_before_data_are_prepared(path, value, words, monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  config = changed(path, value)
  config["data"]["source"] = {"name": "phantom", "cases": 6, "size": (32, 32)}
  if path != "data.patch":
    config["data"]["patch"] = (32, 32)
  if config["network"]["name"] == "unet":
    config["network"] |= {"widths": (4, 8, 8), "depth": 1, "decoder_depth": 1}
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    experiment.experiment(config)


def test_members_that_all_start_from_the_same_weights_are_refused():
  config = changed("initialise", {"network": "runs/a"})
  config["data"]["source"] = {"name": "phantom", "cases": 6, "size": (32, 32)}
  config["data"]["patch"], config["members"] = (32, 32), 2
  config["network"] = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1}
  with pytest.raises(ValueError, match=r"config\.members: 2 networks with weights from elsewhere"):
    experiment.experiment(config)
