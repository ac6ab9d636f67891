"""What a training step has to do, by its trace: FLOPs, bytes that products touch, halos."""

import math

import jax
import numpy as np

from jaxseg import compose, defaults
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.config.rehearsal import batch_shapes
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.describe import flops_of

LABELS = LabelSpec(("background", "one", "two"), (0, 1, 2))


def of_step(network: dict, patch, batch: int) -> dict:
  """FLOPs, bytes and parameters of one device's step that is fed so many patches.

  Returns:
    {"flops", "touched_bytes": operands and results of all convolutions and matrix products,
    "parameters", "halos": forward convolutions that reach over a cut of the first axis,
    "halo_bytes": of their slabs, from both sides}.
  """
  config = defaults.config()
  config.network = network
  config.data.patch, config.data.batch = patch, batch
  config = plain(config)
  nets = compose.networks_by_role(config, LABELS.channels)
  method = compose.method(config, nets)
  shapes = batch_shapes((batch, *patch), 1, LABELS)
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(method.init, key, shapes)
  with cpu_gradients(False):
    step = jax.make_jaxpr(method.train_step)(state, shapes, key).jaxpr
    forward = jax.make_jaxpr(method.apply)(state, {"image": shapes["image"]}).jaxpr
  slabs = [size for size in map(_halo, _products(forward)) if size]
  params = jax.tree.leaves(state.learners["network"].params)
  return {
    "flops": flops_of(step),
    "touched_bytes": sum(map(_touched, _products(step))),
    "parameters": sum(leaf.size for leaf in params),
    "halos": len(slabs),
    "halo_bytes": sum(slabs),
  }


def _products(program):
  """The convolutions and matrix products of a traced program, those inside its parts as well."""
  for equation in program.eqns:
    if equation.primitive.name in ("conv_general_dilated", "dot_general"):
      yield equation
    for value in equation.params.values():
      for item in value if isinstance(value, tuple | list) else (value,):
        inner = getattr(item, "jaxpr", item)
        if hasattr(inner, "eqns"):
          yield from _products(inner)


def _touched(equation) -> int:
  each = (*equation.invars, *equation.outvars)
  return sum(math.prod(v.aval.shape) * np.dtype(v.aval.dtype).itemsize for v in each)


def _halo(equation) -> int:
  """Bytes of the slabs that a convolution needs from both neighbours along the first axis."""
  if equation.primitive.name != "conv_general_dilated":
    return 0
  numbers = equation.params["dimension_numbers"]
  image, kernel = (v.aval for v in equation.invars)
  axis, reach = numbers.lhs_spec[2], kernel.shape[numbers.rhs_spec[2]] - 1
  reach *= equation.params["rhs_dilation"][0]
  return reach * image.size // image.shape[axis] * np.dtype(image.dtype).itemsize
