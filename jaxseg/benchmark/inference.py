"""Volumes a second of prediction: the windows alone, and whole cases from file to file."""

import argparse
import math
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import data
from jaxseg.benchmark import made_data, memory
from jaxseg.benchmark.training import spread
from jaxseg.data.sources.source import RawCase
from jaxseg.feeding import mirroring
from jaxseg.inference.case import Case
from jaxseg.inference.segmentation import Configuration, prepared_case, segment
from jaxseg.inference.synthesis import synthesise, write_image
from jaxseg.inference.writing import write
from jaxseg.packages import installed
from jaxseg.task import only

REPEATS, SECONDS = 5, 60.0
# of the network's voxels, those of a made case that is resampled
_FINER = 0.8
# calls of the network that are timed alone
_CALLS = 10
PARTS = ("read", "resample", "windows", "resample_back", "write")


def add_options(parser: argparse.ArgumentParser) -> None:
  from jaxseg.config.ranges import COUNT
  from jaxseg.verbs.arguments import number

  add = parser.add_argument
  add(
    "--case-size",
    type=number(int, COUNT),
    nargs="+",
    metavar="N",
    help="of a case that is made up for inference, z y x or y x (default: a validation case)",
  )
  add(
    "--repeats",
    type=number(int, COUNT),
    default=REPEATS,
    help=f"predictions timed at most (default: {REPEATS}), for {SECONDS:.0f} s, one at least",
  )
  add("--mirror", action="store_true", help="inference averages over mirror images")


def check(config, options) -> None:
  """Raises ValueError for a size of another rank than the config's cases."""
  patch, size = config["data"]["patch"], options.get("case_size")
  if patch is None or size is None:  # a plan tells the patch
    return
  rank = len(patch) + (config["data"]["slices"] is not None)
  if len(size) != rank:
    raise ValueError(
      f"--case-size {' '.join(map(str, size))}: has {len(size)} axes; expected {rank}, as the "
      "config's cases have."
    )


class _Whole(NamedTuple):
  """A case and the way from its file to that of its prediction; no read and write without files."""

  raw: RawCase
  name: str
  read: Callable[[], RawCase] | None
  write: Callable[[Any], Any] | None


def measure(program, *, options) -> dict[str, Any]:
  """Predicts one case several times by the config's predictor, with weights that aren't trained.

  Compilation comes before, by the first call of the network on a batch of windows. The case is a
  validation case of the config's data or, with `case_size`, one that is made up, its voxels smaller
  than the network's where config.data.spacing resamples. Seconds by part: reading; normalising and
  resampling to the network's grid; windows (the network, and the sum of overlapping ones); the way
  back to the case's grid and labels; writing. Where labels need no way back they are decoded while
  windows come, which `windows` then holds.

  Raises ValueError for a size of another rank.
  """
  run = program.run
  if run is None:
    raise ValueError("inference needs whole cases, which this program has not.")
  check(run.config, options)
  size = options.get("case_size")
  apply = program.layout.windowed(only(run.task, run.method.apply))
  state = program.init(program.seed)
  flips = _flips(run) if options.get("mirror") else {}
  with tempfile.TemporaryDirectory() as folder:
    whole = _whole(run, size, pathlib.Path(folder))
    program.say("compiling inference")
    network, apply = _network(run, apply, state, whole.raw, flips)
    timed = _Timed(run, apply, state, flips)
    repeats, limit = options.get("repeats", REPEATS), options.get("inference_seconds", SECONDS)
    # the first one warms up what is not the network
    seconds, windows = timed.predict(whole)
    rows, begun = [], time.perf_counter()
    while len(rows) < repeats and (not rows or time.perf_counter() - begun < limit):
      program.say(f"predicting a case, {len(rows) + 1} of {repeats}")
      rows.append(timed.predict(whole)[0])
  totals = [sum(row.values()) for row in rows]
  parts = {
    name: spread([row[name] for row in rows], "repeats") for name in PARTS if name in seconds
  }
  median = parts["windows"]["median"]
  voxels = math.prod(whole.raw.image.shape[:-1])
  out = {
    "case": whole.name,
    "case_shape": list(whole.raw.image.shape[:-1]),
    "network_shape": list(timed.shape),
    "windows": windows,
    "mirror_images": 2 ** len(flips.get("mirror_axes", ())),
    **network,
    "windows_seconds": parts["windows"],
    "case_seconds": spread(totals, "repeats"),
    "volumes_per_second_windows": 1 / median,
    "volumes_per_second": 1 / statistics.median(totals),
    "voxels_per_second": voxels / statistics.median(totals),
    "parts_seconds": {name: of["median"] for name, of in parts.items()},
  }
  if whole.read is None:
    out["left_out"] = "reading and writing: nibabel is not installed"
  if peaks := memory.of_devices(program, "peak_bytes_in_use"):
    out["device_peak_bytes"] = max(peaks)
  return out


def _flips(run) -> dict[str, Any]:
  dataset = run.main.dataset
  return mirroring(run.config, dataset.labels, run.patch, dataset.preparation.code)


def _whole(run, size, folder: pathlib.Path) -> _Whole:
  """A case of the run's data, or one of a size that is made up and written."""
  dataset, files = run.main.dataset, installed("nibabel")
  if size is None:
    name = dataset.names[(run.validation or run.main.cases)[0]]
    raw, made = run.read(name), _drawn(run, name)
  else:
    name, made = "made", True
    spacing = _spacing(dataset.preparation)
    channels = len(dataset.preparation.channels) + len(run.targets)
    raw = made_data.case(dataset.labels, channels, size, spacing)
  read = None
  if files and made:
    # what is drawn is written first; no picture holds its numbers, and a NIfTI of one is a volume
    path = folder / ("scan.nii.gz" if dataset.rank == 3 else "scan.npy")
    data.write_image(path, raw.image, raw.geometry)

    def read():
      image, geometry = data.read_image(path, rank=dataset.rank)
      return RawCase(image, None, None, geometry)
  elif files:

    def read():
      return run.read(name)

  if read is not None:
    raw = read()

  def written(prediction):
    if run.task.output == "image":
      return write_image(folder, "made", prediction, raw.geometry, raw.image.dtype)
    return write(folder, "made", raw, prediction, dataset.labels)

  return _Whole(raw, name, read, written if files else None)


