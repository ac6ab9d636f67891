"""Supervised training: one network, one optimiser, one loss; deep supervision if it has heads."""

from collections.abc import Sequence

import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.labelled import fitting, supervision
from jaxseg.schedules import Schedule


def supervised(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  head_weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  freeze_statistics: bool = False,
) -> Method:
  """Minimises `loss` between a network's logits and the labels.

  Args:
    network: returns {"logits" (or "image"), and "aux" in training if it has deep-supervision
      heads}.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    head_decay: weight of each coarser head relative to the next finer one (1909.07330's recipe
      as nnU-Net uses it: 1/2).
    drop_last_head: gives the coarsest head no weight, as nnU-Net does.
    head_weights: fixed weights instead, the finest head's first.
    auxiliary: factor of all heads but the finest, or a schedule of it.
    freeze_statistics: normalises with the running statistics and leaves them as they are, for
      training that starts from another run's weights.
  """
  heads = supervision(
    loss,
    decay=head_decay,
    drop_last=drop_last_head,
    weights=head_weights,
    auxiliary=auxiliary,
  )

  return fitting(
    network,
    lambda outputs, target: (heads(outputs, target), {}),
    optimiser,
    freeze_statistics=freeze_statistics,
  )
