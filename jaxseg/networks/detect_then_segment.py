"""Detection, then segmentation: boxes of the organ, and a segmenter that sees nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import choice, per_axis
from jaxseg.networks.blocks.centre_detector import CentreDetector, detect
from jaxseg.networks.blocks.posterior import POSTERIORS, background_logits
from jaxseg.networks.blocks.regions import crop_resized, paste_resized, whole_box
from jaxseg.networks.inner import inner, keeps_size


class DetectThenSegment(nn.Module):
  """An anchor-free detector proposes boxes; each is cropped to one size, segmented, pasted back.

      image -> detector -> heat map, offsets -> peaks, NMS, best `detections` boxes
        |                                                        |
        +-------------- RoI crop to `roi` voxels <---------------+
                              |
                          segmenter -> paste: logits (background outside the boxes)

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "heat": logits of the
  centres (b, *cells, 1), "offsets": (b, *cells, 2 * rank), "boxes": what was segmented
  (b, k, 2 * rank), "scores": of the detections (b, detections)}, and in training "aux": the
  segmenter's deep-supervision heads, pasted likewise. An image without a detection above
  `threshold` is segmented as a whole. Where boxes overlap, the best one counts.

  The boxes pass no gradient: train with the method `detected`, which gives the true boxes as the
  second input (b, k, 2 * rank; a box of no size is none) and supervises the detector.

  Attributes:
    classes: number of scores per voxel.
    segmenter: a name of `NETWORKS` or a dict with the network's options; it must keep the size.
    roi: voxels per side of a resampled crop, one for all or one per axis.
    detections: boxes per image.
    threshold: least probability of a detection.
    overlap: greatest intersection over union of two detections.
    candidates: peaks that take part in the non-maximum suppression.
    context: share of a box's size that is added on each of its sides.
    detector_widths, detector_level, detector_features: see `blocks.centre_detector`.
    norm, norm_groups, activation: the detector's.
    posterior: "softmax"; "sigmoid" for regions that overlap.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for options that contradict each other.
  Source: the scheme, Tang et al., "A two-stage approach for automatic liver segmentation with
  Faster R-CNN and DeepLab", 2020; the detector, CenterNet, Zhou et al., arXiv 1904.07850; the crop,
  Mask R-CNN, arXiv 1703.06870.
  """

  classes: int = 3
  segmenter: str | Mapping[str, Any] = "unet"
  roi: int | Sequence[int] = 64
  detections: int = 1
  threshold: float = 0.3
  overlap: float = 0.5
  candidates: int = 64
  context: float = 0.2
  detector_widths: Sequence[int] = (16, 32, 64, 128)
  detector_level: int = 2
  detector_features: int = 64
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  posterior: str = "softmax"
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.posterior, POSTERIORS, "detect_then_segment: posterior")
    if not 0 <= self.detector_level < len(self.detector_widths):
      raise ValueError(
        f"detect_then_segment: detector_level={self.detector_level}; {len(self.detector_widths)} "
        f"detector_widths have the levels 0 to {len(self.detector_widths) - 1}."
      )
    if not 1 <= self.detections <= self.candidates:
      raise ValueError(
        f"detect_then_segment: detections={self.detections}; expected 1 to "
        f"candidates={self.candidates}."
      )
    self._segmenter(parent=None)
    super().__post_init__()

  def _segmenter(self, **linen):
    return inner(self.segmenter, self.classes, option="segmenter", dtype=self.dtype, **linen)

  @property
  def stride(self) -> int:
    """Voxels per cell of the heat map, along each axis."""
    return 2**self.detector_level

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the detector's coarsest stage; the crops have a size of their own."""
    return (2 ** (len(self.detector_widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, boxes=None, *, train: bool = False):
    space, rank = x.shape[1:-1], x.ndim - 2
    heat, offsets = CentreDetector(
      self.detector_widths,
      self.detector_level,
      self.detector_features,
      self.norm,
      self.norm_groups,
      self.activation,
      self.dtype,
      name="detector",
    )(x)
    found, scores = detect(
      *jax.lax.stop_gradient((heat, offsets)),
      space,
      stride=self.stride,
      limit=self.detections,
      candidates=self.candidates,
      threshold=self.threshold,
      overlap=self.overlap,
    )
    boxes = self._regions(found if boxes is None else boxes, space)

    roi = per_axis(self.roi, rank, "detect_then_segment: roi")
    crops = crop_resized(x, boxes, roi)
    segmenter = keeps_size(self._segmenter(name="segmenter"), rank, "segmenter")
    outputs = segmenter(crops.reshape(-1, *roi, x.shape[-1]), train=train)

    def back(logits):
      logits = logits.reshape(*boxes.shape[:2], *logits.shape[1:])
      like = jax.ShapeDtypeStruct((len(x), *space, self.classes), jnp.float32)
      return paste_resized(logits, boxes, background_logits(like, self.posterior))

    told = {"heat": heat, "offsets": offsets, "boxes": boxes, "scores": scores}
    aux = {"aux": tuple(back(a) for a in outputs["aux"])} if "aux" in outputs else {}
    return {"logits": back(outputs["logits"]), **told, **aux}

  def _regions(self, boxes, space):
    """Boxes with their context, inside the image; the whole image first where there is none."""
    boxes = boxes.astype(jnp.float32)
    low, high = jnp.split(boxes, 2, -1)
    there = (high > low).all(-1, keepdims=True)
    more = self.context * (high - low)
    size = jnp.asarray([[space]], jnp.float32)
    grown = [jnp.maximum(low - more, 0), jnp.minimum(high + more, size)]
    boxes = jnp.where(there, jnp.concatenate(grown, -1), 0)
    none = ~there.any(1, keepdims=True)
    first = (jnp.arange(boxes.shape[1]) == 0)[None, :, None]
    return jnp.where(none & first, whole_box(space, jnp.float32)[None, None], boxes)
