"""Pseudo-labels: a network learns from what it says itself of images without labels."""

import optax
from flax import linen as nn

from jaxseg.batch import Target
from jaxseg.losses import Loss, consistency
from jaxseg.losses.distillation import centred
from jaxseg.method import Method
from jaxseg.methods.labelled import UNLABELLED, regularised, supervision, value
from jaxseg.schedules import Schedule


def pseudo_label(
  network: nn.Module,
  loss: Loss,
  pseudo_loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  weight: float | Schedule = 1.0,
  threshold: float | Schedule = 0.0,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """loss + weight * share kept * pseudo_loss of the network's own labels of unlabelled images.

  Lee 2013 ("Pseudo-Label", ICML workshop): the most probable class, of the same pass that learns
  from it. A voxel whose label is less probable than `threshold` is left out; with the share that
  is kept as a factor, the term is a mean over all voxels, as FixMatch has it (2001.07685): the
  few voxels that a young network is sure of don't count as much as all of them.

  Args:
    network: returns {"logits"}, and "aux" in training if it has deep-supervision heads.
    loss: of the labelled images; (logits, Target) -> scalar.
    pseudo_loss: of the unlabelled ones; `loss` where the config has no other.
    optimiser: an Optax transformation.
    weight: Lee's is 0 for the first sixth of training, then rises to 3: dict(name="linear", end=3,
      begin=1 / 6, until=1).
    threshold: the least probability of a label that counts; of regions see
      `consistency.pseudo_labels`.
    head_decay, drop_last_head: see `supervised`.
    sigmoid: the labels are regions.

  Metrics: supervised_loss, pseudo_loss, kept (share of the unlabelled voxels), weight.
  """
  heads = {"decay": head_decay, "drop_last": drop_last_head}
  pseudo = supervision(pseudo_loss, **heads)

  def term(known, rest, batch, step):
    del known
    limit = value(threshold, step)
    labels, counts = consistency.pseudo_labels(rest["logits"], threshold=limit, sigmoid=sigmoid)
    unlabelled, kept = batch[UNLABELLED], counts.mean()
    # valid convolutions give less than the image's grid
    image = centred(unlabelled["image"], counts.shape[1:])
    spacing = unlabelled.get("spacing")
    of_kept = pseudo(rest, Target(labels, counts, step=step, spacing=spacing, image=image))
    return kept * of_kept, {"pseudo_loss": of_kept, "kept": kept}

  return regularised(network, supervision(loss, **heads), optimiser, term=term, weight=weight)
