"""The report as one HTML page that needs nothing else: no network, no files beside it.

What it says is gathered here, as plain values; how it looks is in `templates/`.
"""

import base64
import io
import json
import math
from collections.abc import Callable
from typing import Any

import imageio.v3 as imageio
import jinja2
import numpy as np

from jaxseg.evaluation.summary import MEAN
from jaxseg.inference.pictures import COLOURS
from jaxseg.metrics import LESS_IS_BETTER
from jaxseg.report import plots, tables
from jaxseg.report.gather import CrossValidation, Fold
from jaxseg.runs.same_run import flat

# classes shown with pictures; of more, the worst
_CLASSES = 24
# names of cases and labels come from users' files: everything that a template fills in is escaped
TEMPLATES = jinja2.Environment(
  loader=jinja2.PackageLoader("jaxseg.report"),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
  keep_trailing_newline=True,
)


def page(
  validation: CrossValidation, summary: dict[str, Any], say: Callable[[str], None] = print
) -> str:
  """The whole page; `summary` are the numbers of `tables.numbers`, `say` shows what is left out."""
  first = validation.folds[0]
  source = first.config["data"]["source"].get("name", "")
  return TEMPLATES.get_template("page.html.j2").render(
    title=f"{validation.name}: {first.config['network']['name']} on {source}",
    labels=validation.labels,
    colours={label: _colour(i) for i, label in enumerate(summary["labels"])},
    cards=_cards(validation, summary),
    missing=validation.missing,
    scores=_scores(summary, validation.kind),
    notes=tables.notes(summary),
    kind=validation.kind,
    judge=_title(validation.judge),
    distributions=_distributions(validation),
    pictures=_pictures(validation, summary, say),
    cases=_cases(summary, validation.judge),
    curves=svg(plots.curves(validation.folds, validation.judge, _title(validation.judge))),
    experiment=_experiment(validation),
    versions=_versions(first),
    config={"name": first.name, "text": json.dumps(flat(first.config), indent=1)},
  )


def _cards(validation: CrossValidation, summary: dict[str, Any]) -> list[dict[str, str]]:
  """The headline's numbers."""
  first, cases = validation.folds[0], sum(len(fold.cases) for fold in validation.folds)
  judge, things = validation.judge, {"class": "classes"}.get(validation.kind, f"{validation.kind}s")
  facts = (
    (_short(summary["foreground"][judge]), f"mean {_title(judge)} over {things}",
     _interval(*summary["foreground_interval"][judge], missing="")),
    (cases, "validation cases", f"in {len(validation.folds)} fold(s)"),
    (len(validation.labels), things, ", ".join(validation.labels[:4])[:60]),
    (first.config["steps"], "training steps",
     f"{first.dataset['rank']}D, seed {first.config['seed']}"),
  )  # fmt: skip
  return [dict(zip(("value", "what", "more"), fact, strict=True)) for fact in facts]


def _scores(summary: dict[str, Any], kind: str) -> list[dict[str, Any]]:
  """A table for each metric: a row for each class, and one for all."""
  folds = list(summary["folds"])
  several = len(folds) > 1
  heads = [kind, "cases", "mean", "95 % interval", "std", "median"]
  heads += ["mean of folds", "std", *(name.replace("_", " ") for name in folds)] if several else []
  by_metric = {metric: [] for metric in summary["metrics"]}
  for row in tables.rows(summary):
    count = f"{row['cases']}" + (f" ({row['infinite']} inf)" if row["infinite"] else "")
    cells = [count, _short(row["mean"]), _interval(row["low"], row["high"])]
    cells += [_short(row["std"]), _short(row["median"])]
    if several:
      cells += [_short(row[name]) for name in ("folds_mean", "folds_std", *folds)]
    whole = row["label"] == MEAN
    by_metric[row["metric"]].append({"label": row["label"], "whole": whole, "cells": cells})
  return [
    {"title": _title(metric), "heads": heads, "rows": rows} for metric, rows in by_metric.items()
  ]


def _interval(low: float, high: float, missing: str = "-") -> str:
  return missing if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _short(value: float) -> str:
  return "-" if math.isnan(value) else f"{value:.3f}"


def _title(metric: str) -> str:
  names = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "psnr": "PSNR", "ssim": "SSIM"}
  return names.get(metric, metric)


def _colour(label: int) -> list[int]:
  """Red, green and blue of a class, as in the pictures."""
  return [int(value) for value in COLOURS[label % (len(COLOURS) - 1) + 1]]


def _distributions(validation: CrossValidation) -> list[str]:
  figures = []
  for metric in validation.metrics:
    values = {
      label: np.array([case[metric][label] for case in validation.cases.values()], np.float64)
      for label in validation.labels
    }
    figures.append(svg(plots.distributions(values, _title(metric))))
  return figures


