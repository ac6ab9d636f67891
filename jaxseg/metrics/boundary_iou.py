"""Overlap near the boundary only."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jaxseg.metrics.checks import check_spacing
from jaxseg.metrics.class_masks import Masks, per_class
from jaxseg.metrics.surface import surface, within

_DISTANCES = ("euclidean", "chessboard")


def boundary_iou(
  masks: Sequence[Masks | None],
  spacing: Sequence[float],
  *,
  width: float | None = None,
  fraction: float = 0.02,
  distance: str = "euclidean",
  empty: float = math.nan,
) -> np.ndarray:
  """Boundary IoU: IoU of the two masks' rims (Cheng et al. 2021, 2103.16562), (classes,).

  The rim is what lies in the mask within `width` of the nearest voxel outside of it (beyond the
  image counts as outside, ignored voxels do not), at least the mask's surface. A wide object's
  IoU hardly sees its boundary; this does, at every size.

  Args:
    masks: from `class_masks`.
    spacing: (rank,) millimetres.
    width: of the rim; None takes `fraction` of the whole image's diagonal, 2 % as in the paper.
    distance: "euclidean", width in millimetres; "chessboard", width in whole voxels, whatever the
      spacing: the erosions of the paper's code.
    empty: value where both masks are empty; an empty one beside a full one scores 0.
  """
  if distance not in _DISTANCES:
    raise ValueError(
      f"boundary_iou: distance is '{distance}'; expected one of {', '.join(_DISTANCES)}."
    )
  for name, value in (("width", width), ("fraction", fraction)):
    if value is not None and not value > 0:
      raise ValueError(f"boundary_iou: {name} is {value}; expected a positive number.")

  def measure(pair: Masks) -> float:
    scale = check_spacing("boundary_iou", spacing, len(pair.space))
    if distance == "chessboard":
      scale = np.ones_like(scale)
    limit = fraction * float(np.linalg.norm(pair.space * scale)) if width is None else width
    p, t = (_rim(m, pair.ignored, limit, scale, distance) for m in (pair.prediction, pair.label))
    union = (p | t).sum()
    return (p & t).sum() / union if union else empty

  return per_class(masks, measure)


def _rim(mask, ignored, limit: float, spacing: np.ndarray, distance: str) -> np.ndarray:
  inside = mask if ignored is None else mask | ignored
  if distance == "chessboard":
    depth = ndimage.distance_transform_cdt(inside, "chessboard")
    limit = max(round(limit), 1)
  else:
    depth = ndimage.distance_transform_edt(inside, spacing)
  return (mask & within(depth, limit)) | surface(mask, ignored)
