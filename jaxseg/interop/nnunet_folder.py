"""A model folder of nnU-Net v2: plans.json, dataset.json and the checkpoints of its folds."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.sources import dataset_json
from jaxseg.interop import nnunet
from jaxseg.interop.name_map import listed
from jaxseg.interop.nnunet_checkpoint import Checkpoint, read_checkpoint
from jaxseg.interop.nnunet_trainers import Trainer, trainer_of
from jaxseg.planning.nnunet_plans import parse_plan
from jaxseg.planning.plans import Plan
from jaxseg.planning.settings import REORIENTING

PLANS, DATASET = "plans.json", "dataset.json"
FINAL, BEST, LATEST = (f"checkpoint_{of}.pth" for of in ("final", "best", "latest"))
ALL = "all"  # the fold that trains on every case
READERS = ("SimpleITKIO", "NibabelIO", "NaturalImage2DIO", "Tiff3DIO", *REORIENTING)
_ADVICE = "copy the model folder again, whole"
# what of two plans must be one for their folds to be averaged
_LINKS = ("next_stage", "inherits")


class ModelFolder(NamedTuple):
  """What one trainer made of one configuration of one data set.

  Attributes:
    path: the folder.
    plan: of it, with the one configuration.
    configuration: its name.
    labels, channels: of the data set.
    dataset: dataset.json.
    trainer, trainer_name: who trained it.
    checkpoints: fold ("0", "1", ..., "all") -> the checkpoint that was asked for.
    best: fold -> its checkpoint_best.pth, of those that have one beside.
  """

  path: pathlib.Path
  plan: Plan
  configuration: str
  labels: LabelSpec
  channels: tuple[str, ...]
  dataset: dict[str, Any]
  trainer: Trainer
  trainer_name: str
  checkpoints: dict[str, Checkpoint]
  best: dict[str, Checkpoint]


def read_folder(
  path, *, folds: Sequence[str] = (), name: str = FINAL, trainer: str | None = None
) -> ModelFolder:
  """Reads a model folder, checked as far as it goes without building its network.

  Args:
    path: the folder, as nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION.
    folds: which, as ("0", "1") or ("all",); () for those that are there, the numbered before "all".
    name: of the checkpoints.
    trainer: a known trainer that an unknown one trains like.

  Raises FileNotFoundError or ValueError in words: no model folder of nnU-Net 2, parts that are
  missing, damaged or don't belong together, what this project does not have.
  """
  path = pathlib.Path(path)
  described = _json(path, DATASET, "nnU-Net's description of the data set")
  plans = _json(path, PLANS, "the plans that the model was trained by")
  where = path / DATASET
  labels, channels = _labels(described, where), dataset_json.channel_names(described, where)
  held = {fold: path / f"fold_{fold}" / name for fold in folds} or _held(path, name)
  checkpoints = {fold: read_checkpoint(file) for fold, file in held.items()}
  first, (fold, one) = next(iter(held.values())), next(iter(checkpoints.items()))
  for other, of in checkpoints.items():
    for what, a, b in (
      ("trainer", one.trainer, of.trainer),
      ("configuration", one.configuration, of.configuration),
      ("mirrored axes", one.mirrored, of.mirrored),
    ):
      if a != b:
        raise ValueError(
          f"{held[other]}: its {what} {b} is not {a} as in fold_{fold}; expected folds of one "
          "model."
        )
  kind = trainer_of(one.trainer, first, like=trainer)
  plan = parse_plan(plans, str(path / PLANS), only=one.configuration)
  for field, value, known in (
    ("image_reader_writer", plan.reader, READERS),
    ("label_manager", plans["label_manager"], ("LabelManager",)),
  ):
    if value not in known:
      raise ValueError(
        f"{path / PLANS}: {field} is {value!r:.60}, which is none of nnU-Net 2.8.1's, so that what "
        f"it does to a scan is not known; expected one of {', '.join(known)}."
      )
  if len(channels) != len(plan.intensities):
    raise ValueError(
      f"{where}: names {len(channels)} channel(s), {PLANS} plans for {len(plan.intensities)}; they "
      f"are of different data sets: {_ADVICE}."
    )
  best = {}
  for number, file in held.items():
    _check_same(checkpoints[number], plan, labels, channels, file)
    if name != BEST and (beside := file.with_name(BEST)).is_file():
      best[number] = read_checkpoint(beside)
      _check_same(best[number], plan, labels, channels, beside)
  return ModelFolder(
    path, plan, one.configuration, labels, channels, described, kind, one.trainer, checkpoints, best
  )


def _json(path: pathlib.Path, name: str, what: str) -> dict[str, Any]:
  if not path.is_dir():
    zipped = " (unzip what nnUNetv2_export_model_to_zip wrote)" if path.suffix == ".zip" else ""
    raise FileNotFoundError(f"{path}: is no folder{zipped}; expected a model folder of nnU-Net.")
  if not (path / name).is_file():
    if (path / "plans.pkl").is_file():
      raise ValueError(f"{path}: is a model of nnU-Net 1 (plans.pkl); expected one of nnU-Net 2.")
    inner = sorted(str(of.parent) for of in path.glob(f"*/{PLANS}"))
    raise FileNotFoundError(
      f"{path / name}: not found, expected {what}; "
      + (f"give one of {', '.join(inner[:4])}." if inner else f"{_ADVICE}.")
    )
  return files.read_json(path / name, what=what, advice=_ADVICE)


def _labels(described: dict[str, Any], where: pathlib.Path) -> LabelSpec:
  """Those of dataset.json; raises ValueError where nnU-Net's numbers of classes aren't the values.

  It writes the number of a class; its files hold the value.
  """
  named = described.get("labels")
  alone = isinstance(named, dict) and all(
    len(of) == 1 for of in named.values() if isinstance(of, list)
  )
  if alone:
    # it has regions where one unites several values
    named = {name: of[0] if isinstance(of, list) else of for name, of in named.items()}
    described = described | {"labels": named}
  labels = dataset_json.label_spec(described, where)
  values = [*labels.stored_values, *([] if labels.ignore is None else [labels.ignore])]
  if labels.regions is None and values != list(range(len(values))):
    raise ValueError(
      f"{where}: the labels have the values {values}; nnU-Net numbers them 0, 1, 2, ... and what "
      "is ignored last, so that it is not this model's: copy its dataset.json again."
    )
  return labels


def _held(path: pathlib.Path, name: str) -> dict[str, pathlib.Path]:
  """Fold -> its checkpoint of that name; all numbered folds, else "all"."""
  found = {file.parent.name.removeprefix("fold_"): file for file in path.glob(f"fold_*/{name}")}
  numbered = sorted((fold for fold in found if fold.isdigit()), key=int)
  if not numbered and ALL not in found:
    others = sorted(f"{file.parent.name}/{file.name}" for file in path.glob("fold_*/*.pth"))
    there = f"there are {', '.join(others[:6])}: name one by --checkpoint" if others else _ADVICE
    raise FileNotFoundError(f"{path / 'fold_0' / name}: not found, nor another fold's; {there}.")
  return {fold: found[fold] for fold in numbered or (ALL,)}


def _check_same(
  one: Checkpoint, plan: Plan, labels: LabelSpec, channels: tuple[str, ...], file: pathlib.Path
) -> None:
  """Raises ValueError unless a checkpoint was trained by the folder's plans and data set."""
  name = one.configuration
  own = parse_plan(one.plans, f"{file}: its plans", only=name)
  ours, theirs = (_numbers(of, name) for of in (plan, own))
  differing = [field for field in ours if ours[field] != theirs[field]]
  if differing:
    field = differing[0]
    raise ValueError(
      f"{file}: was trained by other plans than {PLANS} beside: its {field} is "
      f"{theirs[field]!r:.80}, there {ours[field]!r:.80}; expected folds of one model: put "
      "the file back that belongs to them."
    )
  where = f"{file}: its dataset_json"
  trained, seen = _labels(one.dataset, where), dataset_json.channel_names(one.dataset, where)
  if seen != channels:
    raise ValueError(
      f"{file}: was trained on the channels {', '.join(seen)}, {DATASET} beside has "
      f"{', '.join(channels)}; put the file back that belongs to the model."
    )
  if (trained.names, trained.members) != (labels.names, labels.members):
    raise ValueError(
      f"{file}: was trained on the classes {', '.join(trained.names)}, {DATASET} beside has "
      f"{', '.join(labels.names)}; put the file back that belongs to the model."
    )


