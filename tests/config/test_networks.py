"""A role filled with another run's network: its spec, its weights, its checks, and no link left."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import run_folders
from drawn_states import state_of
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import compose, data, defaults, loop, methods
from jaxseg.build import plain
from jaxseg.config import networks
from jaxseg.experiment import experiment
from jaxseg.inference import Case
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.runs import checkpoint, folder, load, same_run

SMALL = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1}


def taught(
  network: nn.Module,
  teacher: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
) -> Method:
  """The loss, and the distance to a frozen teacher's logits: exists only here."""

  def init(key, batch):
    ours = learner(network, optimiser, key, batch["image"])
    return State(
      jnp.zeros((), jnp.int32),
      {"network": ours, "teacher": learner(teacher, None, key, batch["image"])},
    )

  def apply_to(name, net):
    def apply(state, batch):
      of = state.learners[name]
      return forward(net, of.params, of.stats, batch["image"])[0]

    return apply

  def train_step(state, batch, key):
    of = state.learners["network"]
    said = apply_to("teacher", teacher)(state, batch)["logits"]

    def objective(params):
      out, stats = forward(network, params, of.stats, batch["image"], key=key, update_stats=True)
      total = loss(out["logits"], batch_module.target(batch, state.step))
      return total + ((out["logits"] - said) ** 2).mean(), (stats, {})

    of, metrics = descend(optimiser, of, objective)
    learners = {**state.learners, "network": of}
    return state.replace(step=state.step + 1, learners=learners), metrics

  return Method(init, train_step, apply_to("network", network))


