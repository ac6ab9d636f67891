"""Which batch norms use and keep their running statistics while a step is traced."""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax


class _Kept(NamedTuple):
  networks: Sequence[tuple[Any, Callable[[str], float]]]
  step: jax.Array


_KEPT = contextvars.ContextVar("kept statistics", default=None)
_UNTIL = contextvars.ContextVar("until when a network's are kept", default=None)


@contextlib.contextmanager
def keeping(
  networks: Sequence[tuple[Any, Callable[[str], float]]], step: jax.Array
) -> Iterator[None]:
  """Inside, norms of these networks are frozen until the step that is told for their scale.

  Args:
    networks: (the module that `of_network` is given, path of a parameter -> step, 0 for never
      frozen, infinity for always).
    step: the current one.
  """
  with _set(_KEPT, _Kept(networks, step)):
    yield


@contextlib.contextmanager
def of_network(network: Any) -> Iterator[None]:
  """Around the call of a network, whose norms are meant."""
  kept = _KEPT.get()
  untils = [until for of, until in kept.networks if of is network] if kept else []
  with _set(_UNTIL, untils[0] if untils else None):
    yield


def is_frozen(path: Sequence[str]) -> bool | jax.Array:
  """Whether the norm at a path of the network is frozen now; a number of the program if it ends."""
  until = _UNTIL.get()
  if until is None:
    return False
  step = until("/".join((*path, "scale")))
  if step in (0, math.inf):
    return step == math.inf
  return _KEPT.get().step < step


@contextlib.contextmanager
def _set(variable: contextvars.ContextVar, value: Any) -> Iterator[None]:
  token = variable.set(value)
  try:
    yield
  finally:
    variable.reset(token)
