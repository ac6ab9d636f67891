"""Auto-context: a cascade whose later stages see the earlier one's posterior."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import choice, per_stage
from jaxseg.networks.blocks.posterior import POSTERIORS, entropy, posterior
from jaxseg.networks.inner import common_stride, inner, keeps_size


class PosteriorCascade(nn.Module):
  """Auto-context cascade: stage i + 1 segments concat(image, stage i's posterior).

      image ------------+-----------------------+
        |               |                       |
      stage 1 -> softmax + -> stage 2 -> softmax + -> stage 3 ... -> logits

  Shapes: (b, *space, channels) -> {"logits": the last stage's, (b, *space, classes) float32,
  "stage1", "stage2", ...: the earlier ones', the last stage's features}, and in training "aux": the
  earlier stages' logits, latest first, then the stages' own deep-supervision heads, so that the
  `supervised` method trains every stage (its `head_decay` weighs them). Any size that the stages
  take. By default two of the survey's `Baseline`.

  Attributes:
    classes: number of scores per voxel.
    stages: number of networks, at least two.
    stage: what a stage is, a name of `NETWORKS` or a dict with its options; one for all (each with
      its own parameters), or one per stage. It must keep the size.
    posterior: "softmax"; "sigmoid" for regions that overlap.
    context: what the next stage sees, "posterior" or "logits".
    uncertainty: adds a channel with the posterior's entropy.
    joint: the next stage's loss trains the earlier one too; otherwise the posterior is a constant.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for an unknown stage, fewer than two stages, or a stage that loses a margin.
  Source: auto-context, Tu and Bai, IEEE TPAMI 2010; as a cascade of networks, Wang et al.,
  "Medical Image Segmentation Using Deep Learning: A Survey", arXiv 2009.13120.
  """

  classes: int = 3
  stages: int = 2
  stage: str | Mapping[str, Any] | Sequence[Any] = "unet"
  posterior: str = "softmax"
  context: str = "posterior"
  uncertainty: bool = False
  joint: bool = True
  dtype: str = "float32"

  def __post_init__(self):
    if self.stages < 2:
      raise ValueError(f"posterior_cascade: stages={self.stages}; expected at least two.")
    choice(self.posterior, POSTERIORS, "posterior_cascade: posterior")
    choice(self.context, ("posterior", "logits"), "posterior_cascade: context")
    if self.classes == 1 and self.posterior == "softmax":
      raise ValueError("posterior_cascade: one class has no softmax; set posterior='sigmoid'.")
    for i in range(self.stages):
      self._stage(i, parent=None)
    super().__post_init__()

  def _stage(self, i, **linen):
    spec = per_stage(self.stage, self.stages, "posterior_cascade: stage")[i]
    return inner(spec, self.classes, option="stage", dtype=self.dtype, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features of any stage, per axis."""
    return common_stride([self._stage(i, parent=None) for i in range(self.stages)], rank)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    seen, logits, aux = x, [], []
    for i in range(self.stages):
      stage = keeps_size(self._stage(i, name=f"stage{i + 1}"), x.ndim - 2, "stage")
      outputs = stage(seen, train=train)
      logits.append(outputs["logits"])
      aux = [*outputs.pop("aux", ()), *aux]
      seen = jnp.concatenate([x, self._context(outputs["logits"]).astype(x.dtype)], -1)
    outputs |= {f"stage{i + 1}": logits[i] for i in range(self.stages - 1)}
    return {**outputs, "aux": (*logits[-2::-1], *aux)} if train else outputs

  def _context(self, logits):
    maps = logits if self.context == "logits" else posterior(logits, self.posterior)
    if self.uncertainty:
      maps = jnp.concatenate([maps, entropy(logits, self.posterior)], -1)
    return maps if self.joint else jax.lax.stop_gradient(maps)
