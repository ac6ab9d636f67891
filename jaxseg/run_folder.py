"""What a run folder says of itself: config, data set, versions; all that prediction needs."""

import importlib.metadata
import json
import operator
import pathlib
import platform
import subprocess
from typing import NamedTuple

import jax

from jaxseg import defaults, files, methods, networks, optimisers
from jaxseg.batch import LabelSpec
from jaxseg.build import options_of, plain
from jaxseg.data.preparation import Preparation
from jaxseg.data.source import natural
from jaxseg.data.splits import count

FOLD = "fold_"  # and a number: a fold's run folder in that of a cross-validation
PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Described(NamedTuple):
  """What a run folder tells about its model."""

  config: dict
  labels: LabelSpec
  channels: tuple[str, ...]
  rank: int
  preparation: Preparation


def versions() -> dict:
  """Versions, devices and the git revision of the code that runs."""
  found = {}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = None
  return {
    "packages": found,
    "python": platform.python_version(),
    "platform": platform.platform(),
    "devices": [device.device_kind for device in jax.devices()],
    "git": _revision(),
  }


def _revision() -> str | None:
  here = pathlib.Path(__file__).parent

  def git(*arguments):
    return subprocess.run(
      ("git", *arguments), cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
  except (OSError, subprocess.CalledProcessError):
    return None


def record(workdir: pathlib.Path, run, *, write: bool = True) -> None:
  """Writes config.json, dataset.json and versions.json.

  A folder that holds a run already must hold one of the same network, method, labels and training
  cases: else what it has learned from would count as held out.

  Raises ValueError that says what was changed.
  """
  config, dataset = plain(run.config), run.dataset
  check_same(workdir, config)
  _check_same_data(workdir, dataset.labels, [dataset.names[i] for i in run.training])
  if not write:
    return
  files.write_json(workdir / "config.json", config)
  files.write_json(workdir / "versions.json", versions())
  files.write_json(
    workdir / "dataset.json",
    {
      "labels": json.loads(dataset.labels.to_json()),
      "channels": dataset.channels,
      "rank": dataset.rank,
      "preparation": json.loads(dataset.preparation.to_json()),
      "training": [dataset.names[i] for i in run.training],
      "validation": [dataset.names[i] for i in run.validation],
    },
  )


def check_same(workdir: pathlib.Path, config: dict) -> None:
  """Raises ValueError that says what was changed, if the folder holds another config's run."""
  path = workdir / "config.json"
  if not path.exists():
    return
  stored = plain(json.loads(path.read_text(encoding="utf-8")))
  before, now = explicit(stored), explicit(json_like(config))
  for part in ("network", "method", "optimiser", "average"):
    if before[part] != now[part]:
      raise ValueError(
        f"{workdir}: this run was started with {part} {stored.get(part)}, the config now says "
        f"{config[part]}; a run resumes with what it was started with. Choose a new --workdir."
      )


def _check_same_data(workdir: pathlib.Path, labels: LabelSpec, training: list[str]) -> None:
  path = workdir / "dataset.json"
  if not path.exists():
    return
  before = json.loads(path.read_text(encoding="utf-8"))
  learned = LabelSpec.from_json(json.dumps(before["labels"]))
  meaning = operator.attrgetter("names", "stored_values", "regions")
  if meaning(learned) != meaning(labels):
    what = "other labels"
  elif before["training"] != training:
    what = "other training cases (config.data.split, or the data themselves)"
  else:
    return
  raise ValueError(
    f"{workdir}: this run was started with {what}; a run resumes with what it was started with. "
    "Choose a new --workdir."
  )


def completed(config: dict) -> dict:
  """A stored config with today's defaults for the fields that did not exist when it was stored."""
  known = plain(defaults.config())
  parts = {name: {**known[name], **config.get(name, {})} for name in ("data", "evaluate")}
  return {**known, **config, **parts}


def explicit(config: dict) -> dict:
  """The config, `completed`, its components with every option: to compare what two configs mean.

  An option that is left out counts as the constructor's default.
  """
  config = completed(config)
  constructors = {
    "network": networks.NETWORKS.get(config["network"].get("name")),
    "method": methods.METHODS.get(config["method"].get("name")),
    "optimiser": optimisers.optimiser,
  }
  known = {part: options_of(made) if made else {} for part, made in constructors.items()}
  return config | {
    part: {
      "name": "",  # first, as what differs is told in this order
      **{name: plain(option.default) for name, option in options.items()},
      **config[part],
    }
    for part, options in known.items()
  }


def run_folders(path) -> tuple[pathlib.Path, ...]:
  """A run folder itself, or the folds `fold_0`, `fold_1`, ... of a cross-validation's folder.

  Raises FileNotFoundError if it is neither, ValueError if a fold is missing.
  """
  path = pathlib.Path(path)
  if (path / "config.json").is_file():
    return (path,)
  folds = folds_in(path)
  if not folds:
    raise FileNotFoundError(
      f"{path / 'config.json'}: not found; give the folder of a run (train.py's --workdir), or of "
      "several folds."
    )
  split = _read(folds[0] / "config.json", ("data",))["data"]["split"]
  # a gap in the numbers is seen without their number
  number = number_of_folds(split) or len(folds)
  wanted = [f"{FOLD}{i}" for i in range(number)]
  missing = [name for name in wanted if name not in {fold.name for fold in folds}]
  if missing:
    raise ValueError(
      f"{path}: {', '.join(missing)} of {len(wanted)} folds missing; train the rest (train.py "
      f"--fold=all), or name the folds to use: --workdir {' '.join(map(str, folds))}."
    )
  return folds


def folds_in(path) -> tuple[pathlib.Path, ...]:
  """The run folders `fold_0`, `fold_1`, ... of a folder, in order; `fold_0_old` is none."""
  found = (file.parent for file in pathlib.Path(path).glob(f"{FOLD}*/config.json"))
  folds = (folder for folder in found if folder.name.removeprefix(FOLD).isdigit())
  return tuple(sorted(folds, key=lambda folder: natural(folder.name)))


def number_of_folds(split: dict) -> int | None:
  """Of a stored config.data.split; None where only a file tells, which may lie elsewhere."""
  return count(**split) if split["name"] in ("kfold", "blocks") else None


def json_like(value):
  """The value as it comes back from JSON."""
  return plain(json.loads(json.dumps(value)))


def describe(workdir) -> Described:
  """Reads a run folder; raises FileNotFoundError if it is none."""
  workdir = pathlib.Path(workdir)
  for name in ("config.json", "dataset.json"):
    if not (workdir / name).is_file():
      raise FileNotFoundError(
        f"{workdir / name}: not found; give the folder of a run (train.py's --workdir)."
      )
  config = completed(plain(_read(workdir / "config.json", ("data", "network", "method"))))
  told = _read(workdir / "dataset.json", ("labels", "channels", "rank", "preparation"))
  return Described(
    config,
    LabelSpec.from_json(json.dumps(told["labels"])),
    tuple(told["channels"]),
    told["rank"],
    Preparation.from_json(json.dumps(told["preparation"])),
  )


def _read(path: pathlib.Path, fields: tuple[str, ...]) -> dict:
  """What training wrote; raises ValueError for a file that was cut off or is another one."""
  try:
    told = json.loads(path.read_text(encoding="utf-8"))
    missing = [field for field in fields if field not in told]
    problem = f"it has no '{missing[0]}'" if missing else None
  except ValueError as error:
    problem = error
  if problem:
    raise ValueError(
      f"{path}: is not what training writes ({problem}); it is damaged or another program's: copy "
      "the run folder again."
    )
  return told
