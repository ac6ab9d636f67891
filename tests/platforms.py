"""Programs for CPUs, CUDA GPUs and TPUs, on a machine that has none."""

import jax

PLATFORMS = ("cpu", "cuda", "tpu")


def lower(function, *arguments) -> jax.stages.Lowered:
  """One program in StableHLO for all platforms, each operation by the rules of each of them."""
  return lower_traced(
    (function if hasattr(function, "trace") else jax.jit(function)).trace(*arguments)
  )


def lower_traced(traced: jax.stages.Traced) -> jax.stages.Lowered:
  return traced.lower(lowering_platforms=PLATFORMS)
