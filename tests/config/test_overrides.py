"""--config.FIELD=VALUE: what the command line makes of a config."""

import pytest

from jaxseg.build import plain
from jaxseg.config.overrides import literal, read_config

CONFIG = """
from jaxseg import defaults

def get_config(name="unet"):
  config = defaults.config()
  config.network = dict(name=name, widths=(4, 8))
  config.data.source = dict(name="nnunet_raw", path="here")
  return config
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(CONFIG)
  return str(path)


def changed(file, *words):
  config, rest = read_config([f"--config={file}", *words])
  assert not rest
  assert config.is_locked
  return plain(config)


@pytest.mark.parametrize(
  ("words", "path", "value"),
  [
    (["--config.steps=5"], "steps", 5),
    (["--config.steps", "5"], "steps", 5),
    (["--config.steps=1e4"], "steps", 10_000),
    (["--config.optimiser.learning_rate=1e-4"], "optimiser.learning_rate", 1e-4),
    (["--config.deterministic=false"], "deterministic", False),
    (["--noconfig.deterministic"], "deterministic", False),
    (["--config.optimiser.name=sgd", "--config.optimiser.nesterov"], "optimiser.nesterov", True),
    (
      ["--config.optimiser.name=rmsprop", "--config.optimiser.centered=f"],
      "optimiser.centered",
      False,
    ),
    (["--noconfig.deterministic", "--config.deterministic"], "deterministic", True),
    (["--config.data.patch=(32,48)"], "data.patch", (32, 48)),
    (["--config.data.patch=32,48"], "data.patch", (32, 48)),
    (["--config.data.patch=[32, 48]"], "data.patch", (32, 48)),
    (["--config.data.slices=None"], "data.slices", None),
    # options that the file leaves out
    (["--config.network.norm=instance"], "network.norm", "instance"),
    (["--config.augment.mirror.axes=(2,)"], "augment.mirror", {"axes": (2,)}),
    (["--config.augment.mirror.axes=2"], "augment.mirror", {"axes": (2,)}),
    (["--config.network.attention.reduction=4"], "network.attention.name", "none"),
    (["--config.loss.dice.weight=2"], "loss.dice.weight", 2.0),
    (["--config.optimiser.scale={'encoder*': 0.1}"], "optimiser.scale", {"encoder*": 0.1}),
    (
      ["--config.initialise.network=runs/a", "--config.initialise.network.learner=critic"],
      "initialise.network",
      {"run": "runs/a", "learner": "critic"},
    ),
    # of further roles, the file names none
    (["--config.networks.critic.name=patch_critic"], "networks.critic.name", "patch_critic"),
    (
      ["--config.networks.critic.name=patch_critic", "--config.networks.critic.widths=8"],
      "networks.critic.widths",
      (8,),
    ),
    (["--config.networks.teacher.run=42"], "networks.teacher.run", "42"),
    (["--config.optimisers.critic.learning_rate=2e-4"], "optimisers.critic.learning_rate", 2e-4),
    (
      ["--config.optimisers.critic.schedule.name=cosine"],
      "optimisers.critic.schedule.name",
      "cosine",
    ),
    (["--config.losses.critic.dice.batch"], "losses.critic.dice.batch", True),
    (["--config.losses.critic.dice.weight=0.5"], "losses.critic.dice.weight", 0.5),
    # words stay words where a word is expected
    (["--config.data.source.path=042"], "data.source.path", "042"),
    (["--config.data.source.path=None"], "data.source.path", "None"),
    (["--config.data.split.group=None"], "data.split.group", None),
    (["--config.data.split.group=(\\d+)"], "data.split.group", "(\\d+)"),
    (["--config.network.attention=none"], "network.attention", "none"),
    # whole components
    (["--config.network=dict(name='vnet')"], "network", {"name": "vnet"}),
    (["--config.network={'name': 'vnet'}"], "network", {"name": "vnet"}),
    (["--config.network={}", "--config.network.name=vnet"], "network", {"name": "vnet"}),
  ],
)
def test_a_word_sets_a_field(words, path, value, file):
  found = changed(file, *words)
  for name in path.split("."):
    found = found[name]
  assert found == value
  assert type(found) is type(value)


def test_the_rest_of_the_line_and_the_argument_of_the_file_are_kept(file):
  words = ["--config.steps=7", "--workdir=x", "--config", f"{file}:vnet", "more"]
  config, rest = read_config(words)
  assert rest == ["--workdir=x", "more"]
  assert (config.steps, config.network.name) == (7, "vnet")
  assert read_config(["--workdir=x"]) == (None, ["--workdir=x"])


@pytest.mark.parametrize(
  ("words", "told"),
  [
    (["--config.stepz=5"], r"config\.stepz: no such field \(did you mean 'steps'\?\)"),
    (
      ["--config.batch=5"],
      r"config\.batch: no such field .*'config\.data\.batch\'",
    ),
    (["--config.steps"], r"--config\.steps: has no value"),
    (["--config.steps", "--workdir=x"], r"--config\.steps: has no value"),
    (["--noconfig.steps"], r"--noconfig\.steps: is for fields that are True or False"),
    (["--config.steps.more=1"], r"config\.steps is 1000, which has no 'more' in it"),
    (["--config.network.widths=1", "--config.network={}"], r"--config\.network: would undo"),
  ],
)
def test_a_word_that_cannot_be_meant_is_told(words, told, file):
  with pytest.raises(ValueError, match=told):
    changed(file, *words)


def test_changes_without_a_config_are_told():
  with pytest.raises(ValueError, match=r"--config=FILE is missing"):
    read_config(["--config.steps=3"])


@pytest.mark.parametrize(
  "text", ["__import__('os')", "dict(**{})", "open('x')", "(1", "a b", "1+x"]
)
def test_nothing_is_run(text):
  assert literal(text) == text


def test_two_configs_are_refused(file):
  with pytest.raises(ValueError, match=r"--config: is given as .*mine\.py and as other\.py"):
    read_config([f"--config={file}", "--config", "other.py"])


def test_no_and_a_value_contradict_each_other(file):
  with pytest.raises(ValueError, match=r"--noconfig\.deterministic=1: takes no value"):
    read_config([f"--config={file}", "--noconfig.deterministic=1"])
