"""Metrics: how good a segmentation is, per class.

A metric is a function and a row in `METRICS`. Its positional arguments say what it looks at,
by name: counts (from `confusion`), masks (from `class_masks`), surfaces (from
`surface_distances`), prediction, label, weight, spacing, classes, probabilities, instances; its
options are keyword-only. It returns one value per class, NaN where it is undefined. `score` makes
the inputs, each once.
"""

from jaxseg.metrics.boundary_iou import boundary_iou
from jaxseg.metrics.calibration import auc, average_precision, expected_calibration_error
from jaxseg.metrics.centreline import cldice
from jaxseg.metrics.class_masks import Masks, class_masks
from jaxseg.metrics.electron_microscopy import v_info, v_rand
from jaxseg.metrics.image import IMAGE_METRICS
from jaxseg.metrics.instances import (
  lesion_f1,
  lesion_precision,
  lesion_sensitivity,
  panoptic_quality,
  recognition_quality,
  segmentation_quality,
)
from jaxseg.metrics.overlap import (
  accuracy,
  confusion,
  dice,
  f_beta,
  iou,
  mcc,
  precision,
  sensitivity,
  specificity,
  volume_similarity,
)
from jaxseg.metrics.scoring import needs_probabilities, score
from jaxseg.metrics.surface import (
  SurfaceDistances,
  assd,
  hausdorff,
  hd95,
  masd,
  nsd,
  surface_distances,
)

METRICS = {
  "dice": dice,
  "iou": iou,
  "sensitivity": sensitivity,
  "specificity": specificity,
  "precision": precision,
  "accuracy": accuracy,
  "f_beta": f_beta,
  "mcc": mcc,
  "volume_similarity": volume_similarity,
  "hausdorff": hausdorff,
  "hd95": hd95,
  "assd": assd,
  "masd": masd,
  "nsd": nsd,
  "boundary_iou": boundary_iou,
  "cldice": cldice,
  "lesion_f1": lesion_f1,
  "lesion_sensitivity": lesion_sensitivity,
  "lesion_precision": lesion_precision,
  "panoptic_quality": panoptic_quality,
  "segmentation_quality": segmentation_quality,
  "recognition_quality": recognition_quality,
  "v_rand": v_rand,
  "v_info": v_info,
  "expected_calibration_error": expected_calibration_error,
  "auc": auc,
  "average_precision": average_precision,
}

# of the others more is better
LESS_IS_BETTER = frozenset(
  {"hausdorff", "hd95", "assd", "masd", "expected_calibration_error", "mae", "mse"}
)

__all__ = [
  "IMAGE_METRICS",
  "LESS_IS_BETTER",
  "METRICS",
  "Masks",
  "SurfaceDistances",
  "accuracy",
  "assd",
  "auc",
  "average_precision",
  "boundary_iou",
  "class_masks",
  "cldice",
  "confusion",
  "dice",
  "expected_calibration_error",
  "f_beta",
  "hausdorff",
  "hd95",
  "iou",
  "lesion_f1",
  "lesion_precision",
  "lesion_sensitivity",
  "masd",
  "mcc",
  "needs_probabilities",
  "nsd",
  "panoptic_quality",
  "precision",
  "recognition_quality",
  "score",
  "segmentation_quality",
  "sensitivity",
  "specificity",
  "surface_distances",
  "v_info",
  "v_rand",
  "volume_similarity",
]
