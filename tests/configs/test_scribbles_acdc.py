"""Every variant of the scribbles' config is one, and differs in what it is told to alone."""

import pathlib
import runpy

import pytest

from jaxseg.compose import complete
from jaxseg.config.file import load_config

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "scribbles_acdc.py"
VARIANTS = runpy.run_path(str(CONFIG))["VARIANTS"]


def config(argument):
  return complete(load_config(f"{CONFIG}:{argument}"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_config_with_equal_data(variant):
  made, full = config(variant), config("full")
  assert made["data"]["annotation"] == VARIANTS[variant].get("data.annotation", "label")
  for field in ("steps", "optimiser", "seed", "predictor", "evaluate"):
    assert made[field] == full[field]
  for field in ("source", "split", "resampling", "patch", "batch", "normalise"):
    assert made["data"][field] == full["data"][field]


def test_the_published_protocol_is_that_of_few_labels():
  published = config("dual_branch,published")
  assert published["steps"] == 30_000
  assert published["network"]["second_decoder"] == 0.5
