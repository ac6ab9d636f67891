"""plan: a folder of labelled scans -> its fingerprint, nnU-Net's plans, and the five folds."""

import argparse
import pathlib
import shutil
import sys

from jaxseg import data, files, planning
from jaxseg.build import build
from jaxseg.data import Source, dataset_json
from jaxseg.data.decathlon import task_name
from jaxseg.data.splits import Split, kfold
from jaxseg.experiment import complete
from jaxseg.verbs.configs import load_config

FINGERPRINT, SPLITS = "dataset_fingerprint.json", "splits_final.json"


def write_plans(source: Source, folder: pathlib.Path, presets, **options) -> list[planning.Plan]:
  """Writes the fingerprint, the splits and one plans file per preset; returns the plans.

  Args:
    source: the data set.
    folder: where the files go; splits that are there already stay, as in nnU-Net.
    presets: names of `planning.PRESETS`.
    options: workers, file_ending, gpu_memory, spacing.

  Raises ValueError if a case is invalid, or the folder's splits are of another data set.
  """
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


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="jaxseg plan",
    description="Looks at every case of a data set and plans spacing, patch, batch and network as "
    "nnU-Net does; writes nnU-Net's own files, and prints the plan with its reasons.",
  )
  add = parser.add_argument
  add(
    "source",
    help="folder in nnU-Net's raw format or the Decathlon's; a Decathlon task by name; or a config "
    "file, FILE.py or FILE.py:ARG, whose config.data.source is planned for",
  )
  add("--output", type=pathlib.Path, help="folder to write; default: plans/NAME OF THE DATA SET")
  add("--preset", choices=tuple(planning.PRESETS), default="default", help="default: default")
  add("--gpu-memory", type=float, metavar="GB", help="where it differs from the preset's")
  spacing = "millimetres in the stored (z, y, x) order, in place of the planned ones"
  add("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help=spacing)
  add("--workers", type=int, help="processes; default: as many as cores")
  return parser


def asked_for(where: str) -> dict:
  """Which data set is meant: fields of config.data, `source` and, of a config, `split`.

  Args:
    where: a folder in nnU-Net's raw format or the Decathlon's, a task of the Decathlon by name
      ("hippocampus", "Task04_Hippocampus"), or a config file (FILE.py or FILE.py:ARG).

  Raises ValueError or FileNotFoundError if it is none of these.
  """
  if where.endswith(".py") or ".py:" in where:
    told = complete(load_config(where))["data"]
    return {"source": told["source"], "split": told["split"]}
  if pathlib.Path(where).expanduser().is_dir():
    return {"source": {"name": "nnunet_raw", "path": where}}
  try:
    return {"source": {"name": "msd", "task": task_name(where)}}
  except ValueError:
    raise FileNotFoundError(
      f"{where}: no such folder; expected one in nnU-Net's raw format or the Decathlon's, the name "
      "of a Decathlon task, or a config file whose data are meant."
    ) from None


def made_plan(source: Source, folder: pathlib.Path, preset: str) -> planning.Plan:
  """The plan of a preset that lies in the folder, or a new one, written there.

  Raises ValueError if the folder's plans are of other data, or one case is all there is.
  """
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


def _description(spec: dict) -> pathlib.Path | None:
  """The dataset.json of a folder; None for folders of other kinds."""
  path = pathlib.Path(spec.get("path", "")).expanduser() / "dataset.json"
  return path if "path" in spec and path.is_file() else None


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    spec = asked_for(wanted.source)["source"]
    source = build(data.SOURCES, spec, "data.source")
    described = _description(spec)
    output = files.writable_folder(wanted.output or f"plans/{source.name}", "--output")
    ending = described and dataset_json.read(described).get("file_ending")
    asked = {"gpu_memory": wanted.gpu_memory, "spacing": wanted.spacing}
    common = {"workers": wanted.workers, "file_ending": ending}
    # the default plans too, because the others share their data
    presets = dict.fromkeys(("default", wanted.preset))
    plan = write_plans(source, output, presets, **asked, **common)[-1]
    if described:
      with files.replacing(output / "dataset.json") as temporary:
        shutil.copyfile(described, temporary)
  except (ValueError, OSError) as error:
    sys.exit(f"plan: {str(error).removeprefix('plan: ')}")
  print(planning.as_text(plan))
  print(f"\nwritten to {output}: {', '.join(sorted(f.name for f in output.glob('*.json')))}")
