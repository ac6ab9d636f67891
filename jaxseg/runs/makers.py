"""Two run folders -> what makes cases of noise: label maps by one, images of them by the other."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.config.synthesis import SYNTHESIS
from jaxseg.data.prepared.pairs import LABEL
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.data.sources.synthetic import TRAINING, Makers, TurnedMasks, run_of, sum_of
from jaxseg.feeding import source_of
from jaxseg.runs import checkpoint as checkpoints
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import open_runs, task_of
from jaxseg.task import MASKS

KINDS = {"latest": checkpoints.LATEST, "best": checkpoints.BEST}


def makers(masks: str, images: str, *, checkpoint: str = "latest") -> Makers:
  """Checks both runs, and gives what makes of them; see `data.sources.synthetic`."""
  if checkpoint not in KINDS:
    raise ValueError(
      f"config.data.source.checkpoint: '{checkpoint}' is unknown; choices: {', '.join(KINDS)}."
    )
  kind, home = KINDS[checkpoint], pathlib.Path(images)
  told = _described(home, "images", "a run that makes images of labels, as one of pix2pix")
  task = told.config["task"]
  if task["name"] != SYNTHESIS or task.get("inputs") != LABEL:
    raise ValueError(
      f"config.data.source.images: {home}: {_what(task)}; expected a run that makes images of "
      'labels (config.task=dict(name="synthesis", inputs="label", ...)).'
    )
  _check_whole(told.config, home, "images")
  patch, key = tuple(told.config["data"]["patch"]), {"images": digest(home, kind)}
  folder = run_of(masks)
  if folder is None:
    source, cases = training_cases(home)
    mask = TurnedMasks(_on_grid(source, told), cases, told.labels, patch)
    key["masks"] = sum_of(source, cases)
  else:
    _check_masks(folder, told, patch)
    mask, key["masks"] = _mask_of(folder, kind), digest(folder, kind)
  spacing = tuple(1.0 if n is None else n for n in told.preparation.spacing or (1.0,) * told.rank)
  image = _image_of(home, kind)
  return Makers(told.labels, tuple(told.targets), patch, spacing, mask, image, key)


def training_cases(folder: pathlib.Path) -> tuple[Source, tuple[str, ...]]:
  """The source of a run's data, and the names of the cases that it was trained on."""
  told = run_folder.read_dataset(folder, {"training": list})
  source = source_of(run_folder.read_config(folder))
  known = set(source.cases)
  if gone := [case for case in told["training"] if case not in known]:
    raise ValueError(
      f"{folder}: was trained on case '{gone[0]}', which config.data.source has no more; put the "
      "data set back as it was."
    )
  return source, tuple(told["training"])


def prepared_label(raw: RawCase, preparation: Preparation) -> np.ndarray:
  """A case's stored values on the network's grid."""
  grid = preparation.grid(raw.geometry, raw.image)
  return grid.label(grid.cut(raw.label), np.unique(raw.label)).astype(np.int32)


def digest(folder: pathlib.Path, kind: str) -> str:
  """What tells a run's weights from any others."""
  stored = checkpoints.Checkpoints(folder, kind)
  if not stored.steps:
    raise FileNotFoundError(
      f"{folder / kind}: no checkpoint there; train the run first (train.py's --workdir)."
    )
  return f"{run_folder.identity(folder)}/{stored.steps[0]}/{stored.note(stored.steps[0])['digest']}"


def _described(folder: pathlib.Path, option: str, expected: str) -> run_folder.Described:
  if not str(folder) or not (folder / run_folder.CONFIG).is_file():
    raise FileNotFoundError(
      f"config.data.source.{option}: {folder}: holds no run; expected the folder of {expected}."
    )
  return run_folder.describe(folder)


def _what(task: Mapping[str, Any]) -> str:
  """What a run does, in words."""
  if task["name"] == MASKS:
    return "makes label maps of noise"
  return "makes images of images" if task["name"] == SYNTHESIS else "segments"


