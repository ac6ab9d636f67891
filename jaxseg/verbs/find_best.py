"""find-best: the configuration, or the pair, that did best in cross-validation."""

import pathlib
import shlex
import sys

from jaxseg import files
from jaxseg.config import domains
from jaxseg.config.streams import MAIN_WORD
from jaxseg.evaluation import choice as selection
from jaxseg.evaluation import held_out
from jaxseg.feeding import source_of
from jaxseg.inference import postprocessing
from jaxseg.inference.postprocessing import mean_of_classes
from jaxseg.runs import folder as run_folder
from jaxseg.runs.folder import run_folders
from jaxseg.runs.load import check_alike
from jaxseg.verbs.arguments import Parser

FILE = "best.json"


def find_best(folders, output, *, pairs: bool = True) -> dict:
  """Compares cross-validations, learns post-processing for the best, and writes both down.

  Args:
    folders: folders of folds (or single run folders), one per configuration.
    output: folder for best.json, and for postprocessing.json if a pair is best; that of a single
      configuration lies with its folds, where `predict` finds it.
    pairs: whether to try pairs, which takes the probabilities of the validation cases.

  Returns:
    What best.json holds: "best" (folders), "command", "dice", "dice_postprocessed", "classes",
    "postprocessing" (its file), "candidates" (best first).

  Raises:
    FileNotFoundError: a run, its validation segmentations or their probabilities are missing.
    ValueError: the configurations differ in labels, channels or cases, or one is half validated.
  """
  folders, output = files.distinct(folders), pathlib.Path(output)
  folds = {folder: run_folders(folder) for folder in folders}
  told = {str(run): run_folder.describe(run) for runs in folds.values() for run in runs}
  check_alike(told)
  for run, one in told.items():
    if one.config["task"]["name"] != "segmentation":
      raise ValueError(
        f"{run}: makes images, and find-best compares segmentations; compare the scores in "
        "report.json, or `jaxseg report`."
      )
    if one.config["evaluate"]["streams"]:
      raise ValueError(
        f"{run}: scores the cases of other streams than the one it learns from "
        "(config.evaluate.streams); to choose by them would be to learn from their labels: compare "
        "the scores in report.json, or `jaxseg report`."
      )
  first = next(iter(told.values()))
  labels, read = first.labels, source_of(first.config).read
  written = {folder: selection.validation_files(runs) for folder, runs in folds.items()}
  for run in (run for runs in folds.values() for run in runs):
    if not held_out.read_scores(run)["complete"]:
      raise ValueError(
        f"{run}: not all of its validation cases are segmented yet; give the train command again, "
        "it goes on with the next case."
      )
    if problem := held_out.lost(run):
      raise ValueError(problem)
  ranked = selection.candidates(written, read, labels, pairs=pairs)
  best = ranked[0]
  cases = selection.validated([written[folder] for folder in best.members], read, labels)
  learned = postprocessing.learn(cases, labels)
  cleaned = postprocessing.mean_dice(
    cases, labels, lambda label: postprocessing.apply_steps(label, learned.steps, labels)
  )
  files.writable_folder(output, "--output")
  home = best.members[0] if len(best.members) == 1 else output
  steps_file = home / postprocessing.FILE
  postprocessing.write(steps_file, learned)
  report = {
    "best": [str(folder) for folder in best.members],
    "command": _command(best.members, steps_file, told),
    "dice": best.dice,
    "dice_postprocessed": mean_of_classes(cleaned),
    "classes": {"plain": best.classes, "postprocessed": cleaned},
    "postprocessing": str(steps_file),
    "cases": len(cases),
    "candidates": [
      {"members": [str(f) for f in one.members], "dice": one.dice, "classes": one.classes}
      for one in ranked
    ],
  }
  files.write_json(output / FILE, report)
  return report


def _command(members, steps_file: pathlib.Path, told) -> str:
  """How to predict; images of the domain that was scored, where networks ask which it is."""
  chosen = [told[str(run)] for folder in members for run in run_folders(folder)]
  domain = f" --domain {MAIN_WORD}" if any(domains.differ(one.config) for one in chosen) else ""
  runs = " ".join(shlex.quote(str(folder)) for folder in members)
  steps = f" --postprocessing {shlex.quote(str(steps_file))}"
  return f"jaxseg predict --workdir {runs} --input IMAGES --output SEGMENTATIONS{domain}{steps}"


def as_text(report: dict) -> str:
  """The candidates as a table, and how to go on."""
  names = [" + ".join(one["members"]) for one in report["candidates"]]
  width = max(map(len, names))
  rows = [f"{'configuration':<{width}}    Dice"]
  dice = [one["dice"] for one in report["candidates"]]
  rows += [f"{name:<{width}}  {value:.4f}" for name, value in zip(names, dice, strict=True)]
  rows.append(f"({report['cases']} cases, mean over classes)")
  rows.append(f"with post-processing: {report['dice_postprocessed']:.4f}")
  rows.append(f"To segment images: {report['command']}")
  return "\n".join(rows)


def main(arguments: list[str]) -> None:
  parser = Parser(
    prog="jaxseg find-best",
    description="Compares configurations, and all pairs of them, by the mean foreground Dice of "
    "their cross-validations; learns post-processing for the best; tells how to predict with it.",
  )
  add = parser.add_argument
  add("runs", nargs="+", type=pathlib.Path, help="folders that hold fold_0, fold_1, ...")
  add("--output", type=pathlib.Path, help=f"folder for {FILE}; default: that of the runs")
  add("--no-pairs", action="store_true", help="compare single configurations only")
  given = parser.parse_args(arguments)
  try:
    pairs = not given.no_pairs and len(given.runs) > 1
    output = given.output or given.runs[0].resolve().parent
    print(as_text(find_best(given.runs, output, pairs=pairs)))
  except (ValueError, OSError) as error:
    sys.exit(f"find-best: {error}")
