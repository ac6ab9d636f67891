"""A 2D network over a volume: slice by slice."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jaxseg.inference.accumulation import Into
from jaxseg.inference.case import Case
from jaxseg.inference.windows import Apply, sliding_window


def _inserted(values: int | Sequence[int], axis: int, value: int) -> int | tuple[int, ...]:
  """Per-axis values of the plane -> of the volume."""
  values = (values, values) if isinstance(values, int | np.integer) else tuple(values)
  return (*values[:axis], value, *values[axis:])


def slices(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  axis: int = 0,
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
  precision: str | None = None,
  into: Into | None = None,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray | None:
  """Scores of a volume by a 2D network: a sliding window in every slice along `axis`.

  Windows of neighbouring slices share batches. A case of rank 2 is a single slice.

  Args:
    apply: as for `sliding_window`, with patches of rank 2.
    case: image (*space, c) of rank 3, spacing (3,); or of rank 2, spacing (2,).
    patch, total_stride, margin, mirror_axes, swap_axis: of the plane, whose two axes keep the
      volume's order.
    axis: the axis along which the volume is sliced, 0, 1 or 2.
    classes, overlap, batch, weighting, padding, swap, precision, into, progress: as for
      `sliding_window`.

  Returns:
    (*space, k) float32 logits on the case's grid.
  """
  options = {
    "classes": classes,
    "overlap": overlap,
    "batch": batch,
    "weighting": weighting,
    "padding": padding,
    "swap": swap,
    "precision": precision,
    "into": into,
    "progress": progress,
  }
  if case.image.ndim == 3:
    plane = {"patch": patch, "total_stride": total_stride, "margin": margin}
    mirroring = {"mirror_axes": mirror_axes, "swap_axis": swap_axis}
    return sliding_window(apply, case, **plane, **mirroring, **options)
  if case.image.ndim != 4 or axis not in (0, 1, 2):
    raise ValueError(
      f"predictor slices: an image of shape {case.image.shape} and axis {axis}; expected a volume "
      "(z, y, x, channels) and an axis 0, 1 or 2."
    )

  def in_volume(a: int) -> int:
    return a + (a >= axis)

  def apply_to_slices(batch):
    flat = {
      name: np.delete(values, axis, 1) if name == "spacing" else np.squeeze(values, axis + 1)
      for name, values in batch.items()
    }
    return {name: jnp.expand_dims(of, axis + 1) for name, of in apply(flat).items()}

  return sliding_window(
    apply_to_slices,
    case,
    patch=_inserted(patch, axis, 1),
    total_stride=_inserted(total_stride, axis, 1),
    margin=_inserted(margin, axis, 0),
    mirror_axes=tuple(in_volume(a) for a in mirror_axes),
    swap_axis=in_volume(swap_axis % 2),
    **options,
  )
