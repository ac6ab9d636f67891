"""What a network says of images that nobody has labelled, for others, or for itself, to learn."""

import jax
from flax import linen as nn

from jaxseg.batch import Array, Target
from jaxseg.losses import Loss
from jaxseg.losses.consistency import pseudo_labels
from jaxseg.losses.distillation import centred
from jaxseg.method import Learner, forward


def opinion(net: nn.Module, current: Learner, images: Array) -> jax.Array:
  """Logits of images, without noise and without a gradient; the learner stays as it is.

  Batch norm uses the statistics of these images, as in the passes that learn: the running ones lag
  behind the weights, and pseudo-labels would be those of a network that nobody trains.
  """
  params = jax.lax.stop_gradient(current.params)
  outputs, _ = forward(net, params, current.stats, images, update_stats=True, train=False)
  return outputs["logits"]


def agreement(
  loss: Loss,
  logits: Array,
  opinion: Array,
  images: Array,
  step,
  *,
  threshold: Array | float = 0.0,
  sigmoid: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """(loss of logits against the labels that another output's logits say, share of voxels kept).

  A voxel is kept where the other output is sure enough, see `pseudo_labels`; the others are
  ignored. `images` are what the logits are of. Raises ValueError where the two outputs are of
  different grids.
  """
  if logits.shape != opinion.shape:
    raise ValueError(
      f"two networks that teach each other give logits of shapes {tuple(logits.shape)} and "
      f"{tuple(opinion.shape)}; expected the same: choose networks that lose the same margin."
    )
  labels, weight = pseudo_labels(opinion, threshold=threshold, sigmoid=sigmoid)
  # valid convolutions give less than the image's grid
  target = Target(labels, weight, step=step, image=centred(images, logits.shape[1:-1]))
  return loss(logits, target), weight.mean()
