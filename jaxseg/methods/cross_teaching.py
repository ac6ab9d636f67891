"""A convolutional network and a transformer that teach each other."""

import functools

import optax
from flax import linen as nn

from jaxseg.losses import Loss, dice
from jaxseg.method import Method
from jaxseg.methods.cross_pseudo import NAMES, crosswise
from jaxseg.networks.blocks.options import choice
from jaxseg.schedules import Schedule


def cross_teaching(
  network: nn.Module,
  other: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  other_optimiser: optax.GradientTransformation,
  pseudo_loss: Loss | None = None,
  *,
  consistency: float | Schedule = 0.1,
  predict_with: str = "network",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Cross teaching: `cross_pseudo` between two architectures, which see images differently.

  A convolution looks around, attention at the whole image; the paper's pair is the U-Net, which
  predicts, and Swin-UNet, of which only training has need. Any two networks do that give logits of
  the same size.

  Args:
    network, other: the two; so are their learners called.
    loss: of labelled images, with deep supervision if there are heads.
    optimiser, other_optimiser: of each; the second one defaults to the first.
    pseudo_loss: between one's logits and the other's labels, Dice if None.
    consistency: its weight; the paper's ramps up to 0.1,
      `dict(name="gaussian", end=0.1)`.
    predict_with: "network" or "other".
    head_decay, drop_last_head: see `supervised`.
    sigmoid: k channels of their own (regions).

  Metrics: as of `cross_pseudo`.
  Source: Luo et al. 2021, 2112.04894.
  """
  return crosswise(
    (network, other),
    loss,
    (optimiser, other_optimiser),
    pseudo_loss or functools.partial(dice, batch=True, squared=True, sigmoid=sigmoid),
    consistency=consistency,
    cutmix=0.0,
    area=(0.0, 0.0),
    predict_with=choice(predict_with, NAMES, "cross_teaching: predict_with"),
    head_decay=head_decay,
    drop_last_head=drop_last_head,
    sigmoid=sigmoid,
  )
