"""Every row of the table of few labels is a config, and its arguments are what they say."""

import pathlib
import runpy

import pytest

from jaxseg.compose import complete
from jaxseg.config.file import load_config

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "few_labels.py"
TABLE = runpy.run_path(str(CONFIG))


def config(argument):
  return complete(load_config(f"{CONFIG}:{argument}"))


@pytest.mark.parametrize("method", TABLE["METHODS"])
@pytest.mark.parametrize("protocol", TABLE["PROTOCOLS"])
def test_every_method_is_a_config_with_equal_data(method, protocol):
  made, floor = (config(f"{name},protocol={protocol}") for name in (method, "supervised"))
  for field in ("steps", "network", "optimiser", "seed", "predictor", "evaluate"):
    assert made[field] == floor[field]
  for field in ("source", "split", "resampling", "patch", "batch", "normalise"):
    assert made["data"][field] == floor["data"][field]
  # no peeping: what validates is scored by the last step's weights alone
  assert made["evaluate"]["every"] == made["steps"]


def test_the_labelled_patients_are_the_published_ones_or_drawn():
  assert config("supervised,labelled=3")["data"]["split"]["labelled"] == (
    "patient099",
    "patient038",
    "patient050",
  )
  seven = config("supervised,labelled=7")["data"]["split"]["labelled"]
  assert seven[3:] == ("patient100", "patient058", "patient021", "patient049")
  assert "labelled" not in config("supervised,labelled=70")["data"]["split"]
  drawn = config("supervised,labelled=14,draw=2")["data"]["split"]
  assert (drawn["labelled"], drawn["labelled_seed"]) == (14, 2)


def test_the_published_protocol_leaves_methods_as_published():
  for method, changes in TABLE["SHORT"].items():
    published, short = config(f"{method},protocol=published"), config(method)
    assert published["method"].items() >= TABLE["METHODS"][method]["method"].items()
    for path in changes:
      of_published, of_short = published, short
      for name in path.split("."):
        of_published, of_short = of_published.get(name), of_short[name]
      assert of_published != of_short


def test_choices_are_made_by_patients_that_train():
  split = config("supervised,validation=training")["data"]["split"]
  sides = [{name.split("_")[0] for name in split[side]} for side in ("train", "validation")]
  assert [len(split[side]) for side in ("train", "validation")] == [120, 20]
  assert [len(side) for side in sides] == [60, 10]
  assert not sides[0] & sides[1]
  # those that have labels go on training
  assert {f"patient{number:03}" for number in (99, 38, 50, 100, 58, 21, 49)} <= sides[0]
  lists = config("supervised")["data"]["split"]["train_list"]
  if pathlib.Path(lists).is_file():
    names = pathlib.Path(lists).read_text().split()
    assert {name.split("_")[0] for name in names} == sides[0] | sides[1]


def test_the_published_protocol_is_ssl4mis():
  made = config("supervised,protocol=published")
  assert (made["steps"], made["data"]["batch"], made["data"]["patch"]) == (30_000, 12, (256, 256))
  assert made["network"] == {"name": "ssl4mis_unet"}
  optimiser = made["optimiser"]
  assert [optimiser[key] for key in ("name", "learning_rate", "momentum", "l2")] == [
    "sgd",
    0.01,
    0.9,
    1e-4,
  ]


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("supervise", r"'supervise' is no method of this table \(did you mean 'supervised'\?\)"),
    ("supervised,label=3", r"'label=3' is no argument \(did you mean 'labelled'\?\)"),
    ("supervised,labelled=0", "labelled=0: expected a whole number from 1"),
    ("supervised,labelled=9", "labelled=9: the published list names 7 patients"),
    ("supervised,labelled=71", "labelled=71: expected at most 70"),
    ("supervised,labelled=70,draw=1", "draw=1: has no effect with labelled=70"),
    ("supervised,draw=x", "draw=x: expected a whole number from 0"),
    ("supervised,protocol=gpu", "protocol=gpu: expected one of cpu, published"),
    ("supervised,validation=test", "validation=test: expected one of published, training"),
  ],
)
def test_an_argument_that_cannot_be_is_told(argument, words):
  with pytest.raises(ValueError, match=words):
    load_config(f"{CONFIG}:{argument}")
