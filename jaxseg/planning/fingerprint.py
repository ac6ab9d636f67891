"""The fingerprint of a data set: what a plan is made from, in one pass over the cases."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tqdm

from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.cropping import nonzero_box
from jaxseg.data.prepared.workers import spread
from jaxseg.data.sources.source import RawCase, Source, check_complete, check_spacing
from jaxseg.planning import intensities
from jaxseg.planning.class_places import Place, places
from jaxseg.planning.mirroring import Mirroring, mirroring

# nnU-Net's, over all cases
_DRAWS = 100_000_000
# nnU-Net takes a picture for a volume of one slice, which is so much thicker than its pixels
_SLICE = 999


class Fingerprint(NamedTuple):
  """Sizes, spacings and intensities of a data set, as nnU-Net measures them.

  Attributes:
    shapes: per case, (z, y, x) voxels after cropping to nonzero; (1, y, x) for pictures.
    spacings: per case, (z, y, x) millimetres; for pictures z is 999 times the larger other one.
    relative_size: median over cases of the share of voxels that is left after cropping.
    intensities: per channel, statistics of the foreground (see `intensities.statistics`).
    classes: voxels of each class over all cases; None where a file of nnU-Net doesn't tell.
    mirroring: which axes may be mirrored; None where a file doesn't tell.
  """

  shapes: tuple[tuple[int, ...], ...]
  spacings: tuple[tuple[float, ...], ...]
  relative_size: float
  intensities: tuple[dict[str, float], ...]
  classes: dict[str, int] | None = None
  mirroring: Mirroring | None = None


class _Case(NamedTuple):
  shape: tuple[int, ...]
  spacing: tuple[float, ...]
  relative_size: float
  samples: tuple[intensities.Sample, ...]
  classes: tuple[int, ...]
  places: tuple[Place | None, ...]
  axcodes: str


def fingerprint(
  source: Source, *, workers: int | None = None, seed: int = 1234, draws: int = _DRAWS
) -> Fingerprint:
  """Measures every case of a source.

  Args:
    source: the data set.
    workers: processes; 1 for this one alone; None begins here and, where there is more work than a
      few seconds, spreads the rest over all cores.
    seed: of the drawn foreground voxels, for every case anew.
    draws: foreground voxels that all cases together contribute to the intensity statistics.

  Raises ValueError that names the case whose image and label disagree, whose spacing is zero or
  not a number, that has no label or another number of axes or channels than the set; or the set,
  if there is no foreground at all.

  Source: nnU-Net 2.8.1 (Isensee et al., arXiv 1904.08128).
  """
  check_complete(source, "plan")
  measure = functools.partial(
    _measure, read=source.read, labels=source.labels, draws=draws // len(source.cases), seed=seed
  )
  cases = []
  with tqdm.tqdm(
    total=len(source.cases), unit="case", desc="fingerprint", disable=not sys.stderr.isatty()
  ) as bar:
    for case in spread(measure, source.cases, workers=workers, what="plan"):
      cases.append(case)
      bar.update()
  samples = [intensities.merge(of) for of in zip(*(case.samples for case in cases), strict=True)]
  counts = np.sum([case.classes for case in cases], axis=0).tolist()
  _check_classes(source, counts, sampled=all(len(sample.values) for sample in samples))
  return Fingerprint(
    shapes=tuple(case.shape for case in cases),
    spacings=tuple(case.spacing for case in cases),
    relative_size=float(np.median([case.relative_size for case in cases])),
    intensities=tuple(map(intensities.statistics, samples)),
    classes=dict(zip(source.labels.names, counts, strict=True)),
    mirroring=mirroring(
      [case.places for case in cases], [case.axcodes for case in cases], source.labels
    ),
  )


def _check_classes(source: Source, counts: list[int], *, sampled: bool) -> None:
  """Raises ValueError where no case shows any class, warns of classes that none shows."""
  named = list(zip(source.labels.scored, counts[source.labels.first :], strict=True))
  absent = [name for name, count in named if not count]
  if not sampled or len(absent) == len(named):
    raise ValueError(
      f"{source.name}: no case has a foreground voxel, so there is nothing to learn; check the "
      f"labels ({', '.join(source.labels.names)})."
    )
  if absent:
    warnings.warn(
      f"{source.name}: no case holds {', '.join(absent)}, which a network cannot learn then; check "
      "the labels and their values.",
      stacklevel=3,
    )


def _measure(
  case: str, *, read: Callable[[str], RawCase], labels: LabelSpec, draws: int, seed: int
) -> _Case:
  raw = read(case)
  if raw.label is None:
    raise ValueError(f"case '{case}': has no label; a plan needs labelled cases.")
  check_spacing(raw.geometry, f"case '{case}'")
  spacing = tuple(float(s) for s in raw.geometry.spacing)
  box = nonzero_box(raw.image)
  image, label = raw.image[box], raw.label[box]
  foreground = image[label != labels.stored_values[0]].astype(np.float32)
  shape = image.shape[:-1]
  if len(shape) == 2:
    shape, spacing = (1, *shape), (_SLICE * max(spacing), *spacing)
  return _Case(
    shape,
    spacing,
    label.size / raw.label.size,
    intensities.draw(foreground, draws, seed),
    _counts(raw.label, labels),
    places(raw.image, raw.label, labels),
    raw.geometry.axcodes,
  )


def _counts(label: np.ndarray, labels: LabelSpec) -> tuple[int, ...]:
  stored, voxels = np.unique(label, return_counts=True)
  united = labels.regions or [(value,) for value in labels.stored_values]
  return tuple(int(voxels[np.isin(stored, values)].sum()) for values in united)
