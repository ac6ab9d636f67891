"""What a plan decides of a config, what the config sets itself, and when the plan is made."""

import functools
import pathlib
import shutil

import pytest

from jaxseg import planning
from jaxseg.build import plain
from jaxseg.config.file import load_config
from jaxseg.config.overrides import read_config
from jaxseg.planning.planned_config import merge, resolve

ROOT = pathlib.Path(__file__).parents[2]
PHANTOM = """
from jaxseg import defaults

def get_config():
  config = defaults.config()
  config.data.source = dict(name="phantom", cases=6, size=(48, 64))
  config.data.split = dict(name="kfold", fold=0, folds=3)
  return config
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder with configs/auto.py, a config whose data are planned for, and the plan."""
  folder = tmp_path_factory.mktemp("place")
  (folder / "phantom.py").write_text(PHANTOM)
  shutil.copy(ROOT / "configs/auto.py", folder)
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    quick = functools.partial(planning.fingerprint, draws=6000, workers=1)
    patch.setattr(planning, "fingerprint", lambda source, workers: quick(source))
    lines = []
    resolve(config("--config.data.batch=2"), say=lines.append)
  assert [line.split()[0] for line in lines] == ["Planning", "The"]
  return folder


def config(*changes):
  return read_config(["--config=auto.py:phantom.py,preset=cpu", *changes])[0]


@pytest.fixture
def at_place(place, monkeypatch):
  monkeypatch.chdir(place)
  monkeypatch.setattr(planning, "fingerprint", lambda *_, **__: pytest.fail("planned"))


def quietly(text):
  del text


@pytest.mark.usefixtures("at_place")
def test_the_plan_fills_in_what_the_config_leaves_out():
  told = planning.settings(planning.read_plan("plans/phantom2d/jaxsegCPUPlans.json"), "2d")
  made = plain(resolve(config(), say=quietly))
  assert made["plan"] == {}
  assert made["network"] == told["network"]
  # the short recipe sets the share of foreground itself
  for name, value in (told["data"] | {"foreground": 0.33}).items():
    assert made["data"][name] == value
  assert made["data"]["source"] == {"name": "phantom", "cases": 6, "size": (48, 64)}
  assert made["data"]["split"] == {"name": "kfold", "fold": 0, "folds": 3}
  assert made["loss"]["dice"]["batch"] == told["batch_dice"]
  assert made["method"] == {"name": "supervised", "drop_last_head": True}
  assert made["augment"]["spatial"]["label"] == "majority"
  assert made["predictor"] == {"name": "sliding_window", "overlap": 0.5, "batch": 2}


@pytest.mark.usefixtures("at_place")
def test_without_further_heads_none_is_dropped():
  two = "--config.network.widths=(8,16)", "--config.network.strides=(2,)"
  for changes in (two, ["--config.network.name=vnet"]):
    assert plain(resolve(config(*changes), say=quietly))["method"] == {"name": "supervised"}
  kept = resolve(config("--config.method.drop_last_head=False"), say=quietly)
  assert not kept.method.drop_last_head


@pytest.mark.usefixtures("at_place")
def test_what_the_config_or_the_command_line_sets_goes_before_the_plan():
  before = plain(resolve(config(), say=quietly))
  changes = (
    "--config.data.patch=(32,32)",
    "--config.network.norm=group",
    "--config.augment.mirror.axes=(1,)",
    "--config.augment.noise=None",
    "--config.data.split.fold=2",
    "--config.predictor.batch=1",
    "--config.steps=10",
  )
  made = plain(resolve(config(*changes), say=quietly))
  assert made["network"] == {**before["network"], "norm": "group"}
  assert made["data"]["patch"] == (32, 32)
  assert made["data"]["batch"] == before["data"]["batch"]
  assert made["augment"]["mirror"]["axes"] == (1,)
  assert set(made["augment"]) == set(before["augment"]) - {"noise"}
  assert made["data"]["split"] == {"name": "kfold", "fold": 2, "folds": 3}
  assert made["predictor"] == {**before["predictor"], "batch": 1}
  assert made["steps"] == 10
  other = plain(resolve(config("--config.network=dict(name='vnet')"), say=quietly))
  assert other["network"] == {"name": "vnet"}


@pytest.mark.usefixtures("at_place")
@pytest.mark.parametrize(
  ("change", "words"),
  [
    ("optimiser.momentumm=1", r"config\.optimiser\.momentumm"),
    ("network.kernel=3", r"config\.network\.kernel: .*'kernels'"),
    ("steps=0", r"config\.steps: 0"),
    ("data.batch=0", r"config\.data\.batch: 0"),
    ("plan.preset=cpuu", r"config\.plan\.preset: 'cpuu' is unknown \(did you mean 'cpu'\?\)"),
    ("plan.presett=cpu", r"config\.plan\.presett: .*'preset'"),
    ("plan.folder=3", r"config\.plan\.folder: 3"),
  ],
)
def test_a_mistake_is_told_before_anything_is_planned(change, words, tmp_path, monkeypatch):
  for name in ("auto.py", "phantom.py"):
    shutil.copy(name, tmp_path)
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=words):
    resolve(config(f"--config.{change}"))
  assert {file.name for file in tmp_path.iterdir()} == {"auto.py", "phantom.py"}


@pytest.mark.usefixtures("at_place")
def test_slices_that_the_config_sets_are_predicted_by_slices():
  made = resolve(config("--config.data.slices=0", "--config.data.patch=(8,8)"), say=quietly)
  assert made.predictor.name == "slices"


@pytest.mark.usefixtures("at_place")
def test_without_a_plan_a_verb_that_makes_none_says_which_command_does():
  words = (
    r"there is no plan of preset 'resenc_m' in plans/phantom2d yet; .* jaxseg plan phantom\.py"
  )
  with pytest.raises(FileNotFoundError, match=words):
    resolve(load_config("auto.py:phantom.py,preset=resenc_m"), make=False)


def test_a_config_without_a_plan_is_as_it_was():
  given = load_config(str(ROOT / "configs/unet_phantom2d.py"))
  assert resolve(given) is given


def test_parts_are_merged_where_they_have_one_name():
  planned = {"a": {"name": "x", "k": 1}, "b": (1, 2), "c": None}
  assert merge(planned, {"a": {"l": 2}}) == {**planned, "a": {"name": "x", "k": 1, "l": 2}}
  assert merge(planned, {"a": {"name": "x", "k": 3}})["a"] == {"name": "x", "k": 3}
  assert merge(planned, {"a": {"name": "y"}})["a"] == {"name": "y"}
  assert merge(planned, {"a": {"run": "runs/a"}})["a"] == {"run": "runs/a"}
  assert merge(planned, {"b": None, "d": 4}) == {**planned, "d": 4}
