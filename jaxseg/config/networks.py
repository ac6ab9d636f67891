"""The network of another run in a role of this one: config.networks.teacher = dict(run=FOLDER).

FOLDER may be that of a cross-validation: each fold's teacher is then the same fold's, which has not
learnt from what this one validates on. dict(runs=FOLDER) is all its folds together, dict(runs=(A,
B)) those runs, in a role that takes several networks.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.config import roles as config_roles
from jaxseg.data.prepared.normalise import schemes
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.method import Learner, learns
from jaxseg.networks.several import Several, one
from jaxseg.runs import folder as run_folder
from jaxseg.runs import same_run

RUN, RUNS = "run", "runs"
# how far the numbers of two normalisations may be apart, in standard deviations
_CLOSE = 0.1
# what a network has learnt to expect of an image
_PREPARED = ("orientation", "transpose", "spacing", "slices")


def resolve(config: dict[str, Any]) -> dict[str, Any]:
  """The config with the networks of other runs spelled out beside `run` or `runs`.

  So that a run folder tells all of its networks by itself; of `runs` the folders of all of them are
  told. Options beside them must be the run's. Raises FileNotFoundError or ValueError in words.
  """
  specs = {}
  for field, spec in _of_runs(config):
    folders = _folders(config, spec, field)
    theirs = _network(folders, field)
    for option, value in without_run(spec).items():
      if theirs.get(option) != value:
        which = RUNS if RUNS in spec else RUN
        raise ValueError(
          f"config.{field}.{option}: {value!r} beside {which}={spec[which]!r}, whose network has "
          f"{theirs.get(option, 'its default')!r}; expected config.{field}=dict({which}=...) "
          "alone, the network of a run is taken as it is."
        )
    place = {RUNS: tuple(map(str, folders))} if RUNS in spec else {RUN: spec[RUN]}
    specs[field] = {**place, **theirs}
  further = {key: specs.get(f"networks.{key}", spec) for key, spec in config["networks"].items()}
  return {**config, "network": specs.get("network", config["network"]), "networks": further}


def _network(folders: Sequence[pathlib.Path], field: str) -> dict[str, Any]:
  """The network of runs, which is one; raises ValueError where theirs differ."""
  first, *rest = (run_folder.read_config(folder) for folder in folders)
  for folder, other in zip(folders[1:], rest, strict=True):
    differing = same_run.differences(first, other, same_run.MEMBERS)
    differing = {name: of for name, of in differing.items() if name.split(".")[0] == "network"}
    if differing:
      raise ValueError(
        f"config.{field}.runs: {folder}: {same_run.sentence(differing, 'is {} there, {} here')} "
        f"({folders[0]} is there); expected runs of one network."
      )
  # whose weights are taken, too
  of = first["networks"].get(config_roles.predicting(first), first["network"])
  return without_run(of)


def starts(config: Mapping[str, Any]) -> dict[str, Any]:
  """config.initialise, and what it leaves out: the weights of the networks of other runs."""
  theirs = {}
  for field, spec in _of_runs(config):
    folders = tuple(map(str, _folders(config, spec, field)))
    theirs[field.rpartition(".")[2]] = {RUNS: folders} if RUNS in spec else folders[0]
  return {**theirs, **config["initialise"]}


def several(config: Mapping[str, Any]) -> tuple[pathlib.Path, ...]:
  """The run folders whose networks fill one role together; () where none does."""
  for field, spec in _of_runs(config):
    if RUNS in spec:
      return _folders(config, spec, field)
  return ()


def folders(config: Mapping[str, Any]) -> dict[str, tuple[pathlib.Path, ...]]:
  """Field -> the run folders of the networks that fill it, of those that are other runs'."""
  return {field: _folders(config, spec, field) for field, spec in _of_runs(config)}


