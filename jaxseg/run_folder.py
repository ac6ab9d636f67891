"""What a run folder says of itself: config, data set, versions; all that prediction needs."""

import importlib.metadata
import json
import pathlib
import platform
import subprocess
from typing import NamedTuple

import jax

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
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

  A folder that holds a run already must hold the same network, method and labels.

  Raises ValueError that says what was changed.
  """
  config = plain(run.config)
  check_same(workdir, config)
  if not write:
    return
  dataset = run.dataset
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
  before = plain(json.loads(path.read_text(encoding="utf-8")))
  for part in ("network", "method", "optimiser", "average"):
    if before.get(part) != json_like(config[part]):
      raise ValueError(
        f"{workdir}: this run was started with {part} {before.get(part)}, the config now says "
        f"{config[part]}; a run resumes with what it was started with. Choose a new --workdir."
      )


def run_folders(path) -> tuple[pathlib.Path, ...]:
  """A run folder itself, or the folds `fold_0`, `fold_1`, ... of a cross-validation's folder.

  Raises FileNotFoundError if it is neither, ValueError if a fold is missing.
  """
  path = pathlib.Path(path)
  if (path / "config.json").is_file():
    return (path,)
  folds = sorted(path.glob(f"{FOLD}*/config.json"), key=lambda file: natural(file.parent.name))
  folds = [file.parent for file in folds]
  if not folds:
    raise FileNotFoundError(
      f"{path / 'config.json'}: not found; give the folder of a run (train.py's --workdir), or of "
      "several folds."
    )
  split = json.loads((folds[0] / "config.json").read_text(encoding="utf-8"))["data"]["split"]
  # a file of splits may lie on another machine; a gap in the numbers is seen without it
  number = count(**split) if split["name"] in ("kfold", "blocks") else len(folds)
  wanted = [f"{FOLD}{i}" for i in range(number)]
  missing = [name for name in wanted if name not in {fold.name for fold in folds}]
  if missing:
    raise ValueError(
      f"{path}: {', '.join(missing)} of {len(wanted)} folds missing; train the rest (train.py "
      f"--fold=all), or name the folds to use: --workdir {' '.join(map(str, folds))}."
    )
  return tuple(folds)


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
  config = plain(json.loads((workdir / "config.json").read_text(encoding="utf-8")))
  told = json.loads((workdir / "dataset.json").read_text(encoding="utf-8"))
  return Described(
    config,
    LabelSpec.from_json(json.dumps(told["labels"])),
    tuple(told["channels"]),
    told["rank"],
    Preparation.from_json(json.dumps(told["preparation"])),
  )
