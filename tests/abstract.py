"""Shapes without arithmetic: what a module gives and holds for an input of some shape."""

import functools

import jax
import jax.numpy as jnp


def shapes(module, *shape, **options):
  """(outputs, variables) of a module for a float32 input of that shape."""
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  run = functools.partial(module.init_with_output, jax.random.key(0), **options)
  return jax.eval_shape(run, x)


def traced(module, *shape, **options):
  """(parameters, outputs) of a module for a float32 input of that shape."""
  outputs, variables = shapes(module, *shape, **options)
  return variables["params"], outputs


def trained_shapes(net, *shape):
  """(variables, outputs) of a network in training, for a float32 input of that shape."""

  def run(x):
    variables = net.init(jax.random.key(0), x, train=True)
    mutable = [name for name in variables if name != "params"]
    rngs = {"dropout": jax.random.key(1)}
    return variables, net.apply(variables, x, train=True, rngs=rngs, mutable=mutable)[0]

  return jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))


def count(tree) -> int:
  """Number of parameters in a tree of arrays or shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