def begins(config: Mapping[str, Any]) -> dict[str, pathlib.Path]:
  """Field -> run folder, of config.initialise: whose weights a learner begins with."""
  named = {
    f"initialise.{key}": of if isinstance(of, str) else of.get(RUN)
    for key, of in config["initialise"].items()
    if isinstance(of, str | Mapping)
  }
  return {field: pathlib.Path(run) for field, run in named.items() if isinstance(run, str)}


def as_many(network: Any, spec: Mapping[str, Any]) -> Any:
  """A network that was built from a spec, `resolve`d: several of it where that is of several."""
  return Several(network, len(spec[RUNS])) if RUNS in spec else network


def without_run(spec: Mapping[str, Any]) -> dict[str, Any]:
  """A network's name and options alone."""
  return {option: value for option, value in spec.items() if option not in (RUN, RUNS)}


@contextlib.contextmanager
def told_of_run(spec: Mapping[str, Any], field: str) -> Iterator[None]:
  """A refusal of a network's options names the run that they are of, if they are of one."""
  try:
    yield
  except ValueError as error:
    which = next((name for name in (RUN, RUNS) if name in spec), None)
    if which is None:
      raise
    raise ValueError(
      f"config.{field}.{which}: {spec[which]}: its network cannot be built "
      f"({str(error).rstrip('.')}): another version of jaxseg made the run; train it again, or "
      "name the options themselves and start from "
      f" its weights, config.initialise.{field.rpartition('.')[2]}=FOLDER."
    ) from error


def check(config: Mapping[str, Any], labels: LabelSpec, channels: tuple[str, ...]) -> None:
  """Raises ValueError unless the other runs have learnt from images and labels like this one's."""
  for field, spec in _of_runs(config):
    for folder in _folders(config, spec, field):
      where = f"config.{field}.{RUNS if RUNS in spec else RUN}: {folder}"
      other = run_folder.describe(folder)
      check_images(where, config, labels, channels, other)
      _check_one(where, other.config)
      if RUNS in spec and (done := run_folder.steps_done(folder)) < other.config["steps"]:
        raise ValueError(
          f"{where}: stands at step {done} of {other.config['steps']}; train it to its end first."
        )
      if config["data"]["prior"]:
        raise ValueError(
          f"{where}: its network takes the image alone, but this run is the second stage of a "
          "cascade (config.data.prior), which gives it a segmentation as well; expected one of the "
          "two fields alone."
        )


def check_images(
  where: str,
  config: Mapping[str, Any],
  labels: LabelSpec,
  channels: tuple[str, ...],
  other: run_folder.Described,
) -> None:
  """Raises ValueError, which `where` begins, unless a run's images were like this one's."""
  ours = _expects(config, labels, channels)
  for what, value in _expects(other.config, other.labels, other.channels).items():
    if value != ours[what]:
      raise ValueError(
        f"{where}: its {what} {value} is not this run's {ours[what]}; expected a run on images and "
        "labels like these."
      )


def check_trained(config: Mapping[str, Any], learners: Mapping[str, Learner]) -> None:
  """Raises ValueError for a network that neither learns nor has learnt: its weights are random."""
  for name in config["networks"]:
    if name in learners and not learns(learners[name]) and name not in starts(config):
      raise ValueError(
        f"config.networks.{name}: is never trained here and has no weights; expected "
        f"config.networks.{name}=dict(run=FOLDER), or config.initialise.{name}."
      )


