"""What a candidate's network may cost: config.search.limits."""

from collections.abc import Mapping
from typing import Any

from jaxseg.build import check_options
from jaxseg.compose import networks_by_role
from jaxseg.config import synthesis
from jaxseg.config.option_values import check_value
from jaxseg.config.ranges import POSITIVE
from jaxseg.data import Source
from jaxseg.feeding import source_of
from jaxseg.networks.describe import describe
from jaxseg.networks.several import one
from jaxseg.planning import network_inputs

_LIMITS = ("parameters", "gflops")
# of config.data, what says which channels and classes there are
_SETS = ("source", "classes")


def limits(spec: Mapping[str, Any]) -> dict[str, float]:
  """config.search.limits; raises ValueError for what is none."""
  check_options("limits", spec, _LIMITS, "search.limits")
  for name, most in spec.items():
    check_value(most, f"config.search.limits.{name}", float, POSITIVE)
  return dict(spec)


def sizes(config: dict[str, Any], source: Source) -> tuple[int, int]:
  """(channels of the images, outputs of the network) of a complete config's data set."""
  channels = synthesis.input_channels(config, len(source.channels), source.labels.channels)
  return channels, len(synthesis.target_names(config)) or source.labels.channels


def costs(config: dict[str, Any], channels: int, classes: int) -> dict[str, float]:
  """Of the network that predicts, with all inputs that its method gives it, for one patch."""
  networks = networks_by_role(config, classes)
  shape = (config["data"]["batch"], *config["data"]["patch"], channels)
  given = network_inputs.shapes(config, networks, shape, classes)["network"]
  told = describe(one(networks["network"]), *((1, *of[1:]) for of in given))
  return {"parameters": told.parameters, "gflops": told.flops / 1e9}


def check(
  of: Mapping[str, float], config: dict[str, Any], base: dict[str, Any], known: tuple[int, int]
) -> None:
  """Raises ValueError for a network beyond the limits.

  Args:
    of: the limits.
    config: complete, of the network.
    base: of the search, whose data set has the `sizes` that are `known`.
    known: as above.
  """
  same = all(config["data"][name] == base["data"][name] for name in _SETS)
  spent = costs(config, *(known if same else sizes(config, source_of(config))))
  for name, most in of.items():
    if spent[name] > most:
      patch = "x".join(map(str, config["data"]["patch"]))
      where = f" for a patch of {patch}" if name == "gflops" else ""
      raise ValueError(
        f"config.search.limits.{name}: the network has {spent[name]:,.6g}{where}, more than "
        f"{most:,.6g}."
      )
