"""`evaluate`: scores a folder of predictions against a folder of references."""

import argparse
import csv
import io
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.images import ENDINGS, read_label, stem
from jaxseg.data.nnunet_folder import label_spec
from jaxseg.data.source import check_pair, existing_folder, natural
from jaxseg.metrics import METRICS, score

FOOTER = (
  "'-' (NaN): the label is absent from both prediction and reference; such cases enter no mean.\n"
  "A label that is absent from one of the two only scores 0 in overlap.\n"
  "The mean over labels (background left out) is the mean of the labels' means over cases."
)
# probabilities are saved under these endings, beside the segmentation of the same name
_ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
# what `predict` writes beside the segmentation, under its name
_COMPANIONS = ("_overlay", "_probabilities")
# with more labels than this the table by case shows their mean only
_COLUMNS = 8


def find_cases(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Case name -> file, for every image in a folder; raises ValueError for two of one name."""
  found: dict[str, list[pathlib.Path]] = {}
  for file in sorted(folder.iterdir()):
    if file.is_file() and not file.name.startswith(".") and file.name.lower().endswith(ENDINGS):
      found.setdefault(stem(file), []).append(file)
  cases = {}
  for name in sorted(found, key=natural):
    chosen = [f for f in found[name] if not f.name.lower().endswith(_ARRAYS)] or found[name]
    if len(chosen) > 1:
      raise ValueError(
        f"{folder}: {' and '.join(f.name for f in chosen)} are both case '{name}'; keep one."
      )
    cases[name] = chosen[0]
  return cases


def read_labels(path: pathlib.Path) -> LabelSpec:
  """The labels of a dataset.json (nnU-Net's or the MSD's), or of a run folder's description."""
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such file; give a dataset.json with 'labels'.")
  try:
    description = json.loads(path.read_text(encoding="utf-8"))
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{path}: is not valid JSON ({error}); correct the file.") from error
  labels = description.get("labels", description)
  if "stored_values" in labels:
    return LabelSpec.from_json(json.dumps(labels))
  return label_spec(description, path)


def _present(*arrays: np.ndarray) -> LabelSpec:
  """The values of one case as labels, for folders that nothing describes."""
  found = {0}.union(*(np.unique(array).tolist() for array in arrays))
  values = sorted(found, key=lambda v: (v != 0, v))
  return LabelSpec(tuple(str(v) for v in values), tuple(values))


def _evaluate_case(prediction, reference, labels, metrics, check_affine) -> dict[str, dict]:
  """metric -> label -> value, background left out."""
  predicted, geometry = read_label(prediction)
  truth, truth_geometry = read_label(reference)
  where = f"{prediction} against {reference}"
  check_pair(truth_geometry, geometry, where, what="prediction", affine=check_affine)
  labels = labels or _present(predicted, truth)
  truth, weight = labels.encode(truth, str(reference))
  predicted, _ = labels.encode(predicted, str(prediction))
  values = score(
    {name: METRICS[name] for name in metrics},
    predicted,
    truth,
    weight,
    classes=labels.channels,
    spacing=geometry.spacing,
  )
  first = 0 if labels.regions else 1
  return {
    metric: dict(zip(labels.names[first:], map(float, scores[first:]), strict=True))
    for metric, scores in values.items()
  }


def _mean(values) -> float:
  known = [v for v in values if not np.isnan(v)]
  return float(np.mean(known)) if known else float("nan")


def evaluate(
  prediction_folder,
  reference_folder,
  *,
  labels: LabelSpec | None = None,
  metrics: Sequence[str] = ("dice", "iou"),
  check_affine: bool = True,
  out: Sequence[str] = (),
) -> dict[str, Any]:
  """Scores every case that both folders hold, matched by file name without its ending.

  Args:
    prediction_folder, reference_folder: label images, in any format that `jaxseg.data` reads.
    labels: names and stored values; None looks for a dataset.json beside or in the reference
      folder, and failing that takes each value that occurs as a label of its own.
    metrics: names among `METRICS`.
    check_affine: refuse pairs whose affines differ by a tenth of a voxel.
    out: files to write, .json or .csv.

  Returns:
    "cases": case -> metric -> label -> value; "mean", "std": metric -> label -> over cases;
    "foreground": metric -> mean over labels; "missing": references without prediction;
    "unmatched": predictions without reference. NaN where a label is absent from both.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: no case in common, unknown metric or label value, grids that differ.
  """
  unknown = [name for name in metrics if name not in METRICS]
  if unknown or not metrics:
    raise ValueError(f"evaluate: unknown metrics {unknown}; choices: {', '.join(METRICS)}.")
  for path in out:
    if pathlib.Path(path).suffix not in (".json", ".csv"):
      raise ValueError(f"evaluate: {path}: results are written as .json or .csv.")
  predictions = find_cases(existing_folder(prediction_folder, "the folder of predictions"))
  reference_folder = existing_folder(reference_folder, "the folder of references")
  references = find_cases(reference_folder)
  matched = [name for name in references if name in predictions]
  if not matched:
    raise ValueError(
      f"evaluate: no case in common: {prediction_folder} holds {_listing(predictions)}, "
      f"{reference_folder} holds {_listing(references)}; files are matched by name without ending."
    )
  if labels is None:
    described = [f / "dataset.json" for f in (reference_folder, reference_folder.parent)]
    labels = next((read_labels(path) for path in described if path.is_file()), None)
  cases = {
    name: _evaluate_case(predictions[name], references[name], labels, metrics, check_affine)
    for name in matched
  }
  names = _label_names(cases, metrics[0], labels)
  # where nothing describes the labels, a case knows only its own
  cases = {
    case: {m: {n: scores[m].get(n, float("nan")) for n in names} for m in metrics}
    for case, scores in cases.items()
  }
  report = {
    "labels": names,
    "cases": cases,
    "mean": {m: {n: _mean(c[m][n] for c in cases.values()) for n in names} for m in metrics},
    "std": {m: {n: _std(c[m][n] for c in cases.values()) for n in names} for m in metrics},
    "missing": [name for name in references if name not in predictions],
    "unmatched": [n for n in predictions if n not in references and not _companion(n, predictions)],
  }
  report["foreground"] = {m: _mean(report["mean"][m].values()) for m in metrics}
  for path in out:
    text = as_json(report) if pathlib.Path(path).suffix == ".json" else as_csv(report)
    files.write_text(path, text)
  return report


def _companion(name: str, predictions) -> bool:
  return any(name.endswith(c) and name.removesuffix(c) in predictions for c in _COMPANIONS)


def _std(values) -> float:
  known = [v for v in values if not np.isnan(v)]
  return float(np.std(known)) if known else float("nan")


def _label_names(cases, metric: str, labels: LabelSpec | None) -> list[str]:
  if labels is not None:
    return list(labels.names if labels.regions else labels.names[1:])
  return sorted({name for scores in cases.values() for name in scores[metric]}, key=natural)


def _listing(names, limit: int = 5) -> str:
  names = list(names)
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return (", ".join(names[:limit]) + more) if names else "no image"


def as_json(report: dict[str, Any]) -> str:
  """The report as JSON, NaN as null."""

  def valid(value):
    if isinstance(value, dict):
      return {key: valid(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value

  return json.dumps(valid(report), indent=2) + "\n"


def as_csv(report: dict[str, Any]) -> str:
  """One row per case and label, one column per metric; NaN is an empty cell."""
  metrics = list(report["foreground"])
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["case", "label", *metrics])
  for case, scores in report["cases"].items():
    for label in report["labels"]:
      values = [scores[metric][label] for metric in metrics]
      writer.writerow([case, label, *("" if np.isnan(v) else repr(v) for v in values)])
  return text.getvalue()


def _table(rows: list[list[str]]) -> str:
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  lines = []
  for row in rows:
    cells = [row[0].ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    lines.append("  ".join(cells).rstrip())
  lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
  return "\n".join(lines)


def as_text(report: dict[str, Any]) -> str:
  """The tables by case and by label, what is missing, and what the numbers mean."""
  metrics, labels = list(report["foreground"]), report["labels"]
  shown = labels if 1 < len(labels) <= _COLUMNS else []

  def cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"

  rows = [["case", *(f"{m} {n}" for m in metrics for n in [*shown, "mean"])]]
  for case, scores in report["cases"].items():
    row = [case]
    for metric in metrics:
      row += [cell(scores[metric][n]) for n in shown] + [cell(_mean(scores[metric].values()))]
    rows.append(row)
  summary = [["label", "cases", *(f"{m} {what}" for m in metrics for what in ("mean", "std"))]]
  for label in labels:
    known = sum(not np.isnan(c[metrics[0]][label]) for c in report["cases"].values())
    summary.append([label, str(known)])
    for metric in metrics:
      summary[-1] += [cell(report["mean"][metric][label]), cell(report["std"][metric][label])]
  summary.append(["mean of labels", str(len(report["cases"]))])
  for metric in metrics:
    summary[-1] += [cell(report["foreground"][metric]), ""]
  parts = [_table(rows), _table(summary), FOOTER]
  if report["missing"]:
    parts.append(
      f"{len(report['missing'])} reference(s) have no prediction and are not scored: "
      f"{_listing(report['missing'], 20)}."
    )
  if report["unmatched"]:
    parts.append(
      f"{len(report['unmatched'])} prediction(s) have no reference: "
      f"{_listing(report['unmatched'], 20)}."
    )
  return "\n\n".join(parts)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="jaxseg evaluate", description="Scores a folder of predictions against references."
  )
  parser.add_argument("predictions", help="folder of predicted label images")
  parser.add_argument("references", help="folder of reference label images of the same names")
  parser.add_argument("--labels", help="dataset.json, or a run folder's run.json: label names")
  parser.add_argument("--metrics", nargs="+", default=["dice", "iou"], choices=sorted(METRICS))
  parser.add_argument("--json", help="write the report to this .json file")
  parser.add_argument("--csv", help="write one row per case and label to this .csv file")
  parser.add_argument(
    "--no-check-affine",
    action="store_true",
    help="compare voxel by voxel even where the headers disagree about position",
  )
  return parser


def main(arguments: list[str]) -> None:
  given = _parser().parse_args(arguments)
  try:
    report = evaluate(
      given.predictions,
      given.references,
      labels=read_labels(pathlib.Path(given.labels)) if given.labels else None,
      metrics=given.metrics,
      check_affine=not given.no_check_affine,
      out=[path for path in (given.json, given.csv) if path],
    )
  except (ValueError, OSError) as error:
    sys.exit(f"evaluate: {error}")
  print(as_text(report))