def _drawn(run, name: str) -> bool:
  """Whether a case comes from no file."""
  return name.startswith(made_data.NAME) or run.config["data"]["source"]["name"] == "phantom"


def _spacing(preparation) -> tuple[float, ...]:
  """Millimetres per axis as a case stores them, a little finer than the network's."""
  rank = preparation.rank
  target = [1.0 if s is None else _FINER * s for s in preparation.spacing or (None,) * rank]
  return tuple(target[axis] for axis in np.argsort(preparation.transpose or range(rank)))


class _Window(Exception):
  """A batch of windows, instead of its scores."""


def _network(run, apply, state, raw: RawCase, flips) -> tuple[dict[str, Any], Callable]:
  """What the network alone takes for a batch of windows; and `apply`, compiled for it."""

  def first(batch):
    raise _Window(batch)

  case, _ = prepared_case(_configuration(run, None), _given(run, raw), "the case")
  try:
    run.predict(first, case, **flips)
  except _Window as told:
    (batch,) = told.args
  planned, times = {}, []
  begun = time.perf_counter()
  if hasattr(apply, "lower"):
    apply = apply.lower(state, batch).compile()
    planned["compiler_peak_bytes"] = memory.of_compiled(apply)["peak_bytes"]
  else:  # of several devices
    jax.block_until_ready(apply(state, batch))
  compiling = time.perf_counter() - begun
  # the first call moves what later ones find on the device
  jax.block_until_ready(apply(state, batch))
  while len(times) < 3 or (len(times) < _CALLS and sum(times) < 3.0):
    begun = time.perf_counter()
    jax.block_until_ready(apply(state, batch))
    times.append(time.perf_counter() - begun)
  count = len(batch["image"])
  return {
    "compile_seconds": compiling,
    "windows_per_call": count,
    "window_shape": list(batch["image"].shape[1:]),
    "network_seconds_per_window": statistics.median(times) / count,
    **planned,
  }, apply


def _given(run, raw: RawCase) -> RawCase:
  """The case as it is given to be predicted: of images that are made, its inputs alone."""
  if run.task.pair is None:
    return raw
  if run.config["task"].get("inputs") == "label":
    raise ValueError(
      "inference: a network that makes images of labels is not measured; leave this part out."
    )
  return run.task.pair(raw)[0]


def _configuration(run, logits) -> Configuration:
  dataset = run.main.dataset
  return Configuration((dataset.preparation,), dataset.labels, logits)


class _Timed:
  """Predicts cases and tells the seconds of each part."""

  def __init__(self, run, apply, state, flips):
    self._run, self._apply, self._state, self._flips = run, apply, state, flips
    self._marks: list[float] = []
    self.shape: tuple[int, ...] = ()
    self._windows = 0

  def predict(self, whole: _Whole) -> tuple[dict[str, float], int]:
    """(part -> seconds, windows) of one prediction."""
    marks = [time.perf_counter()]
    raw = whole.raw if whole.read is None else whole.read()
    marks.append(time.perf_counter())
    configuration, self._marks = _configuration(self._run, self._logits), []
    made = synthesise if self._run.task.output == "image" else segment
    prediction = made([configuration], _given(self._run, raw), progress=self._progress)
    marks += [*self._marks, time.perf_counter()]
    if whole.write is not None:
      whole.write(prediction)
    marks.append(time.perf_counter())
    seconds = dict(zip(PARTS, np.diff(marks).tolist(), strict=True))
    if whole.read is None:
      del seconds["read"]
    if whole.write is None:
      del seconds["write"]
    return seconds, self._windows

  def _logits(self, case: Case, **options):
    self._marks.append(time.perf_counter())
    self.shape = case.space
    scores = self._run.predict(self._window, case, **self._flips, **options)
    self._marks.append(time.perf_counter())
    return scores

  def _window(self, batch):
    output, task = self._apply(self._state, batch), self._run.task
    return {"image": task.decode(output["image"])} if task.output == "image" else output

  def _progress(self, done: int, windows: int) -> None:
    del done
    self._windows = windows


def lines(values) -> list[tuple[str, str]]:
  case, windows = values["case_seconds"], values["windows_seconds"]
  shape = "x".join(map(str, values["case_shape"]))
  parts = values["parts_seconds"]
  named = ", ".join(f"{name.replace('_', ' ')} {of:.3g}" for name, of in parts.items())
  rows = [
    (
      "inference",
      f"{values['volumes_per_second']:.4g} volumes/s of {shape} ({case['median']:.4g} s, "
      f"p10 {case['p10']:.4g}, p90 {case['p90']:.4g}; {case['repeats']} times)",
    ),
    (
      "windows alone",
      f"{values['volumes_per_second_windows']:.4g} volumes/s, {values['windows']} windows in "
      f"{windows['median']:.4g} s; the network "
      f"{1e3 * values['network_seconds_per_window']:.4g} ms a window",
    ),
    ("parts, s", named),
    ("inference compiles", f"{values['compile_seconds']:.2f} s"),
  ]
  if "left_out" in values:
    rows.append(("left out", values["left_out"]))
  return rows
