"""What methods share that learn from labels and from more than labels."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Batch, Target
from jaxseg.losses import Loss, centre_crop_target, deep_supervision
from jaxseg.schedules import Schedule

# the stream of cases without labels
UNLABELLED = "unlabelled"


def supervision(
  loss: Loss,
  *,
  decay: float = 0.5,
  drop_last: bool = False,
  weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
) -> Callable[[dict[str, Array], Target], jax.Array]:
  """(a network's outputs in training, Target) -> the loss of all its heads.

  Args:
    loss: (logits, Target) -> scalar.
    decay, drop_last, weights, auxiliary: see `deep_supervision`.
  """
  heads = deep_supervision(
    loss, decay=decay, drop_last=drop_last, weights=weights, auxiliary=auxiliary
  )

  def of(outputs: dict[str, Array], target: Target) -> jax.Array:
    finest = outputs["logits"] if "logits" in outputs else outputs["image"]
    # valid convolutions give less than the image's grid
    fitted = centre_crop_target(target, finest.shape[1:-1])
    return heads([finest, *outputs.get("aux", ())], fitted)

  return of


def images(batch: Batch, unlabelled: Batch | None = None) -> Array:
  """The labelled images, then those of the stream without labels, as one batch.

  `unlabelled` is another view of that stream.
  """
  rest = batch[UNLABELLED] if unlabelled is None else unlabelled
  return jnp.concatenate([batch["image"], rest["image"]])


def parts(outputs: dict[str, Array], batch: Batch) -> tuple[dict[str, Array], dict[str, Array]]:
  """The outputs of `images`: of those with labels, of those without."""
  count = len(batch["image"])
  return (
    jax.tree.map(lambda x: x[:count], outputs),
    jax.tree.map(lambda x: x[count:], outputs),
  )


def value(option: float | Schedule, step) -> Array | float:
  """An option that is a number or a schedule, at a step."""
  return option(step) if callable(option) else option
