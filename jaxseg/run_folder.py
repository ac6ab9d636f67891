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
  config_path = workdir / "config.json"
  config = plain(run.config)
  if config_path.exists():
    before = plain(json.loads(config_path.read_text(encoding="utf-8")))
    for part in ("network", "method", "optimiser", "average"):
      if before.get(part) != json_like(config[part]):
        raise ValueError(
          f"{workdir}: this run was started with {part} {before.get(part)}, the config now says "
          f"{config[part]}; a run resumes with what it was started with. Choose a new --workdir."
        )
  if not write:
    return
  dataset = run.dataset
  files.write_json(config_path, config)
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
