"""Deep adversarial networks: what is made of unlabelled images shall pass for that of labelled."""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method
from jaxseg.methods import critics, labelled
from jaxseg.methods.stream_critic import stream_critic
from jaxseg.schedules import Schedule


def dan(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  fool: float | Schedule = 0.1,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Deep adversarial networks with unannotated images (Zhang et al., MICCAI 2017).

  loss(labelled) + fool * BCE(critic(unlabelled), labelled). The critic, an evaluator of quality,
  sees a map of the network's probabilities and its image and learns whether the image was labelled,
  1, or not, 0; labels themselves it never sees, so that nothing is hidden from it where they have
  no weight, which would tell the two apart. It is not asked where the network is applied.

  SSL4MIS has fool=dict(name="gaussian", end=0.1), and Adam (1e-4, b1=0.9, b2=0.99) for the critic,
  which learns there from a second pass of the network after its step; here from the same one.
  Metrics: `adversarial_loss`, `critic_accuracy` (0.5: it cannot tell them apart).

  Args:
    network: the one that predicts.
    critic: takes map and image, as two_input_critic; one of one input gets them side by side.
    loss: (logits, Target) -> scalar, of the labelled.
    optimiser, critic_optimiser: Optax transformations.
    fool: weight of the adversarial term, or a schedule of it.
    head_decay, freeze_statistics: see `supervised`.
    sigmoid: the labels are regions.
  """

  def show(logits, image):
    maps = probabilities(logits.astype(jnp.float32), sigmoid=sigmoid)
    return critics.show(critic, maps, image, inputs="basic")

  return stream_critic(
    (network, critic),
    labelled.supervision(loss, decay=head_decay),
    (optimiser, critic_optimiser),
    show=show,
    fool=fool,
    freeze_statistics=freeze_statistics,
  )
