"""What the transformers share: layer norm, multi-head self-attention, perceptron, their layer."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.stage import Dropout

# over the channels of each token, with PyTorch's epsilon; statistics in float32
LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


class SelfAttention(nn.Module):
  """Multi-head self-attention: tokens (..., n, c) -> the same shape.

  softmax(Q K^T / sqrt(c / heads) + bias) V, the softmax in float32, then a projection (with bias).
  `bias` of the call broadcasts to (..., heads, n, n): relative positions, masks. One dense layer
  gives queries, keys and values in this order, with a bias if `qkv_bias`. `dropout` is of the
  attention weights and of the output. Raises ValueError if the heads don't divide the channels.
  Source: Vaswani et al., arXiv 1706.03762.
  """

  heads: int
  qkv_bias: bool = False
  dropout: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, tokens, bias=None):
    channels = tokens.shape[-1]
    if channels % self.heads:
      raise ValueError(
        f"self-attention '{self.name}': {self.heads} heads do not divide {channels} channels; "
        "choose heads that divide the width."
      )
    width = channels // self.heads
    qkv = nn.Dense(3 * channels, use_bias=self.qkv_bias, dtype=self.dtype, name="qkv")(tokens)
    qkv = qkv.reshape(*tokens.shape[:-1], 3, self.heads, width)
    query, key, value = (qkv[..., i, :, :] for i in range(3))
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key, preferred_element_type=jnp.float32)
    scores /= math.sqrt(width)
    if bias is not None:
      scores += jnp.broadcast_to(bias, scores.shape)
    weights = jax.nn.softmax(scores)
    weights = Dropout(self.dropout, name="weights_dropout")(weights).astype(value.dtype)
    x = jnp.einsum("...hqk,...khd->...qhd", weights, value).reshape(tokens.shape)
    x = nn.Dense(channels, dtype=self.dtype, name="projection")(x)
    return Dropout(self.dropout, name="dropout")(x)


class MLP(nn.Module):
  """Perceptron of each token: dense, GELU, dense, (..., c) -> the same; dropout after both."""

  hidden: int
  dropout: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    x = Activation("gelu")(nn.Dense(self.hidden, dtype=self.dtype, name="expand")(x))
    x = Dropout(self.dropout, name="expand_dropout")(x)
    x = nn.Dense(channels, dtype=self.dtype, name="compress")(x)
    return Dropout(self.dropout, name="compress_dropout")(x)


class TransformerBlock(nn.Module):
  """A pre-norm layer of the Vision Transformer: tokens (..., n, c) -> the same shape.

  x + attention(norm(x)), then x + MLP(norm(x)); `bias` of the call as `SelfAttention`'s. Source:
  Dosovitskiy et al., arXiv 2010.11929.
  """

  heads: int
  hidden: int
  qkv_bias: bool = False
  dropout: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, x, bias=None):
    attention = SelfAttention(self.heads, self.qkv_bias, self.dropout, self.dtype, name="attention")
    x += attention(LayerNorm(dtype=self.dtype, name="attention_norm")(x), bias)
    mlp = MLP(self.hidden, self.dropout, self.dtype, name="mlp")
    return x + mlp(LayerNorm(dtype=self.dtype, name="mlp_norm")(x))
