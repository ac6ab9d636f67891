"""The overlap of tubes along their centrelines."""

import math
from collections.abc import Sequence

import numpy as np

from jaxseg.metrics.masks import Masks, per_class


def cldice(masks: Sequence[Masks | None], *, empty: float = math.nan) -> np.ndarray:
  """clDice of hard masks: connectivity of tubes (Shit et al. 2021, 2003.07311), (classes,).

  The harmonic mean of the share of the prediction's centreline that lies in the label, and of the
  label's that lies in the prediction. Centrelines are scikit-image's `skeletonize`, as in the
  paper's code: Zhang and Suen's in 2D, Lee's in 3D.

  Args:
    masks: from `class_masks`; ignored voxels belong to neither mask.
    empty: value where both masks are empty; an empty one beside a full one scores 0.
  """
  # here, because the metrics else load with jax's own requirements
  from skimage.morphology import skeletonize

  def measure(pair: Masks) -> float:
    p, t = skeletonize(pair.prediction), skeletonize(pair.label)
    if not (p.any() and t.any()):
      return 0.0 if p.any() or t.any() else empty
    precision, sensitivity = pair.label[p].mean(), pair.prediction[t].mean()
    total = precision + sensitivity
    return 2 * precision * sensitivity / total if total else 0.0

  return per_class(masks, measure)
