"""Prediction where a user points: one window there, a wider one where that is too small."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxseg.batch import Batch, Kind, by_kind
from jaxseg.inference.accumulation import Into
from jaxseg.inference.case import Apply, Case
from jaxseg.inference.planes import inserted, on_slices, slices, with_options_of
from jaxseg.inference.windows import sliding_window, window_starts, window_weights

# how much wider each try is than the one before
_WIDER = 1.5
# of a window's outermost voxels, the share whose change shows that it is too small
_CHANGED = 0.01


class Window(NamedTuple):
  """A part of a case that is shown to a network, larger than it where it is zoomed out.

  Attributes:
    corner: its first voxel, in the case; negative where it begins outside.
    size: its voxels along each axis, in the case.
    patch: its voxels as the network sees it.
  """

  corner: tuple[int, ...]
  size: tuple[int, ...]
  patch: tuple[int, ...]

  def inside(self, positions: np.ndarray) -> np.ndarray:
    """(n, rank) positions in the case -> in the window as the network sees it."""
    scale = np.asarray(self.size, np.float64) / np.asarray(self.patch)
    return (np.asarray(positions, np.float64) - self.corner + 0.5) / scale - 0.5


class Focus(NamedTuple):
  """What an answer is about.

  Attributes:
    marks: of each mark its first and its last voxel, (rank,) each.
    before: (*space, k) logits of the segmentation before.
    fresh: whether that is none, but background everywhere.
    prompts: (window, its other fields, (*patch, k) logits before in it or None if fresh) -> the
      fields that show the prompts in it, (*patch, k).
  """

  marks: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
  before: np.ndarray
  fresh: bool
  prompts: Callable[[Window, Batch, jax.Array | None], Batch]

  @property
  def low(self) -> tuple[int, ...]:
    """The first voxel of all marks, along each axis."""
    return tuple(min(at) for at in zip(*(low for low, _ in self.marks), strict=True))

  @property
  def high(self) -> tuple[int, ...]:
    """The last one."""
    return tuple(max(at) for at in zip(*(high for _, high in self.marks), strict=True))


@with_options_of(sliding_window)
def interactive(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  axis: int | None = None,
  zoom: float = 4.0,
  focus: Focus | None = None,
  total_stride: int | Sequence[int] = 1,
  margin: int | Sequence[int] = 0,
  overlap: float = 0.5,
  into: Into | None = None,
  **options,
) -> np.ndarray | None:
  """Scores of a case, of all of it or, with a focus, where a user's new prompts change them.

  Without a focus it is `sliding_window`, or `slices` for a 2D network. With one:

  1. One window is predicted with the marks in its middle. Where what is predicted changes at its
     border it is too small, and one that shows 1.5 times as much on as many voxels takes its place,
     up to `zoom` times.
  2. What was zoomed out is brought back to the case's voxels. A box around all that changed, and
     around the marks, is predicted once more in windows without zoom, which go on from that.
  3. Scores outside of the last window, and of step 2 outside of the box, stay as they were.

  Args:
    apply: one patch's network; with a focus it is given one window at a time, and its prompts.
    case: of any size.
    patch, total_stride, margin, overlap: of `sliding_window`; a network with a margin has no focus.
    axis: along which a volume is sliced for a 2D network; then every slice with marks is answered.
    zoom: how much more than a patch is shown at most, along each axis.
    focus: what is new; None is the whole case.
    into: of `sliding_window`; with a focus it is called for what may have changed, alone.
    options: the others of `sliding_window`, without a focus.

  Returns:
    (*space, k) float32 logits on the case's grid, if there is no `into`.

  Source: nnInteractive, arXiv 2503.08373, whose greatest zoom is 4; its rules for when to stop are
  others.
  """
  if not zoom >= 1:
    raise ValueError(f"predictor.zoom: {zoom}; expected 1 or more.")
  rank = len(case.space)
  patch = (patch,) * rank if isinstance(patch, int | np.integer) else tuple(patch)
  sides = {"patch": patch, "total_stride": total_stride, "margin": margin, "overlap": overlap}
  flat = len(patch) < rank
  if focus is None:
    if flat:
      return slices(apply, case, axis=axis or 0, into=into, **sides, **options)
    return sliding_window(apply, case, into=into, **sides, **options)
  if np.any(np.asarray(margin)):
    raise ValueError(
      f"predictor interactive: the network loses {margin} voxels per side (valid convolutions), so "
      "that a window's border has no scores; choose a network whose output is as large as its "
      "input."
    )
  stride = (total_stride,) * len(patch) if isinstance(total_stride, int) else tuple(total_stride)
  patch = tuple(-(-p // s) * s for p, s in zip(patch, stride, strict=True))
  thin = None
  if flat:
    thin = axis or 0
    apply, patch = on_slices(apply, thin), inserted(patch, thin, 1)
  scores = focus.before if into is not None else np.array(focus.before)

  def put(region, values):
    scores[region] = values

  for part in _slices_of(focus, thin):
    (into or put)(*_answered(apply, case, part, patch, thin, zoom, overlap))
  return None if into is not None else scores


def _slices_of(focus: Focus, thin: int | None) -> list[Focus]:
  """The focus itself, or one for each slice with marks, of these."""
  if thin is None:
    return [focus]

  def at(i, values):
    return (*values[:thin], i, *values[thin + 1 :])

  parts = {}
  for ends in focus.marks:
    for i in range(ends[0][thin], ends[1][thin] + 1):
      parts.setdefault(i, []).append(tuple(at(i, end) for end in ends))
  return [focus._replace(marks=tuple(marks)) for _, marks in sorted(parts.items())]


def _answered(apply, case: Case, focus: Focus, patch, thin, zoom: float, overlap: float):
  """The region that may have changed, and its scores."""
  factor = _first_zoom(focus, patch, thin, zoom)
  while True:
    window = _window(case.space, patch, thin, factor, focus)
    new = _predicted(apply, case, window, focus)
    region, own = _inside(window, case.space)
    whole = np.asarray(_resized(new, window.size))[own]
    old = focus.before[region]
    changed = whole.argmax(-1) != old.argmax(-1)
    if factor >= zoom or not _at_border(changed, region, case.space, thin):
      break
    factor = min(factor * _WIDER, zoom)
  if window.size == window.patch:
    return region, whole
  return _refined(apply, case, focus, patch, overlap, factor, region, whole, changed)


def _first_zoom(focus: Focus, patch, thin, zoom: float) -> float:
  """The zoom at which the marks fit into the window with a little room around them."""
  extent = [b - a + 1 for a, b in zip(focus.low, focus.high, strict=True)]
  axes = [a for a in range(len(patch)) if a != thin]
  return float(min(max(1.0, *(1.1 * extent[a] / patch[a] for a in axes)), zoom))


def _window(space, patch, thin, factor: float, focus: Focus) -> Window:
  """A window around the focus, inside of the case as far as it is not larger."""
  corner, size = [], []
  for a, (n, p) in enumerate(zip(space, patch, strict=True)):
    width = p if a == thin else round(p * factor)
    middle = (focus.low[a] + focus.high[a] + 1) // 2
    first = -((width - n) // 2) if width > n else min(max(middle - width // 2, 0), n - width)
    corner.append(first)
    size.append(width)
  return Window(tuple(corner), tuple(size), tuple(patch))


def _inside(window: Window, space) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
  """The part of the case that a window shows, and the part of the window that shows the case."""
  region, own = [], []
  for first, width, n in zip(window.corner, window.size, space, strict=True):
    low, high = max(first, 0), min(first + width, n)
    region.append(slice(low, high))
    own.append(slice(low - first, high - first))
  return tuple(region), tuple(own)


def _predicted(apply, case: Case, window: Window, focus: Focus, previous=None) -> jax.Array:
  """(*patch, k) logits; `previous` (*size, k) goes before those of the focus."""
  region, own = _inside(window, case.space)
  pads = [(o.start, w - o.stop) for o, w in zip(own, window.size, strict=True)]

  def shown(row: Kind, values):
    values = np.asarray(values, row.dtype)
    if not row.spatial:
      # a voxel that is shown larger is one
      return values * np.divide(window.size, window.patch, dtype=np.float32) if row.axes else values
    part = values[region]
    return _resized(row.padded(part, pads) if np.any(pads) else part, window.patch, row.order)

  fields = by_kind(shown, case.fields)
  if previous is None and not focus.fresh:
    part = focus.before[region]
    previous = np.pad(part, [*pads, (0, 0)], mode="edge") if np.any(pads) else part
  if previous is not None:
    previous = _resized(previous, window.patch)
  fields |= focus.prompts(window, fields, previous)
  (scores,) = apply(jax.tree.map(lambda x: x[None], fields)).values()
  return scores[0]


def _resized(values, size, order: int = 1):
  """(*space[, k]) -> (*size[, k]), linear and without aliasing, or of the nearest voxel."""
  shape = (*size, *values.shape[len(size) :])
  if values.shape == shape:
    return values
  made = _resize(values, shape, "linear" if order else "nearest")
  return made.astype(values.dtype)


_resize = jax.jit(jax.image.resize, static_argnames=("shape", "method"))


def _at_border(changed: np.ndarray, region, space, thin) -> bool:
  """Whether much changed at a side of the region that is not the case's own."""
  for axis, (span, n) in enumerate(zip(region, space, strict=True)):
    if axis == thin:
      continue
    for at, open_side in ((0, span.start > 0), (-1, span.stop < n)):
      side = changed.take(at, axis)
      if open_side and side.sum() > _CHANGED * side.size:
        return True
  return False


