"""The box of what is looked for, by a small image of the whole, and then that box alone."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from jaxseg.inference.accumulation import Into
from jaxseg.inference.case import Apply, Case, all_flips, mean_over_flips

# logits of what lies outside: a probability of 1 in float32
_SURE = 30.0
# intensities between these shares of the small image's voxels become 0 to 1
_LOW, _HIGH = 0.005, 0.995
# the mean and deviation that deepbet's networks know
_MEAN, _DEVIATION = 0.449, 0.226


def boxed(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  box_size: int = 128,
  around: float = 0.1,
  least: float = 0.02,
  mirror_axes: Sequence[int] = (),
  swap: Sequence[tuple[int, int]] = (),
  swap_axis: int = -1,
  into: Into | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray | None:
  """Logits of background and foreground of a whole volume, as deepbet finds the brain.

  1. The volume is brought to `box_size` voxels per axis. Its intensities between two quantiles
     become 0 to 1, then those of a mean and deviation of their own.
  2. Where the network says foreground, the largest component has a box: from the first to the last
     plane along each axis of which more than the share `least` is foreground, and `around` of its
     size more on each side.
  3. The box is brought to `patch` voxels, normalised by the same quantiles, and goes through the
     network again, whose logits come back to the box's voxels. All are those of nearest neighbours.
  4. Of the foreground the largest component stays, and its holes are filled.

  Where step 2 finds nothing, all is background.

  Args:
    apply: {"image": (1, *space, 1), "spacing": (1, rank)} -> {"logits": (1, *space, 2)}; of space
      (box_size, ...) by the network that finds the box, see `networks.DeepBet`.
    case: with one channel, not normalised.
    patch: voxels of the box.
    box_size: voxels per axis of the small image.
    around, least: see above.
    mirror_axes, swap, swap_axis, into, progress: of `sliding_window`.

  Returns:
    (*space, 2) float32 logits on the case's grid, if there is no `into`.

  Source: deepbet 1.0.2 (Fisch et al., arXiv 2308.07003); its equal intensities, which it divides
  by 0, are 0 here.
  """
  space, rank = case.space, len(case.space)
  patch = (patch,) * rank if isinstance(patch, int | np.integer) else tuple(patch)
  flips = all_flips(mirror_axes, swap, swap_axis % rank)
  image = np.asarray(case.image, np.float32)
  if image.shape[-1] != 1 or len(patch) != rank:
    raise ValueError(
      f"predictor boxed: {image.shape[-1]} channel(s) of {rank} axes and a patch {patch}; expected "
      "one channel, and a number for each of its axes."
    )
  image = image[..., 0]
  small = _nearest(image, (box_size,) * rank)
  bounds = np.quantile(small, (_LOW, _HIGH)).astype(np.float32)
  spacing = np.asarray(case.spacing, np.float32)[None]

  def scores_of(image):
    inputs = {"image": _normalised(image, *bounds)[None, ..., None], "spacing": spacing}
    scores = np.asarray(mean_over_flips(apply, inputs, flips), np.float32)[0]
    if scores.shape[-1] != 2:
      raise ValueError(
        f"predictor boxed: the network gave {scores.shape[-1]} channel(s); expected background and "
        "foreground."
      )
    return scores

  scores = np.broadcast_to(np.float32((_SURE, -_SURE)), (*space, 2)).copy()
  where = _foreground(scores_of(small))
  if progress is not None:
    progress(1, 2)
  if where.any():
    box = _box(_largest(where), space, around=around, least=least)
    inner = _nearest(scores_of(_nearest(image[box], patch)), image[box].shape)
    inside = _foreground(inner)
    whole = ndimage.binary_fill_holes(_largest(inside)) if inside.any() else inside
    inner[whole & ~inside] = -_SURE, _SURE
    inner[inside & ~whole] = _SURE, -_SURE
    scores[box] = inner
  if progress is not None:
    progress(2, 2)
  if into is None:
    return scores
  into((slice(None),) * rank, scores)
  return None


def _foreground(logits: np.ndarray) -> np.ndarray:
  return logits[..., 1] > logits[..., 0]


def _nearest(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
  """PyTorch's "nearest-exact" of the first axes, whose steps are in float32."""
  for axis, count in enumerate(size):
    step = np.float32(array.shape[axis]) / np.float32(count)
    at = np.floor((np.arange(count, dtype=np.float32) + np.float32(0.5)) * step).astype(np.int64)
    array = np.take(array, np.minimum(at, array.shape[axis] - 1), axis)
  return array


def _normalised(image: np.ndarray, low: np.float32, high: np.float32) -> np.ndarray:
  unit = np.clip((image - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
  deviation = unit.std(ddof=1, dtype=np.float64)
  centred = (unit - unit.mean(dtype=np.float64)) / max(deviation, np.finfo(np.float32).tiny)
  return (_DEVIATION * centred + _MEAN).astype(np.float32)


def _largest(mask: np.ndarray) -> np.ndarray:
  """The largest component, whose voxels touch at corners, too."""
  numbers, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
  return numbers == 1 + np.argmax(np.bincount(numbers[mask])[1:])


def _box(mask: np.ndarray, space: Sequence[int], *, around: float, least: float) -> tuple:
  """The mask's box on a grid of `space` voxels, with room around; rounded as deepbet does."""
  spans = []
  for axis, size in enumerate(space):
    share = mask.mean(tuple(a for a in range(mask.ndim) if a != axis))
    # a thin one has no such plane: then any that it is in
    planes = np.flatnonzero(share > least) if (share > least).any() else np.flatnonzero(share)
    scale = np.float32(size) / np.float32(mask.shape[axis])
    middle = np.round(scale * np.float32((planes[-1] + 1 + planes[0]) / 2))
    extent = np.round(np.float32(1 + 2 * around) * (scale * np.float32(planes[-1] + 1 - planes[0])))
    low, high = int(middle - extent / 2), int(middle + extent / 2)
    spans.append(slice(max(0, low), min(size, high)))
  return tuple(spans)
