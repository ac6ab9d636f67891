"""The config of searches by gradients: who learns from what, published sizes, refusals."""

import pathlib
import runpy

import pytest

from jaxseg import feeding
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.data.stream import MAIN
from jaxseg.search import genotypes

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "search_cells.py"
MODULE = runpy.run_path(str(CONFIG))

needs_data = pytest.mark.skipif(
  not (CONFIG.parents[2] / "shared" / "data").is_dir(), reason="../shared/data is not there"
)


@pytest.mark.parametrize("data", MODULE["DATA"])
@pytest.mark.parametrize("task", [*MODULE["SEARCHES"], *MODULE["DERIVED"], "elastic"])
def test_every_task_is_a_config_that_fits(task, data, tmp_path):
  words = f"{task},data={data}"
  if task == "derived_dints":
    path = tmp_path / "genotype.json"
    blocks = [[[0, "conv_3x3"]]]
    genotypes.write(path, {"space": "dints", "depths": 3, "blocks": blocks})
    words += f",genotype={path}"
  config = complete(load_config(f"{CONFIG}:{words}"))
  if "genotype" in config["network"]:
    # the run folder tells it by itself
    assert isinstance(config["network"]["genotype"], dict)


@needs_data
@pytest.mark.parametrize("data", MODULE["DATA"])
def test_half_of_the_training_cases_teach_each_and_no_validation_case_does(data, monkeypatch):
  monkeypatch.chdir(CONFIG.parents[1])
  feeds = feeding.feeds(complete(load_config(f"{CONFIG}:nas_unet,data={data}")))
  main, rest = feeds[MAIN], feeds["architecture"]
  assert main.labelled
  assert rest.labelled
  assert not set(main.cases) & set(rest.cases)
  whole = feeding.feeds(complete(load_config(f"{CONFIG}:derived,data={data}")))[MAIN]
  assert set(main.cases) | set(rest.cases) == set(whole.cases)
  assert main.sides.validation == whole.sides.validation
  assert not set(whole.cases) & set(main.sides.validation)
  # by patients: as many within one
  assert abs(len(main.cases) - len(rest.cases)) <= len(whole.cases) / 4


@pytest.mark.parametrize("words", ["nas_unett", "nas_unet,data=chest", "derived,genotypes=x"])
def test_a_word_that_is_none_is_refused(words):
  with pytest.raises(ValueError, match=r"is nothing|expected|is no argument"):
    MODULE["get_config"](words)
