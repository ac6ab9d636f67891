"""From the weights of choices to what a supernet mixes its operations by; pure functions of JAX.

Weights are {group: (..., options)}: of each row one option is chosen. DiNTS' "paths" are (blocks,
paths): of each block one path or more are chosen, each for itself.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

Weights = Mapping[str, jax.Array]
Mix = dict[str, jax.Array]
PATHS = "paths"


def path_probabilities(weights):
  """(blocks, paths) -> the probability of each, given that one or more are used.

  sigmoid(a) / (1 - prod(1 - sigmoid(a))). Source: 2103.15954.
  """
  each = jax.nn.sigmoid(weights)
  return each / (1 - jnp.prod(1 - each, -1, keepdims=True))


def softmax(weights: Weights) -> Mix:
  """DARTS' continuous relaxation, 1806.09055."""
  return {
    group: path_probabilities(of) if group == PATHS else jax.nn.softmax(of, -1)
    for group, of in weights.items()
  }


def sigmoid(weights: Weights) -> Mix:
  """Each operation for itself, so that none wins because another loses: 1911.12126."""
  return {group: jax.nn.sigmoid(of) for group, of in weights.items()}


def gumbel(key, weights: Weights, *, temperature) -> Mix:
  """One option of each row, drawn by its softmax; the gradient is that of the draw made soft.

  Of weights a, noise g and temperature t: softmax((log softmax(a) + g) / t), 1910.04465.
  """
  out = {}
  for group, of in sorted(weights.items()):
    key, own = jax.random.split(key)
    noise = jax.random.gumbel(own, of.shape, of.dtype)
    soft = jax.nn.softmax((jax.nn.log_softmax(of, -1) + noise) / temperature, -1)
    hard = jax.nn.one_hot(jnp.argmax(soft, -1), of.shape[-1], dtype=of.dtype)
    out[group] = hard + soft - jax.lax.stop_gradient(soft)
  return out


def entropy(probabilities):
  """Of each row of (..., options), in nats."""
  return -jnp.sum(jax.scipy.special.xlogy(probabilities, probabilities), -1)


def binary_entropy(probabilities):
  """Of each probability of something or not, in nats: 0.693147 of a half."""
  of = jnp.stack([probabilities, 1 - probabilities], -1)
  return entropy(of)
