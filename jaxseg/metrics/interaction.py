"""How a segmentation gets better with every prompt: clicks to a quality, area under the curve.

A case's curve is its quality (IoU or Dice) after each prompt, the first value after `first` of
them: 1, or 0 where it is that of the automatic start. A curve may end early, when the user was
content: its last value then stays.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RULES = ("ritm", "exact")
Curve = Sequence[float]


class Clicks(NamedTuple):
  """How many clicks each of some cases took to reach a quality.

  Attributes:
    clicks: (cases,) int; `most` of cases that never reached it.
    failed: (cases,) bool, those that count as never having reached it.
  """

  clicks: np.ndarray
  failed: np.ndarray

  @property
  def mean(self) -> float:
    """NoC, the mean number of clicks."""
    return float(self.clicks.mean())


def clicks_to(
  curves: Sequence[Curve],
  quality: float,
  *,
  most: int = 20,
  first: int = 1,
  rule: str = "exact",
) -> Clicks:
  """Number of clicks (NoC) until a quality, such as an IoU of 0.85, is reached for the first time.

  Args:
    curves: one per case, see this module; values after the `most`-th click do not count.
    quality: what is to be reached, in (0, 1].
    most: clicks that a user makes at most, and what a case counts that never got there.
    first: clicks before the first value.
    rule: "ritm" is RITM's (2102.06583): every case with `most` clicks counts as failed, and so does
      one that reached the quality with the last of them; "exact" calls that one a success.
  """
  if rule not in RULES:
    raise ValueError(f"clicks_to: rule is '{rule}'; expected one of {', '.join(RULES)}.")
  if not 0 < quality <= 1:
    raise ValueError(f"clicks_to: quality is {quality}; expected above 0, at most 1.")
  clicks, failed = [], []
  for values in _checked(curves, first, "clicks_to"):
    enough = np.flatnonzero(values[: max(most - first + 1, 0)] >= quality)
    number = int(enough[0]) + first if len(enough) else most
    clicks.append(number)
    failed.append(not len(enough) or (rule == "ritm" and number == most))
  return Clicks(np.array(clicks, int), np.array(failed, bool))


def after(curves: Sequence[Curve], prompts: int, *, first: int = 1) -> np.ndarray:
  """The quality of each case after so many prompts, (cases,)."""
  if prompts < first:
    raise ValueError(
      f"after: {prompts} prompts, but curves begin after {first}; expected {first} or more."
    )
  curves = _checked(curves, first, "after")
  return np.array([values[min(prompts - first, len(values) - 1)] for values in curves])


def area_under(
  curves: Sequence[Curve], *, prompts: int = 5, first: int = 0, share: bool = False
) -> np.ndarray:
  """Area under each case's curve, by trapezoids of width 1 from its first value on: (cases,).

  At most `prompts - first`; with `share` it is divided by that, and at most 1. Five clicks after a
  box's prediction, which is the first value: CVPR 2025's challenge of interactive segmentation.
  """
  if prompts <= first:
    raise ValueError(
      f"area_under: {prompts} prompts, but curves begin after {first}; expected more."
    )
  values = np.stack([after(curves, k, first=first) for k in range(first, prompts + 1)], -1)
  area = (values[:, 1:] + values[:, :-1]).sum(-1) / 2
  return area / (prompts - first) if share else area


def _checked(curves, first: int, who: str) -> list[np.ndarray]:
  if first < 0:
    raise ValueError(f"{who}: first is {first}; expected 0 or more.")
  if not len(curves):
    raise ValueError(f"{who}: no curves; expected one per case.")
  out = []
  for number, curve in enumerate(curves):
    values = np.asarray(curve, np.float64)
    if values.ndim != 1 or not len(values):
      raise ValueError(f"{who}: curve {number} is {curve!r}; expected one value per prompt.")
    wrong = [v for v in values.tolist() if math.isnan(v) or not 0 <= v <= 1]
    if wrong:
      raise ValueError(f"{who}: curve {number} has the value {wrong[0]}; expected 0 to 1.")
    out.append(values)
  return out
