"""A network's layers by path: what they put out, and its gradient; no network is edited."""

import difflib
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.batch import Array
from jaxseg.explain.target import Apply, score

INPUT, OUTPUT = "input", "output"


class Layer(NamedTuple):
  """A module of a network, as it is called in prediction.

  Attributes:
    kind: its class.
    shape: of its (first) output; in a loop that of one step.
    kernel: shape of its own kernel, () without.
    weights: whether it, or what it contains, has any.
    outputs: how many arrays it puts out.
    uses: how often the program calls it, a loop's body counted once.
  """

  kind: str
  shape: tuple[int, ...]
  kernel: tuple[int, ...]
  weights: bool
  outputs: int = 1
  uses: int = 1


class Features(NamedTuple):
  """A layer's values (b, *space, channels) and the gradient of the score with respect to them.

  Of a layer that is applied several times: the values' mean, and the gradients' sum.
  """

  values: Array
  gradients: Array


def layers(apply: Apply, params, image) -> dict[str, Layer]:
  """The layers by path ("encoder1/layer2/conv"), in the order in which they are done."""
  found: dict[str, Layer] = {}

  def record(call, args, kwargs, context):
    outputs, module = call(*args, **kwargs), context.module
    leaves = jax.tree.leaves(outputs)
    if context.method_name != "__call__" or not module.path or not leaves:
      return outputs
    path, own = "/".join(module.path), module.variables.get("params", {})
    kernel = own.get("kernel")
    uses = found.pop(path).uses + 1 if path in found else 1
    shape = () if kernel is None else kernel.shape
    found[path] = Layer(type(module).__name__, leaves[0].shape, shape, bool(own), len(leaves), uses)
    return outputs

  with nn.intercept_methods(record):
    # a function of its own: what was traced before would not be traced again
    jax.eval_shape(lambda *arguments: apply(*arguments), params, image)
  return found


def check(layer: str, known: dict[str, Layer], rank: int, classes: int) -> None:
  """Raises ValueError for a layer that is not there, with the nearest names, or has no space."""
  if layer not in known:
    # the last word counts more than the way to it
    near = difflib.get_close_matches(layer, known, n=3, cutoff=0.4)
    near += [path for path in known if path.endswith(layer.split("/")[-1])][:3]
    listed = ", ".join(list(dict.fromkeys(near))[:4] or stages(known, rank, classes))
    raise ValueError(
      f"--layer {layer}: the network has no such layer; nearest: {listed}; --layers lists all."
    )
  shape = known[layer].shape
  if len(shape) != rank + 2:
    raise ValueError(
      f"--layer {layer}: puts out {shape}, which is no map of {rank} axes and channels; "
      f"choose one as {', '.join(stages(known, rank, classes))}."
    )


def stages(known: dict[str, Layer], rank: int, classes: int) -> tuple[str, ...]:
  """The deepest encoder stage and the last decoder stage, by path.

  Of the parts that a network is made of, up to what gives the scores and single convolutions
  aside: the last with the fewest voxels, and the last. A part with several outputs, or whose output
  is no map, is seen as its own parts, and so is a network that is wrapped by another.
  """
  parts = _parts(known, "", rank)
  while len(parts) <= 3:
    inner = [p for part in parts for p in (_parts(known, f"{part}/", rank) or [part])]
    if inner == parts:
      break
    parts = inner
  order = list(known)
  last = [path for path, of in known.items() if of.kernel and of.shape[-1] == classes]
  if last:
    at = order.index(last[-1])
    parts = [part for part in parts if order.index(part) < at] or parts
  if not parts:
    return ()
  voxels = [math.prod(known[part].shape[1:-1]) for part in parts]
  deepest = max(i for i, n in enumerate(voxels) if n == min(voxels))
  return tuple(dict.fromkeys((parts[deepest], parts[-1])))


def _parts(known: dict[str, Layer], prefix: str, rank: int) -> list[str]:
  """The layers below a path that give one map and are no single convolution, in their order."""
  found = []
  for path, of in known.items():
    if not path.startswith(prefix) or "/" in path[len(prefix) :]:
      continue
    if of.outputs > 1 or len(of.shape) != rank + 2:
      found += _parts(known, f"{path}/", rank)
    elif of.weights and not of.kernel:
      found.append(path)
  return sorted(found, key=list(known).index)