def _refined(apply, case: Case, focus: Focus, patch, overlap, factor, region, coarse, changed):
  """The coarse scores of a region made finer where they changed, and the old ones elsewhere."""
  new = np.array(focus.before[region])
  corner = np.array([span.start for span in region])
  places = [np.argwhere(changed), [np.array(focus.low) - corner, np.array(focus.high) - corner]]
  places = np.clip(np.concatenate(places), 0, np.array(changed.shape) - 1)
  spans = []
  for a, (n, p) in enumerate(zip(changed.shape, patch, strict=True)):
    # a voxel of the coarse scores may be wrong at their edge
    around = max(p // 8, math.ceil(factor)) if p > 1 else 0
    low, high = int(places[:, a].min()) - around, int(places[:, a].max()) + 1 + around
    more = max(p - (high - low), 0)
    low = max(min(low - more // 2, n - max(high - low, p)), 0)
    spans.append((low, min(max(high, low + p), n)))
  sums, total = np.zeros_like(new), np.zeros(new.shape[:-1], np.float32)
  weight = np.ones(patch, np.float32)
  for a, p in enumerate(patch):
    sides = [-1 if b == a else 1 for b in range(len(patch))]
    weight = weight * window_weights(p, "gaussian").astype(np.float32).reshape(sides)
  starts = [
    [low + s for s in window_starts(high - low, p, overlap)] if high - low > p else [low]
    for (low, high), p in zip(spans, patch, strict=True)
  ]
  for first in itertools.product(*starts):
    # a case that is smaller than a patch is in the middle of it
    at = [
      f + c if n >= p else -((p - n) // 2)
      for f, c, n, p in zip(first, corner, case.space, patch, strict=True)
    ]
    window = Window(tuple(int(i) for i in at), tuple(patch), tuple(patch))
    part, own = _inside(window, case.space)
    here = tuple(slice(s.start - c, s.stop - c) for s, c in zip(part, corner, strict=True))
    pads = [(o.start, p - o.stop) for o, p in zip(own, patch, strict=True)]
    previous = np.pad(coarse[here], [*pads, (0, 0)], mode="edge")
    scores = np.asarray(_predicted(apply, case, window, focus, previous), np.float32)
    sums[here] += scores[own] * weight[own][..., None]
    total[here] += weight[own]
  box = tuple(slice(low, high) for low, high in spans)
  new[box] = sums[box] / total[box][..., None]
  return region, new
