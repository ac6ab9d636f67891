"""Which axes may be mirrored: those along which no two classes are told apart by their order."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.packages import OnDemand
from jaxseg.planning.class_places import Place

nib = OnDemand("nibabel")
stats = OnDemand("scipy.stats")
# cases that show both classes, fewer of which prove no order: of five, chance agrees in 1 of 16
_CASES = 5
# of them, those that must agree
_AGREE = 0.95
# distance of the centres in mean lengths: of two bars end to end it is 1
_APART = 0.5
# probability of the distances, if the classes had no order
_CHANCE = 0.01
# classes of other volumes or lengths are told apart by these, wherever they lie
_VOLUMES, _LENGTHS = 2.0, 2.0
_WORDS = {
  "R": "to the right",
  "L": "to the left",
  "A": "to the front",
  "P": "to the back",
  "S": "upwards",
  "I": "downwards",
}
_SIDES = re.compile(r"(?<![a-z])(left|right|links|rechts|lh|rh|lt|rt|l|r)(?![a-z])")


class _Twins(NamedTuple):
  """How like each other two classes must be to be twins.

  Attributes:
    beside: largest distance of the centres along the other axes, in mean lengths.
    volumes, lengths: largest ratios.
    contrast: largest difference of brightness, in standard deviations.
  """

  beside: float
  volumes: float
  lengths: float
  contrast: float


_NAMED, _UNNAMED = _Twins(0.5, 2.0, 2.0, 1.0), _Twins(0.3, 1.5, 1.5, 0.5)


class Axis(NamedTuple):
  """What mirroring may do along one axis.

  Attributes:
    mirrored: whether it may be mirrored.
    swap: pairs of classes that exchange their names then.
    why: one sentence.
  """

  mirrored: bool
  swap: tuple[tuple[int, int], ...] = ()
  why: str = ""


class Mirroring(NamedTuple):
  """The axes of a data set.

  Attributes:
    axes: (z, y, x), or (y, x) of pictures, as most cases are stored.
    orientations: how many cases are stored in which, the most common one first; empty where the
      files don't tell.
    names: of the classes or regions that the pairs count.
  """

  axes: tuple[Axis, ...]
  orientations: dict[str, int]
  names: tuple[str, ...]


def mirroring(
  cases: Sequence[tuple[Place | None, ...]], codes: Sequence[str], labels: LabelSpec
) -> Mirroring:
  """Decides from where the classes lie in each case.

  Two classes (or regions) whose volumes and lengths differ by a factor of two at most keep their
  order along an axis if the distance of their centres has one sign in 95 % of five or more cases
  that show both, is half their mean length or more, and varies too little for chance (t-test, 1 %).
  The axis is left alone then, because its mirror image shows one where the other belongs.

  The exception are twins, left and right, which are mirror images of each other: their names swap.
  By name they are twins if nothing but the side differs; where names say nothing, if volumes,
  lengths and brightness agree. No class may lie around one of them alone, as the myocardium does
  around the left ventricle.

  Args:
    cases: per case, the places of its classes as stored.
    codes: per case, its orientation ("LPS", x first); "" where its file doesn't tell.
    labels: what is segmented; its own `mirror_pairs` are twins in any case.
  """
  known = Counter(code for code in codes if code)
  common = known.most_common(1)[0][0] if known else ""
  measured = _measured(cases, codes, common)
  rank, first = measured.centre.shape[-1], labels.first
  pairs = {
    (a, b): _pair(measured, a - first, b - first)
    for a, b in itertools.combinations(range(first, len(labels.names)), 2)
  }
  sideways = _sideways(common, rank)
  twins = _twins(pairs, labels, sideways)
  axes = tuple(
    _axis(axis, pairs, twins, labels.names, _letter(common, axis), swaps=axis == sideways)
    for axis in range(rank)
  )
  return Mirroring(axes, dict(known.most_common()), labels.names)


class _Pair(NamedTuple):
  """Two classes in all cases that show both; ratios and contrast are medians.

  Attributes:
    apart: (cases, rank) distances of the centres in mean lengths, the second's less the first's.
    volumes: ratio of the volumes, 1 or more.
    lengths: largest of the axes' ratios of lengths.
    contrast: difference of brightness in standard deviations, in the channel where it is largest.
  """

  apart: np.ndarray
  volumes: float
  lengths: float
  contrast: float

  @property
  def alike(self) -> bool:
    return self.volumes <= _VOLUMES and self.lengths <= _LENGTHS

  def ordered(self, axis: int) -> bool:
    apart = self.apart[:, axis]
    number, mean = len(apart), float(np.mean(apart)) if len(apart) else 0.0
    if number < _CASES or abs(mean) < _APART:
      return False
    if np.mean(np.sign(apart) == np.sign(mean)) < _AGREE:
      return False
    limit = stats.t.ppf(1 - _CHANCE / 2, number - 1)
    return abs(mean) >= limit * float(np.std(apart, ddof=1)) / np.sqrt(number)

  @property
  def concentric(self) -> bool:
    """Whether one lies around, or in, the other."""
    return len(self.apart) >= _CASES and bool((np.mean(np.abs(self.apart), 0) < 0.25).all())


class _Measured(NamedTuple):
  """`Place` of all cases and classes, (cases, classes, ...), NaN where a class is absent.

  Axes are those of the most common orientation.
  """

  voxels: np.ndarray
  centre: np.ndarray
  length: np.ndarray
  bright: np.ndarray
  varied: np.ndarray


def _measured(cases, codes, common: str) -> _Measured:
  some = next(place for case in cases for place in case if place is not None)
  none = [np.full(np.shape(value), np.nan) for value in some]
  table = [[none if place is None else place for place in case] for case in cases]
  fields = _Measured(
    *(np.array([[of[i] for of in row] for row in table], np.float64) for i in range(len(some)))
  )
  for at, code in enumerate(codes):
    if code and code != common:
      order, signs = _turn(code, common)
      fields.centre[at] = fields.centre[at][:, order] * signs
      fields.length[at] = fields.length[at][:, order]
  return fields


def _turn(code: str, common: str) -> tuple[list[int], np.ndarray]:
  """For each axis (z, y, x) of an orientation, that of another one along which it runs, and how."""
  stored, wanted = (nib.orientations.axcodes2ornt(of) for of in (code, common))
  turn = nib.orientations.ornt_transform(wanted, stored)[::-1]
  return [2 - int(axis) for axis in turn[:, 0]], turn[:, 1]


def _pair(measured: _Measured, a: int, b: int) -> _Pair:
  both = np.isfinite(measured.voxels[:, a]) & np.isfinite(measured.voxels[:, b])
  if not both.any():
    return _Pair(np.zeros((0, measured.centre.shape[-1])), np.inf, np.inf, np.inf)
  one, other = (_Measured(*(field[both, of] for field in measured)) for of in (a, b))
  deviation = np.sqrt((one.varied**2 + other.varied**2) / 2)
  difference = np.abs(one.bright - other.bright)
  # of images without noise any difference is large
  contrast = difference / np.maximum(deviation, 1e-6 + 1e-6 * difference)
  return _Pair(
    (other.centre - one.centre) / ((one.length + other.length) / 2),
    float(np.median(_ratio(one.voxels, other.voxels))),
    float(np.median(_ratio(one.length, other.length).max(-1))),
    float(np.median(contrast.max(-1))),
  )


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return np.maximum(a / b, b / a)


def _letter(common: str, axis: int) -> str:
  return common[::-1][axis] if common else ""


def _sideways(common: str, rank: int) -> int:
  """The axis from left to right; that of x where files don't tell."""
  return next((i for i, letter in enumerate(common[::-1]) if letter in "LR"), rank - 1)