def config_of(home, **fields):
  config = plain(defaults.config())
  config["network"] = SMALL
  config["steps"] = 2
  config["data"] |= {
    "source": {"name": "phantom", "cases": 6, "size": (32, 32)},
    "patch": (16, 16),
    "batch": 2,
    "folder": str(home / "prepared"),
    "workers": 1,
  }
  return config | fields


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with a run `teacher`, wider than the others."""
  home = tmp_path_factory.mktemp("runs")
  run = experiment(config_of(home, seed=7, network=SMALL | {"widths": (6, 8)}))
  (home / "teacher").mkdir()
  folder.record(home / "teacher", run)
  image = {"image": np.zeros((1, 16, 16, 1), np.float32)}
  state = state_of(run.method, image, seed=7).replace(step=jnp.asarray(1))
  checkpoint.Checkpoints(home / "teacher", checkpoint.LATEST).save(state, {})
  return home


@pytest.fixture(autouse=True)
def _known(monkeypatch):
  monkeypatch.setitem(methods.METHODS, "taught", taught)


def taught_by(home, **fields):
  teacher = {"teacher": {"run": str(home / "teacher")}}
  return config_of(home, **{"method": {"name": "taught"}, "networks": teacher, **fields})


def test_the_run_folder_tells_the_whole_network(home):
  config = compose.complete(taught_by(home))
  expected = {"run": str(home / "teacher"), **SMALL, "widths": (6, 8)}
  assert config["networks"]["teacher"] == expected
  assert config["network"] == SMALL
  assert compose.complete(config) == config
  # nothing of the folder is a network's option
  assert compose.networks_by_role(config, 3)["teacher"].widths == (6, 8)


def test_a_run_with_a_teacher_trains_and_predicts_without_its_folder(home, tmp_path):
  shutil.copytree(home / "teacher", tmp_path / "teacher")
  config = taught_by(home, networks={"teacher": {"run": str(tmp_path / "teacher")}})
  loop.train(experiment(config), tmp_path / "pupil")
  held = checkpoint.load_learners(tmp_path / "pupil")
  theirs = checkpoint.load_learners(home / "teacher")["network"]
  jax.tree.map(np.testing.assert_array_equal, held["teacher"].params, theirs.params)
  assert held["network"].params.keys() == theirs.params.keys()
  shutil.rmtree(tmp_path / "teacher")
  (tmp_path / "pupil").rename(tmp_path / "elsewhere")
  model = load.load(tmp_path / "elsewhere")
  image = {"image": np.zeros((20, 20, 1), np.float32), "spacing": np.ones(2, np.float32)}
  scores = model.logits(Case(image))
  assert scores.shape[:2] == (20, 20)


def test_a_frozen_teacher_is_its_own_average(home):
  config = compose.complete(taught_by(home, average=0.9))
  scheme = compose.method(config, compose.networks_by_role(config, 3))
  batch = {"image": jnp.zeros((2, 16, 16, 1)), "label": jnp.zeros((2, 16, 16), jnp.int32)}
  state = jax.eval_shape(scheme.init, jax.random.key(0), batch)
  assert state.learners.keys() == {"network", "teacher", "network_average"}
  after, _ = jax.eval_shape(scheme.train_step, state, batch, jax.random.key(0))
  assert after.learners.keys() == state.learners.keys()
  assert jax.eval_shape(scheme.apply, state, batch)["logits"].shape == (2, 16, 16, 3)


def test_the_network_itself_may_be_another_runs(home):
  config = compose.complete(config_of(home, network={"run": str(home / "teacher")}))
  assert config["network"]["widths"] == (6, 8)
  assert networks.starts(config) == {"network": str(home / "teacher")}
  elsewhere = config | {"initialise": {"network": "elsewhere"}}
  assert networks.starts(elsewhere) == {"network": "elsewhere"}


def test_a_teacher_of_another_version_is_told_by_its_run(home, tmp_path):
  shutil.copytree(home / "teacher", tmp_path / "teacher")
  path = tmp_path / "teacher" / "config.json"
  config = json.loads(path.read_text())
  del config["digests"]
  config["network"]["conv_bias"] = True
  path.write_text(json.dumps(config))
  words = r"networks\.teacher\.run: .*teacher: its network .*another version .*initialise\.teacher"
  with pytest.raises(ValueError, match=words):
    compose.complete(taught_by(tmp_path))


def test_a_fold_is_taught_by_the_same_fold(home, tmp_path):
  shutil.copytree(home / "teacher", tmp_path / "all" / "fold_1")
  spec = {"teacher": {"run": str(tmp_path / "all")}}
  config = taught_by(home, networks=spec)
  config["data"]["split"] = config["data"]["split"] | {"fold": 1}
  whole = compose.complete(config)
  assert whole["networks"]["teacher"]["widths"] == (6, 8)
  assert networks.starts(whole) == {"teacher": str(tmp_path / "all" / "fold_1")}
  # one config for all folds
  assert whole["networks"]["teacher"]["run"] == str(tmp_path / "all")
  with pytest.raises(FileNotFoundError, match=r"holds fold_1, this run is fold 0; expected"):
    compose.complete(taught_by(home, networks=spec))


def test_another_teacher_is_another_run(home):
  before = compose.complete(taught_by(home))
  now = before | {"networks": {"teacher": before["networks"]["teacher"] | {"run": "elsewhere"}}}
  assert set(same_run.differences(before, now, same_run.RESUME)) == {"networks.teacher.run"}
  assert not same_run.differences(before, now, same_run.MEMBERS)


def test_options_beside_a_run_are_refused(home):
  spec = {"run": str(home / "teacher"), "widths": (8, 8)}
  with pytest.raises(
    ValueError,
    match=r"config\.networks\.teacher\.widths: \(8, 8\) beside run=.* has \(6, 8\); expected",
  ):
    compose.complete(taught_by(home, networks={"teacher": spec}))


@pytest.mark.parametrize(
  ("run", "words"),
  [
    (3, r"networks\.teacher\.run: 3; expected the folder"),
    ("nowhere", r"nowhere: holds no run; expected the folder"),
  ],
)
def test_a_folder_that_is_no_run_is_told(home, run, words):
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    compose.complete(taught_by(home, networks={"teacher": {"run": run}}))


@pytest.mark.parametrize(
  ("field", "value", "words"),
  [
    ("task", {"name": "synthesis"}, r"its config\.task .*synthesis.* is not this run's"),
    ("members", 2, r"has 2 networks, its config\.members; expected a run of one"),
    ("data", {"prior": {"run": "runs/first"}}, r"second stage of a cascade.*config\.data\.prior"),
  ],
)
def test_a_teacher_that_is_no_network_for_images_alone_is_told(
  home, field, value, words, monkeypatch
):
  config, told = compose.complete(taught_by(home)), folder.describe(home / "teacher")
  value = told.config["data"] | value if field == "data" else value
  other = told._replace(config=told.config | {field: value})
  monkeypatch.setattr(folder, "describe", lambda _: other)
  with pytest.raises(ValueError, match=rf"config\.networks\.teacher\.run: .*{words}"):
    networks.check(config, told.labels, told.channels)


@pytest.mark.parametrize(
  ("field", "value", "words"),
  [
    (
      "source",
      {"name": "phantom", "cases": 6, "size": (32, 32), "channels": 2},
      r"its channels .* is not this run's",
    ),
    ("normalise", "none", r"its normalisation .* is not this run's"),
    ("spacing", (2.0, 2.0), r"its config\.data\.spacing \(\) is not this run's \(2\.0, 2\.0\)"),
    ("patch", (8, 16, 16), r"its number of axes 2 is not this run's 3"),
  ],
)
def test_a_teacher_of_other_images_is_told_before_data_are_prepared(
  home, field, value, words, monkeypatch
):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  config = taught_by(home)
  config["data"][field] = value
  if field == "patch":
    config["data"]["source"] = {"name": "phantom", "cases": 6, "size": (16, 32, 32)}
  with pytest.raises(ValueError, match=rf"config\.networks\.teacher\.run: .*{words}"):
    experiment(config)


def test_a_teacher_of_other_labels_is_told(home, tmp_path):
  run_folders.write(tmp_path / "other")
  config = taught_by(home, networks={"teacher": {"run": str(tmp_path / "other")}})
  with pytest.raises(ValueError, match=r"teacher\.run: .*other: its labels .*'dim'.* is not this"):
    experiment(config)
