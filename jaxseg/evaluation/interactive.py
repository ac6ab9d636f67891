"""How good a segmentation is after each of a simulated user's clicks, and over many cases."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.feeding import source_of
from jaxseg.interaction import next_click, session, unclicked
from jaxseg.metrics.interaction import RULES, after, area_under, clicks_to
from jaxseg.metrics.overlap import confusion, dice, iou
from jaxseg.metrics.statistics import bootstrap_interval
from jaxseg.runs.folder import read_config, read_dataset
from jaxseg.runs.interactive import open_run

# IoU that clicks are counted to
QUALITIES = (0.8, 0.85, 0.9)
# clicks of CVPR 2025's challenge, after the first prediction
_AREA = 5
METRICS = {"dice": dice, "iou": iou}


class Played(NamedTuple):
  """A case that was clicked, or whose prompts were played.

  Attributes:
    curves: "dice" and "iou" -> class -> its value after 0, 1, 2, ... prompts, or steps that were
      played; NaN of a class that is in neither.
    seconds: that each answer took, the first of the automatic segmentation.
    clicks: the prompts, as in a file of prompts.
    state: at the end.
  """

  curves: dict[str, dict[str, list[float]]]
  seconds: list[float]
  clicks: list[dict[str, Any]]
  state: session.State


def quality(
  prediction: np.ndarray, truth: np.ndarray, weight: np.ndarray | None, names: Sequence[str]
) -> dict[str, dict[str, float]]:
  """Metric -> class -> value, of the classes that count."""
  counts = confusion(prediction, truth, weight, classes=len(names))
  return {
    metric: dict(zip(names[1:], np.asarray(of(counts), np.float64)[1:].tolist(), strict=True))
    for metric, of in METRICS.items()
  }


def check_present(truth: np.ndarray, names: Sequence[str], label: str | None, where: str) -> None:
  """Raises ValueError where a label has nothing to click: not the class, or none at all."""
  there = [names[k] for k in np.unique(truth) if k > 0]
  if label is not None and label not in names[1:]:
    raise ValueError(
      f"{where}: the run has no class '{label}' to be clicked; choices: {', '.join(names[1:])}."
    )
  if label is not None and label not in there:
    raise ValueError(
      f"{where}: class '{label}' is absent from it, which has {', '.join(there) or 'background'} "
      "alone; choose another class or case."
    )
  if not there:
    raise ValueError(
      f"{where}: is background everywhere, so that nothing can be clicked; choose another case."
    )


def simulate(
  scan: session.Scan,
  truth: np.ndarray,
  *,
  clicks: int,
  weight: np.ndarray | None = None,
  automatic: bool = True,
  enough: float = 1.0,
  label: str | None = None,
  where: str = "the label",
) -> Played:
  """A user who clicks into the middle of the largest error, see `interaction.next_click`.

  Args:
    scan: what answers; `threshold.at_threshold` moves what the user takes for foreground.
    truth: (*own_space) classes.
    clicks: at most so many.
    weight: (*own_space), 0 of what is not known.
    automatic: whether the session begins with the automatic segmentation.
    enough: mean IoU over the classes from which on the user is content.
    label: the only class that is looked at: what it lacks and where it is wrong are errors, and a
      click says the class that the voxel has, which may be another one; None is all.
    where: what messages call the label.
  """
  check_present(truth, scan.names, label, where)
  only = None if label is None else scan.names.index(label)
  names = scan.names

  def looked_at(predicted):
    """Where the user sees errors: of one class alone where that is confused with another."""
    if only is None:
      return weight
    confused = ((truth == only) != (predicted == only)).astype(np.float32)
    return confused if weight is None else weight * confused

  state = session.start(scan, automatic=automatic)
  curves: dict[str, dict[str, list[float]]] = {}
  seconds, played, points = [state.seconds], [], []
  while True:
    predicted = session.classes(scan, state)
    _append(curves, quality(predicted, truth, weight, names), only, names)
    if len(played) == clicks or mean_of(curves["iou"])[-1] >= enough:
      break
    click = _next(truth, predicted, len(names), looked_at(predicted), points)
    if click is None:
      break
    point, of_class = click
    points.append(point)
    prompt = {"class": names[of_class], "point": list(point)}
    state = session.add(scan, state, prompt)
    played.append(prompt)
    seconds.append(state.steps[-1].seconds)
  return Played(curves, seconds, played, state)


_click = jax.jit(next_click, static_argnames="classes")


def _next(truth, predicted, classes: int, weight, points) -> tuple[tuple[int, ...], int] | None:
  """The next click, (voxel, class); None if nothing is wrong.

  Pictures of many sizes are filled up to few: what is filled in is no error, and clicks are the
  same.
  """
  step = 64 if truth.ndim == 2 else 16
  pads = [(0, -n % step) for n in truth.shape]
  weight = np.ones(truth.shape, np.float32) if weight is None else weight
  free = unclicked(truth.shape, points)
  truth, predicted, weight, free = (np.pad(of, pads) for of in (truth, predicted, weight, free))
  click = _click(truth, predicted, classes=classes, weight=weight, free=free)
  if not click.there:
    return None
  return tuple(np.asarray(click.point).tolist()), int(click.of_class)


def follow(
  scan: session.Scan, states, truth: np.ndarray | None, *, weight: np.ndarray | None = None
) -> Played:
  """The curves of a session that is played, `states` are those of `record.replay`.

  They have a value after each step, an undone or frozen one as well; `seconds` are of answers.
  Without `truth` there are none, and with several objects the foreground is that of all together.
  """
  curves: dict[str, dict[str, list[float]]] = {}
  seconds, state, last = [], None, None
  for state in states:
    if truth is not None:
      several = len(state.objects) > 1
      made = session.labels(scan, state) > 0 if several else session.classes(scan, state)
      _append(curves, quality(made.astype(np.int32), truth, weight, scan.names), None, ())
    if not seconds:
      seconds.append(state.seconds)
    before, last = last, state.steps[-1] if state.steps else None
    # what is undone, or frozen, is no answer
    if last is not before and "prompts" in last.what:
      seconds.append(last.seconds)
  return Played(curves, seconds, [], state)


def held_out(
  folder,
  *,
  clicks: int,
  most: int = 0,
  automatic: bool = True,
  enough: float = 1.0,
  progress: Callable[[str, Played], None] = lambda name, played: None,
) -> dict[str, Any]:
  """A run's own validation cases, clicked by a simulated user: what `summarise` tells of them.

  Args:
    folder: the run folder.
    clicks, automatic, enough: of `simulate`.
    most: cases, evenly chosen; 0 is all.
    progress: called after each case.

  Cases without foreground are left out, and listed under "left_out". Raises ValueError for runs
  without validation cases or prompts, FileNotFoundError where the data are gone.
  """
  run = open_run(folder)
  names = read_dataset(folder, {"validation": list})["validation"]
  if not names:
    raise ValueError(f"{folder}: no case validated this run; train it with config.data.split.")
  source = source_of(read_config(folder))
  count = min(most or len(names), len(names))
  chosen = np.unique(np.linspace(0, len(names) - 1, count).round().astype(int))
  played, left_out = {}, []
  for name in (names[i] for i in chosen):
    raw = source.read(name)
    truth, weight = run.labels.encode(raw.label, f"case '{name}'")
    if raw.weight is not None:
      weight = raw.weight if weight is None else weight * raw.weight
    if not (truth > 0).any():
      left_out.append(name)
      continue
    scan = run.scan(raw._replace(label=None, weight=None), f"case '{name}'")
    options = {"clicks": clicks, "automatic": automatic, "enough": enough, "weight": weight}
    played[name] = simulate(scan, truth, where=f"case '{name}'", **options)
    progress(name, played[name])
  if not played:
    raise ValueError(f"{folder}: all its validation cases are background everywhere.")
  return {**summarise(played, most=clicks), "left_out": left_out}


def _append(curves, values, only: int | None, names: Sequence[str]) -> None:
  for metric, of in values.items():
    for name, value in of.items():
      if only is None or name == names[only]:
        curves.setdefault(metric, {}).setdefault(name, []).append(value)


def mean_of(of: Mapping[str, Sequence[float]]) -> list[float]:
  """The mean over classes after each prompt, of those that are defined; 1 where none is."""
  values = np.array(list(of.values()), np.float64)
  known = ~np.isnan(values)
  total = np.where(known, values, 0).sum(0)
  return np.where(known.any(0), total / np.maximum(known.sum(0), 1), 1.0).tolist()


def summarise(
  cases: Mapping[str, Played], *, most: int, prompts: Sequence[int] = (0, 1, 3, 5, 10)
) -> dict[str, Any]:
  """What many cases say together, with 95 % bootstrap intervals over cases.

  Args:
    cases: by name; the mean over a case's classes is what counts.
    most: clicks that were allowed.
    prompts: after how many of them Dice and IoU are told.

  Returns:
    "cases": name -> "dice" and "iou" -> class, and "mean" -> values after 0, 1, 2, ... prompts,
    with "seconds" and "prompts"; "dice", "iou": number of prompts -> "mean" and "interval"; "noc":
    IoU -> rule -> "mean", "interval", "failed" cases; "area_under": of Dice, over 5 prompts, at
    most 5; "seconds": of an answer, "mean", "median" and "longest", the first answer aside.
  """
  told, curves = {}, {"dice": [], "iou": []}
  for name, one in cases.items():
    means = {metric: mean_of(of) for metric, of in one.curves.items()}
    told[name] = {metric: {**of, "mean": means[metric]} for metric, of in one.curves.items()}
    told[name] |= {"seconds": one.seconds, "prompts": one.clicks}
    for metric in curves:
      curves[metric].append(means[metric])
  report: dict[str, Any] = {"cases": told, "most": most}
  numbers = sorted({n for n in prompts if n <= most})
  for metric, of in curves.items():
    report[metric] = {str(n): _told(after(of, n, first=0)) for n in numbers}
  report["noc"] = {
    str(share): {rule: _counted(curves["iou"], share, most, rule) for rule in RULES}
    for share in QUALITIES
  }
  if most >= _AREA:
    report["area_under"] = _told(area_under(curves["dice"], prompts=_AREA, first=0))
  answers = [second for one in cases.values() for second in one.seconds[1:]]
  report["seconds"] = {
    "mean": float(np.mean(answers)) if answers else math.nan,
    "median": float(np.median(answers)) if answers else math.nan,
    "longest": float(np.max(answers)) if answers else math.nan,
    "answers": len(answers),
  }
  return report


def _counted(curves, share: float, most: int, rule: str) -> dict[str, Any]:
  """NoC: RITM counts from the first click on, whatever the automatic segmentation was."""
  first = 1 if rule == "ritm" else 0
  clicked = [curve[first:] or curve[-1:] for curve in curves]
  counted = clicks_to(clicked, share, most=most, first=first, rule=rule)
  return {**_told(counted.clicks), "failed": int(counted.failed.sum())}


def _told(values: np.ndarray) -> dict[str, Any]:
  return {"mean": float(np.mean(values)), "interval": list(bootstrap_interval(values))}
