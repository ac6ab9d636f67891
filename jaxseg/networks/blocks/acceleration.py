"""Gradients written out for CPUs, behind one switch."""

import contextlib
import contextvars

import jax

_FORCED = contextvars.ContextVar("cpu_gradients", default=None)


@contextlib.contextmanager
def cpu_gradients(on: bool | None):
  """Networks traced inside use what is written for CPUs everywhere (True), or nowhere (False).

  None is the default: where a program is compiled for CPU, and only there; on GPU and TPU it was
  never measured. A function that is compiled already stays what it was.
  """
  token = _FORCED.set(on)
  try:
    yield
  finally:
    _FORCED.reset(token)


def by_platform(*args, cpu, plain):
  """`cpu(*args)` or `plain(*args)`, as `cpu_gradients` and the platform have it.

  Both are traced, the choice falls when the program is lowered.
  """
  forced = _FORCED.get()
  if forced is not None:
    return (cpu if forced else plain)(*args)
  return jax.lax.platform_dependent(*args, cpu=cpu, default=plain)