def example_cases(cases: dict[str, Any], label: str, judge: str) -> list[tuple[str, str]]:
  """[("best", case), ("median", case), ("worst", case)] by a label's `judge`; fewer of few cases.

  Cases that have the label neither in reference nor in prediction are none of these.
  """
  scored = {name: _badness(case[judge][label], judge) for name, case in cases.items()}
  order = [name for name in cases if not math.isnan(scored[name])]
  order.sort(key=lambda name: scored[name])
  if len(order) < 3:
    return list(zip(("best", "worst"), order, strict=False))
  return [("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])]


def _pictures(
  validation: CrossValidation, summary: dict[str, Any], say
) -> dict[str, list[dict[str, Any]]]:
  """label -> its best, median and worst case."""
  folds = {name: fold for fold in validation.folds for name in fold.cases}
  labels = list(validation.labels)
  if len(labels) > _CLASSES:
    means = summary["mean"][validation.judge]
    worst = sorted(labels, key=lambda name: _last(-_badness(means[name], validation.judge)))
    labels = [name for name in labels if name in worst[:_CLASSES]]
  return {
    label: [
      _picture(folds[case], case, label, validation, rank, say)
      for rank, case in example_cases(validation.cases, label, validation.judge)
    ]
    for label in labels
  }


def _picture(
  fold: Fold, case: str, label: str, validation: CrossValidation, rank: str, say
) -> dict[str, Any]:
  k = validation.labels.index(label)
  try:
    views, reason = fold.views(case), "the run folder has lost it"
  except ValueError as error:
    views, reason = None, "its file is damaged"
    say(str(error))
  shown = plane = None
  if views is not None and k < len(views.slice_of):
    i = int(views.slice_of[k])
    shown, plane = png(views.picture(i)), str(views.names[i])
  return {
    "rank": rank,
    "name": case,
    "score": _short(fold.cases[case][validation.judge][label]),
    "png": shown,
    "reason": reason,
    "place": [part for part in (case, plane, fold.name.replace("_", " ")) if part],
  }


def png(picture: np.ndarray) -> str:
  """(h, w, 3) uint8 as the source of an image on a page."""
  buffer = io.BytesIO()
  imageio.imwrite(buffer, picture, extension=".png")
  return _embedded("image/png", buffer.getvalue())


def svg(text: str) -> str:
  """A plot as the source of an image on a page."""
  return _embedded("image/svg+xml", text.encode())


def _embedded(kind: str, content: bytes) -> str:
  return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _cases(summary: dict[str, Any], judge: str) -> dict[str, Any]:
  """Every case and its scores per class; a click on a column's head sorts by it."""
  labels = summary["labels"] if 1 < len(summary["labels"]) <= _CLASSES else []
  metrics = [metric for metric in summary["metrics"] if metric != judge]
  name = _title(judge)
  heads = ["case", "fold", name, *(f"{name} {label}" for label in labels), *map(_title, metrics)]
  rows = []
  bad = {
    name: _badness(tables.case_mean(of, judge), judge) for name, of in summary["cases"].items()
  }
  order = sorted(summary["cases"].items(), key=lambda item: _last(-bad[item[0]]))
  for name, case in order:
    values = [tables.case_mean(case, judge), *(case[judge][label] for label in labels)]
    values += [tables.case_mean(case, metric) for metric in metrics]
    cells = [{"order": _last(value), "text": _short(value)} for value in values]
    rows.append({"name": name, "fold": case["fold"].replace("_", " "), "cells": cells})
  return {"heads": heads, "rows": rows}


def _badness(value: float, metric: str) -> float:
  """The more the worse."""
  return value if metric in LESS_IS_BETTER else -value


def _last(value: float) -> float:
  """What is undefined sorts behind everything; JavaScript reads 1e300, not inf."""
  return value if math.isfinite(value) else 1e300


def _experiment(validation: CrossValidation) -> dict[str, str]:
  first = validation.folds[0]
  config, data = first.config, first.config["data"]
  return {
    "data": " ".join(f"{name}={value}" for name, value in data["source"].items()),
    "channels": ", ".join(first.dataset["channels"]),
    "training cases": ", ".join(str(len(fold.dataset["training"])) for fold in validation.folds),
    "method": _components(config["method"]),
    "network": _components(config["network"]),
    **{f"network '{role}'": _components(of) for role, of in config["networks"].items()},
    "loss": _losses(config["loss"]),
    **{f"loss '{role}'": _losses(of) for role, of in config["losses"].items()},
    "optimiser": _components(config["optimiser"]),
    **{f"optimiser '{role}'": _components(of) for role, of in config["optimisers"].items()},
    **{f"view '{role}'": ", ".join(of) or "none" for role, of in config["views"].items()},
    "patch, batch": f"{' x '.join(map(str, data['patch']))}, {data['batch']}",
    "augmentation": ", ".join(config["augment"]) or "none",
    "predictor": _components(config["predictor"]),
  }


def _versions(fold: Fold) -> dict[str, str]:
  versions = {name: of for name, of in fold.versions["packages"].items() if of}
  versions |= {"python": fold.versions["python"], "git": fold.versions["git"] or "-"}
  return versions | {"devices": ", ".join(fold.versions["devices"])}


def _losses(parts: dict[str, Any]) -> str:
  return "; ".join(f"{name} {_components(of)}" for name, of in parts.items())


def _components(spec: dict[str, Any]) -> str:
  rest = [f"{name}={value}" for name, value in spec.items() if name != "name"]
  return f"{spec.get('name', '')}({', '.join(rest)})"
