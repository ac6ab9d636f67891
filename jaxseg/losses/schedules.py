"""Weights of losses that change during training, named in a config.

A schedule is (step) -> weight, as Optax's are; the constructors here take the length of training
first, because their moments are shares of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from jaxseg import build
from jaxseg.losses.combination import Schedule


def constant(steps: int, *, value: float = 1.0) -> Schedule:
  """The same weight throughout."""
  del steps
  return optax.constant_schedule(value)


def linear(
  steps: int, *, start: float = 0.0, end: float = 1.0, begin: float = 0.0, until: float = 1.0
) -> Schedule:
  """From `start` to `end` in equal steps, between the shares `begin` and `until` of training.

  start=0.01, end=1 is the boundary loss's "increase": 0.01 more in each of 100 epochs (Kervadec
  et al. 2019, 1812.07032).
  """
  first, length = _period(steps, begin, until)
  return optax.linear_schedule(start, end, length, first)


def cosine(
  steps: int, *, start: float = 0.0, end: float = 1.0, begin: float = 0.0, until: float = 1.0
) -> Schedule:
  """As `linear`, along half a cosine: slow at both ends."""
  share = linear(steps, begin=begin, until=until)
  return lambda step: start + (end - start) * (1 - jnp.cos(jnp.pi * share(step))) / 2


def piecewise(
  steps: int, *, at: Sequence[float] = (0.5,), values: Sequence[float] = (0.0, 1.0)
) -> Schedule:
  """values[0] up to the share at[0] of training, then values[1], and so on."""
  at = tuple(at)
  if len(values) != len(at) + 1 or list(at) != sorted(at):
    raise ValueError(
      f"piecewise: {len(values)} values for the moments {at}; expected rising moments and one "
      "value more than moments."
    )
  constants = [optax.constant_schedule(value) for value in values]
  return optax.join_schedules(constants, [round(share * steps) for share in at])


def complement(schedule: Schedule | float) -> Schedule:
  """1 - the weight of another loss: Kervadec's "rebalance", (1 - alpha) L + alpha B."""
  return lambda step: 1 - (schedule(step) if callable(schedule) else schedule)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
  "constant": constant,
  "cosine": cosine,
  "linear": linear,
  "piecewise": piecewise,
}


def resolve(
  spec: Any, *, steps: int, where: str, table: Mapping[str, Callable] = SCHEDULES
) -> float | Schedule:
  """A weight as a config gives it: a number, or dict(name=..., **options) of the table.

  `steps` is the length of training, `where` the config field that messages name.
  """
  if isinstance(spec, Mapping):
    schedule = build.bind(table, spec, where)
    try:
      return schedule(steps)
    except ValueError as error:
      raise ValueError(f"config.{where}: {error}") from error
  if isinstance(spec, bool) or not isinstance(spec, int | float):
    raise ValueError(
      f"config.{where}: {spec!r} is no weight; expected a number, or a schedule such as "
      'dict(name="linear", start=0.01, end=1.0).'
    )
  return spec


def resolve_weights(specs: Mapping[str, Any], *, steps: int) -> dict[str, float | Schedule]:
  """The weights of a config's losses -> numbers and schedules.

  Args:
    specs: loss -> what `resolve` takes; or dict(name="complement", of=LOSS), 1 - the weight of
      another loss.
    steps: length of training.
  """
  out, partners = {}, {}
  table = {**SCHEDULES, "complement": complement}
  for loss, spec in specs.items():
    where = f"loss.{loss}.weight"
    if isinstance(spec, Mapping) and spec.get("name") == "complement":
      build.check_options("complement", [x for x in spec if x != "name"], ("of",), where)
      partners[loss] = spec.get("of")
    else:
      out[loss] = resolve(spec, steps=steps, where=where, table=table)
  for loss, of in partners.items():
    if of not in out:
      raise ValueError(
        f"config.loss.{loss}.weight.of: {of!r} is no loss with a weight of its own"
        f"{build.suggestion(str(of), out)}; choices: {', '.join(sorted(out)) or 'none'}."
      )
    out[loss] = complement(out[of])
  return out


def _period(steps: int, begin: float, until: float) -> tuple[int, int]:
  """First step and length of a part of training; raises ValueError if it is none."""
  if not 0 <= begin < until <= 1:
    raise ValueError(
      f"schedule: begin {begin} and until {until} are no part of training; expected "
      "0 <= begin < until <= 1."
    )
  first = round(begin * steps)
  return first, max(1, round(until * steps) - first)
