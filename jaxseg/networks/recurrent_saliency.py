"""Coarse-to-fine segmentation by a recurrent saliency transformation (RSTN); fixed points."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import samples
from jaxseg.networks.blocks import Conv, choice, per_axis
from jaxseg.networks.blocks.posterior import (
  POSTERIORS,
  background_logits,
  foreground,
  foreground_maps,
  posterior,
)
from jaxseg.networks.blocks.regions import (
  bounding_box,
  crop,
  inside,
  keep_largest,
  paste,
  window,
)
from jaxseg.networks.inner import common_stride, inner, keeps_size

MODES = ("saliency", "fixed_point")


class RecurrentSaliency(nn.Module):
  """RSTN: a coarse network finds the organ, a fine one segments it again and again.

      P0 = coarse(image);   P(t+1) = fine(crop(image * g(Pt)))     g: the saliency transformation

  The crop is the box of Pt > `threshold` plus a margin; an empty mask gives the whole image, so
  that an organ which the coarse network missed can still be found. The image is zeroed outside the
  box, and a window of the static size `crop` is cut around it. In the result, voxels outside the
  box are background; voxels of a box that is larger than the window keep the previous scores where
  the window doesn't reach.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "coarse", "round1",
  "round2", ...: each round's logits}. In training `rounds` rounds, and "aux": the earlier logits,
  latest first, the coarse ones last (the paper weighs coarse and fine equally: `head_decay=1`).
  Otherwise up to `max_rounds`; a sample stops where two masks in a row agree with a Dice of `stop`,
  and "rounds" (b,) int32 tells how many it took.

  Attributes:
    classes: number of scores per voxel.
    coarse, fine: names of `NETWORKS` or dicts with the network's options; they must keep the size.
      All rounds share the fine one. Their deep supervision is not used.
    mode: "saliency" (RSTN: the image is weighed by g(P)) or "fixed_point" (the image is only
      cropped, by a hard mask).
    crop: voxels of the window that the fine network sees, one for all or one per axis; None: the
      whole image (still zeroed outside the box).
    box_margin: voxels around the box, one for all or one per axis.
    threshold: foreground probability of the mask.
    largest_component: the box is that of the mask's largest connected component, so that far
      false positives do not widen it (not for several organs or lesions).
    rounds, max_rounds, stop: see above.
    joint: the fine network's loss trains the coarse one too, through g.
    posterior: "softmax"; "sigmoid" for regions that overlap.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for unknown names, no rounds, or an inner network that loses a margin.
  Source: Yu et al., arXiv 1709.04518 (g as in the release, 198808xc/OrganSegRSTN: 3x3, ReLU, 5x5,
  biases 1; its last kernel starts at zero here, so that g is exactly 1); the fixed-point model:
  Zhou et al., arXiv 1612.08230.
  """

  classes: int = 3
  coarse: str | Mapping[str, Any] = "unet"
  fine: str | Mapping[str, Any] = "unet"
  mode: str = "saliency"
  crop: int | Sequence[int] | None = None
  box_margin: int | Sequence[int] = 20
  threshold: float = 0.5
  largest_component: bool = False
  rounds: int = 1
  max_rounds: int = 10
  stop: float = 0.95
  joint: bool = True
  posterior: str = "softmax"
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.mode, MODES, "recurrent_saliency: mode")
    choice(self.posterior, POSTERIORS, "recurrent_saliency: posterior")
    if min(self.rounds, self.max_rounds) < 1:
      raise ValueError(
        f"recurrent_saliency: rounds={self.rounds} and max_rounds={self.max_rounds}; expected at "
        "least one of each."
      )
    if self.classes == 1 and self.posterior == "softmax":
      raise ValueError("recurrent_saliency: one class has no softmax; set posterior='sigmoid'.")
    for option in ("coarse", "fine"):
      self._inner(option, parent=None)
    super().__post_init__()

  def _inner(self, option, **linen):
    spec = getattr(self, option)
    return inner(spec, self.classes, option=option, dtype=self.dtype, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features of both networks, per axis."""
    return common_stride([self._inner(o, parent=None) for o in ("coarse", "fine")], rank)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank = x.ndim - 2
    coarse = keeps_size(self._inner("coarse", name="coarse"), rank, "coarse")
    refine = Refinement(
      fine=keeps_size(self._inner("fine", name="fine"), rank, "fine"),
      mode=self.mode,
      crop=x.shape[1:-1] if self.crop is None else per_axis(self.crop, rank, "crop"),
      box_margin=self.box_margin,
      threshold=self.threshold,
      largest_component=self.largest_component,
      joint=self.joint,
      posterior=self.posterior,
      dtype=self.dtype,
      name="refine",
    )
    logits = [coarse(x, train=train)["logits"]]
    for _ in range(self.rounds if train else 1):
      logits.append(refine(x, logits[-1], train=train))
    outputs = {"coarse": logits[0]}
    if not train and self.max_rounds > 1 and not self.is_initializing():
      more, outputs["rounds"] = self._until_stable(refine, x, *logits)
      logits += list(more)
    outputs |= {f"round{i}": scores for i, scores in enumerate(logits) if i > 0}
    outputs["logits"] = logits[-1]
    return {**outputs, "aux": tuple(logits[-2::-1])} if train else outputs

  def _until_stable(self, refine, x, before, logits):
    """Rounds 2 to `max_rounds`: logits (rounds, b, *space, classes), and rounds taken (b,).

    A scan, not a while loop, so that inference has gradients too (saliency maps); once every sample
    is stable, nothing more is computed.
    """

    def stable(a, b):
      a, b = (refine.mask(scores).reshape(len(x), -1) for scores in (a, b))
      total = a.sum(1) + b.sum(1)
      return jnp.where(total > 0, 2 * (a & b).sum(1) / jnp.maximum(total, 1), 1.0) >= self.stop

    def again(refine, carry, _):
      logits, done = carry
      if samples.together_on_cpus():
        # whether all are stable would be asked of all devices in every turn
        new = refine(x, logits, train=False)
      else:
        new = nn.cond(
          done.all(),
          lambda refine, logits: logits,
          lambda refine, logits: refine(x, logits, train=False),
          refine,
          logits,
        )
      new = jnp.where(done.reshape((-1,) + (1,) * (x.ndim - 1)), logits, new)
      return (new, done | stable(logits, new)), (new, ~done)

    stats = ("batch_stats", "counts")
    moving = any(self.is_mutable_collection(name) for name in stats)
    scan = nn.scan(
      again,
      variable_broadcast="params" if moving else ("params", *stats),
      variable_carry=stats if moving else False,
      split_rngs={"params": False, "dropout": True},
      length=self.max_rounds - 1,
    )
    _, (more, active) = scan(refine, (logits, stable(before, logits)), None)
    return more, 1 + active.sum(0, dtype=jnp.int32)


