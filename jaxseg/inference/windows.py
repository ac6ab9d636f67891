"""Sliding-window prediction: a network that sees patches, applied to a whole case."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.inference.case import Case

WEIGHTINGS = ("gaussian", "uniform")
PADDINGS = ("zero", "mirror")
Apply = Callable[[dict[str, np.ndarray]], dict]


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


def _pad(array: np.ndarray, pads: Sequence[tuple[int, int]], padding: str) -> np.ndarray:
  """Pads the spatial axes of (*space, channels)."""
  pads = [*pads, (0, 0)]
  if not np.any(pads):
    return array
  return np.pad(array, pads, mode="reflect" if padding == "mirror" else "constant")


def sliding_window(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  classes: int | None = None,
  overlap: float = 0.5,
  batch: int = 4,
  weighting: str = "gaussian",
  total_stride: int | Sequence[int] = 1,
  margin: int | Sequence[int] = 0,
  padding: str = "zero",
  mirror_axes: Sequence[int] = (),
  swap: Sequence[tuple[int, int]] = (),
  swap_axis: int = -1,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
  """Scores of a whole case: the weighted mean of the logits of overlapping windows.

  `apply` sees one shape only, (batch, *patch, channels), whatever the size of the case: a last
  batch that isn't full is filled up with its last window. Cases smaller than a window are padded
  on both sides and cropped back. The windows stay on the host, batch by batch, so that volumes
  may be larger than the device.

  Args:
    apply: {"image" (batch, *patch, c), "spacing" (batch, rank), "prior" if the case has one}
      -> {"logits": (batch, *(patch - 2 margin), k)}; compiled by the caller.
    case: image (*space, c), spacing, optional prior (*space, k).
    patch: size of a network's input; rounded up to a multiple of `total_stride` when `margin` is 0.
    classes: if given, the number of channels that the logits must have.
    overlap: least share of a window that its neighbour covers too, in [0, 1).
    batch: windows per call of `apply`.
    weighting: "gaussian" (the middle of a window counts most) or "uniform".
    total_stride: down-sampling factor of the network, per axis.
    margin: voxels that the network loses per side (valid convolutions): the case is padded by it,
      and the windows tile it by the size of the output.
    padding: outside the case, "zero", or "mirror" as U-Net (1505.04597).
    mirror_axes: spatial axes for test-time augmentation: the mean of the logits over all flips.
    swap, swap_axis: pairs of classes that exchange their names when that spatial axis is flipped,
      as for `augment.mirror`.
    progress: called with (windows done, windows) after each batch.

  Returns:
    (*space, k) float32 logits on the case's grid.
  """
  image = np.asarray(case.image, np.float32)
  rank = image.ndim - 1
  margin = _per_axis(margin, rank, "margin", least=0)
  stride = _per_axis(total_stride, rank, "total_stride", least=1)
  patch = _per_axis(patch, rank, "patch", least=1)
  if not any(margin):
    patch = tuple(-(-p // s) * s for p, s in zip(patch, stride, strict=True))
  window = tuple(p - 2 * m for p, m in zip(patch, margin, strict=True))
  _check(window, overlap, batch, weighting, padding, mirror_axes, patch, margin)
  flips = _flips(mirror_axes, swap, swap_axis % rank)

  space = image.shape[:-1]
  missing = [max(0, w - n) for w, n in zip(window, space, strict=True)]
  before = [n // 2 for n in missing]
  pads = [(b + m, n - b + m) for b, n, m in zip(before, missing, margin, strict=True)]
  fields = {"image": _pad(image, pads, padding)}
  if case.prior is not None:
    fields["prior"] = _pad(np.asarray(case.prior, np.float32), pads, padding)
  spacing = np.broadcast_to(np.asarray(case.spacing, np.float32), (batch, rank))
  padded = [n + m for n, m in zip(space, missing, strict=True)]
  starts_per_axis = [window_starts(n, w, overlap) for n, w in zip(padded, window, strict=True)]
  starts = list(itertools.product(*starts_per_axis))
  importance = [window_weights(w, weighting) for w in window]
  weight = _outer(importance).astype(np.float32)[..., None]

  def scores_of(chosen: list[tuple[int, ...]]):
    filled = chosen + [chosen[-1]] * (batch - len(chosen))
    cuts = [tuple(slice(s, s + p) for s, p in zip(at, patch, strict=True)) for at in filled]
    inputs = {name: np.stack([values[cut] for cut in cuts]) for name, values in fields.items()}
    return _mean_over_flips(apply, {**inputs, "spacing": spacing}, flips)

  total, done = None, 0

  def add(chosen: list[tuple[int, ...]], scores) -> None:
    nonlocal total, done
    scores = np.asarray(scores, np.float32)
    _check_scores(scores, (batch, *window), classes, patch, margin)
    if total is None:
      total = np.zeros((*padded, scores.shape[-1]), np.float32)
    for at, values in zip(chosen, scores, strict=False):  # what fills the batch up is dropped
      total[tuple(slice(s, s + w) for s, w in zip(at, window, strict=True))] += values * weight
    done += len(chosen)
    if progress is not None:
      progress(done, len(starts))

  # one batch ahead: the device computes while the host adds up the batch before
  pending = None
  for first in range(0, len(starts), batch):
    chosen = starts[first : first + batch]
    following = (chosen, scores_of(chosen))
    if pending is not None:
      add(*pending)
    pending = following
  add(*pending)

  _divide(total, starts_per_axis, importance)
  inside = tuple(slice(b, b + n) for b, n in zip(before, space, strict=True))
  return np.ascontiguousarray(total[inside])


def _divide(total: np.ndarray, starts_per_axis, importance) -> None:
  """Divides sums of weighted windows by the sums of their weights, in place.

  A sum of products over a grid of windows is the product of the sums per axis: no second map.
  """
  for axis, (starts, weights) in enumerate(zip(starts_per_axis, importance, strict=True)):
    sums = np.zeros(total.shape[axis])
    for start in starts:
      sums[start : start + len(weights)] += weights
    total /= sums.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(total.ndim)])


def _outer(factors: Sequence[np.ndarray]) -> np.ndarray:
  """The product of one vector per axis."""
  product = np.ones(())
  for factor in factors:
    product = product[..., None] * factor
  return product


class _Flip(NamedTuple):
  """Axes of (b, *space, k) to flip, and pairs of classes that change places with them."""

  axes: tuple[int, ...]
  pairs: tuple[tuple[int, int], ...]


def _flips(mirror_axes, swap, swap_axis: int) -> list[_Flip]:
  """All combinations of flips, none first."""
  chosen = itertools.product((False, True), repeat=len(mirror_axes))
  axes = [tuple(itertools.compress(mirror_axes, flags)) for flags in chosen]
  return [_Flip(tuple(a + 1 for a in x), tuple(swap) if swap_axis in x else ()) for x in axes]


def _flip(values, flip: _Flip, *, xp, per_class: bool):
  if flip.axes:
    values = xp.flip(values, flip.axes)
  if flip.pairs and per_class:
    order = np.arange(values.shape[-1])
    for a, b in flip.pairs:
      order[[a, b]] = order[[b, a]]
    values = values[..., order]
  return values


def _mean_over_flips(apply: Apply, inputs: dict[str, np.ndarray], flips: list[_Flip]):
  """Logits of a batch, averaged over the flips, still on the device."""
  total = 0
  for flip in flips:
    flipped = {
      name: values if name == "spacing" else _flip(values, flip, xp=np, per_class=name == "prior")
      for name, values in inputs.items()
    }
    total = total + _flip(apply(flipped)["logits"], flip, xp=jnp, per_class=True)
  return total / len(flips)


def _check(window, overlap, batch, weighting, padding, mirror_axes, patch, margin) -> None:
  if min(window) < 1:
    raise ValueError(
      f"predictor.patch: {patch} leaves nothing after a margin of {margin} voxels per side; use a "
      "larger patch."
    )
  if not 0 <= overlap < 1:
    raise ValueError(f"predictor.overlap: {overlap}; expected a share of the window in [0, 1).")
  if batch < 1:
    raise ValueError(f"predictor.batch: {batch}; expected at least one window per batch.")
  for field, value, choices in (
    ("weighting", weighting, WEIGHTINGS),
    ("padding", padding, PADDINGS),
  ):
    if value not in choices:
      raise ValueError(f"predictor.{field}: '{value}' is unknown; choices: {', '.join(choices)}.")
  if len(set(mirror_axes)) != len(mirror_axes) or not set(mirror_axes) <= set(range(len(window))):
    raise ValueError(
      f"predictor.mirror_axes: {tuple(mirror_axes)}; expected different axes among "
      f"{tuple(range(len(window)))}."
    )


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
