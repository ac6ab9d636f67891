"""The attention maps that a network makes by itself: of gates, and of self-attention."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.explain import layers
from jaxseg.explain.class_activation import on_image
from jaxseg.explain.target import Apply, Attribution
from jaxseg.networks.blocks.resample import interleave
from jaxseg.networks.blocks.resize import resize
from jaxseg.networks.blocks.transformer import SelfAttention
from jaxseg.networks.blocks.windows import windows

# how the keys of a network's outputs begin that are maps of gates; what a shape stream sees
_GATE, _SHAPE = "attention", "edge"


class Tokens(NamedTuple):
  """How the tokens of a self-attention lie in space.

  Attributes:
    space: of the map that they are cut from.
    size: of the windows that see each other; the whole map's where there are none.
    shift: by how many voxels the map is rolled before it is cut.
  """

  space: tuple[int, ...]
  size: tuple[int, ...]
  shift: tuple[int, ...]


def maps(apply: Apply, params, image) -> dict[str, Tokens | None]:
  """The attention maps of a network by name: those of gates (None), and of self-attention.

  Gates are called as in the network's outputs ("attention1" is the finest, "edge" what a shape
  stream takes for edges), self-attention by the layer's path. Raises ValueError for tokens that do
  not lie on a grid.
  """
  found: dict[str, Tokens | None] = {}
  around: list[Tokens] = []

  def record(call, args, kwargs, context):
    module = context.module
    if context.method_name != "__call__":
      return call(*args, **kwargs)
    if hasattr(module, "shifted") and hasattr(module, "window"):
      around.append(_windowed(args[0].shape[1:-1], module.window, module.shifted))
      outputs = call(*args, **kwargs)
      around.pop()
      return outputs
    if isinstance(module, SelfAttention):
      path = "/".join(module.path)
      found[path] = around[-1] if around else _on_grid(args[0].shape, image.shape[1:-1], path)
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    outputs = jax.eval_shape(lambda *arguments: apply(*arguments), params, image)
  gates = sorted(name for name in outputs if name.startswith(_GATE) or name == _SHAPE)
  return {**dict.fromkeys(gates), **found}


def _windowed(space, window, shifted: bool) -> Tokens:
  size = tuple(min(w, n) for w, n in zip(window, space, strict=True))
  shift = [w // 2 if shifted and n > w else 0 for w, n in zip(window, space, strict=True)]
  return Tokens(tuple(space), size, tuple(shift))


def _on_grid(shape, space, path: str) -> Tokens:
  """The grid of patches of one size that has as many as there are tokens."""
  for patch in range(1, max(space) + 1):
    grid = tuple(-(-n // patch) for n in space)
    if math.prod(grid) == shape[-2]:
      return Tokens(grid, grid, (0,) * len(grid))
  raise ValueError(
    f"attention: the {shape[-2]} tokens of '{path}' are no grid of equal patches of {tuple(space)} "
    "voxels; choose another map by --layer."
  )


def attention(apply: Apply, params, image, target, *, layer: str) -> Attribution:
  """One of a network's own attention maps, (b, *space).

  Of a gate its coefficients, the mean of several gates'. Of self-attention how much the tokens that
  hold the target look at each other one: the mean over heads, weighed by the share of the target
  that a token holds. They are of one layer alone, and say where information is taken from, not what
  it is for.

  Args:
    apply, params, image, target: as `gradient`'s.
    layer: a name of `maps`.
  """
  known = maps(apply, params, image)
  if layer not in known:
    raise ValueError(
      f"--layer {layer}: the network has no such attention map, but {', '.join(known) or 'none'}; "
      "choose one of them, or another method."
    )
  tokens = known[layer]
  if tokens is None:
    return Attribution(_gate(apply, params, image, layer))
  weights = layers.features(apply, params, image, target, f"{layer}/weights_dropout").values
  return Attribution(_looked_at(weights, target, tokens, image.shape[1:-1]))


@functools.partial(jax.jit, static_argnames=("apply", "layer"))
def _gate(apply: Apply, params, image, layer: str):
  alpha = apply(params, image)[layer].astype(jnp.float32).mean(-1)
  return on_image(alpha, image.shape[1:-1], image.shape[1:-1])


@functools.partial(jax.jit, static_argnames=("tokens", "space"))
def _looked_at(weights, target, tokens: Tokens, space):
  """(b, windows, heads, n, n) or (b, heads, n, n) weights -> (b, *space)."""
  held = resize_mean(abs(target).sum(-1), tokens.space)
  axes = tuple(range(1, 1 + len(tokens.space)))
  pads = [-n % s for n, s in zip(tokens.space, tokens.size, strict=True)]
  held = jnp.pad(held, [(0, 0), *((0, pad) for pad in pads)])
  held = windows(jnp.roll(held[..., None], [-s for s in tokens.shift], axes), tokens.size)
  rows = held.reshape(len(held), -1, held.shape[-2])
  weights = weights.reshape(len(held), rows.shape[1], -1, rows.shape[2], rows.shape[2]).mean(2)
  seen = jnp.einsum("bwq,bwqk->bwk", rows, weights) / jnp.maximum(held.sum(), 1e-12)
  found = interleave(seen.reshape(held.shape), tokens.size)
  found = jnp.roll(found, tokens.shift, axes)[..., 0]
  found = found[tuple(slice(n) for n in (len(held), *tokens.space))]
  return resize(found[..., None], space)[..., 0]


def resize_mean(values, size) -> jax.Array:
  """(b, *space) -> (b, *size): each coarse voxel the mean of the fine ones that lie in it."""
  for axis, new in enumerate(size, start=1):
    old = values.shape[axis]
    # shares of the fine voxels in the coarse ones, their outer edges the same
    edges = np.arange(new + 1) * (old / new)
    fine = np.arange(old)
    low = np.maximum(edges[:-1, None], fine)
    high = np.minimum(edges[1:, None], fine + 1)
    shares = jnp.asarray(np.maximum(high - low, 0) * (new / old), jnp.float32)
    values = jnp.moveaxis(jnp.tensordot(values, shares, ((axis,), (1,))), -1, axis)
  return values
