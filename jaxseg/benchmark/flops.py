"""FLOPs of a step, by its trace and by the compiler; the speed and its share of the peak."""

from typing import Any

import jax

from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.describe import flops_of, recomputes

COUNTED = "convolutions and matrix products of the traced step, gradients included"
TRIPLE = "three times the forward pass, because the step computes activations again"


def measure(program, *, options) -> dict[str, Any]:
  """Model FLOPs don't depend on hardware: gradients written for CPUs and loops count as plain ones.

  What remat computes again counts for the hardware (`traced`), not for the model.
  """
  del options
  state, store, element, seed = program.shapes()
  with cpu_gradients(False):
    batch, key = jax.eval_shape(program.batch, state.step, store, element, seed)
    step = jax.make_jaxpr(program.update)(state, batch, key).jaxpr
    forward = flops_of(jax.make_jaxpr(program.apply)(state, batch).jaxpr)
  again = recomputes(step)
  traced = flops_of(step)
  out = {
    "model_flops_per_step": 3 * forward if again else traced,
    "model_method": TRIPLE if again else COUNTED,
    "forward_flops_per_step": forward,
    "traced_flops_per_step": traced,
  }
  return out


def lines(values) -> list[tuple[str, str]]:
  return [("FLOPs, model", f"{values['model_flops_per_step'] / 1e9:.4g} GFLOP a step")]
