"""Losses: plain functions (logits, target: batch.Target, *, options) -> float32 scalar.

logits (b, *space, k) of any float dtype; all sums are float32; voxels of weight 0 are ignored.
`class_weights` of a loss that has one value per class (Dice, Tversky, ...) multiply these, and the
mean divides by the number of classes, as MONAI's; those of a loss of voxels (cross entropy, focal)
are in sum and divisor, as PyTorch's.
A new loss is a function and a row in `LOSSES`, and rows in tests/losses/test_losses.py. Losses of
images that a network makes are in `IMAGE_LOSSES`.
"""

from jaxseg.losses.boundary import boundary
from jaxseg.losses.boxes import box_emptiness, box_size, box_tightness
from jaxseg.losses.class_frequencies import CLASS_WEIGHTINGS, class_weights
from jaxseg.losses.cldice import cldice
from jaxseg.losses.combination import Loss, resolve_weights, weighted_sum
from jaxseg.losses.combo import combo
from jaxseg.losses.crf import gated_crf
from jaxseg.losses.cross_entropy import cross_entropy, topk_cross_entropy
from jaxseg.losses.deep_supervision import centre_crop_target, deep_supervision
from jaxseg.losses.dice import dice, generalized_dice
from jaxseg.losses.exponential_log import exponential_log
from jaxseg.losses.focal import focal
from jaxseg.losses.hausdorff import hausdorff
from jaxseg.losses.images import IMAGE_LOSSES
from jaxseg.losses.jaccard import jaccard
from jaxseg.losses.lovasz import lovasz_softmax
from jaxseg.losses.normalized_focal import normalized_focal
from jaxseg.losses.regularisers import constant, entropy, size_constraint, total_variation
from jaxseg.losses.surrogate import surrogate
from jaxseg.losses.tversky import focal_tversky, tversky

LOSSES = {
  "boundary": boundary,
  "box_emptiness": box_emptiness,
  "box_size": box_size,
  "box_tightness": box_tightness,
  "cldice": cldice,
  "combo": combo,
  "constant": constant,
  "cross_entropy": cross_entropy,
  "dice": dice,
  "entropy": entropy,
  "exponential_log": exponential_log,
  "focal": focal,
  "focal_tversky": focal_tversky,
  "gated_crf": gated_crf,
  "generalized_dice": generalized_dice,
  "hausdorff": hausdorff,
  "jaccard": jaccard,
  "lovasz_softmax": lovasz_softmax,
  "normalized_focal": normalized_focal,
  "size_constraint": size_constraint,
  "surrogate": surrogate,
  "topk_cross_entropy": topk_cross_entropy,
  "total_variation": total_variation,
  "tversky": tversky,
}

# the maps that a loss finds in Target.maps, besides what its option `weight_map` names
MAPS_NEEDED = {"boundary": ("distance",)}
# the fields of config.data.fields that a loss finds there
FIELDS_NEEDED: dict[str, tuple[str, ...]] = {
  "box_emptiness": ("box",),
  "box_size": ("box",),
  "box_tightness": ("box",),
}

__all__ = [
  "CLASS_WEIGHTINGS",
  "IMAGE_LOSSES",
  "LOSSES",
  "MAPS_NEEDED",
  "Loss",
  "boundary",
  "box_emptiness",
  "box_size",
  "box_tightness",
  "centre_crop_target",
  "class_weights",
  "cldice",
  "combo",
  "constant",
  "cross_entropy",
  "deep_supervision",
  "dice",
  "entropy",
  "exponential_log",
  "focal",
  "focal_tversky",
  "gated_crf",
  "generalized_dice",
  "hausdorff",
  "jaccard",
  "lovasz_softmax",
  "normalized_focal",
  "resolve_weights",
  "size_constraint",
  "surrogate",
  "topk_cross_entropy",
  "total_variation",
  "tversky",
  "weighted_sum",
]
