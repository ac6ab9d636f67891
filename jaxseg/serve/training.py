"""Training on what users labelled: a run goes on from its weights, as a job beside the server."""

import collections
import datetime
import pathlib
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from jaxseg import data, files
from jaxseg.data.formats.images import read_label
from jaxseg.data.sources import dataset_json
from jaxseg.data.sources.source import on_image_grid
from jaxseg.methods import FOLLOWERS
from jaxseg.methods.averaged import SUFFIX
from jaxseg.methods.effects import STAGES
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.serve.guard import Refusal
from jaxseg.serve.models import Model
from jaxseg.serve.scans import FINAL, Scans

COMMAND = ("-m", "jaxseg", "train")
# lines of a job's output that clients see
_LINES = 20
_RUNNING, _DONE, _ERROR, _STOPPED = "RUNNING", "DONE", "ERROR", "STOPPED"
# what a client may choose of a training
OPTIONS = {"steps": int, "learning_rate": (int, float)}
_CONFIG = '''"""Made by `jaxseg serve`: {run} goes on from its weights on what users labelled."""

import pathlib

from jaxseg import defaults, files
from jaxseg.build import plain


def get_config():
  config = defaults.config()
  place = pathlib.Path(__file__).parent / "training.json"
  told = files.read_json(place, what="the config of a training", advice="start it again")
  for field, value in plain(told).items():
    config[field] = value
  return config
'''


class Trainings:
  """Jobs, one at a time; their output is kept in memory, their runs in the server's folder."""

  def __init__(self, scans: Scans, served: Mapping[str, Model]):
    self._scans, self._models = scans, served
    self._lock = threading.RLock()
    self._jobs: list[dict[str, Any]] = []
    self._process: subprocess.Popen | None = None

  def start(self, model: Model, params: Mapping[str, Any]) -> dict[str, Any]:
    """Begins a training; Refusal (429) while one runs, ValueError where nothing can be trained."""
    options = _options(params)
    with self._lock:
      if self.running() is not None:
        raise Refusal(429, "a training runs already; stop it, or wait for its end.")
      home = self._new_folder(model)
      self._write_set(model, home / "set")
      config = _config(model, home, options)
      files.write_json(home / "training.json", config)
      files.write_text(home / "config.py", _CONFIG.format(run=model.folders[0]))
      job = {
        "id": str(uuid.uuid4()),
        "status": _RUNNING,
        "model": model.name,
        "request": {"model": model.name, **options},
        "start_ts": _now(),
        "run": str(home.relative_to(self._scans.home) / "run"),
        "details": collections.deque(maxlen=_LINES),
      }
      command = [sys.executable, *COMMAND]
      command += [f"--config={home / 'config.py'}", f"--workdir={home / 'run'}"]
      self._process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
      )
      self._jobs.append(job)
      threading.Thread(target=_follow, args=(job, self._process), daemon=True).start()
      return _told(job)

  def _new_folder(self, model: Model) -> pathlib.Path:
    parent, number = self._scans.home / "trainings", 1
    while (home := parent / f"{model.name}-{number}").exists():
      number += 1
    return files.writable_folder(home, "--folder")

  def _write_set(self, model: Model, folder: pathlib.Path) -> None:
    """The scans with final labels in nnU-Net's raw format; ValueError for too few."""
    names = [name for name in self._scans.names() if FINAL in self._scans.tags(name)]
    if len(names) < 2:
      raise ValueError(
        f"{len(names)} scan(s) have a final label; save the labels of two or more: one is for "
        "validation."
      )
    for name in names:
      self._scans.check_label(name)
      raw = self._scans.image(name)
      for channel in range(raw.image.shape[-1]):
        path = folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
        data.write_image(path, raw.image[..., channel], raw.geometry)
      path = self._scans.label(name, FINAL)
      values, geometry = read_label(path)
      # it may be of another scan of that name
      stored = on_image_grid(values, geometry, raw.geometry, str(path), unless="")
      model.labels.encode(stored, f"the label of '{name}'")
      data.write_label(folder / "labelsTr" / f"{name}.nii.gz", stored, raw.geometry)
    described = {
      "channel_names": {str(i): of for i, of in enumerate(model.told.channels)},
      **dataset_json.described(model.labels),
      "numTraining": len(names),
      "file_ending": ".nii.gz",
    }
    files.write_json(folder / "dataset.json", described)

  def running(self) -> dict[str, Any] | None:
    with self._lock:
      return next((_told(job) for job in self._jobs if job["status"] == _RUNNING), None)

  def all(self) -> list[dict[str, Any]]:
    with self._lock:
      return [_told(job) for job in self._jobs]

  def stop(self) -> dict[str, Any] | None:
    """Ends the running job as Ctrl-C would: what it has learned is kept in its run folder."""
    with self._lock:
      job = next((job for job in self._jobs if job["status"] == _RUNNING), None)
      if job is None:
        return None
      job["status"] = _STOPPED
      self._process.send_signal(signal.SIGINT)
      return _told(job)

  def close(self) -> None:
    """For the server's end: its job does not outlive it."""
    if self.stop() is not None:
      try:
        self._process.wait(60)
      except subprocess.TimeoutExpired:
        self._process.kill()


