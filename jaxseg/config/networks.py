"""The network of another run in a role of this one: config.networks.teacher = dict(run=FOLDER)."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.normalise import schemes
from jaxseg.runs import folder as run_folder

RUN = "run"
# what a network has learnt to expect of an image
_PREPARED = ("orientation", "transpose", "spacing", "slices")


def resolved(config: dict[str, Any]) -> dict[str, Any]:
  """The config with the networks of other runs spelled out beside `run`, and their weights to load.

  So that a run folder tells all of its networks by itself. Options beside `run` must be the run's.
  Raises FileNotFoundError or ValueError in words.
  """
  taken = {}
  for field, spec in _borrowed(config):
    theirs = _spec(spec[RUN], field)
    own = {option: value for option, value in spec.items() if option != RUN}
    for option, value in own.items():
      if theirs.get(option) != value:
        raise ValueError(
          f"config.{field}.{option}: {value!r} beside run='{spec[RUN]}', whose network has "
          f"{theirs.get(option, 'its default')!r}; expected config.{field}=dict(run=...) alone, "
          "the network of a run is taken as it is."
        )
    taken[field] = {RUN: spec[RUN], **theirs}
  starts = {field.rpartition(".")[2]: spec[RUN] for field, spec in taken.items()}
  further = {key: taken.get(f"networks.{key}", spec) for key, spec in config["networks"].items()}
  return {
    **config,
    "network": taken.get("network", config["network"]),
    "networks": further,
    "initialise": {**starts, **config["initialise"]},
  }


def without_run(spec: Mapping[str, Any]) -> dict[str, Any]:
  """A network's name and options alone."""
  return {option: value for option, value in spec.items() if option != RUN}


def check(config: Mapping[str, Any], labels: LabelSpec, channels: tuple[str, ...]) -> None:
  """Raises ValueError unless the other runs have learnt from images and labels like this one's."""
  ours = _expects(config, labels, channels)
  for field, spec in _borrowed(config):
    told = run_folder.describe(spec[RUN])
    theirs = _expects(told.config, told.labels, told.channels)
    for what, value in theirs.items():
      if value != ours[what]:
        raise ValueError(
          f"config.{field}.run: {spec[RUN]}: its {what} {value} is not this run's {ours[what]}; "
          "expected a run on images and labels like these."
        )
    if told.config["members"] > 1:
      raise ValueError(
        f"config.{field}.run: {spec[RUN]}: has {told.config['members']} networks (config.members); "
        "expected a run of one."
      )
    if told.config["data"]["prior"]:
      raise ValueError(
        f"config.{field}.run: {spec[RUN]}: is the second stage of a cascade, whose network takes a "
        "first one's segmentation beside the image; expected a run without config.data.prior."
      )


def _expects(config: Mapping[str, Any], labels: LabelSpec, channels) -> dict[str, Any]:
  """What a run's networks have to do with: what must be alike, by its name in words."""
  options = config["data"]
  return {
    "labels": run_folder.meaning(labels),
    "channels": tuple(channels),
    "number of axes": len(options["patch"]),
    **{f"config.data.{name}": options[name] for name in _PREPARED},
    "normalisation": schemes(options["normalise"], tuple(channels)),
  }


def _borrowed(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """(field, spec) of the networks that are those of other runs."""
  further = {f"networks.{key}": spec for key, spec in config["networks"].items()}
  for field, spec in {"network": config["network"], **further}.items():
    if RUN in spec:
      yield field, spec


def _spec(folder: Any, field: str) -> dict[str, Any]:
  """The network of a run folder."""
  if not isinstance(folder, str) or not folder:
    raise ValueError(f"config.{field}.run: {folder!r}; expected the folder of a run.")
  if not (pathlib.Path(folder) / run_folder.CONFIG).is_file():
    raise FileNotFoundError(
      f"config.{field}.run: {folder}: holds no {run_folder.CONFIG}; expected the folder of a run "
      "(train.py's --workdir; of a cross-validation, that of a fold)."
    )
  return without_run(run_folder.read_config(folder)["network"])
