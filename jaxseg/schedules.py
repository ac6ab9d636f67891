"""Values that change during training: one table of shapes, for whatever a config lets change.

Learning rates, weights of losses, factors of a rate by path and options of methods name the same
shapes. A schedule is (step) -> value, as Optax's are. The constructors here take the length of
training first, because moments are shares of it, and then the `peak` that all values are relative
to: the learning rate, 1 for everything else.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import optax

from jaxseg import build

Schedule = Callable[[Any], Any]


def constant(steps: int, peak: float = 1.0, *, value: float = 1.0) -> Schedule:
  """The same value throughout."""
  del steps
  return optax.constant_schedule(value * peak)


def linear(
  steps: int,
  peak: float = 1.0,
  *,
  start: float = 0.0,
  end: float = 1.0,
  begin: float = 0.0,
  until: float = 1.0,
) -> Schedule:
  """From `start` to `end` in equal steps, between the shares `begin` and `until` of training.

  start=0.01, end=1 is the boundary loss's "increase": 0.01 more in each of 100 epochs (Kervadec
  et al. 2019, 1812.07032).
  """
  first, length = _period(steps, begin, until)
  return optax.linear_schedule(start * peak, end * peak, length, first)


def cosine(
  steps: int,
  peak: float = 1.0,
  *,
  start: float = 0.0,
  end: float = 1.0,
  begin: float = 0.0,
  until: float = 1.0,
) -> Schedule:
  """As `linear`, along half a cosine: slow at both ends (1608.03983)."""
  first, length = _period(steps, begin, until)
  if start:
    fall = optax.cosine_decay_schedule(start * peak, length, alpha=end / start)
    return (lambda step: fall(jnp.maximum(step - first, 0))) if first else fall
  share = optax.linear_schedule(0.0, 1.0, length, first)
  return lambda step: end * peak * (1 - jnp.cos(jnp.pi * share(step))) / 2


def polynomial(
  steps: int,
  peak: float = 1.0,
  *,
  power: float = 0.9,
  start: float = 0.0,
  end: float = 1.0,
  begin: float = 0.0,
  until: float = 1.0,
) -> Schedule:
  """end + (start - end) * (1 - share) ** power, with the share of the way from begin to until.

  From 1 to 0, as a learning rate has it, (1 - step / steps) ** power: nnU-Net's (1904.08128).
  """
  first, length = _period(steps, begin, until)
  fall = optax.polynomial_schedule(start * peak, end * peak, power, length, first)
  # at the end a power's base is 0, or where XLA divides by a reciprocal a little less: NaN
  return lambda step: jnp.where(step < first + length, fall(step), end * peak)


def exponential(
  steps: int, peak: float = 1.0, *, start: float = 1.0, factor: float = 0.01
) -> Schedule:
  """start * factor ** (step / steps)."""
  return optax.exponential_decay(start * peak, steps, factor)


def gaussian(
  steps: int,
  peak: float = 1.0,
  *,
  start: float = 0.0,
  end: float = 1.0,
  begin: float = 0.0,
  until: float = 1.0,
  sharpness: float = 5.0,
  zero_before: float = 0.0,
) -> Schedule:
  """start + (end - start) * exp(-sharpness * (1 - share)^2), with the share of the way.

  The ramp of what a network learns from itself: small for long, exp(-5) of its end at the start
  (Laine and Aila 2016, 1610.02242), or 0 before the share `zero_before` of training.
  """
  first, length = _period(steps, begin, until)
  share = optax.linear_schedule(0.0, 1.0, length, first)
  extent, silent = end - start, round(zero_before * steps)

  def ramp(step):
    value = (start + extent * jnp.exp(-sharpness * (1 - share(step)) ** 2)) * peak
    return jnp.where(step < silent, 0.0, value)

  return ramp


def piecewise(
  steps: int,
  peak: float = 1.0,
  *,
  at: Sequence[float] = (0.5,),
  values: Sequence[float] | None = None,
  factor: float | None = None,
) -> Schedule:
  """values[0] up to the share at[0] of training, then values[1], and so on.

  Without `values` it is 1 at first, and `factor` (0.1) times what it was from each moment on.
  """
  at = tuple(at)
  if values is not None and factor is not None:
    raise ValueError(
      f"piecewise: values={tuple(values)} and factor={factor} exclude each other; leave one out."
    )
  if list(at) != sorted(at) or (values is not None and len(values) != len(at) + 1):
    shown = "" if values is None else f"{len(values)} values for "
    raise ValueError(
      f"piecewise: {shown}the moments {at}; expected rising moments and one value more than "
      "moments."
    )
  moments = [round(share * steps) for share in at]
  if values is None:
    lower = 0.1 if factor is None else factor
    return optax.piecewise_constant_schedule(peak, dict.fromkeys(moments, lower))
  return optax.join_schedules([optax.constant_schedule(v * peak) for v in values], moments)


def warmup_cosine(
  steps: int, peak: float = 1.0, *, warmup: float = 0.05, start: float = 0.0, end: float = 0.0
) -> Schedule:
  """From `start` to 1 over the share `warmup` of training, then along half a cosine to `end`."""
  rise = max(1, round(warmup * steps))
  # a warm-up that lasts to the end is followed by a fall that no step sees
  fallen = max(steps, rise + 1)
  return optax.warmup_cosine_decay_schedule(start * peak, peak, rise, fallen, end * peak)


def warmup_polynomial(
  steps: int,
  peak: float = 1.0,
  *,
  warmup: float = 0.05,
  start: float = 0.0,
  power: float = 0.9,
  end: float = 0.0,
) -> Schedule:
  """From `start` to 1 over the share `warmup` of training, then as `polynomial` to `end`."""
  rise = max(1, round(warmup * steps))
  fall = polynomial(max(1, steps - rise), peak, power=power, start=1.0, end=end)
  return optax.join_schedules([optax.linear_schedule(start * peak, peak, rise), fall], [rise])


SCHEDULES: dict[str, Callable[..., Schedule]] = {
  "constant": constant,
  "cosine": cosine,
  "exponential": exponential,
  "gaussian": gaussian,
  "linear": linear,
  "piecewise": piecewise,
  "polynomial": polynomial,
  "warmup_cosine": warmup_cosine,
  "warmup_polynomial": warmup_polynomial,
}

# the same shapes with the defaults of a learning rate, which falls
_FALL = {"start": 1.0, "end": 0.0}
RATES: dict[str, Callable[..., Schedule]] = {
  **SCHEDULES,
  "cosine": functools.partial(cosine, **_FALL),
  "linear": functools.partial(linear, **_FALL),
  "piecewise": functools.partial(piecewise, at=(0.5, 0.75)),
  "polynomial": functools.partial(polynomial, **_FALL),
}


def rate(spec: Mapping | None, peak: float, *, steps: int, where: str) -> Schedule:
  """A learning rate as a config gives its schedule, relative to its peak; None is constant."""
  shape = build.bind(RATES, spec or {"name": "constant"}, where)
  with build.in_field(where):
    return shape(steps, peak)


def resolve(
  spec: Any, *, steps: int, where: str, table: Mapping[str, Callable] = SCHEDULES
) -> float | Schedule:
  """A value as a config gives it: a number, or dict(name=..., **options) of the table.

  `steps` is the length of training, `where` the config field that messages name.
  """
  if isinstance(spec, Mapping):
    shape = build.bind(table, spec, where)
    with build.in_field(where):
      return shape(steps)
  if isinstance(spec, bool) or not isinstance(spec, int | float):
    raise ValueError(
      f"config.{where}: {spec!r} is neither a number nor a schedule; expected one, as 0.5 or "
      'dict(name="linear", start=0.01, end=1.0).'
    )
  return spec


def _period(steps: int, begin: float, until: float) -> tuple[int, int]:
  """First step and length of a part of training; raises ValueError if it is none."""
  if not 0 <= begin < until <= 1:
    raise ValueError(
      f"schedule: begin {begin} and until {until} are no part of training; expected "
      "0 <= begin < until <= 1."
    )
  first = round(begin * steps)
  return first, max(1, round(until * steps) - first)
