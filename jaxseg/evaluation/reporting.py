"""The report of an evaluation as text, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from jaxseg.evaluation.folders import listing
from jaxseg.evaluation.summary import MEAN, case_means, table
from jaxseg.metrics.statistics import smallest_p

# tables by case grow no wider than this
_WIDTH = 100
_LEVEL = 0.05


def as_json(report: Mapping[str, Any]) -> str:
  """The report as JSON: NaN as null, infinite values, which JSON does not know, as "inf"."""

  def valid(value):
    if isinstance(value, Mapping):
      return {key: valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
      return [valid(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
      return None if math.isnan(value) else str(value)
    return value

  return json.dumps(valid(report), indent=2, default=str) + "\n"


def as_csv(report: Mapping[str, Any]) -> str:
  """One row per case and label, one column per metric; NaN is an empty cell."""
  metrics = list(report["foreground"])
  rows = [["case", "label", *metrics]]
  for case, scores in report["cases"].items():
    for label in report["labels"]:
      rows.append([case, label, *(_number(scores[metric][label]) for metric in metrics)])
  return _csv(rows)


def as_summary_csv(report: Mapping[str, Any]) -> str:
  """One row per metric and label: mean, interval and, if there is one, the comparison."""
  against = report.get("against")
  rows = [["metric", "label", "cases", "infinite", "mean", "std", "median", "low", "high"]]
  names = ("mean", "median", "low", "high", "different", "p", "p_holm")
  if against:
    rows[0] += ["other_mean", *(n if n.startswith("p") else f"difference_{n}" for n in names)]
  for metric in report["foreground"]:
    for label in [*report["labels"], MEAN]:
      row = [metric, label, *_summary(report, metric, label)]
      if against:
        compared = against["compared"][metric][label]
        row += [_mean_of(against, metric, label), *(compared[name] for name in names)]
      rows.append([cell if isinstance(cell, str) else _number(cell) for cell in row])
  return _csv(rows)


def _csv(rows: list[list]) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows(
    [[harmless(cell) for cell in row] for row in rows]
  )
  return text.getvalue()


def harmless(cell):
  """A cell that no spreadsheet takes for a formula: ' before names that begin as one (OWASP)."""
  if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
    return cell
  try:
    float(cell)
  except ValueError:
    return f"'{cell}"
  return cell


def _number(value: float) -> str:
  return "" if math.isnan(value) else repr(value)


def _mean_of(report: Mapping[str, Any], metric: str, label: str) -> float:
  return report["foreground"][metric] if label == MEAN else report["mean"][metric][label]


def _summary(report: Mapping[str, Any], metric: str, label: str) -> list[float]:
  """Cases, infinite values, mean, std, median, and the ends of the mean's interval."""
  if label == MEAN:
    infinite = sum(report["infinite"][metric].values())
    ends = report["foreground_interval"][metric]
    return [len(report["cases"]), infinite, report["foreground"][metric], *[math.nan] * 2, *ends]
  numbers = (report[name][metric][label] for name in ("counts", "infinite", "mean"))
  spread = (report[name][metric][label] for name in ("std", "median"))
  return [*numbers, *spread, *report["interval"][metric][label]]


def as_text(report: Mapping[str, Any]) -> str:
  """The tables by case, by label and of the comparison, what is missing, what the numbers mean."""
  parts = [_by_case(report), _by_label(report), *_notes(report)]
  if "against" in report:
    parts += [_comparison(report), *_comparison_notes(report)]
  return "\n\n".join(parts)


def _cell(value: float) -> str:
  return "-" if math.isnan(value) else f"{value:.4f}"


def _p_value(value: float) -> str:
  return "<0.0001" if value < 1e-4 else _cell(value)


def with_infinite(value: int | str, infinite: int) -> str:
  """What is shown of values, and how many of them are infinite if any are."""
  return f"{value} ({infinite} inf)" if infinite else str(value)


def _interval(low: float, high: float) -> str:
  return "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"