def _check_whole(config: Mapping[str, Any], folder: pathlib.Path, option: str) -> None:
  """Raises ValueError for runs whose patches are no cases of their data set's rank."""
  where = f"config.data.source.{option}: {folder}"
  if config["data"]["slices"] is not None:
    raise ValueError(
      f"{where}: works on slices of volumes (config.data.slices), of which no volumes are made; "
      "expected a run on whole images, or on volumes."
    )
  if (done := run_folder.steps_done(folder)) < config["steps"]:
    raise ValueError(
      f"{where}: stands at step {done} of {config['steps']}; train it to its end first."
    )
  if config["members"] > 1:
    raise ValueError(
      f"{where}: has {config['members']} networks, its config.members, whose mean is no sample; "
      "expected a run of one."
    )


def _check_masks(folder: pathlib.Path, told: run_folder.Described, patch: tuple[int, ...]) -> None:
  where = f"config.data.source.masks: {folder}"
  other = _described(folder, "masks", f'a run of mask_gan or mask_vae, or "{TRAINING}"')
  if other.config["task"]["name"] != MASKS:
    raise ValueError(
      f"{where}: {_what(other.config['task'])}; expected a run that makes label maps of noise "
      f'(config.task=dict(name="{MASKS}")), or "{TRAINING}".'
    )
  _check_whole(other.config, folder, "masks")
  ours, theirs = run_folder.meaning(told.labels), run_folder.meaning(other.labels)
  if ours != theirs:
    raise ValueError(
      f"{where}: its labels {theirs} are not those that the run of images has seen, {ours}; "
      "expected runs of one data set."
    )
  size = tuple(other.config["data"]["patch"])
  if size != patch:
    raise ValueError(
      f"{where}: makes label maps of {size}, and the run of images has learnt from patches of "
      f"{patch} (config.data.patch); expected the same."
    )
  names = ("spacing", "resampling", "transpose", "orientation")
  grids = [{name: one.config["data"][name] for name in names} for one in (told, other)]
  if grids[0] != grids[1]:
    raise ValueError(
      f"{where}: its data are prepared by {grids[1]}, those of the run of images by {grids[0]} "
      "(config.data); expected voxels of one size, turned one way."
    )


def _on_grid(source: Source, told: run_folder.Described) -> Callable[[str], np.ndarray]:
  return lambda case: prepared_label(source.read(case), told.preparation)


class _Model:
  """A run's method, loaded when it is first applied.

  Args:
    folder: the run.
    kind: of its checkpoint.
  """

  def __init__(self, folder: pathlib.Path, kind: str):
    self._folder, self._kind, self._call = folder, kind, None
    self.told = run_folder.describe(folder)
    self.task = task_of(self.told)

  def __call__(self, image: np.ndarray, number: int) -> np.ndarray:
    """(*space, channels) of one sample -> the task's output of it, with that number's noise."""
    if self._call is None:
      opened = open_runs(self._folder, kind=self._kind, devices=jax.local_devices()[:1])
      apply, state = opened.scheme.apply, next(iter(opened.states.values()))
      self._call = jax.jit(lambda batch: apply(state, batch)[self.task.output][0])
    of = {"image": jnp.asarray(image[None], jnp.float32), "draw": jnp.asarray([number], jnp.int32)}
    return np.asarray(self._call(of), np.float32)


def _mask_of(folder: pathlib.Path, kind: str) -> Callable[[int], np.ndarray]:
  model = _Model(folder, kind)
  patch, channels = tuple(model.told.config["data"]["patch"]), len(model.told.channels)
  like = np.zeros((*patch, channels), np.float32)
  return lambda number: model.told.labels.decode(model(like, number))


def _image_of(folder: pathlib.Path, kind: str) -> Callable[[np.ndarray, int], np.ndarray]:
  model, labels = _Model(folder, kind), run_folder.describe(folder).labels

  def image(label: np.ndarray, number: int) -> np.ndarray:
    encoded, _ = labels.encode(label, "a label map")
    return np.asarray(model.task.decode(model(labels.one_hot(encoded), number)), np.float32)

  return image
