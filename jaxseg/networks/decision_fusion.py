"""Decision-level fusion: a network for each modality, whose outputs are put together."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import choice
from jaxseg.networks.blocks.modalities import of_channel, present
from jaxseg.networks.blocks.posterior import POSTERIORS
from jaxseg.networks.blocks.votes import vote
from jaxseg.networks.inner import inner

FUSIONS = ("average", "vote", "learned")


class DecisionFusion(nn.Module):
  """Decision level: each channel has a network of its own, and their logits are fused.

  Shapes: (b, *space, modalities) -> {"logits": (b, *space, classes) float32, "member1",
  "member2", ...: those of each modality's network}, and in training, if `own`, "aux": the members'
  logits once more, so that the `supervised` method trains each to do without the others (its
  `head_decay` weighs them: 1.0 all alike). Members whose modality is missing
  (`blocks.modalities`) are left out of the fusion, and learn nothing. With one channel it is the
  member itself. Auxiliary heads of the members are not used.

  Attributes:
    classes: number of scores per voxel.
    member: what a member is, a name of `NETWORKS` or a dict with its options; of all alike, each
      with its own parameters.
    fusion: "average" of the logits, which serves softmax and sigmoid alike (for softmax it is the
      normalised geometric mean of the probabilities); "vote", see `blocks.votes`; "learned", an
      average whose weights are learned, one per modality and class, positive and with the sum 1
      over the modalities that are there; it starts as the average.
    posterior: "softmax"; "sigmoid" for regions that overlap. It matters to "vote" alone.
    own: in training each member answers for itself as well.
    dtype: of the members, unless their own options say so.

  Raises ValueError for unknown options, and for what a member refuses.
  """

  classes: int = 3
  member: str | Mapping[str, Any] = "unet"
  fusion: str = "average"
  posterior: str = "softmax"
  own: bool = True
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.fusion, FUSIONS, "decision_fusion: fusion")
    choice(self.posterior, POSTERIORS, "decision_fusion: posterior")
    self._member(parent=None)
    super().__post_init__()

  def _member(self, **linen):
    return inner(self.member, self.classes, option="member", dtype=self.dtype, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """That of a member."""
    return self._member(parent=None).total_stride(rank)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: a member's."""
    return self._member(parent=None).margin(rank)

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    there, number = present(x), x.shape[-1]
    logits = [
      self._member(name=f"member{m + 1}")(x[..., m : m + 1], train=False)["logits"]
      for m in range(number)
    ]
    who = [of_channel(there, m, logits[m]) for m in range(number)]
    # what a member makes of nothing may be anything
    logits = [jnp.where(w > 0, of, 0.0) for of, w in zip(logits, who, strict=True)]
    fused = self._fused(logits, who, there)
    outputs = {"logits": fused, **{f"member{m + 1}": of for m, of in enumerate(logits)}}
    if not (train and self.own and number > 1):
      return outputs
    # those that are not there have nothing to answer for
    rest = jax.lax.stop_gradient(fused)
    aux = tuple(jnp.where(w > 0, of, rest) for of, w in zip(logits, who, strict=True))
    return {**outputs, "aux": aux}

  def _fused(self, logits, who, there):
    if self.fusion == "learned":
      shape = (len(logits), self.classes)
      scores = self.param("weights", nn.initializers.zeros, shape, jnp.float32)
      scores = jnp.where(there[..., None] > 0, scores[None], -jnp.inf)
      weights = jax.nn.softmax(scores, 1)
      space = (1,) * (logits[0].ndim - 2)
      return sum(
        of * weights[:, m].reshape(-1, *space, self.classes) for m, of in enumerate(logits)
      )
    if self.fusion == "vote" and len(logits) > 1:
      return vote(logits, who, sigmoid=self.posterior == "sigmoid")
    return sum(logits) / sum(who)
