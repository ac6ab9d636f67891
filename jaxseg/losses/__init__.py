"""Losses: plain functions (logits, target: batch.Target, *, options) -> float32 scalar.

logits (b, *space, k) of any float dtype; all sums are float32; voxels of weight 0 are ignored.
A new loss is a function and a row in `LOSSES`, and rows in tests/losses/test_losses.py.
"""

from jaxseg.losses.combination import Loss, weighted_sum
from jaxseg.losses.likelihood import cross_entropy
from jaxseg.losses.overlap import dice
from jaxseg.losses.supervision import centre_crop_target, deep_supervision

LOSSES = {
  "cross_entropy": cross_entropy,
  "dice": dice,
}

__all__ = [
  "LOSSES",
  "Loss",
  "centre_crop_target",
  "cross_entropy",
  "deep_supervision",
  "dice",
  "weighted_sum",
]
