"""Every search of the config is one, with equal data, steps and cases."""

import pathlib
import runpy

import pytest

from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.packages import installed
from jaxseg.search import evaluations, parameters
from jaxseg.search.plan import plan
from jaxseg.search.strategies import check_strategy

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "search.py"
TABLE = runpy.run_path(str(CONFIG))
NAMES = [*TABLE["SEARCHES"], *TABLE["LOSS_SEARCHES"]]


def config(argument):
  return load_config(f"{CONFIG}:{argument}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", TABLE["SETS"])
def test_every_search_is_a_config_of_every_set(name, of):
  made = config(f"{name},set={of}")
  search = plain(made.search)
  completed = complete({**plain(made), "search": {}})
  other = complete({**plain(config(f"random,set={of}")), "search": {}})
  for field in ("steps", "predictor", "augment"):
    assert completed[field] == other[field]
  for field in ("source", "patch", "batch", "resampling"):
    assert completed["data"][field] == other["data"][field]
  if not search:
    assert name == "darts"
    return
  space = parameters.space(search["space"])
  assert space.size > 1
  # of AM-LFS those of a round
  short = completed["steps"] // (16 if name == "sums_am_lfs" else 8)
  assert evaluations.evaluation(search["evaluation"]).fields == {"steps": short}
  if search["strategy"]["name"] == "random" and not installed("optuna"):
    return
  check_strategy(search["strategy"])


@pytest.mark.parametrize("name", ["full", "proxy", "synflow", "naswot", "gradient_norm"])
def test_evaluations_are_compared_on_the_same_networks(name):
  search = plain(config(f"random,evaluation={name}").search)
  assert search["strategy"] == {"name": "random", "trials": 12}
  assert search["evaluation"]["name"] == name
  assert "budget" not in search


@pytest.mark.parametrize("name", ["hand", "evolution", "surrogate_ppo", "sums"])
def test_a_search_of_the_heart_can_begin(name):
  if not (CONFIG.parents[1] / "../shared/data/sunnybrook_lv").is_dir():
    pytest.skip("../shared/data/sunnybrook_lv is not there")
  if not installed("optuna"):
    pytest.skip("Optuna is not installed: pip install 'jaxseg[search]'")
  made = plan(config(name))
  assert made.steps == 200
  assert len(made.test) > 20
  patients = [{case.split("-IM")[0] for case in side} for side in (made.test, _inner(made))]
  assert not patients[0] & patients[1]


def _inner(made):
  split = made.config["data"]["split"]
  return (*split["train"], *split["validation"])


def test_what_is_no_search_is_refused():
  for argument, words in (
    ("randm", "did you mean 'random'"),
    ("random,set=acdc", "expected one of sunnybrook_lv"),
    ("random,budget=x", "budget=x: expected a whole number"),
    ("random,data=mine,set=sunnybrook_lv", "expected set=msd_hippocampus, .* or set=drive"),
  ):
    with pytest.raises(ValueError, match=words):
      config(argument)


@pytest.mark.parametrize(("words", "like"), [("", "msd_hippocampus"), (",set=drive", "drive")])
@pytest.mark.parametrize("name", ["evolution", "sums", "darts"])
def test_a_folder_of_ones_own_has_the_sizes_of_a_set_of_its_rank(name, words, like):
  mine, other = config(f"{name},data=mine{words}"), config(f"{name},set={like}")
  assert plain(mine.data.source) == {"name": "nnunet_raw", "path": "mine"}
  mine.data.source = other.data.source
  assert plain(mine) == plain(other)
  assert len(mine.data.patch) == (2 if words else 3)
