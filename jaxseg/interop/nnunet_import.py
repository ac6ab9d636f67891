"""nnU-Net's model folders -> run folders, with which `predict` and the other verbs go on."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg import data, defaults, files, planning
from jaxseg.batch import LabelSpec
from jaxseg.build import build, plain
from jaxseg.compose import complete
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.feeding import divided
from jaxseg.interop import nnunet_trainers
from jaxseg.interop.nnunet_checkpoint import Checkpoint
from jaxseg.interop.nnunet_folder import ALL, FINAL, ModelFolder, check_tensors, read_folder
from jaxseg.planning.planned_config import merge, values_of
from jaxseg.runs import folder as run_folder
from jaxseg.runs import foreign

# beside config.json: what of nnU-Net's plans a config has no field for
PLAN = "nnunet.json"
# nnU-Net's training: SGD under a polynomial schedule, Dice and cross entropy
_OPTIMISER = {
  "name": "sgd",
  "momentum": 0.99,
  "nesterov": True,
  "learning_rate": 1e-2,
  "schedule": {"name": "polynomial", "power": 0.9},
  "weight_decay": 0.0,
  "l2": 3e-5,
  "clip": 12.0,
  "accumulate": 1,
  "scale": {},
}
_LOSS = {"cross_entropy": {"weight": 1.0}, "dice": {"weight": 1.0, "include_background": False}}
# pictures hold values up to it; nnU-Net refuses others
_LARGEST = 255.0


class Imported(NamedTuple):
  """What became of a model folder.

  Attributes:
    folders: the run folders, one per fold.
    notes: what a user should know, a sentence each.
    known: whether they know their cases.
  """

  folders: tuple[pathlib.Path, ...]
  notes: tuple[str, ...]
  known: bool


def import_model(
  path,
  output,
  *,
  folds: tuple[str, ...] = (),
  checkpoint: str = FINAL,
  source: str | None = None,
  splits: str | None = None,
  previous: str | None = None,
  trainer: str | None = None,
) -> Imported:
  """Makes run folders of a model folder: `output` itself of one fold, else `output`/fold_0, ...

  Args:
    path: the model folder.
    output: a new folder.
    folds, checkpoint, trainer: as of `read_folder`.
    source: the data set that it was trained on, in nnU-Net's raw format; without it the runs
      predict and give their weights to others, but don't go on.
    splits: nnU-Net's splits_final.json; None for its five folds of the sorted cases.
    previous: of a cascade's second stage, the run folder of the first one.

  Raises FileNotFoundError or ValueError in words, before anything is written.
  """
  model = read_folder(path, folds=folds, name=checkpoint, trainer=trainer)
  output = pathlib.Path(output)
  if output.is_dir() and any(output.iterdir()):
    raise ValueError(f"--output {output}: is not empty; choose another folder.")
  if splits and not source:
    raise ValueError(f"--splits {splits}: divides the cases of --data, which is missing.")
  _check_previous(model, previous)
  made, single = [], len(model.checkpoints) == 1
  for fold in model.checkpoints:
    told, sides = _described(model, fold, source, splits, previous, finished=checkpoint == FINAL)
    made.append((output if single else output / f"{run_folder.FOLD}{fold}", told, sides))
  abstract = foreign.shapes(made[0][1])
  shapes = foreign.weight_shapes(abstract)
  for fold, one in model.checkpoints.items():
    _, told, _ = made[0]
    check_tensors(_joined(one, told), shapes, model.path / f"fold_{fold}" / checkpoint)
  for (folder, told, sides), (fold, one) in zip(made, model.checkpoints.items(), strict=True):
    best = model.best.get(fold)
    foreign.write(
      folder,
      told,
      _state(abstract, one, told),
      best=None if best is None else _state(abstract, best, told),
      training=sides[0],
      validation=sides[1],
      beside={PLAN: _kept(model)},
    )
  return Imported(tuple(folder for folder, *_ in made), tuple(_notes(model, source)), bool(source))


def _state(abstract, one: Checkpoint, told):
  joined = _joined(one, told)
  return foreign.state(abstract, joined.weights, step=_steps(one), momentum=joined.momentum)


def _steps(one: Checkpoint) -> int:
  # a run of no step counts as one without a checkpoint
  return max(1, one.epochs * nnunet_trainers.STEPS)


def _joined(one: Checkpoint, told: run_folder.Described) -> Checkpoint:
  """The weights as a cascade here takes them, see `prior_weights`."""
  if not told.config["data"]["prior"]:
    return one
  channels = len(told.channels)
  of = {
    name: prior_weights(getattr(one, name), channels, told.labels, gradient=name == "momentum")
    for name in ("weights", "momentum")
  }
  return one._replace(**of)


def prior_weights(
  arrays: Mapping[str, np.ndarray], channels: int, labels: LabelSpec, *, gradient: bool = False
) -> dict[str, np.ndarray]:
  """The first layer for what the first stage of a cascade is here: its classes, or its regions.

  nnU-Net's has a channel for each label but the background. Of classes the background is a further
  one here, whose weights are 0. Of regions the labels are sums and differences: with a region's
  labels as the rows of M, the regions are M times the labels, so that the weights are those of the
  labels times M's inverse, and a `gradient` is M times theirs.
  """
  first = next((name for name in FIRST if name in arrays), None)
  if first is None:
    return dict(arrays)
  if labels.regions is None:
    return {**arrays, first: np.insert(arrays[first], channels, 0, -2)}
  matrix = members_of(labels)
  by = matrix if gradient else np.linalg.inv(matrix).T
  image, prior = np.split(np.asarray(arrays[first]), [channels], -2)
  moved = np.einsum("rv,...vo->...ro", by, prior).astype(image.dtype)
  return {**arrays, first: np.concatenate([image, moved], -2)}


def members_of(labels: LabelSpec) -> np.ndarray:
  """(regions, labels) of 0 and 1: which of the labels but the background a region unites."""
  values = sorted({value for region in labels.regions for value in region})
  return np.array([[value in region for value in values] for region in labels.regions], float)


# of a network, whichever of them it has: what sees the input
FIRST = ("stem/conv/kernel", "encoder1/layer1/conv/kernel")


def _check_previous(model: ModelFolder, previous: str | None) -> None:
  wanted = model.plan.configurations[model.configuration].previous_stage
  if not wanted:
    if previous:
      raise ValueError(
        f"--previous {previous}: {model.path} ({model.configuration}) is no second stage of a "
        "cascade; leave it out."
      )
    return
  if model.labels.regions is not None:
    matrix = members_of(model.labels)
    if len(set(matrix.shape)) > 1 or np.linalg.matrix_rank(matrix) < len(matrix):
      raise ValueError(
        f"{model.path}: is the second stage of a cascade on regions, which is given the "
        f"{matrix.shape[1]} labels that the first stage wrote; here it would be given its "
        f"{len(matrix)} regions, which don't tell these labels apart, so that it is not imported."
      )
  if not previous:
    raise ValueError(
      f"{model.path}: is the second stage of a cascade ({model.configuration}), the first of which "
      f"is {wanted}; import that one first and name its run, --previous RUN."
    )
  for folder in run_folder.run_folders(previous):
    theirs = run_folder.describe(folder)
    if run_folder.meaning(theirs.labels) != run_folder.meaning(model.labels):
      raise ValueError(
        f"--previous {folder}: its labels {', '.join(theirs.labels.names)} are not those of "
        f"{model.path}, {', '.join(model.labels.names)}; expected the run of its {wanted}."
      )
    stage = plans_kept(folder).get("configuration", wanted)
    if (stage, theirs.channels) != (wanted, model.channels):
      raise ValueError(
        f"--previous {folder}: is of {stage} on {', '.join(theirs.channels)}; expected the run of "
        f"the {wanted} of {model.path}, on {', '.join(model.channels)}."
      )


def _described(
  model: ModelFolder, fold: str, source, splits, previous, *, finished: bool
) -> tuple[run_folder.Described, tuple[tuple[str, ...], tuple[str, ...]]]:
  """What a fold's run folder tells, and the cases that it trained and validated on."""
  told = planning.settings(model.plan, model.configuration)
  options = told["data"]
  mirrored = model.checkpoints[fold].mirrored
  axes = len(options["patch"])
  if any(axis >= axes for axis in mirrored):
    raise ValueError(
      f"{model.path / f'fold_{fold}'}: was mirrored along the axes {mirrored}, but its patches "
      f"have {axes}; the checkpoint is of another configuration."
    )
  told["mirror"] = {} if mirrored == tuple(range(axes)) else {"axes": mirrored}
  options["normalise"] = tuple(
    {**scheme, "maximum": _LARGEST} if scheme["name"] == "rgb" else scheme
    for scheme in options["normalise"]
  )
  own = {**plain(defaults.fields()), "network": {}, "loss": _LOSS}
  values = values_of(told, own, {"previous": previous, "configuration": model.configuration})
  sliced = options["slices"] is not None
  done = max(map(_steps, model.checkpoints.values()))
  values |= {
    "loss": merge({"dice": {"batch": told["batch_dice"]}}, _LOSS),
    "optimiser": _OPTIMISER,
    "steps": done if finished else max(done, model.trainer.epochs * nnunet_trainers.STEPS),
    "predictor": {"name": "slices" if sliced else "sliding_window", "overlap": 0.5, "batch": 2},
    "evaluate": {**own["evaluate"], "every": 12_500, "cases": 8},
    "checkpoint_every": 2_500,
  }
  if previous:
    values["data"]["prior"] = {"run": str(pathlib.Path(previous).resolve())}
  values["data"]["source"] = {"name": "nnunet_raw", "path": source or model.plan.dataset}
  values["data"]["split"] = _split(fold, splits, source)
  # what is planned has no default that could be kept of it
  base = {**own, "data": {**own["data"], "normalise": None, "resampling": {}, "transpose": ()}}
  config = complete(_over(base, values))
  rank = 2 if axes == 2 and not sliced else 3
  fields = {name: options[name] for name in ("orientation", "transpose", "crop_nonzero")}
  preparation = Preparation(
    channels=model.channels,
    rank=rank,
    normalisation=tuple(map(dict, options["normalise"])),
    spacing=tuple(options["spacing"]),
    resampling=dict(options["resampling"]),
    **fields,
  )
  described = run_folder.Described(config, model.labels, model.channels, rank, preparation)
  return described, _sides(config, model) if source else ((), ())


