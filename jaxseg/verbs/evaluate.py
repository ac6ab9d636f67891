"""`evaluate`: scores a folder of predictions against a folder of references."""

import argparse
import ast
import functools
import inspect
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.build import suggestion
from jaxseg.config.option_values import check_value
from jaxseg.config.ranges import COUNT, FROM_0, RANGES
from jaxseg.data.sources.source import natural
from jaxseg.evaluation.cases import CaseScores, Pair, score_cases, strange_values
from jaxseg.evaluation.folders import (
  check_different,
  declared_labels,
  matched,
  probability_files,
  read_labels,
)
from jaxseg.evaluation.reporting import as_csv, as_json, as_summary_csv, as_text
from jaxseg.evaluation.summary import compare, summarise, table
from jaxseg.metrics import IMAGE_METRICS, METRICS, needs_probabilities
from jaxseg.verbs.arguments import Parser, number

# what most papers report; nsd needs a tolerance that suits the task, the others a question
METRICS_BY_DEFAULT = ("dice", "iou", "hd95")


def evaluate(
  prediction_folder,
  reference_folder,
  *,
  labels: LabelSpec | None = None,
  metrics: Sequence[str] = METRICS_BY_DEFAULT,
  options: Mapping[str, Mapping[str, Any]] | None = None,
  against=None,
  instances: bool = False,
  check_affine: bool = True,
  workers: int | None = 1,
  out: Sequence[str] = (),
  summary: str | None = None,
) -> dict[str, Any]:
  """Scores every case that both folders hold, matched by file name without its ending.

  Args:
    prediction_folder, reference_folder: label images, in any format that `jaxseg.data` reads.
    labels: names and stored values; None looks for a dataset.json beside or in the reference
      folder, and failing that takes each value that occurs as a label of its own.
    metrics: names among `METRICS`, or "all": of those that need probabilities only if the folder
      holds `<case>_probabilities.npz`.
    options: metric -> its options, for example {"nsd": {"tolerance": 2.0}}.
    against: a second folder of predictions, compared on the cases that all three hold.
    instances: the label values number the objects of a single class, "object".
    check_affine: refuse pairs whose affines differ by a tenth of a voxel.
    workers: processes; None: as many as cores, if there is more than a few seconds of work. A
      script that asks for more than 1 needs `if __name__ == "__main__":`, as they import it.
    out: files to write, .json or .csv.
    summary: .csv to write, one row per metric and label.

  Returns:
    "cases": case -> metric -> label -> value; "mean", "std", "median", "interval", "counts",
    "infinite": metric -> label -> over cases; "foreground": metric -> mean over labels; "missing":
    references without prediction; "unmatched": predictions without reference; "left_out": metrics
    of "all" without probabilities; "strange": predicted values of no reference, where nothing
    describes the labels; "unmeasured": cases of which no file tells a spacing; "sheared": those
    whose axes are not at right angles, if distances are measured; "options": as given;
    "against": the same of the second folder on the cases that both hold, "first": of the first one
    on these, and "compared".
    NaN where a metric is undefined; infinite values are in no mean, and counted.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: no case in common, a folder given twice, unknown metric, option or label value,
      grids that differ, probabilities that a metric needs but a case lacks.
  """
  for path, endings in [*((p, (".json", ".csv")) for p in out), (summary, (".csv",))]:
    if path is not None and pathlib.Path(path).suffix not in endings:
      raise ValueError(f"evaluate: {path}: results are written as {' or '.join(endings)}.")
  unknown = [name for name in metrics if name not in (*METRICS, "all")]
  if unknown or not metrics:
    images = [name for name in unknown if name in IMAGE_METRICS]
    why = (
      f" ({images[0]} is of images: a run that makes them has it in its report)" if images else ""
    )
    raise ValueError(
      f"evaluate: unknown metrics {unknown}{why}; choices: {', '.join(METRICS)}, all."
    )
  if against is not None:
    check_different(prediction_folder, against, "the one to compare it with")
  folders = [prediction_folder] if against is None else [prediction_folder, against]
  found = [matched(folder, reference_folder) for folder in folders]
  predictions = [{name: pair[0] for name, pair in of.pairs.items()} for of in found]
  chosen, left_out = _chosen(metrics, options or {}, predictions)
  labels = labels or declared_labels(reference_folder)
  beside: list[Mapping[str, pathlib.Path | None]] = [{} for _ in found]
  if any("probabilities" in _parameters(metric) for metric in chosen.values()):
    beside = [probability_files(files_of, chosen) for files_of in predictions]
    # metrics that can do without must not use the ones of one folder only
    if any(None in of.values() for of in beside):
      beside = [{} for _ in found]
  pairs = [
    Pair(*pair, files_of.get(name), labels, chosen, check_affine, instances)
    for of, files_of in zip(found, beside, strict=True)
    for name, pair in of.pairs.items()
  ]
  results = iter(score_cases(pairs, workers=workers))
  cases = [{name: next(results) for name in of.pairs} for of in found]
  strange = []
  if labels is None and not instances:
    strange = [strange_values([*of.values()], str(f)) for of, f in zip(cases, folders, strict=True)]
  scored = [{name: case.scores for name, case in of.items()} for of in cases]
  names = _label_names(scored, chosen, None if instances else labels)
  report = _report(prediction_folder, scored[0], chosen, names)
  report |= {"missing": found[0].missing, "unmatched": found[0].unmatched, "left_out": left_out}
  report["strange"] = sorted(set().union(*strange))
  report["unmeasured"] = [name for name, case in cases[0].items() if not case.measured]
  if any({"surfaces", "spacing"} & set(_parameters(metric)) for metric in chosen.values()):
    report["sheared"] = [name for name, case in cases[0].items() if case.sheared]
  report["options"] = {name: dict(given) for name, given in (options or {}).items()}
  if against is not None:
    report["against"] = _against(against, scored, chosen, names)
    report["against"] |= {"missing": found[1].missing, "unmatched": found[1].unmatched}
  for path in out:
    text = as_json(report) if pathlib.Path(path).suffix == ".json" else as_csv(report)
    files.write_text(path, text)
  if summary is not None:
    files.write_text(summary, as_summary_csv(report))
  return report


