"""Which parameters of a network a gradient reaches."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from abstract import shapes
from platforms import lower_traced

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, deep_supervision


class Learning(NamedTuple):
  """The gradient of a network's loss on two random images, traced once.

  Attributes:
    gradient: of the parameters: (slopes, outputs), compiled at its first call.
    params: drawn at random.
    outputs: their shapes.
  """

  gradient: Callable
  params: Mapping
  outputs: Mapping


def learning(net, *size) -> Learning:
  """Of a network that is trained on images of that size, with two channels."""
  space = tuple(n - 2 * m for n, m in zip(size, net.margin(len(size)), strict=True))
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, *size, 2)).astype(np.float32)
  labels = rng.integers(0, net.classes, size=(2, *space))
  variables = {name: drawn(tree) for name, tree in shapes(net, *x.shape, train=True)[1].items()}
  mutable = [name for name in variables if name != "params"]

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply(
        {**variables, "params": params},
        x,
        train=True,
        rngs={"dropout": jax.random.key(1)},
        mutable=mutable,
      )
      heads = deep_supervision(LOSSES["cross_entropy"])
      return heads([out["logits"], *out.get("aux", ())], Target(labels)), out

    return jax.grad(loss, has_aux=True)(params)

  params = variables["params"]
  return Learning(gradient, params, jax.eval_shape(gradient, params)[1])


def silent_parameters(of: Learning) -> list[str]:
  """Parameters without gradient, "module/.../name".

  Asserts that the gradient of the others, and of these, is finite, and that its program, which
  gives all outputs, becomes one for every platform.
  """
  lower_traced(of.gradient.trace(of.params))
  silent = []
  for path, leaf in jax.tree_util.tree_leaves_with_path(of.gradient(of.params)[0]):
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(leaf).all(), where
    if np.abs(leaf).max() == 0:
      silent.append(where)
  return silent


def drawn(tree):
  """Values for a tree of shapes, by numpy (nothing to compile), that keep the size of a signal."""
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    if path[-1].key.startswith(("scale", "var")):
      return rng.uniform(0.8, 1.2, leaf.shape).astype(np.float32)
    fan = max(1, leaf.size // leaf.shape[-1]) if leaf.shape else 1
    return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, tree)
