"""Metrics: how good a segmentation is, per class.

A metric is a function and a row in `METRICS`. Its positional arguments say what it looks at,
by name: counts (from `confusion`), prediction, label, weight, spacing, classes; its options are
keyword-only. It returns one value per class, NaN where it is undefined.
"""

from jaxseg.metrics.overlap import confusion, dice, iou
from jaxseg.metrics.scoring import score

METRICS = {
  "dice": dice,
  "iou": iou,
}

__all__ = ["METRICS", "confusion", "dice", "iou", "score"]
