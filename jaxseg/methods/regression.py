"""Images from images: a network is trained to come near the image that is there."""

from collections.abc import Sequence

import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.supervised import supervised
from jaxseg.schedules import Schedule


def regression(
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
  """Minimises `loss` between the image that a network makes and the batch's `target_image`.

  `supervised` with the true image in the labels' place. A segmentation network serves: its logits
  are the image, one channel for each of the target's.

  Args:
    network: returns {"image"} or {"logits"}, and "aux" in training if it has heads.
    loss: (image, Target) -> scalar; Target.labels is the true image.
    optimiser and the other options: as for `supervised`.
  """
  inner = supervised(
    network,
    loss,
    optimiser,
    head_decay=head_decay,
    drop_last_head=drop_last_head,
    head_weights=head_weights,
    auxiliary=auxiliary,
    freeze_statistics=freeze_statistics,
  )

  def posed(batch):
    return {**batch, "soft_label": batch["target_image"]}

  def apply(state, batch):
    outputs = dict(inner.apply(state, batch))
    image = outputs.pop("logits", None)
    return outputs if image is None else {**outputs, "image": image}

  return Method(
    inner.init,
    lambda state, batch, key: inner.train_step(state, posed(batch), key),
    apply,
  )