def _parameters(metric: Callable) -> Mapping[str, inspect.Parameter]:
  return inspect.signature(metric).parameters


def _chosen(metrics, options, predictions) -> tuple[dict[str, Callable], list[str]]:
  """Name -> metric with its options, and the names that "all" leaves out."""
  names, left_out = list(dict.fromkeys(metrics)), []
  if "all" in names:
    needy = {name: metric for name, metric in METRICS.items() if needs_probabilities(metric)}
    try:
      for cases in predictions:
        probability_files(cases, needy)
    except ValueError:
      left_out = [name for name in needy if name not in names]
    names = [name for name in METRICS if name not in left_out]
  for name in options:
    if name not in names:
      raise ValueError(f"evaluate: options for '{name}', which is not among {', '.join(names)}.")
  return {name: _bound(name, options.get(name, {})) for name in names}, left_out


def _bound(name: str, options: Mapping[str, Any]) -> Callable:
  parameters = _parameters(METRICS[name]).values()
  known = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
  for option, value in options.items():
    if option not in known:
      raise ValueError(
        f"evaluate: {name} has no option '{option}'{suggestion(option, known)}; options: "
        f"{', '.join(known) or 'none'}."
      )
    span = RANGES.get((name, option), RANGES.get(option))
    check_value(value, f"evaluate: {name}.{option}", known[option], span, finite=False)
  return functools.partial(METRICS[name], **options)


def _label_names(
  scored: list[dict[str, CaseScores]], chosen, labels: LabelSpec | None
) -> list[str]:
  if labels is not None:
    return list(labels.scored)
  metric = next(iter(chosen))
  return sorted({n for cases in scored for of in cases.values() for n in of[metric]}, key=natural)


