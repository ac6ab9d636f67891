"""The cases by which a run's temperature is found: those that validated it."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.explain.scan import Subject, answer, prepare
from jaxseg.feeding import source_of
from jaxseg.runs.folder import read_config, read_dataset


def held_out(
  subject: Subject, runs: Sequence[pathlib.Path], *, most: int = 12
) -> Callable[[], list[tuple[np.ndarray, np.ndarray]]]:
  """() -> (logits, truth) of cases that validated each run, by it alone: of voxels that count.

  Args:
    subject: the runs.
    runs: their folders, in the same order.
    most: cases of each, evenly chosen.

  Raises ValueError for runs without such cases, FileNotFoundError where the data are gone.
  """

  def cases():
    found = []
    for member, run in enumerate(runs):
      names = read_dataset(run, {"validation": list})["validation"]
      if not names:
        raise ValueError(
          f"{run}: no case validated this run, by which its temperature could be found; train it "
          "with config.data.split."
        )
      source = source_of(read_config(run))
      chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int))
      found += [_case(subject, source, names[i], member) for i in chosen]
    return found

  return cases


def _case(subject: Subject, source, name: str, member: int):
  raw, labels = source.read(name), subject.labels
  seen = prepare(subject, raw._replace(label=None, weight=None), f"case '{name}'")
  laid = seen.grid.label(seen.grid.cut(raw.label), np.unique(raw.label))
  truth, weight = labels.encode(laid, f"case '{name}'")
  logits, counts = answer(seen, member), np.ones(laid.shape, bool)
  if weight is not None:
    counts &= weight > 0
  if raw.weight is not None:
    counts &= seen.grid.weight(seen.grid.cut(raw.weight)) > 0
  return logits[counts], truth[counts]
