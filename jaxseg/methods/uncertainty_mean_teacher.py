"""Uncertainty-aware mean teacher: only where the teacher is sure."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import samples
from jaxseg.augment.views import View
from jaxseg.losses import Loss
from jaxseg.losses.consistency import entropy_map, largest_entropy
from jaxseg.method import Method
from jaxseg.methods import mixtures
from jaxseg.methods.labelled import supervision, value
from jaxseg.methods.mean_teacher import with_teacher
from jaxseg.schedules import Schedule


def uncertainty_mean_teacher(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  strong: View | None = None,
  weak: View | None = None,
  *,
  passes: int = 8,
  threshold: float | Schedule = 0.75,
  consistency: float | Schedule = 0.1,
  decay: float = 0.99,
  noise: float = 0.1,
  noise_limit: float = 0.2,
  cutmix: float = 0.0,
  area: tuple[float, float] = (0.5, 0.5),
  average_statistics: bool = False,
  predict_with: str = "student",
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  sigmoid: bool = False,
) -> Method:
  """`mean_teacher` on the voxels whose uncertainty is below threshold * ln k.

  Yu et al. 2019 (UA-MT, 1907.07034). The uncertainty is the entropy of the mean probabilities of
  some Monte Carlo passes of the teacher, each with noise and dropout of its own; a network without
  dropout has the noise alone. UA-MT's threshold is dict(name="gaussian", start=0.75, end=1.0).

  We differ from the authors' script, written for two classes: ln k is the largest entropy of k
  classes, where SSL4MIS keeps ln 2 for four; and the mean of the squares is over voxels and
  classes, where it divides by 2 whatever k is: its consistency of 0.1 is one of 0.1 * k / 2 here.

  Args:
    passes: number of Monte Carlo passes.
    threshold: share of the largest entropy from which on a voxel doesn't count.
    strong, weak and the other options: see `mean_teacher`.

  Metrics: those of `mean_teacher`, and certain (share of the voxels that count).
  """
  if passes < 1:
    raise ValueError(f"uncertainty_mean_teacher: passes={passes}; expected at least one.")

  def certainty(teach, images, key, step):
    # one after the other: their activations never lie in memory together
    each = samples.in_turn(
      lambda _, key: ((), teach(images, key)), (), jax.random.split(key, passes)
    )[1]
    unsure = entropy_map(each.mean(0), sigmoid=sigmoid)
    limit = value(threshold, step) * largest_entropy(each.shape[-1], sigmoid=sigmoid)
    return (unsure < limit).astype(jnp.float32)

  return with_teacher(
    supervision(loss, decay=head_decay, drop_last=drop_last_head),
    network,
    optimiser,
    (strong, weak),
    consistency=consistency,
    decay=decay,
    noise=(noise, noise_limit),
    mixing=mixtures.optional("uncertainty_mean_teacher", cutmix, area),
    average_statistics=average_statistics,
    predict_with=predict_with,
    sigmoid=sigmoid,
    certainty=certainty,
  )