def check_patch(config: Mapping[str, Any], networks: Mapping[str, Any]) -> list[str]:
  """Refuses patches that a network of other runs cannot be given as in its own training.

  Args:
    config: checked.
    networks: by role.

  Returns:
    Sentences to be told: patches of another size than the network has learnt from.
  """
  notes, patch = [], tuple(config["data"]["patch"])
  for field, spec in _of_runs(config):
    (folder, *_), which = _folders(config, spec, field), RUNS if RUNS in spec else RUN
    theirs = tuple(run_folder.read_config(folder)["data"]["patch"])
    net = one(networks.get(field.rpartition(".")[2]))
    if theirs == patch or not hasattr(net, "total_stride"):
      continue
    stride = net.total_stride(len(patch))
    for ours, own, step in zip(patch, theirs, stride, strict=True):
      if ours % step and not own % step:
        raise ValueError(
          f"config.data.patch: {patch}, but the network of config.{field}.{which} ({folder}) has a "
          f"total stride of {stride} and learnt from patches of {theirs}; expected multiples of it."
        )
    notes.append(
      f"config.{field}.{which}: {folder} learnt from patches of {theirs}, here they are {patch}."
    )
  return notes


def check_numbers(config: Mapping[str, Any], ours: Preparation) -> None:
  """Raises ValueError where images are normalised by other numbers than a network learnt from.

  Numbers of one data set's folds differ a little, less than augmentation changes images.
  """
  for field, spec in _of_runs(config):
    for folder in _folders(config, spec, field):
      theirs = run_folder.describe(folder).preparation
      for channel, a, b in zip(
        ours.channels, ours.normalisation, theirs.normalisation, strict=True
      ):
        if _far(a, b):
          raise ValueError(
            f"config.{field}.{RUNS if RUNS in spec else RUN}: {folder}: its channel '{channel}' is "
            f"normalised by {b}, this run's by {a}; expected numbers alike: give its own, "
            f"config.data.normalise={b}."
          )


def _far(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
  """Whether one intensity is normalised to values that differ by more than _CLOSE deviations."""
  if not {"mean", "std"} <= ours.keys() & theirs.keys():
    return False
  shift = abs(ours["mean"] - theirs["mean"]) / theirs["std"]
  return shift > _CLOSE or abs(ours["std"] / theirs["std"] - 1) > _CLOSE


def _check_one(where: str, config: Mapping[str, Any]) -> None:
  """Raises ValueError for a run that is no network for images alone."""
  if config["members"] > 1:
    raise ValueError(
      f"{where}: has {config['members']} networks, its config.members; expected a run of one."
    )
  if config["data"]["prior"]:
    raise ValueError(
      f"{where}: is the second stage of a cascade, whose network takes a first one's segmentation "
      "beside the image; expected a run without config.data.prior."
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
    # what decides the size of voxels where the spacing does not
    "config.data.resampling.size": tuple(options["resampling"].get("size", ())),
    "normalisation": schemes(options["normalise"], tuple(channels)),
  }


def _of_runs(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """(field, spec) of the networks that are those of other runs."""
  further = {f"networks.{key}": spec for key, spec in config["networks"].items()}
  for field, spec in {"network": config["network"], **further}.items():
    if RUN in spec or RUNS in spec:
      yield field, spec


def _folders(
  config: Mapping[str, Any], spec: Mapping[str, Any], field: str
) -> tuple[pathlib.Path, ...]:
  """The run folders that a network is of; of `run` one."""
  if RUNS not in spec:
    return (_folder(config, spec[RUN], field),)
  where, value = f"config.{field}.runs", spec[RUNS]
  if RUN in spec:
    raise ValueError(f"{where}: beside run={spec[RUN]!r}; expected one of the two.")
  several = (value,) if isinstance(value, str) else value
  good = isinstance(several, Sequence) and several and all(isinstance(x, str) for x in several)
  if not good or not all(several):
    raise ValueError(
      f"{where}: {value!r}; expected the folder of a cross-validation, or the folders of runs."
    )
  try:
    folders = [run for path in several for run in run_folder.run_folders(path, seeds=True)]
  except (FileNotFoundError, ValueError) as error:
    raise type(error)(f"{where}: {error}") from error
  real = list(map(files.real_path, folders))
  if twice := [of for of, place in zip(folders, real, strict=True) if real.count(place) > 1]:
    raise ValueError(f"{where}: {twice[0]} is named twice; expected each run once.")
  return tuple(folders)


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
