"""From one case to its segmentation on its own grid: one configuration, or several together."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.batch import Batch, LabelSpec
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import channels
from jaxseg.inference.case import Case

# logit of the background where nothing was seen: a probability of 1 in float32
_SURE = 30.0


class Configuration(NamedTuple):
  """What was trained alike: one network, or those of several folds whose logits are averaged.

  Attributes:
    preparations: how images are prepared. Networks of several folds may differ in the numbers of
      their normalisation: each has its own image (see `seen_by`).
    labels: what the scores mean.
    logits: (Case, *, into, progress) -> (*space, k) float32 logits on the grid of the case, which
      is the preparations'; `into` and `progress` as for `sliding_window`.
    fields: (raw, where) -> what else the networks take, on that grid: an earlier stage's scores,
      clicks, ...; the spacing is the preparations', and the image where it is none of these.
  """

  preparations: tuple[Preparation, ...]
  labels: LabelSpec
  logits: Callable
  fields: Callable[[RawCase, str], Batch] = lambda raw, where: {}


class Segmentation(NamedTuple):
  """A segmented case on its own grid.

  Attributes:
    labels: (*space) int32 stored values.
    probabilities: (*space, k) float32, of classes or regions; None if they were not asked for.
  """

  labels: np.ndarray
  probabilities: np.ndarray | None = None


def segment(
  configurations: Sequence[Configuration],
  raw: RawCase,
  where: str = "the image",
  *,
  probabilities: bool = False,
  progress: Callable[[int, int], None] | None = None,
) -> Segmentation:
  """Segments a case on its own grid.

  The probabilities of several configurations are averaged, as nnU-Net does (1809.10486). What is
  in memory at once: the image, and one class of the case or, where the network's grid is another,
  the scores there (in half precision from a GiB on, in a temporary file from 4 GiB on). Only
  `probabilities` need room for all classes.

  Args:
    configurations: with the same labels.
    raw: the case as read.
    where: what messages call it.
    probabilities: whether to give them, too.
    progress: called with (windows done, windows), for each configuration anew.
  """
  labels = configurations[0].labels
  if len(configurations) == 1 and not probabilities:
    return Segmentation(_labels(configurations[0], raw, where, progress))
  scores = [_scores(one, raw, where, progress) for one in configurations]
  shares = channels.mean([channels.probabilities(one, labels) for one in scores])
  # a single configuration gives the same labels whether its probabilities are asked for or not
  decoded = labels.decode(scores[0]) if len(scores) == 1 else labels.decode(shares, threshold=0.5)
  if not probabilities:
    return Segmentation(decoded)
  whole = np.empty((*decoded.shape, labels.channels), np.float32)
  for k in range(labels.channels):
    whole[..., k] = shares(k)
  return Segmentation(decoded, whole)


def prepared_case(configuration: Configuration, raw: RawCase, where: str) -> tuple[Case, Grid]:
  """The case as the configuration's networks see it; raises ValueError for what they cannot."""
  first, *others = configuration.preparations
  fields = dict(configuration.fields(raw, where))
  if "image" in fields:
    grid = first.grid(raw.geometry, raw.image)
  else:
    fields["image"], grid = first.place(raw, where)
  fields["spacing"] = grid.spacing
  if raw.missing:
    fields["modalities"] = raw.modalities
  for i, other in enumerate(others, start=1):
    fields[_own(i)] = {"image": other.apply(raw, where)}
  return Case(fields), grid


def seen_by(preparation: int, batch: Batch) -> Batch:
  """What the networks with one of a configuration's preparations see of its cases, or windows."""
  common = {name: x for name, x in batch.items() if not isinstance(x, Mapping)}
  return common | batch.get(_own(preparation), {})


def _own(preparation: int) -> str:
  """Under which name the fields of a configuration's further preparations are nested."""
  return f"preparation {preparation}"


def _labels(configuration: Configuration, raw, where, progress) -> np.ndarray:
  """Stored values; decoded part by part where the voxels of the network's grid are the case's."""
  labels = configuration.labels
  case, grid = prepared_case(configuration, raw, where)
  if grid.resamples:
    return labels.decode(_by_class(configuration, case, grid, progress))
  decoded = np.empty(case.space, np.int32)

  def into(region, scores):
    decoded[region] = labels.decode(scores)

  configuration.logits(case, into=into, progress=progress)
  return grid.restore(decoded, outside=labels.background)


def _scores(configuration: Configuration, raw, where, progress) -> channels.ByClass:
  """Logits on the case's own grid, class by class."""
  return _by_class(configuration, *prepared_case(configuration, raw, where), progress)


def _by_class(configuration: Configuration, case: Case, grid: Grid, progress) -> channels.ByClass:
  store = channels.Store(case.space)
  configuration.logits(case, into=store.put, progress=progress)

  def channel(k: int) -> np.ndarray:
    background = k == 0 and not configuration.labels.regions
    return grid.restore(store.channel(k), outside=_SURE if background else -_SURE)

  return channel
