"""What a network is made of and what it costs, without computing anything."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn


class Layer(NamedTuple):
  """One module of a network.

  Attributes:
    path: the module's names from the root, () for the network itself.
    kind: the module's class.
    shape: of its output; of the first one if it has several.
    parameters: of the module and all that it contains.
    leaf: it contains no other module.
  """

  path: tuple[str, ...]
  kind: str
  shape: tuple[int, ...]
  parameters: int
  leaf: bool


class Description(NamedTuple):
  """A network's layers, in the order of their calls, and its costs.

  Attributes:
    layers: the modules that a training step calls, parents before their parts.
    parameters: trainable ones.
    flops: of one inference pass over the whole batch, multiplication and addition counted apart;
      convolutions and matrix products only.
    activation_bytes: what the leaf modules put out in a training pass over the whole batch.
  """

  layers: tuple[Layer, ...]
  parameters: int
  flops: int
  activation_bytes: int


def describe(net: nn.Module, *shapes: tuple[int, ...]) -> Description:
  """Describes a network for inputs of these shapes, (b, *space, channels) each."""
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  variables = jax.eval_shape(lambda key, *x: net.init(key, *x, train=True), _key(), *inputs)
  calls = _calls(net, variables, inputs)
  paths = [path for path, _, _ in calls]
  layers, memory = [], 0
  for path, kind, outputs in calls:
    # an identity stands for a part that is not there
    leaf = kind != "Identity" and not any(other[:-1] == path for other in paths if other)
    layers.append(Layer(path, kind, outputs[0].shape, _parameters(variables, path), leaf))
    memory += sum(a.size * a.dtype.itemsize for a in outputs) if leaf else 0
  return Description(
    tuple(layers), _parameters(variables, ()), flops(net.apply, variables, *inputs), memory
  )


def input_shapes(init, *arguments) -> dict[str, list[tuple[int, ...]]]:
  """What networks are given in a traced init(key, *arguments): name -> the shape of each input.

  A network is known by its attribute `name`.
  """
  shapes: dict[str, list[tuple[int, ...]]] = {}

  def record(call, args, kwargs, context):
    module = context.module
    if context.method_name == "__call__" and not module.path and module.name:
      shapes.setdefault(module.name, [jnp.shape(x) for x in args])
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(init, _key(), *arguments)
  return shapes


def flops(function, *inputs) -> int:
  """Operations of the convolutions and matrix products in `function(*inputs)`.

  Counted from the traced program, so that loops count as often as they run (a `while` of unknown
  length once); of several branches the most expensive one counts. Inputs are arrays or shapes.
  """
  return flops_of(jax.make_jaxpr(function)(*inputs).jaxpr)


def recomputes(jaxpr) -> bool:
  """Whether a traced training step computes activations again (remat) for its gradient."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == "remat2" or equation.primitive.name == "checkpoint":
      return True
    if any(recomputes(inner) for inner in _inner(equation.params)):
      return True
  return False


def _key():
  return jax.eval_shape(lambda: jax.random.key(0))


def _calls(net, variables, inputs):
  """(path, class, outputs) of each module that a training pass calls."""
  seen = {}

  def record(call, args, kwargs, context):
    module = context.module
    if context.method_name != "__call__":
      return call(*args, **kwargs)
    # the place in the order is taken before the call: a parent precedes its parts
    seen.setdefault(module.path, None)
    outputs = call(*args, **kwargs)
    kind = type(module).__name__
    arrays = outputs["logits"] if isinstance(outputs, dict) and "logits" in outputs else outputs
    seen[module.path] = (module.path, kind, jax.tree.leaves(arrays))
    return outputs

  def run(variables, *inputs):
    mutable = [name for name in variables if name != "params"]
    with nn.intercept_methods(record):
      return net.apply(variables, *inputs, train=True, mutable=mutable)

  jax.eval_shape(run, variables, *inputs)
  return list(seen.values())


def _parameters(variables, path) -> int:
  tree = variables.get("params", {})
  for name in path:
    tree = tree.get(name, {})
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def flops_of(jaxpr) -> int:
  """The same of a traced program, of all devices together."""
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    out = equation.outvars[0].aval if equation.outvars else None
    if name == "conv_general_dilated":
      kernel = equation.invars[1].aval.shape
      features = kernel[params["dimension_numbers"].rhs_spec[0]]
      # zeros between the inputs of a transposed convolution cost nothing
      total += 2 * out.size * math.prod(kernel) // features // math.prod(params["lhs_dilation"])
    elif name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      left = equation.invars[0].aval.shape
      total += 2 * out.size * math.prod(left[axis] for axis in contracted)
    elif name == "cond":
      total += max(flops_of(branch.jaxpr) for branch in params["branches"])
    else:
      times = {"scan": _length, "shard_map": _parts}.get(name, lambda params: 1)(params)
      total += times * sum(flops_of(inner) for inner in _inner(params))
  return total


def _length(params) -> int:
  return params["length"]


def _parts(params) -> int:
  """How many devices run the program of a shard_map, each on its own part."""
  names = ("newly_manual_axes", "manual_axes")  # of JAX's versions
  axes = next((params[name] for name in names if name in params), params["mesh"].axis_names)
  return math.prod(params["mesh"].shape[axis] for axis in axes)


def _inner(params):
  """The programs inside an equation: of a jit, a remat, a loop, a custom derivative."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      inner = getattr(item, "jaxpr", item)
      if hasattr(inner, "eqns"):
        yield inner