def _over(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
  """The planned values in their fields; each component is the planned one alone."""
  return {**base, **values, "data": {**base["data"], **values["data"]}, "plan": {}}


def _split(fold: str, splits: str | None, source: str | None) -> dict[str, Any]:
  if fold == ALL:
    return {}
  # without data nothing is known of the other folds: the name is nnU-Net's own
  if splits or not source:
    return {"name": "file", "path": splits or "splits_final.json", "fold": int(fold)}
  return {"name": "kfold", "fold": int(fold), "folds": 5}


def _sides(config: dict[str, Any], model: ModelFolder) -> tuple[tuple[str, ...], tuple[str, ...]]:
  source = build(data.SOURCES, config["data"]["source"], "data.source")
  for what, theirs, ours in (
    ("channels", source.channels, model.channels),
    ("labels", run_folder.meaning(source.labels), run_folder.meaning(model.labels)),
  ):
    if theirs != ours:
      raise ValueError(
        f"--data {config['data']['source']['path']}: its {what} {theirs} are not the model's, "
        f"{ours}; expected the data set that it was trained on."
      )
  sides = divided(config, source)
  return sides.train, sides.validation


def plans_kept(folder: pathlib.Path) -> dict[str, Any]:
  """What an imported run keeps of nnU-Net's plans; {} of others."""
  if not (folder / PLAN).is_file():
    return {}
  what, advice = "what import-model keeps of nnU-Net's plans", "import the model again"
  return files.read_json(folder / PLAN, what=what, advice=advice, kind=dict)


def _kept(model: ModelFolder) -> dict[str, Any]:
  """What `export-model` writes back as it was."""
  plan, design = model.plan, model.plan.configurations[model.configuration]
  return {
    "configuration": model.configuration,
    "trainer": model.trainer_name,
    "dataset": {"file_ending": model.dataset.get("file_ending"), "name": plan.dataset},
    "numTraining": model.dataset.get("numTraining"),
    "plan": {
      field: getattr(plan, field)
      for field in ("name", "planner", "reader", "spacing", "shape", "transpose", "intensities")
    },
    "design": {
      field: value
      for field, value in dataclasses.asdict(design).items()
      if field in ("median_shape", "identifier", "batch_dice", "spacing", "previous_stage")
    },
  }


def _notes(model: ModelFolder, source: str | None):
  if model.trainer.differs:
    yield (
      f"{model.trainer_name} trains with another {model.trainer.differs} than nnUNetTrainer: the "
      "runs predict as it does, but training goes on as nnUNetTrainer's."
    )
  if not source:
    yield (
      "without --data the runs don't know their cases: they predict, and others start from their "
      "weights (--config.initialise.network=RUN), but they don't validate or go on themselves."
    )