def _twins(pairs: Mapping, labels: LabelSpec, sideways: int) -> tuple[tuple[int, int], ...]:
  twins = [tuple(sorted(pair)) for pair in labels.mirror_pairs]
  taken = {name for pair in twins for name in pair}
  candidates = [
    pair
    for pair in pairs
    if not taken & set(pair) and _are_twins(pair, pairs, labels.names, sideways)
  ]
  # of several that would do, none is taken: three alike in a row are no left and right
  often = Counter(name for pair in candidates for name in pair)
  twins += [pair for pair in candidates if all(often[name] == 1 for name in pair)]
  return tuple(twins)


def _are_twins(pair, pairs: Mapping, names: Sequence[str], sideways: int) -> bool:
  a, b = pair
  stems, said = zip(*(_stem(names[name]) for name in pair), strict=True)
  named = stems[0] == stems[1] and {"left", "right"} == set(said)
  unnamed = stems[0] == stems[1] and not any(said)
  if not (named or unnamed):
    return False
  measured = pairs[pair]
  if named and not len(measured.apart):
    return True  # one side to a picture: its mirror image is the other side all the same
  limits = _NAMED if named else _UNNAMED
  others = [axis for axis in range(measured.apart.shape[1]) if axis != sideways]
  beside = np.abs(np.mean(measured.apart, 0))[others] if len(measured.apart) else np.array([np.inf])
  if not (named or measured.ordered(sideways)) or (beside > limits.beside).any():
    return False
  if measured.volumes > limits.volumes or measured.lengths > limits.lengths:
    return False
  if measured.contrast > limits.contrast:
    return False
  # what has a side itself, as the tumour of the left kidney, may lie in one of them
  around = {c for other in pairs for c in other if not _stem(names[c])[1]} - set(pair)
  return not any(
    pairs[tuple(sorted((a, c)))].concentric != pairs[tuple(sorted((b, c)))].concentric
    for c in around
  )