def _report(folder, cases: dict[str, CaseScores], metrics, labels: list[str]) -> dict[str, Any]:
  metrics = list(metrics)
  # where nothing describes the labels, a case knows only its own
  values = {metric: table(cases, metric, labels).tolist() for metric in metrics}
  filled = {
    case: {metric: dict(zip(labels, values[metric][i], strict=True)) for metric in metrics}
    for i, case in enumerate(cases)
  }
  return {
    "folder": str(folder),
    "labels": labels,
    "cases": filled,
    **summarise(filled, metrics, labels),
  }


def _against(
  folder, scored: list[dict[str, CaseScores]], metrics, labels: list[str]
) -> dict[str, Any]:
  """Both folders summarised on the cases that both hold, and compared."""
  shared = [name for name in scored[0] if name in scored[1]]
  if not shared:
    raise ValueError(f"evaluate: {folder} has no case in common with the first predictions.")
  first, second = ({name: cases[name] for name in shared} for cases in scored)
  return {
    **_report(folder, second, metrics, labels),
    "first": summarise(first, list(metrics), labels),
    "compared": compare(first, second, list(metrics), labels),
  }


def parse_options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
  """["nsd.tolerance=2"] -> {"nsd": {"tolerance": 2}}; what is no Python literal is a word."""
  options: dict[str, dict[str, Any]] = {}
  for text in given:
    target, equals, value = text.partition("=")
    metric, dot, option = target.partition(".")
    if not (equals and dot and metric and option):
      raise ValueError(f"evaluate: --option {text}: expected METRIC.OPTION=VALUE.")
    try:
      parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      # nan and inf are words that Python does not take as literals
      parsed = float(value) if value in ("nan", "inf") else value
    options.setdefault(metric, {})[option] = parsed
  return options


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg evaluate",
    description="Scores a folder of predictions against references, with 95 % bootstrap intervals, "
    "and compares two folders of predictions by a paired Wilcoxon test.",
  )
  add = parser.add_argument
  add("predictions", help="folder of predicted label images")
  add("references", help="folder of reference label images of the same names")
  add("--against", help="a second folder of predictions, compared with the first on every case")
  add("--labels", help="dataset.json, or a run folder's run.json: label names")
  add(
    "--metrics",
    nargs="+",
    default=list(METRICS_BY_DEFAULT),
    metavar="METRIC",
    help=f"all, or some of: {', '.join(METRICS)}; default: {' '.join(METRICS_BY_DEFAULT)}",
  )
  add(
    "--option",
    nargs="+",
    action="extend",
    default=[],
    metavar="METRIC.OPTION=VALUE",
    help="for example hd95.convention=pooled dice.empty=1",
  )
  add(
    "--tolerance",
    type=number(float, FROM_0),
    help="of nsd, in millimetres; the same as --option nsd.tolerance; default: 1",
  )
  add("--instances", action="store_true", help="label values number the objects of one class")
  add(
    "--workers", type=number(int, COUNT), help="processes; default: as many as cores, if they pay"
  )
  add("--json", help="write the whole report to this .json file")
  add("--csv", help="write one row per case and label to this .csv file")
  add("--summary", help="write one row per metric and label to this .csv file")
  add(
    "--no-check-affine",
    action="store_true",
    help="compare voxel by voxel even where the headers disagree about position",
  )
  return parser


def main(arguments: list[str]) -> None:
  given = _parser().parse_args(arguments)
  try:
    for option, path in (("json", given.json), ("csv", given.csv), ("summary", given.summary)):
      ending = ".json" if option == "json" else ".csv"
      if path and pathlib.Path(path).suffix != ending:
        raise ValueError(f"--{option} {path}: expected a file name that ends in {ending}.")
    options = parse_options(given.option)
    if given.tolerance is not None:
      options.setdefault("nsd", {})["tolerance"] = given.tolerance
    report = evaluate(
      given.predictions,
      given.references,
      labels=read_labels(pathlib.Path(given.labels)) if given.labels else None,
      metrics=given.metrics,
      options=options,
      against=given.against,
      instances=given.instances,
      check_affine=not given.no_check_affine,
      workers=given.workers,
      out=[path for path in (given.json, given.csv) if path],
      summary=given.summary,
    )
  except (ValueError, OSError) as error:
    sys.exit(f"evaluate: {str(error).removeprefix('evaluate: ')}")
  print(as_text(report))
