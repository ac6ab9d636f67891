"""Gradients of what weights make of an architecture: they learn below, it learns above.

Objectives are (weights, architecture) -> scalar. Source: Liu et al., DARTS, 1806.09055.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

PyTree = Any
Objective = Callable[[PyTree, PyTree], jax.Array]
EXACT, FINITE = "exact", "finite"
# the paper's size of a step of weights, for differences
_STEP = 0.01


def descended(objective: Objective, weights: PyTree, architecture: PyTree, rate) -> PyTree:
  """The weights after one step of plain gradient descent: w - rate * dL/dw."""
  gradients = jax.grad(objective)(weights, architecture)
  return jax.tree.map(lambda w, g: w - rate * g, weights, gradients)


def unrolled(train: Objective, judge: Objective, weights: PyTree, architecture: PyTree, rate):
  """judge(w - rate * d train / dw, a), to be differentiated by a: through the step, exactly."""
  return judge(descended(train, weights, architecture, rate), architecture)


def by_differences(train: Objective, judge: Objective, weights: PyTree, architecture: PyTree, rate):
  """(value, gradient by the architecture) of `unrolled`, by the paper's differences.

  With w' the weights after the step and v = d judge / dw':
  d judge / da - rate * (d train / da at w + e v - d train / da at w - e v) / 2 e, e = 0.01 / |v|.
  """
  later = descended(train, weights, architecture, rate)
  value, (direction, direct) = jax.value_and_grad(judge, (0, 1))(later, architecture)
  size = _STEP / (optax.tree.norm(direction) + 1e-12)
  slope = jax.grad(train, 1)

  def beside(sign: int) -> PyTree:
    return jax.tree.map(lambda w, v: w + sign * size * v, weights, direction)

  ahead, behind = (slope(beside(sign), architecture) for sign in (1, -1))

  def together(own, a, b):
    return own - rate * (a - b) / (2 * size)

  return value, jax.tree.map(together, direct, ahead, behind)


def with_gradient(value: jax.Array, gradient: PyTree, architecture: PyTree) -> jax.Array:
  """`value`, with that gradient by the architecture."""
  still = jax.lax.stop_gradient((value, gradient, architecture))
  moved = jax.tree.map(lambda g, a, at: jnp.sum(g * (a - at)), still[1], architecture, still[2])
  return still[0] + sum(jax.tree.leaves(moved))
