"""Guided back-propagation and deconvolution: the gradient, past ReLUs by another rule."""

import functools

import jax

from jaxseg.explain import activations
from jaxseg.explain.target import Apply, Attribution, score


@functools.partial(jax.jit, static_argnames="apply")
def guided(apply: Apply, params, image, target) -> Attribution:
  """Guided back-propagation (Springenberg et al., arXiv 1412.6806), (b, *space, c).

  Arguments as `gradient`'s. The scores are those of the network, bit for bit. Only ReLU, ReLU6 and
  leaky ReLU pass by the rule (the leak is left out); other activations keep their derivative;
  numbers: "rectifiers" that were passed so.
  Raises ValueError for a network that has none of them: the result would be the gradient.
  """
  return _by_rule(apply, params, image, target, activations.guided)


@functools.partial(jax.jit, static_argnames="apply")
def deconvolution(apply: Apply, params, image, target) -> Attribution:
  """The deconvolutional network's map (Zeiler, Fergus, arXiv 1311.2901); as `guided`."""
  return _by_rule(apply, params, image, target, activations.deconvolution)


def _by_rule(apply, params, image, target, rule) -> Attribution:
  swapped = sum(activations.count(apply, params, image).values())
  if not swapped:
    raise ValueError(
      "guided and deconvolution: the network has no ReLU to pass by their rule, so that they would "
      "be the gradient; use gradient or integrated_gradients."
    )
  apply = activations.with_rule(apply, rule)
  values = jax.grad(lambda x: score(apply(params, x), target))(image)
  return Attribution(values, {"rectifiers": swapped})
