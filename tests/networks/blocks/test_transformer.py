"""Self-attention, against numpy; perceptron; the layer that they make."""

import math

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks.transformer import MLP, SelfAttention, TransformerBlock


def test_attention_is_softmax_of_scaled_products_plus_bias_head_by_head():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 4)).astype(np.float32)
  qkv, out = rng.normal(size=(4, 12)), rng.normal(size=(4, 4))
  offset, bias = rng.normal(size=4), rng.normal(size=(2, 5, 5))
  params = {"qkv": {"kernel": qkv}, "projection": {"kernel": out, "bias": offset}}
  found = jax.jit(lambda x: SelfAttention(heads=2).apply({"params": params}, x, bias))(x)

  heads = []
  for h in range(2):
    query, key, value = (x @ qkv[:, 4 * i + 2 * h : 4 * i + 2 * h + 2] for i in range(3))
    scores = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(2) + bias[h])
    heads.append(scores / scores.sum(-1, keepdims=True) @ value)
  np.testing.assert_allclose(found, np.concatenate(heads, -1) @ out + offset, atol=1e-4)


def test_the_perceptron_has_the_exact_gelu():
  params = {
    "expand": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)},
    "compress": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)},
  }
  x = np.array([[-1.0], [2.0]], np.float32)
  expected = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in (-1, 2)]
  found = jax.jit(lambda x: MLP(1).apply({"params": params}, x))(x)
  assert_close(found[:, 0], expected, atol=1e-6)


def test_without_positions_a_layer_does_not_know_the_order_of_tokens():
  layer = TransformerBlock(heads=2, hidden=8, qkv_bias=True)
  x = np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32)
  order = [3, 1, 5, 0, 4, 2]

  @jax.jit
  def run(x):
    params = layer.init(jax.random.key(0), x)
    return layer.apply(params, x), layer.apply(params, x[:, np.array(order)])

  first, second = run(x)
  assert_close(first[:, order], second, atol=1e-5)


def test_heads_that_do_not_divide_are_refused_in_words():
  with pytest.raises(ValueError, match="3 heads do not divide 4 channels"):
    jax.eval_shape(lambda x: SelfAttention(3).init(jax.random.key(0), x), np.zeros((1, 2, 4)))
