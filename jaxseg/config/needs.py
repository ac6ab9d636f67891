"""Whether a config feeds its method what that needs beside images and labels."""

from collections.abc import Collection, Mapping
from typing import Any

from jaxseg import methods
from jaxseg.config.streams import TRAINING, UNLABELLED, as_main
from jaxseg.methods.needs import Needs


def of(config: Mapping[str, Any]) -> Needs:
  """What the config's method needs."""
  return methods.NEEDS.get(config["method"]["name"], Needs())


def check_streams(config: Mapping[str, Any]) -> None:
  """Raises ValueError for a stream that the method needs and the config lacks, or feeds otherwise.

  A source of its own may have labels, which the method does not look at.
  """
  name, batch = config["method"]["name"], config["data"]["batch"]
  for stream in of(config).streams:
    where, spec = f"config.streams.{stream}", config["streams"].get(stream)
    if spec is None:
      raise ValueError(
        f"{where}: is missing; the method '{name}' learns from cases without labels, too: add "
        f'{where}=dict(cases="{UNLABELLED}", batch={batch}), and config.data.split.labelled, if '
        "all cases of config.data.source have labels."
      )
    if "source" not in spec and spec.get("cases", TRAINING) != UNLABELLED:
      raise ValueError(
        f"{where}.cases: '{TRAINING}' are the cases that the main stream feeds with their labels, "
        f"and the method '{name}' learns from others beside them; expected '{UNLABELLED}', or a "
        "source of its own."
      )
    patch, ours = as_main(config, stream)["data"]["patch"], config["data"]["patch"]
    if patch is not None and ours is not None and tuple(patch) != tuple(ours):
      raise ValueError(
        f"{where}.patch: {tuple(patch)}, and the main stream's is {tuple(ours)}; the method "
        f"'{name}' puts both in one batch: leave the field out."
      )


def check_fields(config: Mapping[str, Any], there: Collection[str]) -> None:
  """Raises ValueError for a field that the method needs and the main stream's cases lack."""
  for field in of(config).fields:
    if field not in there:
      raise ValueError(
        f"config.data.fields.{field}: is missing; the method '{config['method']['name']}' learns "
        f'from it: add config.data.fields.{field}=dict(name="folder", path=FOLDER), or choose a '
        "source whose cases have it."
      )
