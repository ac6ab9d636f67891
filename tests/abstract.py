"""Shapes without arithmetic: what a module gives and holds for an input of some shape."""

import functools

import jax
import jax.numpy as jnp


def shapes(module, *shape, **options):
  """(outputs, variables) of a module for a float32 input of that shape."""
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  run = functools.partial(module.init_with_output, jax.random.key(0), **options)
  return jax.eval_shape(run, x)


def count(tree) -> int:
  """Number of parameters in a tree of arrays or shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
