"""The config of the table of domains: pairs, patients that are apart, and what it refuses."""

import pathlib
import runpy

import numpy as np
import pytest
from closeness import assert_close

from jaxseg import feeding, held_cases
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.stream import MAIN

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "domains.py"
MODULE = runpy.run_path(str(CONFIG))
get_config = MODULE["get_config"]
TARGET, PAIRS = MODULE["TARGET"], MODULE["PAIRS"]

needs_data = pytest.mark.skipif(
  not (CONFIG.parents[2] / "shared" / "data").is_dir(), reason="../shared/data is not there"
)


@pytest.mark.parametrize("pair", PAIRS)
@needs_data
def test_the_targets_labels_are_fed_to_nobody_and_patients_stay_apart(pair, monkeypatch):
  monkeypatch.chdir(CONFIG.parents[1])
  config = complete(load_config(f"{CONFIG}:source,pair={pair}"))
  feeds = feeding.feeds(config)
  held_cases.check(config, feeds)
  main, target = feeds[MAIN], feeds[TARGET]
  assert main.labelled
  assert not target.labelled
  assert not set(target.cases) & set(target.sides.validation)
  assert set(target.cases) | set(target.sides.validation) == set(target.source.cases)
  assert held_cases.names(config) == (TARGET,)
  ceiling = feeding.feeds(complete(load_config(f"{CONFIG}:target,pair={pair}")))[MAIN]
  assert ceiling.cases == target.cases
  assert ceiling.sides.validation == target.sides.validation
  assert main.source.labels.names == target.source.labels.names == ceiling.source.labels.names


@pytest.mark.parametrize("pair", PAIRS)
def test_methods_differ_by_what_they_say_alone(pair):
  reference = get_config(f"source,pair={pair}").to_dict()
  for method, fields in MODULE["METHODS"].items():
    if method == MODULE["CEILING"]:
      continue
    first = ",run=runs/first" if method in MODULE["TRANSLATED"] else ""
    config = get_config(f"{method},pair={pair}{first}").to_dict()
    changed = {name.split(".")[0] for name in fields}
    if first:
      own = config["data"].pop("source")
      assert own == dict(name="translated", source=reference["data"]["source"], run="runs/first")
      config["data"]["source"] = own["source"]
    # the same cases, by the name that the method knows
    if method in MODULE["STREAMS"]:
      stream = MODULE["STREAMS"][method]
      assert config.pop("streams")[stream] == reference["streams"][TARGET]
      makes_images = method == MODULE["TRANSLATOR"]
      assert config.pop("evaluate")["streams"] == (() if makes_images else (stream,))
    assert {name for name in config if config[name] != reference[name]} <= changed


@pytest.mark.parametrize("case", ["mr", "ct"])
def test_a_second_stage_is_fed_what_the_generator_made_and_no_blurred_copy(case):
  of = {"mr": (2, 256, 256), "ct": (2, 257, 257)}[case]
  stages = [
    get_config(f"{words},pair=mr_to_ct").to_dict()["data"]["resampling"]
    for words in ("cyclegan", "second_stage,run=runs/first")
  ]
  grids = [
    Preparation((case,), 3, ({"name": "none"},), resampling=resampling).grid(
      plain_geometry(of, (5.0, 1.3, 1.3))
    )
    for resampling in stages
  ]
  made = np.random.default_rng(0).uniform(0, 255, (*grids[0].shape, 1)).astype(np.float32)
  assert_close(grids[1].image(grids[0].restore(made)), made, rtol=1e-5)


def test_published_sizes_are_those_of_the_paper():
  config = get_config("source,pair=mr_to_ct,protocol=published")
  assert (config.data.patch, config.data.batch, config.steps) == ((256, 256), 8, 20_000)
  assert config.data.resampling["size"] == (None, 256, 256)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("sourc", r"'sourc' is no method .*'source'"),
    ("source,pair=ct_to_ct", r"pair=ct_to_ct: expected one of .*did you mean"),
    ("source,protocol=gpu", "protocol=gpu: expected one of cpu, published"),
    ("source,steps=3", "'steps=3' is no argument"),
    (
      "second_stage",
      "run=: the folder of a run of cyclegan on the same pair, which second_stage, ",
    ),
    ("source,run=runs/a", "run=runs/a: the folder of a run of cyclegan .* no other method takes"),
  ],
)
def test_other_arguments_are_told(words, message):
  with pytest.raises(ValueError, match=message):
    get_config(words)