class Refinement(nn.Module):
  """One round: image (b, *space, channels), scores (b, *space, classes) -> new scores."""

  fine: nn.Module
  mode: str
  crop: tuple[int, ...]
  box_margin: int | Sequence[int]
  threshold: float
  joint: bool
  posterior: str
  dtype: str
  largest_component: bool = False

  def mask(self, logits):
    """What counts as organ: (b, *space) bool."""
    return foreground(posterior(logits, self.posterior), self.posterior) > self.threshold

  @nn.compact
  def __call__(self, x, logits, *, train: bool = False):
    space = x.shape[1:-1]
    if not self.joint:
      logits = jax.lax.stop_gradient(logits)
    mask = self.mask(logits)
    box = bounding_box(
      keep_largest(mask) if self.largest_component else mask, margin=self.box_margin
    )
    here = inside(box, space)[..., None]
    if self.mode == "saliency":
      maps = foreground_maps(posterior(logits, self.posterior), self.posterior)
      x = x * SaliencyTransformation(x.shape[-1], self.dtype, name="saliency")(maps)
    start = window(box, self.crop, space)
    seen = crop(jnp.where(here, x, jnp.zeros((), x.dtype)), start, self.crop)
    scores = paste(self.fine(seen, train=train)["logits"], start, logits)
    return jnp.where(here, scores, background_logits(scores, self.posterior))


class SaliencyTransformation(nn.Module):
  """g: probability maps (b, *space, k) -> weights of the image (b, *space, channels), from 1 on."""

  channels: int
  dtype: str

  @nn.compact
  def __call__(self, maps):
    # "+ 1" is a bias that starts at 1
    x = nn.relu(Conv(maps.shape[-1], 3, dtype=self.dtype, name="conv1")(maps) + 1)
    zeros = nn.initializers.zeros
    return Conv(self.channels, 5, kernel_init=zeros, dtype=self.dtype, name="conv2")(x) + 1
