"""The report as one HTML page that needs nothing else: no network, no files beside it."""

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import imageio.v3 as imageio
import numpy as np

from jaxseg.evaluation.summary import MEAN
from jaxseg.inference.pictures import COLOURS
from jaxseg.report import plots, tables
from jaxseg.report.gather import Fold, Gathered
from jaxseg.report.style import SCRIPT, STYLE
from jaxseg.runs.same_run import flat

# classes shown with pictures; of more, those with the lowest Dice
_CLASSES = 24
_RANK = "dice"


def page(gathered: Gathered, told: dict[str, Any], say: Callable[[str], None] = print) -> str:
  """The whole page; `told` are the numbers of `tables.numbers`, `say` shows what is left out."""
  first = gathered.folds[0]
  source = first.config["data"]["source"].get("name", "")
  title = f"{gathered.name}: {first.config['network']['name']} on {source}"
  sections = [
    ("Scores", _scores(told)),
    ("By case and class", _distributions(gathered)),
    ("Best, median and worst case of each class", _pictures(gathered, told, say)),
    ("All cases", _cases(told)),
    ("Training", _figure(plots.curves(gathered.folds))),
    ("What was trained", _config(gathered)),
  ]
  body = "".join(f"<section><h2>{_e(name)}</h2>{part}</section>" for name, part in sections)
  return (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>{_e(title)}</title><style>{STYLE}</style></head><body><main>"
    f"{_header(gathered, told, title)}{body}</main><script>{SCRIPT}</script></body></html>\n"
  )


def _e(value) -> str:
  return html.escape(str(value))


def _header(gathered: Gathered, told: dict[str, Any], title: str) -> str:
  low, high = told["foreground_interval"][_RANK]
  bounds = "" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
  trained = sum(len(fold.cases) for fold in gathered.folds)
  first = gathered.folds[0]
  facts = [
    (_short(told["foreground"][_RANK]), "mean Dice over classes", bounds),
    (str(trained), "validation cases", f"in {len(gathered.folds)} fold(s)"),
    (str(len(gathered.labels)), "classes", ", ".join(gathered.labels[:4])[:60]),
    (
      str(first.config["steps"]),
      "training steps",
      f"{first.dataset['rank']}D, seed {first.config['seed']}",
    ),
  ]
  cards = "".join(
    f'<div class="card"><b>{_e(value)}</b><span>{_e(what)}</span><small>{_e(more)}</small></div>'
    for value, what, more in facts
  )
  missing = ""
  if gathered.missing:
    names = ", ".join(gathered.missing)
    missing = f'<p class="warning">Not finished, and left out of all numbers: {_e(names)}.</p>'
  return f'<header><h1>{_e(title)}</h1><div class="cards">{cards}</div>{missing}</header>'


