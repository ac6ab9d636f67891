"""A 2D network over a volume: slice by slice."""

import inspect
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jaxseg.batch import by_kind
from jaxseg.inference.case import Apply, Case
from jaxseg.inference.windows import sliding_window


def with_options_of(inner: Callable) -> Callable[[Callable], Callable]:
  """A decorator: `**options` are those of `inner`, and the signature says so.

  Configs are checked against signatures: an option of `inner` is one of the function, too.
  """

  def decorated(function: Callable) -> Callable:
    own = inspect.signature(function)
    named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    rest = inspect.signature(inner).parameters.values()
    rest = [p for p in rest if p.kind is p.KEYWORD_ONLY and p.name not in own.parameters]
    function.__signature__ = own.replace(parameters=[*named, *rest])
    return function

  return decorated


def inserted(values: int | Sequence[int], axis: int, value: int) -> tuple[int, ...]:
  """Per-axis values of the plane -> of the volume."""
  values = (values, values) if isinstance(values, int | np.integer) else tuple(values)
  return (*values[:axis], value, *values[axis:])


def on_slices(apply: Apply, axis: int) -> Apply:
  """A 2D network's `apply` for windows of a volume that are one voxel thin along an axis."""

  def flat(row, values):
    if row.spatial:
      return values.squeeze(axis + 1)
    return np.delete(values, axis, -1) if row.axes else values

  def apply_to_slices(batch):
    return {
      name: jnp.expand_dims(scores, axis + 1)
      for name, scores in apply(by_kind(flat, batch)).items()
    }

  return apply_to_slices


@with_options_of(sliding_window)
def slices(
  apply: Apply,
  case: Case,
  *,
  patch: int | Sequence[int],
  axis: int = 0,
  total_stride: int | Sequence[int] = 1,
  margin: int | Sequence[int] = 0,
  mirror_axes: Sequence[int] = (),
  swap_axis: int = -1,
  **options,
) -> np.ndarray | None:
  """Scores of a volume by a 2D network: a sliding window in every slice along `axis`.

  Windows of neighbouring slices share batches. A case of rank 2 is a single slice.

  Args:
    apply: as for `sliding_window`, with patches of rank 2.
    case: of rank 3, or of rank 2.
    patch, total_stride, margin, mirror_axes, swap_axis: of the plane, whose two axes keep the
      volume's order.
    axis: the axis along which the volume is sliced, 0, 1 or 2.
    options: the others of `sliding_window`.

  Returns:
    (*space, k) float32 logits on the case's grid.
  """
  rank = len(case.space)
  plane = {"patch": patch, "total_stride": total_stride, "margin": margin}
  mirroring = {"mirror_axes": mirror_axes, "swap_axis": swap_axis}
  if rank == 2:
    return sliding_window(apply, case, **plane, **mirroring, **options)
  if rank != 3 or axis not in (0, 1, 2):
    raise ValueError(
      f"predictor slices: a case of {case.space} voxels and axis {axis}; expected a volume "
      "(z, y, x) and an axis 0, 1 or 2."
    )

  def in_volume(a: int) -> int:
    return a + (a >= axis)

  return sliding_window(
    on_slices(apply, axis),
    case,
    patch=inserted(patch, axis, 1),
    total_stride=inserted(total_stride, axis, 1),
    margin=inserted(margin, axis, 0),
    mirror_axes=tuple(in_volume(a) for a in mirror_axes),
    swap_axis=in_volume(swap_axis % 2),
    **options,
  )
