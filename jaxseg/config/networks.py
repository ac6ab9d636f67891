"""The network of another run in a role of this one: config.networks.teacher = dict(run=FOLDER).

FOLDER may be that of a cross-validation: each fold's teacher is then the same fold's, which has not
learnt from what this one validates on.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.normalise import schemes
from jaxseg.runs import folder as run_folder

RUN = "run"
# what a network has learnt to expect of an image
_PREPARED = ("orientation", "transpose", "spacing", "slices")


def resolve(config: dict[str, Any]) -> dict[str, Any]:
  """The config with the networks of other runs spelled out beside `run`.

  So that a run folder tells all of its networks by itself. Options beside `run` must be the run's.
  Raises FileNotFoundError or ValueError in words.
  """
  specs = {}
  for field, spec in _of_runs(config):
    folder = _folder(config, spec[RUN], field)
    theirs = without_run(run_folder.read_config(folder)["network"])
    for option, value in without_run(spec).items():
      if theirs.get(option) != value:
        raise ValueError(
          f"config.{field}.{option}: {value!r} beside run='{spec[RUN]}', whose network has "
          f"{theirs.get(option, 'its default')!r}; expected config.{field}=dict(run=...) alone, "
          "the network of a run is taken as it is."
        )
    specs[field] = {RUN: spec[RUN], **theirs}
  further = {key: specs.get(f"networks.{key}", spec) for key, spec in config["networks"].items()}
  return {**config, "network": specs.get("network", config["network"]), "networks": further}


def starts(config: Mapping[str, Any]) -> dict[str, str]:
  """config.initialise, and what it leaves out: the weights of the networks of other runs."""
  theirs = {
    field.rpartition(".")[2]: str(_folder(config, spec[RUN], field))
    for field, spec in _of_runs(config)
  }
  return {**theirs, **config["initialise"]}


def without_run(spec: Mapping[str, Any]) -> dict[str, Any]:
  """A network's name and options alone."""
  return {option: value for option, value in spec.items() if option != RUN}


@contextlib.contextmanager
def told_of_run(spec: Mapping[str, Any], field: str) -> Iterator[None]:
  """A refusal of a network's options names the run that they are of, if they are of one."""
  try:
    yield
  except ValueError as error:
    if RUN not in spec:
      raise
    raise ValueError(
      f"config.{field}.run: {spec[RUN]}: its network cannot be built ({str(error).rstrip('.')}): "
      "another version of jaxseg made the run; train it again, or name the options themselves and "
      f"start from its weights, config.initialise.{field.rpartition('.')[2]}=FOLDER."
    ) from error


def check(config: Mapping[str, Any], labels: LabelSpec, channels: tuple[str, ...]) -> None:
  """Raises ValueError unless the other runs have learnt from images and labels like this one's."""
  ours = _expects(config, labels, channels)
  for field, spec in _of_runs(config):
    other = run_folder.describe(_folder(config, spec[RUN], field))
    theirs = _expects(other.config, other.labels, other.channels)
    for what, value in theirs.items():
      if value != ours[what]:
        raise ValueError(
          f"config.{field}.run: {spec[RUN]}: its {what} {value} is not this run's {ours[what]}; "
          "expected a run on images and labels like these."
        )
    if other.config["members"] > 1:
      raise ValueError(
        f"config.{field}.run: {spec[RUN]}: has {other.config['members']} networks, its "
        "config.members; expected a run of one."
      )
    if other.config["data"]["prior"]:
      raise ValueError(
        f"config.{field}.run: {spec[RUN]}: is the second stage of a cascade, whose network takes a "
        "first one's segmentation beside the image; expected a run without config.data.prior."
      )


def _expects(config: Mapping[str, Any], labels: LabelSpec, channels) -> dict[str, Any]:
  """What a run's networks have to do with: what must be alike, by its name in words."""
  options = config["data"]
  return {
    "config.task": config["task"],
    "labels": run_folder.meaning(labels),
    "channels": tuple(channels),
    "number of axes": len(options["patch"]),
    **{f"config.data.{name}": options[name] for name in _PREPARED},
    "normalisation": schemes(options["normalise"], tuple(channels)),
  }


def _of_runs(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """(field, spec) of the networks that are those of other runs."""
  further = {f"networks.{key}": spec for key, spec in config["networks"].items()}
  for field, spec in {"network": config["network"], **further}.items():
    if RUN in spec:
      yield field, spec


def _folder(config: Mapping[str, Any], folder: Any, field: str) -> pathlib.Path:
  """The run folder that a network is of; of a cross-validation the fold that this run is."""
  if not isinstance(folder, str) or not folder:
    raise ValueError(f"config.{field}.run: {folder!r}; expected the folder of a run.")
  path = pathlib.Path(folder)
  if (path / run_folder.CONFIG).is_file():
    return path
  fold = (config["data"]["split"] or {}).get("fold")
  same = path / f"{run_folder.FOLD}{fold}"
  if (same / run_folder.CONFIG).is_file():
    return same
  folds = [other.name for other in run_folder.folds_in(path)]
  what = f"holds {', '.join(folds)}, this run is fold {fold}" if folds else "holds no run"
  raise FileNotFoundError(
    f"config.{field}.run: {folder}: {what}; expected the folder of a run (train.py's --workdir) "
    "or of a cross-validation that has the same fold."
  )
