"""Losses made of losses: weighted sums, with weights that may change during training."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target

Loss = Callable[[Array, Target], jax.Array]
Schedule = Callable[[Array | int], Array | float]


def weighted_sum(losses: Mapping[str, tuple[float | Schedule, Loss]]) -> Loss:
  """The sum of weight * loss over named terms.

  Args:
    losses: name -> (weight, loss). A callable weight is a schedule of the training step
      (`target.step`), as Optax's are.

  Returns:
    (logits, target) -> float32 scalar.
  """
  if not losses:
    raise ValueError("weighted_sum: no loss is given; name at least one, for example 'dice'.")
  for name, term in losses.items():
    if not (isinstance(term, tuple) and len(term) == 2 and callable(term[1])):
      raise ValueError(
        f"weighted_sum: term '{name}' is {term!r}; expected (weight or schedule, loss function)."
      )

  def loss(logits: Array, target: Target) -> jax.Array:
    total = jnp.zeros((), jnp.float32)
    for weight, term in losses.values():
      scale = weight(target.step) if callable(weight) else weight
      total += jnp.asarray(scale, jnp.float32) * term(logits, target)
    return total

  return loss
