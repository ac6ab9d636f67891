"""Global-local cross-attention (GLCA) over the tokens of a feature map."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.options import choice

HEAD_FUSIONS = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}


def rollout(attentions: Sequence[jax.Array], start=None, *, fusion: str = "mean"):
  """Attention rollout: how much each token of the last layer owes to each input token.

  `attentions` are the layers' attention weights, the first layer first, each (b, heads, n, n) with
  rows that sum to 1. Layer l mixes S_l = (fused heads + identity) / 2, and the result is
  S_L ... S_2 S_1, (b, n, n): the later layer on the left. With `start` (b, m, n) it is
  start S_L ... S_1, which costs less than the full matrix if m is small. `fusion` of the heads is
  "mean", "max" or "min"; the rows of the last two are scaled to sum to 1 again.
  Source: Abnar, Zuidema, arXiv 2005.00928.
  """
  choice(fusion, HEAD_FUSIONS, "rollout: fusion")
  batch, _, tokens, _ = attentions[0].shape
  if start is None:
    start = jnp.broadcast_to(jnp.eye(tokens), (batch, tokens, tokens))
  flow = start
  for attention in reversed(attentions):
    mixed = HEAD_FUSIONS[fusion](attention.astype(jnp.float32), axis=1)
    mixed /= mixed.sum(-1, keepdims=True)
    flow = 0.5 * (flow @ mixed + flow)
  return flow


def cross_attention(query, key, value):
  """softmax(Q K^T / sqrt(d)) V and the softmax itself, in float32.

  Shapes: query (..., m, d), key (..., n, d), value (..., n, e) -> (..., m, e) and (..., m, n).
  """
  weights = attention_weights(query, key)
  return jnp.einsum("...mn,...ne->...me", weights.astype(value.dtype), value), weights


def attention_weights(query, key):
  """softmax(Q K^T / sqrt(d)) in float32: query (..., m, d), key (..., n, d) -> (..., m, n)."""
  scores = jnp.einsum("...md,...nd->...mn", query, key, preferred_element_type=jnp.float32)
  return jax.nn.softmax(scores / math.sqrt(query.shape[-1]), -1)


def with_neighbour(x):
  """Each sample's tokens and those of the sample before it: (b, heads, n, d) -> (b, heads, 2n, d).

  The first sample is given the last one's; a sample alone in its batch its own once more.
  """
  return jnp.concatenate([x, jnp.roll(x, 1, 0)], -2)


def high_responses(attentions: Sequence[jax.Array], share: float, *, fusion: str = "mean"):
  """The tokens that all tokens together owe most to: (b, k) indices, the first one highest.

  A feature map has no class token: a token's response is the mean of its column of the rollout.
  k = max(1, floor(share * tokens)) is static. No gradient flows through the choice.
  """
  batch, _, tokens, _ = attentions[0].shape
  everyone = jnp.full((batch, 1, tokens), 1 / tokens)
  response = rollout([jax.lax.stop_gradient(a) for a in attentions], everyone, fusion=fusion)
  kept = max(1, math.floor(share * tokens + 1e-9))  # 0.29 * 100 is a little less than 29
  return jax.lax.top_k(response[:, 0], kept)[1]


class TransformerLayer(nn.Module):
  """Pre-norm transformer layer whose queries are all tokens, or the `chosen` ones only.

  Shapes: tokens (b, n, c), chosen (b, k) -> tokens (b, n, c) and attention weights (b, heads, n or
  k, n). Keys and values are always all tokens; tokens that are not chosen stay as they are.
  Queries, keys and values have no bias (a key's would have no effect).

  With `pwca`, and exactly if the caller gives a "dropout" key, the queries attend to the keys and
  values of another sample as well. The attention weights that are returned are those over the
  sample's own tokens alone, as without.
  """

  heads: int = 4
  expansion: int = 4
  dtype: Any = None
  pwca: bool = False

  @nn.compact
  def __call__(self, tokens, chosen=None):
    batch, _, channels = tokens.shape
    dense = functools.partial(nn.Dense, dtype=self.dtype)
    norm = functools.partial(nn.LayerNorm, dtype=self.dtype)

    def heads(x, name):
      x = dense(channels, use_bias=False, name=name)(x)
      return x.reshape(batch, -1, self.heads, channels // self.heads).swapaxes(1, 2)

    everyone = norm(name="attention_norm")(tokens)
    local, asking = tokens, everyone
    if chosen is not None:
      local, asking = (jnp.take_along_axis(x, chosen[..., None], 1) for x in (tokens, everyone))
    queries, keys = heads(asking, "query"), heads(everyone, "key")
    values = heads(everyone, "value")
    if self.pwca and self.has_rng("dropout"):
      attended, _ = cross_attention(queries, with_neighbour(keys), with_neighbour(values))
      weights = attention_weights(queries, keys)
    else:
      attended, weights = cross_attention(queries, keys, values)
    attended = attended.swapaxes(1, 2).reshape(batch, -1, channels)
    local += dense(channels, name="projection")(attended)
    hidden = dense(self.expansion * channels, name="mlp_in")(norm(name="mlp_norm")(local))
    local += dense(channels, name="mlp_out")(Activation("gelu")(hidden))
    if chosen is None:
      return local, weights
    return tokens.at[jnp.arange(batch)[:, None], chosen].set(local), weights


class GLCA(nn.Module):
  """Self-attention, then cross-attention from the tokens of highest response to all tokens.

  Shapes: (b, *space, c) -> the same; the voxels are the tokens. `layers` self-attention layers give
  the rollout; its best `share` of the tokens (the paper's R; k = max(1, floor(R n))) are the local
  queries of `blocks` cross-attention layers with global keys and values. They are put back at their
  places, the other tokens stay as self-attention left them.

  Attributes:
    layers, blocks: self-attention layers (the paper's L); cross-attention layers (its M).
    share: of the tokens that ask, 0 to 1; the paper has 0.1 for fine-grained recognition, 0.3 for
      re-identification.
    heads: of every layer.
    head_fusion: of the rollout, "mean", "max" or "min".
    expansion: hidden channels of the layers' perceptrons, per channel.
    position: "conv" adds a depthwise 3x3 convolution of the map to the tokens, a positional
      encoding for any size (Chu et al., arXiv 2102.10882: the zero padding tells where the borders
      are); "none" leaves self-attention blind to positions.
    pwca: pair-wise cross-attention, a regulariser in training (exactly if there is a "dropout"
      key): in the self-attention layers the keys and values of another sample of the batch join
      the sample's own, as distractors. No parameters; inference is as without, and the rollout is
      always over the sample's own tokens.
    dtype: compute dtype; softmax, norm statistics and rollout are float32.

  The paper's branches for self-attention, with PWCA on the same weights, and for cross-attention,
  on others, meet in the loss; here cross-attention follows self-attention, whose place PWCA takes
  in training. Memory grows with the square of the voxels: for the bottleneck. Raises ValueError for
  options that do not fit.
  Source: Zhu et al., CVPR 2022, arXiv 2205.02151.
  """

  layers: int = 2
  blocks: int = 1
  share: float = 0.1
  heads: int = 4
  head_fusion: str = "mean"
  expansion: int = 4
  position: str = "conv"
  pwca: bool = False
  dtype: Any = None

  def __post_init__(self):
    choice(self.position, ("conv", "none"), "glca: position")
    choice(self.head_fusion, HEAD_FUSIONS, "glca: head_fusion")
    if self.layers < 1 or not 0 < self.share <= 1:
      raise ValueError(
        f"glca: layers={self.layers}, share={self.share}; expected at least one self-attention "
        "layer, whose attention chooses, and a share above 0 and at most 1."
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    batch, *space, channels = x.shape
    if channels % self.heads:
      raise ValueError(
        f"glca: {self.heads} heads do not divide {channels} channels; choose heads that divide "
        "the width."
      )
    if self.position == "conv":
      x += Conv(channels, 3, groups=channels, dtype=self.dtype, name="position")(x)
    tokens, attentions = x.reshape(batch, -1, channels), []
    layer = functools.partial(TransformerLayer, self.heads, self.expansion, self.dtype)
    for i in range(self.layers):
      tokens, weights = layer(pwca=self.pwca, name=f"self_attention{i + 1}")(tokens)
      attentions.append(weights)
    chosen = high_responses(attentions, self.share, fusion=self.head_fusion)
    for i in range(self.blocks):
      tokens, _ = layer(name=f"cross_attention{i + 1}")(tokens, chosen)
    return tokens.reshape(batch, *space, channels)
