"""Sliding-window prediction: a network that sees patches, applied to a whole case."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.inference.accumulation import Accumulator, Into
from jaxseg.inference.case import Apply, Case, all_flips, cut, mean_over_flips, padded_fields

WEIGHTINGS = ("gaussian", "uniform")
PADDINGS = ("zero", "mirror")
PRECISIONS = ("float32", "float16")


def window_starts(size: int, window: int, overlap: float) -> list[int]:
  """First voxels of the windows along one axis, evenly spread as in nnU-Net.

  Neighbours overlap by at least `overlap` of a window; the last window ends with the axis. A
  step is never shorter than a voxel. `size` is at least `window`.
  """
  room = size - window
  steps = math.ceil(room / max(1.0, window * (1 - overlap)))
  return [round(room / steps * i) for i in range(steps + 1)] if steps else [0]


def window_weights(size: int, weighting: str) -> np.ndarray:
  """(size,) float64 weights of a window's voxels along one axis, highest at the middle.

  The Gaussian has its peak at size // 2 and sigma = size / 8, as nnU-Net's (1809.10486): its
  product over the axes, times 10, is that one's map; it reaches 0 nowhere.
  """
  if weighting == "uniform":
    return np.ones(size)
  return np.exp(-0.5 * ((np.arange(size) - size // 2) / (size / 8)) ** 2)


def _per_axis(values: int | Sequence[int], rank: int, what: str, *, least: int) -> tuple[int, ...]:
  values = (values,) * rank if isinstance(values, int | np.integer) else tuple(values)
  if len(values) != rank or min(values) < least:
    raise ValueError(
      f"predictor.{what}: {values}; expected {rank} whole numbers >= {least}, one per axis of a "
      f"case of rank {rank}."
    )
  return tuple(int(v) for v in values)


def sliding_window(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  classes: int | None = None,
  overlap: float = 0.5,
  batch: int = 4,
  devices: int = 1,
  weighting: str = "gaussian",
  total_stride: int | Sequence[int] = 1,
  margin: int | Sequence[int] = 0,
  padding: str = "zero",
  mirror_axes: Sequence[int] = (),
  swap: Sequence[tuple[int, int]] = (),
  swap_axis: int = -1,
  precision: str | None = None,
  into: Into | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray | None:
  """Scores of a whole case: the weighted mean of the logits of overlapping windows.

  `apply` sees one shape only, (batch, *patch, channels) for each of its devices, whatever the size
  of the case: a last batch that isn't full is filled up with its last window. Cases smaller than a
  window are padded on both sides and cropped back. The windows stay on the host, batch by batch, so
  that volumes may be larger than the device; with `into`, no more scores are held than those of the
  voxels that still wait for a window: about half a patch across the case.

  Args:
    apply: the case's fields, cut: {"image" (batch, *patch, c), "spacing" (batch, rank), ...}
      -> {"logits": (batch, *(patch - 2 margin), k)}, or another field alone; compiled by the
      caller.
    case: its fields; each is cut, padded and mirrored by its kind (`jaxseg.batch.FIELDS`).
    patch: size of a network's input; rounded up to a multiple of `total_stride` when `margin` is 0.
    classes: if given, the number of channels that the logits must have.
    overlap: least share of a window that its neighbour covers too, in [0, 1).
    batch: windows per device and call of `apply`.
    devices: over how many devices `apply` splits the windows that it is given, batch * devices.
    weighting: "gaussian" (the middle of a window counts most) or "uniform".
    total_stride: down-sampling factor of the network, per axis.
    margin: voxels that the network loses per side (valid convolutions): the case is padded by it,
      and the windows tile it by the size of the output.
    padding: outside the case, "zero" (what a field's kind has there: 0 of images), or "mirror"
      as U-Net (1505.04597).
    mirror_axes: spatial axes for test-time augmentation: the mean of the logits over all flips.
    swap, swap_axis: pairs of classes that exchange their names when that spatial axis is flipped,
      as for `augment.mirror`.
    precision: of sums that wait for further windows, "float32" or, as nnU-Net, "float16"; None
      takes half precision where full would need a GiB or more.
    into: called with (region, (*region, k) float32 logits) for each finished part of the case, in
      no particular order; the parts cover it once. Nothing is returned then.
    progress: called with (windows done, windows) after each batch.

  Returns:
    (*space, k) float32 logits on the case's grid.
  """
  space = case.space
  rank = len(space)
  margin = _per_axis(margin, rank, "margin", least=0)
  stride = _per_axis(total_stride, rank, "total_stride", least=1)
  patch = _per_axis(patch, rank, "patch", least=1)
  if not any(margin):
    patch = tuple(-(-p // s) * s for p, s in zip(patch, stride, strict=True))
  window = tuple(p - 2 * m for p, m in zip(patch, margin, strict=True))
  _check(window, overlap, batch, mirror_axes, patch, margin)
  for field, value, choices in (
    ("weighting", weighting, WEIGHTINGS),
    ("padding", padding, PADDINGS),
    ("precision", precision, (None, *PRECISIONS)),
  ):
    _check_choice(field, value, choices)
  flips = all_flips(mirror_axes, swap, swap_axis % rank)
  batch *= devices

  missing = [max(0, w - n) for w, n in zip(window, space, strict=True)]
  before = [n // 2 for n in missing]
  pads = [(b + m, n - b + m) for b, n, m in zip(before, missing, margin, strict=True)]
  fields = padded_fields(case, pads, mirror=padding == "mirror")
  padded = [n + m for n, m in zip(space, missing, strict=True)]
  starts = [window_starts(n, w, overlap) for n, w in zip(padded, window, strict=True)]
  windows = _ordered(starts, window, padded)

  def scores_of(chosen: list[tuple[int, ...]]):
    filled = chosen + [chosen[-1]] * (batch - len(chosen))
    corners = [[starts[a][i] for a, i in enumerate(index)] for index in filled]
    cuts = [tuple(slice(s, s + p) for s, p in zip(at, patch, strict=True)) for at in corners]
    return mean_over_flips(apply, cut(fields, cuts), flips)

  whole = None
  if into is None:

    def into(region, scores):
      nonlocal whole
      if whole is None:
        whole = np.empty((*space, scores.shape[-1]), np.float32)
      whole[region] = scores

  def give(region, scores) -> None:
    # an axis with padding has one window, and so one tile
    own = [
      slice(b, b + n) if m else slice(None) for b, n, m in zip(before, space, missing, strict=True)
    ]
    at = [slice(n) if m else span for span, n, m in zip(region, space, missing, strict=True)]
    into(tuple(at), scores[tuple(own)])

  sums, done = None, 0

  def add(chosen: list[tuple[int, ...]], scores) -> None:
    nonlocal sums, done
    scores = np.asarray(scores, np.float32)
    _check_scores(scores, (batch, *window), classes, patch, margin)
    if sums is None:
      dtype = precision or _precision(window, padded, scores.shape[-1])
      sums = Accumulator(starts, [window_weights(w, weighting) for w in window], np.dtype(dtype))
    for index, values in zip(chosen, scores, strict=False):  # what fills the batch up is dropped
      sums.add(index, values, give)
    done += len(chosen)
    if progress is not None:
      progress(done, len(windows))

  # one batch ahead: the device computes while the host adds up the batch before
  pending = None
  for first in range(0, len(windows), batch):
    chosen = windows[first : first + batch]
    following = (chosen, scores_of(chosen))
    if pending is not None:
      add(*pending)
    pending = following
  add(*pending)
  return whole


def _ordered(starts, window, padded) -> list[tuple[int, ...]]:
  """Indices of all windows, in the order that leaves the fewest voxels waiting for others.

  The outermost axis is the one that a window covers the smallest share of.
  """
  axes = sorted(range(len(window)), key=lambda axis: window[axis] / padded[axis])
  place = np.argsort(axes)
  indices = itertools.product(*(range(len(starts[axis])) for axis in axes))
  return [tuple(index[p] for p in place) for index in indices]


def _precision(window, padded, classes: int) -> str:
  """Half precision where the sums in full would take a GiB: a window's thickness of the case."""
  thickness = min(w / n for w, n in zip(window, padded, strict=True))
  return "float16" if thickness * math.prod(padded) * classes * 4 >= 2**30 else "float32"


def _check(window, overlap, batch, mirror_axes, patch, margin) -> None:
  if min(window) < 1:
    raise ValueError(
      f"predictor.patch: {patch} leaves nothing after a margin of {margin} voxels per side; use a "
      "larger patch."
    )
  if not 0 <= overlap < 1:
    raise ValueError(f"predictor.overlap: {overlap}; expected a share of the window in [0, 1).")
  if batch < 1:
    raise ValueError(f"predictor.batch: {batch}; expected at least one window per batch.")
  if len(set(mirror_axes)) != len(mirror_axes) or not set(mirror_axes) <= set(range(len(window))):
    raise ValueError(
      f"predictor.mirror_axes: {tuple(mirror_axes)}; expected different axes among "
      f"{tuple(range(len(window)))}."
    )


def _check_choice(field: str, value, choices) -> None:
  if value not in choices:
    known = ", ".join(str(choice) for choice in choices)
    raise ValueError(f"predictor.{field}: '{value}' is unknown; choices: {known}.")


def _check_scores(scores: np.ndarray, shape, classes, patch, margin) -> None:
  if scores.shape[:-1] != shape:
    raise ValueError(
      f"predictor: the network gave logits of shape {scores.shape}; expected {shape} and classes, "
      f"for patches {patch} and a margin of {margin} voxels per side."
    )
  if classes is not None and scores.shape[-1] != classes:
    raise ValueError(
      f"predictor: the network gave {scores.shape[-1]} channels; expected {classes}, one per class "
      "or region of the labels."
    )
