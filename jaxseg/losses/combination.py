"""Losses made of losses: weighted sums, with weights that may change during training."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxseg import build
from jaxseg.batch import Array, Target
from jaxseg.losses import blocks
from jaxseg.schedules import SCHEDULES, Schedule, resolve

Loss = Callable[[Array, Target], jax.Array]


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
    values = blocks.jointly([term for _, term in losses.values()], logits, target)
    for (weight, _), value in zip(losses.values(), values, strict=True):
      scale = weight(target.step) if callable(weight) else weight
      total += jnp.asarray(scale, jnp.float32) * value
    return total

  return loss


def complement(schedule: Schedule | float) -> Schedule:
  """1 - the weight of another loss: Kervadec's "rebalance", (1 - alpha) L + alpha B (1812.07032).

  In a config dict(name="complement", of=LOSS), as
  `loss.dice.weight=dict(name="complement", of="boundary")`; the other loss has a number or a
  schedule of its own, whose values should lie between 0 and 1.
  """
  return lambda step: 1 - (schedule(step) if callable(schedule) else schedule)


def resolve_weights(
  specs: Mapping[str, Any], *, steps: int, field: str = "loss"
) -> dict[str, float | Schedule]:
  """The weights of a config's losses -> numbers and schedules.

  Args:
    specs: loss -> what `schedules.resolve` takes; or dict(name="complement", of=LOSS).
    steps: length of training.
    field: that of the config which holds the losses, for messages.
  """
  out, partners = {}, {}
  table = {**SCHEDULES, "complement": complement}
  for loss, spec in specs.items():
    where = f"{field}.{loss}.weight"
    if isinstance(spec, Mapping) and spec.get("name") == "complement":
      build.check_options("complement", [x for x in spec if x != "name"], ("of",), where)
      partners[loss] = spec.get("of")
    else:
      out[loss] = resolve(spec, steps=steps, where=where, table=table)
  for loss, of in partners.items():
    if of not in out:
      raise ValueError(
        f"config.{field}.{loss}.weight.of: {of!r} is no loss with a weight of its own"
        f"{build.suggestion(str(of), out)}; choices: {', '.join(sorted(out)) or 'none'}."
      )
    out[loss] = complement(out[of])
  return out