def head(known: dict[str, Layer], classes: int, layer: str = "") -> str:
  """The 1x1 convolution that gives the scores, the last one if none is asked for.

  Raises ValueError where there is none, or another layer is asked for.
  """
  found = [path for path, of in known.items() if _is_head(of) and of.shape[-1] == classes]
  if not found:
    raise ValueError(
      "cam: needs a network whose scores are a 1x1 convolution of its last features; use grad_cam."
    )
  if layer and layer not in found:
    raise ValueError(
      f"--layer {layer}: is no 1x1 convolution that gives {classes} scores, which cam needs; "
      f"choices: {', '.join(found)}."
    )
  return layer or found[-1]


def _is_head(layer: Layer) -> bool:
  return len(layer.kernel) > 2 and all(n == 1 for n in layer.kernel[:-2])


@jax.custom_vjp
def _tap(x, probe):
  """x; the "gradient" of the probe is x itself, its gradient, and 1 for each use.

  So both leave through the backward pass, which `nn.remat` and `nn.scan` know how to go through.
  """
  del probe
  return x


def _tap_forward(x, probe):
  del probe
  return x, x


def _tap_backward(x, gradient):
  pair = jnp.stack([x.astype(jnp.float32), gradient.astype(jnp.float32)])
  return gradient, {"pair": pair, "uses": jnp.ones((), jnp.float32)}


_tap.defvjp(_tap_forward, _tap_backward)


def with_probe(apply: Apply, layer: str, probe: dict[str, Any], side: str = OUTPUT) -> Apply:
  """`apply` with a probe at a layer's (first) output, or input."""

  def intercept(call, args, kwargs, context):
    here = context.method_name == "__call__" and "/".join(context.module.path) == layer
    if here and side == INPUT:
      return call(_tap(args[0], probe), *args[1:], **kwargs)
    outputs = call(*args, **kwargs)
    if not here:
      return outputs
    first, *others = leaves = jax.tree.leaves(outputs)
    del leaves
    return jax.tree.unflatten(jax.tree.structure(outputs), [_tap(first, probe), *others])

  def run(params, image):
    with nn.intercept_methods(intercept):
      return apply(params, image)

  return run


def _shape_of(apply: Apply, layer: str, side: str, params, image) -> tuple[int, ...]:
  shapes = []

  def record(call, args, kwargs, context):
    outputs = call(*args, **kwargs)
    if context.method_name == "__call__" and "/".join(context.module.path) == layer:
      shapes.append(jnp.shape(args[0]) if side == INPUT else jax.tree.leaves(outputs)[0].shape)
    return outputs

  with nn.intercept_methods(record):
    jax.eval_shape(lambda *arguments: apply(*arguments), params, image)
  if not shapes:
    raise ValueError(f"--layer {layer}: the network has no such layer; --layers lists all.")
  if len(set(shapes)) > 1:
    raise ValueError(
      f"--layer {layer}: is applied to maps of several sizes ({shapes[0]}, {shapes[1]}, ...); "
      "choose a layer around it."
    )
  return shapes[0]


@functools.partial(jax.jit, static_argnames=("apply", "layer", "side"))
def features(apply: Apply, params, image, target, layer: str, side: str = OUTPUT) -> Features:
  """A layer's values and the score's gradient there, by one forward and one backward pass.

  Args:
    apply, params, image, target: as every method's.
    layer: its path.
    side: "output" of the layer, or its "input".
  """
  shape = _shape_of(apply, layer, side, params, image)
  probe = {"pair": jnp.zeros((2, *shape), jnp.float32), "uses": jnp.zeros((), jnp.float32)}

  def explained(probe):
    return score(with_probe(apply, layer, probe, side)(params, image), target)

  taken = jax.grad(explained)(probe)
  values, gradients = taken["pair"]
  return Features(values / jnp.maximum(taken["uses"], 1.0), gradients)