def _stem(name: str) -> tuple[str, str]:
  """(the name without its side, "left", "right" or "").

  A name without a side loses its numbers too: "label_1" says as little as "1".
  """
  spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower().replace("_", " ")
  side = {"l": "left", "r": "right"}.get((_SIDES.findall(spaced) or [""])[0][:1], "")
  stem = re.sub(r"\W", "", _SIDES.sub("", spaced))
  stem = stem if side else re.sub(r"\d", "", stem)
  return (stem if len(stem) > 1 or side else ""), side


def _axis(axis: int, pairs: Mapping, twins, names, letter: str, *, swaps: bool) -> Axis:
  swapped = twins if swaps else ()
  # what has a twin lies on both sides: its side is not what tells it from others
  paired = {name for pair in swapped for name in pair}
  kept = [
    (pair, of)
    for pair, of in pairs.items()
    if not paired & set(pair) and of.alike and of.ordered(axis)
  ]
  if kept:
    return Axis(False, (), _order(kept, axis, names, letter))
  if swapped:
    listed = ", ".join(f"{names[a]} and {names[b]}" for a, b in swapped)
    return Axis(True, swapped, f"{listed} are mirror images of each other: their names swap")
  if len(pairs) == 0:
    return Axis(True, (), "one class: nothing to keep in order")
  return Axis(True, (), "no two classes of like size keep their order along it")


def _order(kept, axis: int, names, letter: str) -> str:
  # told is the pair that is confused the most easily
  (a, b), pair = min(kept, key=lambda one: np.linalg.norm(one[1].apart.mean(0)) + one[1].contrast)
  apart = pair.apart[:, axis]
  if apart.mean() < 0:
    a, b, apart = b, a, -apart
  way = f"further {_WORDS[letter]}" if letter else "further along it"
  agree, more = int((apart > 0).sum()), len(kept) - 1
  others = f"; {more} more pair(s) keep their order" if more else ""
  return f"{names[b]} lies {way} than {names[a]} in {agree} of {len(apart)} cases{others}"