def _layout(rows: list[list[str]], words: int = 1) -> str:
  """Columns: the first `words` to the left, numbers to the right."""
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  lines = []
  for row in rows:
    cells = [
      cell.ljust(width) if i < words else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    lines.append("  ".join(cells).rstrip())
  lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
  return "\n".join(lines)


def _by_case(report: Mapping[str, Any]) -> str:
  metrics, labels, cases = list(report["foreground"]), report["labels"], report["cases"]
  values = {metric: table(cases, metric, labels) for metric in metrics}
  # as much as fits: every label, or their means
  for shown in (range(len(labels)) if len(labels) > 1 else (), ()):
    names = [*(labels[i] for i in shown), "mean"]
    rows = [["case", *(f"{metric} {name}" for metric in metrics for name in names)]]
    for row, case in enumerate(cases):
      rows.append([case])
      for metric in metrics:
        rows[-1] += [_cell(values[metric][row, i]) for i in shown]
        rows[-1].append(_cell(case_means(values[metric])[row]))
    text = _layout(rows)
    if len(text.partition("\n")[0]) <= _WIDTH:
      return text
  return f"{len(cases)} case(s); --csv writes the scores of each."


def _by_label(report: Mapping[str, Any]) -> str:
  rows = [["metric", "label", "cases", "mean", "std", "median", "95 % interval of mean"]]
  for metric in report["foreground"]:
    for label in [*report["labels"], MEAN]:
      count, infinite, mean, std, median, *ends = _summary(report, metric, label)
      shown = with_infinite(count, infinite)
      rows.append([metric, label, shown, *map(_cell, (mean, std, median)), _interval(*ends)])
  return _layout(rows, words=2)


def _notes(report: Mapping[str, Any]) -> list[str]:
  notes = [
    "'-' (NaN): undefined, as overlap is where the label is absent from both prediction and "
    "reference;\nsuch values enter no mean. A label that is absent from one of the two only scores "
    "0 in overlap.\nThe mean over labels (background left out) is the mean of the labels' means "
    "over cases; intervals\nare bootstrapped over cases."
  ]
  lengths = [name for name in ("hausdorff", "hd95", "assd", "masd") if name in report["foreground"]]
  if lengths:
    bare = report["unmeasured"]
    unit = "In voxels, as no file tells a spacing" if bare else "In millimetres"
    if 0 < len(bare) < len(report["cases"]):
      unit = f"In millimetres (in voxels where no file tells a spacing: {listing(bare)})"
    notes.append(f"{unit}: {', '.join(lengths)}.")
  if "nsd" in report["foreground"] and "tolerance" not in report["options"].get("nsd", {}):
    notes.append("nsd has a tolerance of 1 mm; --tolerance sets another.")
  for metric, counts in report["infinite"].items():
    if any(counts.values()):
      where = ", ".join(f"{label} {count}" for label, count in counts.items() if count)
      notes.append(
        f"{metric} is infinite in {sum(counts.values())} value(s) ({where}): the label is absent "
        "from one of\nprediction and reference. They are in no mean, std, median or interval; "
        f"--option {metric}.one_empty=MM\ncharges a distance instead."
      )
  if report["options"]:
    given = [f"{m}.{o}={v}" for m, options in report["options"].items() for o, v in options.items()]
    notes.append(f"Options: {' '.join(given)}.")
  for name, what in (
    ("missing", "reference(s) have no prediction and are not scored"),
    ("unmatched", "prediction(s) have no reference"),
    ("strange", "predicted value(s) occur in no reference and no dataset.json explains them"),
    ("sheared", "case(s) have axes that are not at right angles, as distances take them to be"),
    ("left_out", "metric(s) of 'all' need probabilities, which are not there"),
  ):
    if report.get(name):
      notes.append(f"{len(report[name])} {what}: {listing(map(str, report[name]), 20)}.")
  return notes


def _comparison(report: Mapping[str, Any]) -> str:
  against = report["against"]
  rows = [
    ["metric", "label", "cases", "first", "second", "difference", "95 % interval", "p", "Holm"]
  ]
  for metric, labels in against["compared"].items():
    for label, test in labels.items():
      row = [metric, label, with_infinite(test["cases"], test["infinite"])]
      row += [_cell(test[name]) for name in ("first", "second", "mean")]
      row += [_interval(test["low"], test["high"]), _p_value(test["p"])]
      rows.append([*row, "" if label == MEAN else _p_value(test["p_holm"])])
  return f"first: {report['folder']}\nsecond: {against['folder']}\n\n" + _layout(rows, words=2)


def _comparison_notes(report: Mapping[str, Any]) -> list[str]:
  against = report["against"]
  notes = [
    f"Over the {len(against['cases'])} case(s) that both folders hold. The difference is first "
    "minus second; all three are\nmeans over the cases where both are finite. p is that of "
    "Wilcoxon's signed-rank test, two-sided;\nHolm corrects it for the number of labels. The mean "
    "of labels is here taken in each case first."
  ]
  for name, what in (
    ("missing", "reference(s) have no prediction in the second folder"),
    ("unmatched", "prediction(s) of the second folder have no reference"),
  ):
    if against[name]:
      notes.append(f"{len(against[name])} {what}: {listing(against[name], 20)}.")
  compared = {
    metric: {label: test for label, test in labels.items() if label != MEAN and test["cases"]}
    for metric, labels in against["compared"].items()
  }
  tests = [test for labels in compared.values() for test in labels.values()]
  most = max((test["different"] for test in tests), default=0)
  family = max(map(len, compared.values()))
  if tests and smallest_p(most) * family > _LEVEL:
    notes.append(
      f"Too few cases to tell: where {most} case(s) differ, p cannot fall below "
      f"{smallest_p(most):.4f}, nor {min(1.0, smallest_p(most) * family):.4f} after the correction "
      f"for {family} label(s)."
    )
  for metric, labels in compared.items():
    infinite = {label: test["infinite"] for label, test in labels.items() if test["infinite"]}
    if infinite:
      where = ", ".join(f"{label} {count}" for label, count in infinite.items())
      notes.append(
        f"{metric} is infinite in {sum(infinite.values())} of these pair(s) ({where}): they count "
        "in the test, in no mean\nor interval."
      )
  return notes