def _scores(told: dict[str, Any]) -> str:
  folds = list(told["folds"])
  several = len(folds) > 1
  heads = ["class", "cases", "mean", "95 % interval", "std", "median"]
  heads += ["mean of folds", "std", *(name.replace("_", " ") for name in folds)] if several else []
  parts = []
  for metric in told["metrics"]:
    lines = []
    for row in tables.rows(told):
      if row["metric"] != metric:
        continue
      ends = "-" if math.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"
      count = f"{row['cases']}" + (f" ({row['infinite']} inf)" if row["infinite"] else "")
      cells = [count, _short(row["mean"]), ends, _short(row["std"]), _short(row["median"])]
      if several:
        cells += [_short(row["folds_mean"]), _short(row["folds_std"])]
        cells += [_short(row[name]) for name in folds]
      name = f"{_swatch(row['label'], told)}{_e(row['label'])}"
      lines.append(_row([name, *map(_e, cells)], whole=row["label"] == MEAN))
    head = "".join(f"<th>{_e(name)}</th>" for name in heads)
    parts.append(
      f'<h3>{_e(_named(metric))}</h3><div class="wide"><table><thead><tr>{head}</tr></thead>'
      f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
  notes = "".join(f"<p>{_e(note)}</p>" for note in tables.notes(told))
  return f'{"".join(parts)}<div class="notes">{notes}</div>'


def _row(cells: Sequence[str], *, whole: bool = False) -> str:
  inside = "".join(f"<td>{cell}</td>" for cell in cells)
  return f'<tr class="whole">{inside}</tr>' if whole else f"<tr>{inside}</tr>"


def _short(value: float) -> str:
  return "-" if math.isnan(value) else f"{value:.3f}"


def _named(metric: str) -> str:
  return {"dice": "Dice", "iou": "IoU", "hd95": "HD95"}.get(metric, metric)


def _swatch(label: str, told: dict[str, Any]) -> str:
  if label not in told["labels"]:
    return ""
  r, g, b = COLOURS[told["labels"].index(label) % (len(COLOURS) - 1) + 1]
  return f'<i class="swatch" style="background:rgb({r},{g},{b})"></i>'


def _distributions(gathered: Gathered) -> str:
  figures = []
  for metric in gathered.metrics:
    values = {
      label: np.array([case[metric][label] for case in gathered.cases.values()], np.float64)
      for label in gathered.labels
    }
    figures.append(_figure(plots.distributions(values, _named(metric))))
  return f'<div class="figures">{"".join(figures)}</div>'


def _figure(svg: str) -> str:
  encoded = base64.b64encode(svg.encode()).decode()
  return f'<img class="figure" alt="" src="data:image/svg+xml;base64,{encoded}">'


def chosen_cases(cases: dict[str, Any], label: str) -> list[tuple[str, str]]:
  """[("best", case), ("median", case), ("worst", case)] by Dice of a label; fewer of few cases.

  Cases that have the label neither in reference nor in prediction are none of these.
  """
  scored = {name: case[_RANK][label] for name, case in cases.items()}
  order = [name for name in cases if not math.isnan(scored[name])]
  order.sort(key=lambda name: -scored[name])
  if len(order) < 3:
    return list(zip(("best", "worst"), order, strict=False))
  return [("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])]


def _pictures(gathered: Gathered, told: dict[str, Any], say) -> str:
  folds = {name: fold for fold in gathered.folds for name in fold.cases}
  labels = list(gathered.labels)
  left = ""
  if len(labels) > _CLASSES:
    means = told["mean"][_RANK]
    lowest = sorted(labels, key=lambda name: math.inf if math.isnan(means[name]) else means[name])
    labels = [name for name in labels if name in lowest[:_CLASSES]]
    left = f"<p>The {_CLASSES} classes with the lowest Dice of {len(gathered.labels)}.</p>"
  legend = (
    "Image | reference | prediction, in the slice where the class is largest in the reference."
  )
  parts = [f'<p class="notes">{legend}</p>{left}']
  for label in labels:
    k = gathered.labels.index(label)
    shown = [
      _picture(folds[case], case, label, k, what, say)
      for what, case in chosen_cases(gathered.cases, label)
    ]
    inside = "".join(shown) or "<p>In no case.</p>"
    parts.append(f'<h3>{_swatch(label, told)}{_e(label)}</h3><div class="trio">{inside}</div>')
  return "".join(parts)


def _picture(fold: Fold, case: str, label: str, k: int, what: str, say) -> str:
  try:
    views, why = fold.views(case), "the run folder has lost it"
  except ValueError as error:
    views, why = None, "its file is damaged"
    say(str(error))
  if views is None or k >= len(views.slice_of):
    shown, plane = f"<p>No picture: {why}.</p>", ""
  else:
    i = int(views.slice_of[k])
    plane = str(views.names[i])
    shown = f'<img alt="{_e(f"{what} {label}: {case}")}" src="{_png(views.picture(i))}">'
  score = fold.cases[case][_RANK][label]
  told = " · ".join(filter(None, (case, plane, fold.name.replace("_", " "))))
  return (
    f"<figure>{shown}"
    f"<figcaption><b>{_e(what)}, Dice {_short(score)}</b> {_e(told)}</figcaption></figure>"
  )


def _png(picture: np.ndarray) -> str:
  buffer = io.BytesIO()
  imageio.imwrite(buffer, picture, extension=".png")
  return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cases(told: dict[str, Any]) -> str:
  """Every case and its Dice per class; a click on a column's head sorts by it."""
  labels = told["labels"] if len(told["labels"]) <= _CLASSES else []
  metrics = [metric for metric in told["metrics"] if metric != _RANK]
  heads = ["case", "fold", "Dice", *(f"Dice {label}" for label in labels if len(labels) > 1)]
  heads += [_named(metric) for metric in metrics]
  lines = []
  order = sorted(told["cases"].items(), key=lambda item: _last(tables.case_mean(item[1], _RANK)))
  for name, case in order:
    values = [tables.case_mean(case, _RANK)]
    values += [case[_RANK][label] for label in labels if len(labels) > 1]
    values += [tables.case_mean(case, metric) for metric in metrics]
    cells = "".join(f'<td data-v="{_last(v)}">{_short(v)}</td>' for v in values)
    lines.append(
      f"<tr><td>{_e(name)}</td><td>{_e(case['fold'].replace('_', ' '))}</td>{cells}</tr>"
    )
  head = "".join(f"<th>{_e(name)}</th>" for name in heads)
  return (
    '<p class="notes">Means over classes, worst first; a click on a column sorts.</p>'
    '<div class="wide tall"><table class="sortable"><thead><tr>'
    f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
  )


def _last(value: float) -> float:
  """What is undefined sorts behind everything; JavaScript reads 1e300, not inf."""
  return value if math.isfinite(value) else 1e300


def _config(gathered: Gathered) -> str:
  first = gathered.folds[0]
  data = first.config["data"]
  facts = {
    "data": " ".join(f"{name}={value}" for name, value in data["source"].items()),
    "channels": ", ".join(first.dataset["channels"]),
    "training cases": ", ".join(str(len(fold.dataset["training"])) for fold in gathered.folds),
    "network": _components(first.config["network"]),
    "loss": "; ".join(f"{name} {_components(of)}" for name, of in first.config["loss"].items()),
    "optimiser": _components(first.config["optimiser"]),
    "patch, batch": f"{' x '.join(map(str, data['patch']))}, {data['batch']}",
    "augmentation": ", ".join(first.config["augment"]) or "none",
    "predictor": _components(first.config["predictor"]),
  }
  versions = {name: of for name, of in first.versions["packages"].items() if of}
  versions |= {"python": first.versions["python"], "git": first.versions["git"] or "-"}
  versions["devices"] = ", ".join(first.versions["devices"])
  every = json.dumps(flat(first.config), indent=1)
  return (
    f'<div class="columns">{_listed(facts)}{_listed(versions)}</div>'
    f"<details><summary>The whole config of {_e(first.name)}</summary><pre>{_e(every)}</pre>"
    "</details>"
  )


def _components(spec: dict[str, Any]) -> str:
  rest = [f"{name}={value}" for name, value in spec.items() if name != "name"]
  return f"{spec.get('name', '')}({', '.join(rest)})"


def _listed(facts: dict[str, Any]) -> str:
  lines = "".join(f"<tr><th>{_e(k)}</th><td>{_e(v)}</td></tr>" for k, v in facts.items())
  return f'<table class="facts"><tbody>{lines}</tbody></table>'
