"""Connected-component post-processing, learned on validation cases as nnU-Net does (1809.10486)."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg import files, sealed
from jaxseg.batch import LabelSpec
from jaxseg.metrics.overlap import dice
from jaxseg.metrics.statistics import finite_mean
from jaxseg.task import segmentation

FILE = "postprocessing.json"
_VERSION = 1


class Step(NamedTuple):
  """Of the voxels with one of `values`, only the largest connected component stays.

  Attributes:
    name: the class or region, or "foreground".
    values: stored values, one component together.
  """

  name: str
  values: tuple[int, ...]


class Learned(NamedTuple):
  """What was found to help.

  Attributes:
    steps: those that raise Dice, in order.
    evidence: per step tried {"name", "values", "before", "after", "kept"}; Dice per class, means
      over the cases.
  """

  steps: tuple[Step, ...]
  evidence: list[dict[str, Any]]


def largest_component(mask: np.ndarray) -> np.ndarray:
  """(*space) bool -> the largest component, neighbours by face, edge or corner.

  Components of equal size all stay, as in nnU-Net: nothing then tells which is the wrong one.
  """
  box = ndimage.find_objects(mask.astype(np.uint8))
  if not box:
    return mask
  kept = np.zeros_like(mask)
  components, count = ndimage.label(mask[box[0]], np.ones((3,) * mask.ndim))
  sizes = np.bincount(components.ravel(), minlength=count + 1)
  sizes[0] = 0
  kept[box[0]] = (sizes == sizes.max())[components]
  return kept


def apply_steps(label: np.ndarray, steps: Sequence[Step], labels: LabelSpec) -> np.ndarray:
  """(*space) stored values -> the same without the components that the steps remove."""
  label = label.copy()
  for step in steps:
    mask = np.isin(label, step.values)
    label[mask & ~largest_component(mask)] = labels.background
  return label


class Validated(NamedTuple):
  """A validation case: (*space) stored values, and weights (0 = ignored) if there are any."""

  prediction: np.ndarray
  reference: np.ndarray
  weight: np.ndarray | None = None


# case name -> reads it; nothing is kept between two readings
Cases = Mapping[str, Callable[[], Validated]]


def mean_dice(
  cases: Cases, labels: LabelSpec, change: Callable[[np.ndarray], np.ndarray] = lambda x: x
) -> dict[str, float]:
  """Class (background left out) or region -> mean Dice over cases, of `change`d predictions.

  Cases where it is empty in both are left out; NaN where that are all. Ignored voxels don't count.
  """
  rows, judged = [], segmentation(labels).score
  for name, read in cases.items():
    case = read()
    truth, weight = labels.encode(case.reference, f"case '{name}', its reference")
    predicted, _ = labels.encode(change(case.prediction), f"case '{name}', its prediction")
    if case.weight is not None:
      weight = case.weight if weight is None else weight * case.weight
    rows.append(list(judged({"dice": dice}, predicted, truth, weight, None)["dice"].values()))
  return dict(zip(labels.scored, finite_mean(np.array(rows), 0).tolist(), strict=True))


def mean_of_classes(values: Mapping[str, float]) -> float:
  """Mean Dice of the foreground, classes without a value left out."""
  return float(finite_mean(np.array(list(values.values()))))


def learn(cases: Cases, labels: LabelSpec) -> Learned:
  """Finds the steps that raise the mean Dice over cases.

  First the largest component of the whole foreground, kept if the mean over classes rises and no
  class falls; then, on top of it, the largest of each class or region, kept if its own Dice rises.
  """
  steps: list[Step] = []
  evidence = []

  def tried(new: Sequence[Step]) -> tuple[dict[str, float], dict[str, float]]:
    before = mean_dice(cases, labels, lambda label: apply_steps(label, steps, labels))
    return before, mean_dice(
      cases, labels, lambda label: apply_steps(label, [*steps, *new], labels)
    )

  def note(step: Step, before, after, kept: bool) -> None:
    evidence.append({**step._asdict(), "before": before, "after": after, "kept": kept})

  single = _steps(labels)
  whole = Step("foreground", tuple(sorted({value for step in single for value in step.values})))
  before, after = tried([whole])
  rises = mean_of_classes(after) > mean_of_classes(before)
  kept = rises and not any(after[name] < before[name] for name in before)
  note(whole, before, after, kept)
  steps += [whole] if kept else []
  # the foreground of a single class is that class
  for together in _apart(single) if len(single) > 1 else ():
    before, after = tried(together)
    for step in together:
      kept = after[step.name] > before[step.name]
      note(step, before[step.name], after[step.name], kept)
      steps += [step] if kept else []
  return Learned(tuple(steps), evidence)


def _steps(labels: LabelSpec) -> list[Step]:
  """One for each class or region."""
  return [Step(*item) for item in zip(labels.scored, labels.members, strict=True)]


def _apart(steps: Sequence[Step]) -> list[list[Step]]:
  """Steps that can be tried at once: all, if none changes what another one looks at."""
  values = [value for step in steps for value in step.values]
  return [list(steps)] if len(set(values)) == len(values) else [[step] for step in steps]


def write(path, learned: Learned) -> None:
  """Writes postprocessing.json."""
  steps = [step._asdict() for step in learned.steps]
  sealed.write(
    path, {"version": _VERSION, "keep_largest_component": steps, "evidence": learned.evidence}
  )


def read(path) -> tuple[Step, ...]:
  """The steps in a postprocessing.json; raises ValueError for a file that is none."""
  path = pathlib.Path(path)
  advice = "write it again with `jaxseg find-best`, or leave it out with --no-postprocessing"
  told = sealed.read(
    path,
    what=f"the {FILE} of `jaxseg find-best`",
    advice=advice,
    fields={"version": int, "keep_largest_component": list},
  )
  if told["version"] != _VERSION:
    raise ValueError(
      f"{path}: is of version {told['version']}, this jaxseg reads {_VERSION}; {advice}."
    )
  steps = []
  for number, step in enumerate(told["keep_largest_component"], 1):
    where = f"{path}: step {number}"
    files.check_fields(step, where, advice=advice, fields={"name": str, "values": list})
    if wrong := [value for value in step["values"] if type(value) is not int]:
      raise ValueError(f"{where}: 'values' holds {wrong[0]!r}, expected whole numbers; {advice}.")
    steps.append(Step(step["name"], tuple(step["values"])))
  return tuple(steps)
