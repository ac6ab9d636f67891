"""Entropy minimisation: a network is to be sure of images without labels, too."""

import optax
from flax import linen as nn

from jaxseg import samples
from jaxseg.losses import Loss
from jaxseg.losses.consistency import entropy_map, largest_entropy
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method
from jaxseg.methods.labelled import regularised, supervision
from jaxseg.networks.blocks.options import choice
from jaxseg.schedules import Schedule


def entropy_minimisation(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  weight: float | Schedule = 0.1,
  images: str = "unlabelled",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """loss + weight * mean over voxels of -sum_k p ln p / ln k.

  Grandvalet and Bengio 2004; for segmentation Vu et al. 2018 (ADVENT, 1811.12833), whose weight is
  0.001. SSL4MIS takes the entropy of "all" images, with dict(name="gaussian", end=0.1) as weight.
  Of regions it is the mean of the channels' binary entropies / ln 2.

  Args:
    network: returns {"logits"}, and "aux" in training if it has deep-supervision heads.
    loss: of the labelled images; (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    weight: of the entropy, which lies between 0 and 1. One that is large from the start makes a
      network sure of what it doesn't know yet.
    images: whose entropy: the "unlabelled" ones', or that of "all".
    head_decay, drop_last_head: see `supervised`.
    sigmoid: the labels are regions.

  Metrics: supervised_loss, entropy, weight.
  """
  choice(images, ("unlabelled", "all"), "entropy_minimisation: images")

  def term(known, rest, batch, step):
    del batch, step
    logits = rest["logits"]
    if images == "all":
      logits = samples.joined(known["logits"], logits)
    unsure = entropy_map(probabilities(logits, sigmoid=sigmoid), sigmoid=sigmoid)
    entropy = unsure.mean() / largest_entropy(logits.shape[-1], sigmoid=sigmoid)
    return entropy, {"entropy": entropy}

  heads = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  return regularised(network, heads, optimiser, term=term, weight=weight)
