"""What a plan decides of a config: made or read when it is needed, filled in where it is empty.

A config with `plan` (`defaults.planned`, configs/auto.py) says which data and which preset; reading
it plans nothing. `resolve` makes the plan, or reads the one that is there, and fills it in.
"""

import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxseg import augment, compose, data, planning
from jaxseg.build import build, check_options, suggestion
from jaxseg.config import checks as config_checks
from jaxseg.config.overrides import read_config
from jaxseg.config.synthesis import makes_images
from jaxseg.data import Source
from jaxseg.data.sources.decathlon import task_name
from jaxseg.data.sources.source import annotated
from jaxseg.data.splits import Split, kfold
from jaxseg.packages import OnDemand

ml_collections = OnDemand("ml_collections")
FINGERPRINT, SPLITS = "dataset_fingerprint.json", "splits_final.json"
# config.plan's fields; a configuration of None is 3d_fullres where there is one, else 2d
_OPTIONS = {
  "data": None,
  "preset": "default",
  "configuration": None,
  "previous": None,
  "folder": "plans",
}
# of plans that are made here; others may have further ones
_CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")


def resolve(
  config, *, make: bool = True, say: Callable[[str], None] | None = None
) -> "ml_collections.ConfigDict":
  """The config with what its plan decides; one without `plan` as it is.

  What the config sets itself goes before: options of the planned network, of an augmentation, of
  the split. A part with another name than the planned one replaces it; None leaves an augmentation
  out.

  Args:
    config: as a file gives it, overrides applied.
    make: makes a plan that is not there, which reads every case; else that is an error.
    say: shows a line; to standard error if None.

  Raises:
    FileNotFoundError, ValueError: the data are not there or invalid; no plan, and none is made.
  """
  if not config.get("plan"):
    return config
  own = config_checks.fields(config)
  request = _request(own["plan"])
  if own["data"]["split"].get("labelled") is not None:
    raise ValueError(
      "config.data.split.labelled: the plan measures the labels of all cases, those too that the "
      "split is to keep back; plan for the labelled cases as a set of their own, and feed the "
      "others as a further stream (config.streams)."
    )
  told = data_of(config)
  spec, preset = told["source"], planning.PRESETS[request["preset"]]
  sliced = own["data"]["slices"] is not None
  predictor = {"name": "slices" if sliced else "sliding_window", "overlap": 0.5, "batch": 2}
  split = told.get("split", {"name": "file", "path": SPLITS, "fold": 0})
  # what is known of the result before it is planned, so that mistakes are told then
  sketch = {"network": {"name": preset.network}, "predictor": predictor}
  compose.complete(merge(sketch | {"data": {"source": spec, "split": split}}, own))
  source = build(data.SOURCES, spec, "data.source")
  folder = pathlib.Path(request["folder"]) / source.name
  say = say or (lambda text: print(text, file=sys.stderr, flush=True))
  if not _is_there(folder, request["preset"]):
    if not make:
      raise FileNotFoundError(
        f"config.plan: there is no plan of preset '{request['preset']}' in {folder} yet; make it "
        f"first: jaxseg plan {shlex.quote(request['data'])} --preset {request['preset']} --output "
        f"{shlex.quote(str(folder))}."
      )
    _check_choice("configuration", request["configuration"] or _CONFIGURATIONS[0], _CONFIGURATIONS)
    say(f"Planning for {source.name}: {len(source.cases)} cases are read, once ...")
  plan = plan_for(source, folder, request["preset"])
  say(f"The plan is {folder / preset.name}.json.")
  if plan.mirroring is None:
    say(
      f"{folder} holds no {planning.MIRRORING}: all axes are mirrored, as in nnU-Net; jaxseg plan "
      "measures which may be."
    )
  if "split" not in told:
    split["path"] = str(folder / SPLITS)
  values = values_of(planning.settings(plan, _configuration(plan, request)), own, request)
  if values["data"]["slices"] is not None:
    predictor["name"] = "slices"
  values["predictor"] = predictor
  values["data"] |= {"source": spec, "split": split}
  for key, spec in config["augment"].items():
    if spec is None:
      values["augment"].pop(key, None)
  return ml_collections.ConfigDict(merge(values, own) | {"plan": {}})


