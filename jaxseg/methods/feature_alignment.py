"""Adversarial alignment: a critic shall not tell from a network's features which domain it sees."""

import optax
from flax import linen as nn

from jaxseg.losses import Loss, gan
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method
from jaxseg.methods import critics, labelled
from jaxseg.methods.stream_critic import stream_critic
from jaxseg.networks.blocks.options import choice
from jaxseg.schedules import Schedule


def feature_alignment(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  features: str = "bottleneck",
  mode: str = "lsgan",
  fool: float | Schedule = 0.01,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """loss(labelled) + fool * GAN(critic(features of the stream without labels)).

  The critic sees features of an inner layer and learns which stream they are of; the network learns
  that those of the stream without labels look like the main one's (Ganin et al., 1505.07818; of
  segmentations Tsai et al., 1802.10349). With the main stream's images translated to the other
  domain beforehand it is what Hoffman et al. do in CyCADA, 1711.03213, but for their semantic
  consistency of the translation. Both streams go through the network as one batch.
  Metrics: `adversarial_loss`, `critic_accuracy` (0.5: it cannot tell them apart).

  Args:
    network: gives the features in its outputs.
    critic: of one input, that has many channels and, of an inner layer, few voxels.
    loss: (logits, Target) -> scalar, of the main stream.
    optimiser, critic_optimiser: Optax transformations.
    features: the output that is aligned: of an inner layer, or "logits", of which the critic sees
      probabilities.
    mode: one of `losses.gan`: "lsgan", "bce", "hinge".
    fool: weight of the adversarial term, or a schedule of it.
    head_decay, freeze_statistics: see `supervised`.
    sigmoid: the labels are regions.
  """
  choice(mode, [name for name in gan.GAMES if name != "wgan"], "feature_alignment: mode")
  if critics.takes_two(critic):
    raise ValueError(
      f"feature_alignment: its critic sees features alone, and {type(critic).__name__} "
      "(config.networks.critic) takes a map and an image; expected a critic of one input, as "
      "patch_critic."
    )

  def show(outputs, image):
    del image
    return (probabilities(outputs, sigmoid=sigmoid) if features == "logits" else outputs,)

  return stream_critic(
    (network, critic),
    labelled.supervision(loss, decay=head_decay),
    (optimiser, critic_optimiser),
    show=show,
    features=features,
    mode=mode,
    fool=fool,
    freeze_statistics=freeze_statistics,
  )
