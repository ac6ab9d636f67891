"""Dilation instead of strides: where an encoder stops getting coarser, and by what it pays."""

from collections.abc import Sequence

OUTPUT_STRIDES = (8, 16, 32)


def dilated(
  strides: Sequence[int], output_stride: int | None, encoder: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Strides of an encoder's features that stop at `output_stride`, and their layers' dilations.

  A stage that would be coarser keeps the resolution, and each factor that it leaves out becomes one
  of dilation, of its own layers and of all that follow. None leaves the strides as they are. Raises
  ValueError for an `output_stride` that is none of 8, 16 and 32.
  Source: Yu et al., "Dilated residual networks", arXiv 1705.09914.
  """
  if output_stride is None:
    return tuple(strides), (1,) * len(strides)
  if output_stride not in OUTPUT_STRIDES:
    raise ValueError(f"{encoder}: output_stride={output_stride}; expected 8, 16 or 32.")
  stopped = tuple(min(s, output_stride) for s in strides)
  return stopped, tuple(s // t for s, t in zip(strides, stopped, strict=True))
