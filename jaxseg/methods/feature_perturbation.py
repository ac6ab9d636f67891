"""Perturbation of what a decoder gets from its encoder, for any network that has the two.

No network has an option for it: the encoder is all that the features called "bottleneck" are
computed from, and its features are what the rest of the network takes from there.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, jaxpr_as_fun

COARSEST = "bottleneck"
_INSTEAD = "choose another network, or leave the perturbation of features out"


def encode(function: Callable, params, image, *inputs) -> tuple[list[jax.Array], Callable]:
  """The first half of a network's forward pass, and the second as a function of what it gave.

  Args:
    function: (params, image, *inputs) -> (outputs, anything): a network's forward pass, whose
      outputs have the features of its coarsest stage, COARSEST.
    params, image: what it learns; (b, *space, channels).
    inputs: whatever else it takes.

  Returns:
    The encoder's features, finest first as they are computed, (b, *coarser, channels) each; and
    `decode`, features like these -> what the function gives of them. decode(features) is the
    forward pass itself; the encoder is computed once, however often `decode` is called.
    Raises ValueError for a network without COARSEST, or without anything computed from it.
  """
  arguments = (params, image, *inputs)
  closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
  jaxpr, outputs = closed.jaxpr, jax.tree.structure(shapes)
  if COARSEST not in shapes[0]:
    raise ValueError(
      f"feature perturbation: the network's outputs ({', '.join(shapes[0])}) have no '{COARSEST}' "
      f"features that tell where its encoder ends; {_INSTEAD}."
    )
  numbers = jax.tree.unflatten(outputs, range(len(jaxpr.outvars)))
  first, second = _before(jaxpr, jaxpr.outvars[numbers[0][COARSEST]])
  learnt = _after(jaxpr, jaxpr.invars[: len(jax.tree.leaves(params))])
  passed = _variables(v for step in second for v in step.invars)
  needed = passed | _variables(jaxpr.outvars)
  border = [v for step in first for v in step.outvars if v in needed]

  def is_features(v) -> bool:
    shape, floats = v.aval.shape, jnp.issubdtype(v.aval.dtype, jnp.floating)
    # statistics of a batch of one have its shape too, of a single voxel
    of_voxels = len(shape) == image.ndim and shape[0] == len(image) and math.prod(shape[:-1]) > 1
    return v in passed and v in learnt and floats and of_voxels

  chosen = [is_features(v) for v in border]
  if not any(chosen):
    raise ValueError(
      f"feature perturbation: nothing that the network gives is computed from its '{COARSEST}' "
      f"features: it has no decoder that could be given others; {_INSTEAD}."
    )
  flat = jax.tree.leaves(arguments)
  values = _run(closed, jaxpr.invars, border, first)(*flat)
  rest = _run(closed, [*jaxpr.invars, *border], jaxpr.outvars, second)

  def decode(features: Sequence[jax.Array]) -> Any:
    given = iter(features)
    crossing = [next(given) if own else x for own, x in zip(chosen, values, strict=True)]
    return jax.tree.unflatten(outputs, rest(*flat, *crossing))

  return [x for own, x in zip(chosen, values, strict=True) if own], decode


def drop_channels(key, features: Sequence[jax.Array], rate: float) -> list[jax.Array]:
  """Sets each channel of each sample to 0 with probability `rate`, and scales the others up."""

  def drop(key, x):
    shape = (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)

  return [drop(jax.random.fold_in(key, i), x) for i, x in enumerate(features)]


def _variables(atoms) -> set:
  return {atom for atom in atoms if not isinstance(atom, Literal)}


def _before(jaxpr, value):
  """The steps that a value is computed by, and all others."""
  needed, first, second = {value}, [], []
  for step in reversed(jaxpr.eqns):
    own = not needed.isdisjoint(step.outvars)
    (first if own else second).append(step)
    needed |= _variables(step.invars) if own else set()
  return first[::-1], second[::-1]


def _after(jaxpr, values) -> set:
  """What is computed from values, and these."""
  known = set(values)
  for step in jaxpr.eqns:
    if not known.isdisjoint(_variables(step.invars)):
      known.update(step.outvars)
  return known


def _run(closed, inputs, outputs, steps) -> Callable:
  """Some steps of a program as a function."""
  part = closed.jaxpr.replace(invars=inputs, outvars=outputs, eqns=steps)
  return jaxpr_as_fun(closed.replace(jaxpr=part))