def _request(given: Mapping[str, Any]) -> dict[str, Any]:
  """config.plan, complete."""
  check_options("plan", given, _OPTIONS, "plan")
  request = {**_OPTIONS, **given}
  for name, value in request.items():
    none = name in ("configuration", "previous") and value is None
    if not none and (not isinstance(value, str) or not value):
      raise ValueError(f"config.plan.{name}: {value!r}; expected a word.")
  _check_choice("preset", request["preset"], planning.PRESETS)
  return request


def _check_choice(name: str, value: str, choices) -> None:
  if value not in choices:
    raise ValueError(
      f"config.plan.{name}: '{value}' is unknown{suggestion(value, choices)}; choices: "
      f"{', '.join(choices)}."
    )


def _configuration(plan: planning.Plan, request: Mapping[str, Any]) -> str:
  usual = "3d_fullres" if "3d_fullres" in plan.configurations else "2d"
  return request["configuration"] or usual


def values_of(told: dict, own: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
  """The planned part of a config; `told` is what `planning.settings` says."""
  options, patch = dict(told["data"]), told["data"]["patch"]
  if told["previous"]:
    if not (request["previous"] or own["data"]["prior"]):
      raise ValueError(
        f"config.plan.configuration: {request['configuration']} needs the runs of "
        f"{told['previous']}; expected previous=RUNS, the --workdir of its --fold=all."
      )
    if request["previous"]:
      options["prior"] = {"run": request["previous"]}
  masked = any(scheme.get("nonzero") for scheme in options["normalise"])
  chain = augment.nnunet(
    len(patch), patch, masked=masked, cascade=told["previous"] is not None, mirror=told["mirror"]
  )
  network = merge(told["network"], own["network"] or {})
  # nnU-Net's coarsest head has no weight; the smallest of networks has but the finest
  heads = network["name"] == told["network"]["name"] and len(network["widths"]) > 2
  return {
    "network": told["network"],
    "method": {"name": "supervised"} | ({"drop_last_head": True} if heads else {}),
    "loss": {"dice": {"batch": told["batch_dice"]}} if "dice" in own["loss"] else {},
    "augment": chain,
    "data": options,
  }


def merge(planned: Any, own: Any) -> Any:
  """What is set, over what is planned; parts that have names are merged if it is the same one."""
  if own is None:
    return planned
  if not (isinstance(planned, Mapping) and isinstance(own, Mapping)):
    return own
  if own.get("name", planned.get("name")) != planned.get("name"):
    return own
  # another run's network is taken whole
  if "run" in own and "name" in planned:
    return own
  return {**planned, **{key: merge(planned.get(key), value) for key, value in own.items()}}


def _is_there(folder: pathlib.Path, preset: str) -> bool:
  return (folder / f"{planning.PRESETS[preset].name}.json").exists() and (folder / SPLITS).exists()


def is_config(where: str) -> bool:
  """Whether FILE.py or FILE.py:ARG is meant."""
  return where.endswith(".py") or ".py:" in where


def find_data(where: str, changes: Sequence[str] = ()) -> dict[str, Any]:
  """Which data set is meant: fields of config.data, `source` and, of a config, `split`.

  Args:
    where: a folder in nnU-Net's raw format or the Decathlon's, a task of the Decathlon by name
      ("hippocampus", "Task04_Hippocampus"), or a config file (FILE.py or FILE.py:ARG).
    changes: --config.FIELD=VALUE, of a config file.

  Raises ValueError or FileNotFoundError if it is none of these.
  """
  if is_config(where):
    config, _ = read_config([f"--config={where}", *changes])
    return data_of(config)
  if pathlib.Path(where).expanduser().is_dir():
    return {"source": {"name": "nnunet_raw", "path": where}}
  try:
    return {"source": {"name": "msd", "task": task_name(where)}}
  except ValueError:
    raise FileNotFoundError(
      f"{where}: no such folder; expected one in nnU-Net's raw format or the Decathlon's, the name "
      "of a Decathlon task, or a config file whose data are meant."
    ) from None


def data_of(config) -> dict[str, Any]:
  """`source` and, where it is known without a plan, `split` of a config's data."""
  own = config_checks.fields(config)
  if makes_images(own):
    raise ValueError(
      "config.task: makes images, but plans are of segmentation; write the fields into the config."
    )
  told = {name: own["data"][name] for name in ("source", "split")}
  if not own["plan"]:
    return told
  planned = find_data(_request(own["plan"])["data"])
  source = merge(planned["source"], told["source"])
  return {"source": source, **{k: v for k, v in planned.items() if k == "split"}}


def plan_for(source: Source, folder: pathlib.Path, preset: str) -> planning.Plan:
  """The plan of a preset that lies in the folder, or a new one, written there.

  Raises ValueError if the folder's plans are of other data, or one case is all there is.
  """
  source = annotated(source)
  if len(source.cases) < 2:
    raise ValueError(
      f"{source.name}: has one case; expected two or more, because some validate and never train."
    )
  file = folder / f"{planning.PRESETS[preset].name}.json"
  if not file.exists() or not (folder / SPLITS).exists():
    write_plans(source, folder, dict.fromkeys(("default", preset)))
  check_splits(source, folder)
  plan = planning.read_plan(file)
  if len(plan.intensities) != len(source.channels):
    raise ValueError(
      f"{file}: is for {len(plan.intensities)} channel(s), but data set '{source.name}' has "
      f"{len(source.channels)} ({', '.join(source.channels)}); remove the folder to plan anew."
    )
  return plan


def write_plans(source: Source, folder: pathlib.Path, presets, **options) -> list[planning.Plan]:
  """Writes the fingerprint, the splits and one plans file per preset; returns the plans.

  Args:
    source: the data set.
    folder: where the files go; splits that are there already stay, as in nnU-Net.
    presets: names of `planning.PRESETS`.
    options: workers, file_ending, gpu_memory, spacing.

  Raises ValueError if a case is invalid, or the folder's splits are of another data set.
  """
  # sizes, intensities and classes are measured where labels are
  source = annotated(source)
  check_splits(source, folder)
  workers, ending = options.pop("workers", None), options.pop("file_ending", None)
  fingerprint = planning.fingerprint(source, workers=workers)
  description = planning.description(source, file_ending=ending)
  plans = [planning.plan(fingerprint, description, preset=name, **options) for name in presets]
  planning.write_fingerprint(folder / FINGERPRINT, fingerprint)
  for plan in plans:
    planning.write_plan(folder / f"{plan.name}.json", plan)
  if not (folder / SPLITS).exists() and len(source.cases) > 1:
    planning.write_splits(folder / SPLITS, folds(source.cases))
  return plans


def check_splits(source: Source, folder: pathlib.Path) -> None:
  """Raises ValueError where the splits that lie in a folder name cases of another data set."""
  if not (folder / SPLITS).exists():
    return
  known = set(source.cases)
  for train, held in planning.read_splits(folder / SPLITS):
    for case in (*train, *held):
      if case not in known:
        raise ValueError(
          f"{folder / SPLITS}: names case '{case}', which data set '{source.name}' doesn't have, "
          "so these plans are of other data of that name; remove the folder, and they are made "
          "anew, or rename one of the two."
        )


def folds(cases: tuple[str, ...]) -> tuple[Split, ...]:
  """nnU-Net's five folds; as many as cases where there are fewer."""
  number = min(5, len(cases))
  return tuple(kfold(cases, fold=fold, folds=number) for fold in range(number))