def _options(params: Mapping[str, Any]) -> dict[str, Any]:
  """The options of ours among those that a client sends: MONAI Label's have other names."""
  told = {"steps": 200} | {name: params[name] for name in OPTIONS if name in params}
  files.check_fields(told, "the training", advice="correct the request", fields={"steps": int})
  if not 1 <= told["steps"] <= 10**6:
    raise ValueError(f"steps: {told['steps']}; expected 1 to 1,000,000.")
  rate = told.get("learning_rate")
  if rate is not None and (isinstance(rate, bool) or not 0 < rate < 1):
    raise ValueError(f"learning_rate: {rate!r}; expected a number between 0 and 1.")
  return told


def _config(model: Model, home: pathlib.Path, options: Mapping[str, Any]) -> dict[str, Any]:
  """The run's own config, on the labelled scans, from its weights."""
  (run, *others) = model.folders
  if others:
    raise ValueError(f"'{model.name}' is several runs; serve the one to be trained on its own.")
  config = run_folder.read_config(run)
  source = {"name": "nnunet_raw", "path": str(home / "set")}
  names = list((home / "set" / "labelsTr").iterdir())
  split = {"name": "kfold", "fold": 0, "folds": min(5, len(names))}
  config["data"] |= {"source": source, "split": split, "folder": str(home / "prepared")}
  config["initialise"] = _starts(run, FOLLOWERS.get(config["method"]["name"], {}))
  # what is told by numbers of steps keeps its share of them
  for option in {stage.option for stage in STAGES.get(config["method"]["name"], ())}:
    if before := config["method"].get(option):
      config["method"][option] = before * options["steps"] // config["steps"]
  config["steps"] = options["steps"]
  if "learning_rate" in options:
    config["optimiser"]["learning_rate"] = options["learning_rate"]
  every = max(1, options["steps"] // 2)
  config["evaluate"]["every"] = config["checkpoint_every"] = every
  return config


def _starts(run: pathlib.Path, followers: Collection[str]) -> dict[str, Any]:
  """Each network of a run goes on from the weights that it has there, its average's if it has.

  Those that follow another one start as that does.
  """
  place, starts = {"run": str(run.resolve())}, {}
  for name in checkpoint.load_learners(run):
    if name not in followers and not name.endswith(SUFFIX):
      starts[name] = place if name == "network" else place | {"learner": name}
  return starts


def _follow(job: dict[str, Any], process: subprocess.Popen) -> None:
  """Keeps the last lines of a job, and how it ended."""
  for line in process.stdout:
    if line := line.strip():
      job["details"].append(line)
  code = process.wait()
  job["end_ts"] = _now()
  if job["status"] == _RUNNING:
    job["status"] = _DONE if code == 0 else _ERROR


def _told(job: Mapping[str, Any]) -> dict[str, Any]:
  return {**job, "details": list(job["details"]) or ["begins"]}


def _now() -> str:
  return datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
