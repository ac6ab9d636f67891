"""A source of which some classes are wanted, and the rest is background."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.sources.source import RawCase, Source, fingerprint


def with_classes(source: Source, names: Sequence[str]) -> Source:
  """The source with these of its classes, in this order; what others mark is background.

  Sets whose classes differ in number, order and stored values are thus one problem.

  Args:
    source: of classes.
    names: those that count, without the background; () is the source as it is.

  Raises ValueError for a name that the source lacks or that comes twice, and for regions.
  """
  names, labels = tuple(names), source.labels
  if not names:
    return source
  if labels.regions:
    raise ValueError(
      f"config.data.classes: {', '.join(names)}; the labels of '{source.name}' are regions, which "
      "overlap; expected (), or a source of classes."
    )
  background, *known = labels.names
  if set(names) - set(known) or len(set(names)) < len(names):
    strange = next((name for name in names if name not in known), None)
    problem = "a name comes twice" if strange is None else f"'{strange}' is none of them"
    common = [name for name in names if name in known]
    raise ValueError(
      f"config.data.classes: {', '.join(names)}: {problem}; '{source.name}' has "
      f"{', '.join(known)}, {', '.join(common) or 'none'} in common."
    )
  place = [0, *(labels.names.index(name) for name in names)]
  pairs = [(place.index(a), place.index(b)) for a, b in labels.mirror_pairs if {a, b} <= set(place)]
  stored = tuple(labels.stored_values[i] for i in place)
  chosen = LabelSpec((background, *names), stored, None, labels.ignore, tuple(pairs))
  others = tuple(value for value in labels.stored_values if value not in stored)
  return source._replace(
    labels=chosen,
    read=functools.partial(_read, read=source.read, others=others, background=stored[0]),
    fingerprint=fingerprint((), {"of": source.fingerprint, "classes": names}),
  )


def _read(
  case: str, *, read: Callable[[str], RawCase], others: tuple[int, ...], background: int
) -> RawCase:
  raw = read(case)
  if raw.label is None:
    return raw
  label = np.where(np.isin(raw.label, others), background, raw.label).astype(raw.label.dtype)
  return raw._replace(label=label)
