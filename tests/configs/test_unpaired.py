"""The config of unpaired CT and MR: its variants differ by what is shared alone."""

import pathlib
import runpy

import jax
import numpy as np
import pytest

from jaxseg.compose import complete, method, networks_by_role
from jaxseg.config.file import load_config
from jaxseg.methods import by_domain

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "unpaired.py"
MODULE = runpy.run_path(str(CONFIG))
get_config = MODULE["get_config"]


def shares(variant: str, size: str = "cpu") -> tuple[int, int]:
  """Parameters that the domains share, and that each has of its own."""
  config = complete(get_config(f"{variant},size={size}"))
  for part in config["loss"].values():
    part.pop("class_weights", None)  # counted when the data are there
  scheme = method(config, networks_by_role(config, 5))
  image = jax.ShapeDtypeStruct((1, 3, 32, 32, 1), np.float32)
  part = {"image": image, "label": jax.ShapeDtypeStruct(image.shape[:-1], np.int32)}
  state = jax.eval_shape(scheme.init, jax.random.key(0), {**part, "mr": part})
  return by_domain.shares(state.learners["network"])


@pytest.mark.parametrize("size", MODULE["SIZES"])
def test_variants_differ_by_the_method_alone(size):
  configs = {name: get_config(f"{name},size={size}").to_dict() for name in MODULE["VARIANTS"]}
  methods = [config.pop("method") for config in configs.values()]
  first, *others = configs.values()
  assert all(other == first for other in others)
  assert len({str(of) for of in methods}) == len(methods)


def test_the_more_is_of_each_domain_the_less_is_shared():
  of = {name: shares(name) for name in MODULE["VARIANTS"]}
  whole = sum(of["joint"])
  assert all(sum(each) == whole for each in of.values())
  assert of["individual"] == (0, whole)
  assert of["joint"] == (whole, 0)
  assert of["norms"] == of["unpaired"]
  own = [of[name][1] for name in ("unpaired", "x", "y", "individual")]
  assert own == sorted(own)
  assert own[0] < 0.01 * whole


def test_norms_of_the_published_size_are_a_two_thousandth():
  """As the paper tells of its network: 0.05 %."""
  shared, own = shares("unpaired", "published")
  assert 0.0003 < own / shared < 0.0006


def test_patients_that_are_scored_are_held_out_of_both_domains():
  config = get_config()
  assert config.data.split.validation == ("20", "28")
  assert config.streams["mr"].split.validation == ("13", "15")
  assert config.evaluate.streams == ("main", "mr")


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("unpared", r"'unpared' is no variant of this table \(did you mean 'unpaired'\?\)"),
    ("unpaired,size=gpu", "size=gpu: expected one of cpu, published"),
    ("unpaired,sice=cpu", r"'sice=cpu' is no argument \(did you mean 'size'\?\)"),
  ],
)
def test_what_is_no_variant_or_argument_is_told(words, message):
  with pytest.raises(ValueError, match=message):
    load_config(f"{CONFIG}:{words}")
