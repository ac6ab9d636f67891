"""`remat` as an option of a network, which config.remat has taken the place of."""

from collections.abc import Iterator, Mapping
from typing import Any

OPTION, BLOCKS = "remat", "blocks"


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError if a network of a config is given the option."""
  for path, value in _options(config):
    raise ValueError(
      f"config.{path}: {value!r}, which is no option of a network any more; give config.remat="
      f"'{BLOCKS}', which computes the blocks of any network again."
    )


def replaced(config: dict[str, Any]) -> dict[str, Any]:
  """A stored config without the option: where a network had it, all are as config.remat says."""
  options = dict(_options(config))
  if not options:
    return config
  networks = {name: _without(config[name]) for name in ("network", "networks") if name in config}
  usual = {OPTION: BLOCKS} if any(options.values()) else {}
  return {**usual, **config, **networks}


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Path -> value of the option, in every network and in the networks inside of these."""
  for name in ("network", "networks"):
    yield from _inside(config.get(name), name)


def _inside(spec: Any, path: str) -> Iterator[tuple[str, Any]]:
  if isinstance(spec, Mapping):
    for name, value in spec.items():
      if name == OPTION:
        yield f"{path}.{name}", value
      else:
        yield from _inside(value, f"{path}.{name}")


def _without(spec: Any) -> Any:
  if not isinstance(spec, Mapping):
    return spec
  return {name: _without(value) for name, value in spec.items() if name != OPTION}
