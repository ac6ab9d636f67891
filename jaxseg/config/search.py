"""config.network of a search: the genotype that a network is of, and who trains a supernet."""

from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg import methods, networks
from jaxseg.search import genotypes

GENOTYPE = "genotype"
# the network of what was chosen among channels and kernels
_PLAIN = "plain_conv_unet"


def resolve(config: dict[str, Any]) -> dict[str, Any]:
  """The config with genotypes themselves in place of their files' and published ones' names.

  So that a run folder tells its network by itself. A "plain_conv_unet" of a genotype gets the
  widths, kernels and depths that it names. Raises FileNotFoundError or ValueError in words.
  """
  network, further = config["network"], dict(config["networks"])
  for field, spec in _fields(config):
    value = genotypes.resolve(spec[GENOTYPE], f"config.{field}.{GENOTYPE}")
    spec = _spelled_out(spec, value, field)
    if field == "network":
      network = spec
    else:
      further[field.partition(".")[2]] = spec
  return {**config, "network": network, "networks": further}


def _fields(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  specs = {"network": config["network"]}
  specs |= {f"networks.{key}": spec for key, spec in config["networks"].items()}
  for field, spec in specs.items():
    if spec.get(GENOTYPE) is not None:
      yield field, spec


def _spelled_out(spec: Mapping[str, Any], value: dict[str, Any], field: str) -> dict[str, Any]:
  kind, name = value["space"], spec.get("name")
  if kind != "elastic":
    if name == _PLAIN:
      right = "dints" if kind == "dints" else "cell_unet"
      raise ValueError(
        f"config.{field}.{GENOTYPE}: is of '{kind}', and '{_PLAIN}' is not; expected "
        f'config.{field}=dict(name="{right}", genotype=...).'
      )
    return {**spec, GENOTYPE: value}
  if name != _PLAIN:
    raise ValueError(
      f"config.{field}.{GENOTYPE}: chooses channels and kernels, and '{name}' has no such choice; "
      f'expected config.{field}=dict(name="{_PLAIN}", genotype=...).'
    )
  chosen = {option: tuple(value[option]) for option in ("widths", "kernels", "depth")}
  chosen["decoder_depth"] = chosen["depth"][:-1]
  for option in chosen:
    if spec.get(option) is not None:
      raise ValueError(
        f"config.{field}.{option}: {spec[option]!r} beside a genotype, which chooses it; leave it "
        "out."
      )
  return {option: of for option, of in spec.items() if option != GENOTYPE} | chosen


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for a supernet whose choices nothing searches, or a search without one."""
  name, method = config["network"].get("name"), config["method"].get("name")
  supernet = name in networks.SUPERNETS
  if supernet and method in methods.METHODS and method not in methods.SEARCHES:
    raise ValueError(
      f"config.network: '{name}' holds all architectures of a space, and the method '{method}' "
      f"chooses none; expected a method of search ({', '.join(methods.SEARCHES)}), or the network "
      'that was chosen, dict(name="cell_unet", genotype=...).'
    )
  if method in methods.SEARCHES and not supernet and isinstance(name, str):
    raise ValueError(
      f"config.network: '{name}' has nothing to choose, and the method '{method}' searches; "
      f"expected one of {', '.join(networks.SUPERNETS)}."
    )
  for key, spec in config["networks"].items():
    if spec.get("name") in networks.SUPERNETS:
      raise ValueError(
        f"config.networks.{key}: '{spec['name']}' holds all architectures of a space and takes no "
        "further role; expected a network that was chosen."
      )