def _numbers(plan: Plan, name: str) -> dict[str, Any]:
  """What of a plan a network's weights depend on, comparable: a NaN is itself."""
  fields = dataclasses.asdict(plan.configurations[name])
  fields = {field: value for field, value in fields.items() if field not in _LINKS}
  fields |= {"transpose": plan.transpose}
  if "ct" in plan.configurations[name].normalisation:
    fields["intensities"] = plan.intensities
  return {field: json.dumps(value) for field, value in fields.items()}


def check_tensors(one: Checkpoint, expected: dict[str, tuple[int, ...]], where) -> None:
  """Raises ValueError that lists tensors that are missing, superfluous or of another shape.

  `expected` are the shapes of the plans' network by our paths.
  """
  steps = nnunet.decoder_steps(expected)
  held = {path: of.shape for path, of in one.weights.items()}
  missing = [nnunet.name_of(path, steps) for path in expected if path not in held]
  strange = [nnunet.name_of(path, steps) for path in held if path not in expected]
  other = [path for path in expected if path in held and held[path] != expected[path]]
  problems = [
    f"{len(names)} tensor(s) {what}: {listed(names)}"
    for names, what in ((missing, "are missing"), (strange, "are superfluous"))
    if names
  ]
  if diverged := [path for path, of in one.weights.items() if not np.isfinite(of).all()]:
    names = listed(nnunet.name_of(path, steps) for path in diverged)
    raise ValueError(
      f"{where}: {len(diverged)} tensor(s) hold NaN or infinity ({names}): training diverged, and "
      "every voxel would become background; take another checkpoint."
    )
  if other:
    shapes = (f"{nnunet.name_of(path, steps)} {held[path]}, not {expected[path]}" for path in other)
    problems.append(f"{len(other)} tensor(s) have another shape: {listed(shapes)}")
  if problems:
    raise ValueError(
      f"{where}: its weights are not those of the network that {PLANS} names: "
      f"{'; '.join(problems)}; the trainer changed the network, or the files don't belong together."
    )
