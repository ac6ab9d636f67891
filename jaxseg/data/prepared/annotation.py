"""Training on what was drawn in place of full labels: scribbles, some slices, boxes.

What was drawn becomes the labels of the training cases, and the voxels of which it says nothing
have weight 0. The full labels of these cases are then in no sample and choose no patch.
"""

from collections.abc import Sequence

import numpy as np

from jaxseg.batch import LabelSpec, inputs, kind
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import Maker, with_fields
from jaxseg.data.prepared.locations import locate
from jaxseg.data.prepared.marks import never_drawn, outside


class _Annotated:
  """`load`, `crop` and `locations` of a data set some of whose cases learn from `field`.

  Safe to use from several threads, and to send to other processes.
  """

  def __init__(self, dataset: Dataset, field: str, cases: frozenset[int]):
    self.dataset, self.field, self.cases = dataset, field, cases
    self._located: dict[int, dict[int, np.ndarray]] = {}

  def load(self, i: int) -> dict[str, np.ndarray]:
    return self._seen(i, self.dataset.load(i))

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    return self._seen(i, self.dataset.crop(i, start, size))

  def locations(self, i: int) -> dict[int, np.ndarray]:
    if (case := int(i)) not in self.cases:
      return self.dataset.locations(i)
    if case not in self._located:
      self._located[case] = _located(self, case)
    return self._located[case]

  def _seen(self, i: int, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if int(i) not in self.cases:
      return sample
    drawn = sample[self.field]
    label, weight = labels_of(drawn, self.field, self.dataset.labels)
    if kind(self.field).bounds and "weight" in sample:
      # nobody has looked whether something is there
      weight = weight * sample["weight"]
    seen = {**inputs(sample), self.dataset.labels.field: label, "weight": weight}
    if kind(self.field).map:
      seen[self.field] = drawn.astype(kind(self.field).dtype)
    return seen


def labels_of(drawn: np.ndarray, field: str, labels: LabelSpec) -> tuple[np.ndarray, np.ndarray]:
  """What is stored of a field -> (labels as `LabelSpec.encode` makes them, (*space) weight).

  Marks are numbers, 0 where nothing is known and k + 1 of class k (`label_files.on_grid`); of
  regions one number each. A box says of what lies outside of all that it is background.
  """
  if kind(field).bounds:
    inside = drawn.any(-1)
    shape = drawn.shape if labels.regions else inside.shape
    return np.zeros(shape, kind(labels.field).dtype), (~inside).astype(np.float32)
  if labels.regions:
    # resampled one by one, they may end apart by a voxel
    return (drawn > 1).astype(np.float32), (drawn > 0).all(-1).astype(np.float32)
  return np.maximum(drawn.astype(np.int32) - 1, 0), (drawn > 0).astype(np.float32)


def _located(of: _Annotated, case: int) -> dict[int, np.ndarray]:
  """The voxels of each class that was drawn, and as class 0 all of which something is known."""
  drawn, labels = of.dataset.load(case)[of.field], of.dataset.labels
  if kind(of.field).bounds:
    return locate(drawn[..., labels.first :], regions=True, annotated=True)
  label, weight = labels_of(drawn, of.field, labels)
  return locate(label, weight, regions=bool(labels.regions), annotated=True)


def annotated_by(
  dataset: Dataset,
  field: str,
  maker: Maker,
  cases: Sequence[int],
  *,
  where: str,
  workers: int | None = None,
) -> Dataset:
  """The data set, some of its cases with what was drawn in place of their full labels.

  Args:
    dataset: a prepared set.
    field: name in batch.FIELDS of what was drawn; a box stays a field, for the losses that look
      at it.
    maker: how it is made.
    cases: indices of the cases that train.
    where: the config's field, for messages.
    workers: as of `with_fields`.

  Raises ValueError for a class that is drawn in none of them.
  """
  # as it is stored: what is unknown, and what is not there, are told apart
  wider = with_fields(dataset, {field: maker._replace(decode=None)}, cases, workers=workers)
  of = _Annotated(wider, field, frozenset(int(i) for i in cases))
  _check_drawn(of, where)
  return wider._replace(load=of.load, crop=of.crop, locations=of.locations)


def _check_drawn(of: _Annotated, where: str) -> None:
  labels, box = of.dataset.labels, kind(of.field).bounds
  # of boxes, what is outside is background
  names = [*labels.names] if labels.regions or not box else ["", *labels.scored]
  if labels.regions and not box:
    # a region without an outside would be learnt to be everywhere
    names += [outside(name) for name in labels.names]
  lacking = {number for number, name in enumerate(names) if name}
  for case in sorted(of.cases):
    lacking -= _classes(of, case)
    if not lacking:
      return
  raise never_drawn([names[k] for k in sorted(lacking)], len(of.cases), where)


def _classes(of: _Annotated, case: int) -> set[int]:
  """Numbers of the classes that a case shows; of marks of regions, then those it shows none of."""
  drawn, labels = of.dataset.load(case)[of.field], of.dataset.labels
  if kind(of.field).bounds:
    return _channels(drawn > 0)
  if labels.regions:
    return _channels(np.concatenate([drawn == 2, drawn == 1], -1))
  return {int(number) - 1 for number in np.unique(drawn) if number}


def _channels(there: np.ndarray) -> set[int]:
  """(*space, k) bool -> the channels that hold something."""
  return set(np.flatnonzero(there.any(tuple(range(there.ndim - 1)))).tolist())
