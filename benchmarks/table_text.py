"""Means with Student's intervals, paired tests, and a page's part between two marks."""

import math
import pathlib
import re
from collections.abc import Mapping

import numpy as np
from scipy import stats

from jaxseg import files


def interval(values) -> tuple[float, float]:
  """Mean and half the width of Student's 95 % interval of the mean; NaN of a single value."""
  count = len(values)
  if count < 2:
    return float(np.mean(values)), math.nan
  spread = float(np.std(values, ddof=1)) / math.sqrt(count)
  return float(np.mean(values)), float(stats.t.ppf(0.975, count - 1)) * spread


def shown(values, digits=3, *, sign=False) -> str:
  """The mean, and half of its interval where there is one."""
  mean, half = interval(values)
  text = f"{mean:{'+' if sign else ''}.{digits}f}"
  return text if math.isnan(half) else f"{text} ± {half:.{digits}f}"


def paired_p(differences) -> float:
  """Two-sided p of Student's paired test that differences have the mean 0; NaN of fewer than two.

  Of differences that are all the same it is 1 for zeros and 0 otherwise.
  """
  count = len(differences)
  if count < 2:
    return math.nan
  mean, half = interval(differences)
  if not half:
    return float(mean == 0)
  return float(2 * stats.t.sf(abs(mean) / (half / stats.t.ppf(0.975, count - 1)), count - 1))


def by_case(
  runs: Mapping[int, Mapping], floor: Mapping[int, Mapping], group: str = ""
) -> list[float]:
  """Of each case, how much more the mean over the seeds that both have is.

  One number a case, however many seeds scored it, for a test of pairs takes them as independent.

  Args:
    runs, floor: seed -> case -> its score, None for none.
    group: an expression whose group tells what cases belong to, as a patient; of each their mean.
  """
  seeds = [seed for seed in runs if seed in floor]
  cases = {case for seed in seeds for case, of in runs[seed].items() if of is not None}
  differences: dict[str, list[float]] = {}
  for case in sorted(cases):
    pairs = [(runs[seed].get(case), floor[seed].get(case)) for seed in seeds]
    if all(value is not None for pair in pairs for value in pair):
      match = re.search(group, case) if group else None
      of = differences.setdefault(match[1] if match else case, [])
      of.append(float(np.mean([ours - theirs for ours, theirs in pairs])))
  return [float(np.mean(of)) for of in differences.values()]


def write_between(page: pathlib.Path, name: str, text: str) -> None:
  """Puts text between the page's marks of that name; raises ValueError where it lacks them."""
  before = files.read_text(page, what="the page of a table", advice="bring it back")
  begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
  if before.count(begin) != 1 or before.count(end) != 1:
    raise ValueError(f"{page}: expected one '{begin}' and one '{end}' around the table.")
  head, rest = before.split(begin)
  files.write_text(page, f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}")
