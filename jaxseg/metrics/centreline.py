"""The overlap of tubes along their centrelines."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jaxseg.metrics.class_masks import Masks, per_class


def cldice(masks: Sequence[Masks | None], *, empty: float = math.nan) -> np.ndarray:
  """clDice of hard masks: connectivity of tubes (Shit et al. 2021, 2003.07311), (classes,).

  The harmonic mean of the share of the prediction's centreline that lies in the label, and of the
  label's that lies in the prediction. Centrelines are scikit-image's `skeletonize`, as in the
  paper's code: Zhang and Suen's in 2D, Lee's in 3D. Of an object of even width Lee's may leave
  nothing (scikit-image's issue 3757): it is its own centreline then.

  Args:
    masks: from `class_masks`; ignored voxels belong to neither mask.
    empty: value where both masks are empty; an empty one beside a full one scores 0.
  """

  def measure(pair: Masks) -> float:
    p, t = _centreline(pair.prediction), _centreline(pair.label)
    if not (p.any() and t.any()):
      return 0.0 if p.any() or t.any() else empty
    precision, sensitivity = pair.label[p].mean(), pair.prediction[t].mean()
    total = precision + sensitivity
    return 2 * precision * sensitivity / total if total else 0.0

  return per_class(masks, measure)


def _centreline(mask: np.ndarray) -> np.ndarray:
  # here, because the metrics else load with jax's own requirements
  from skimage.morphology import skeletonize

  line = skeletonize(mask)
  objects, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
  thinned = np.zeros(count + 1, bool)
  thinned[0] = True  # what is outside
  thinned[objects[line]] = True
  return line | ~thinned[objects]
