"""Non-local block: every voxel looks at every other one."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.resample import max_pool
from jaxseg.networks.blocks.transposed import TransposedConv


class NonLocal(nn.Module):
  """Non-local block, also as the global aggregation block of the Non-local U-Net.

  Shapes: (b, *space, in) -> (b, *space', features), where the query decides about space':
  the same, ceil(space / 2) or 2 space. Each output voxel is a weighted mean of `value(x)` over all
  voxels, then a 1x1 convolution `out`, a norm, and the residual:
  y = norm(out(softmax(query(x) key(x)') value(x))) + x.

  With `zero_init` the norm's scale (`out`, if there is no norm) starts at zero, so that the block
  starts as the identity (its shortcut, if it resamples).

  Attributes:
    features: channels of the output; None: as the input.
    mode: "gaussian" (softmax of x x'), "embedded" (softmax of query(x) key(x)') or "dot" (the same
      without softmax, divided by the number of voxels; linear in them).
    inter: channels of query, key and value; None: half of the input's.
    heads: divide these channels; each has its own weights.
    direction: "same" (1x1 query), "down" (3x3, stride 2) or "up" (transposed 3x3, stride 2).
    sub_sample: keys and values are max-pooled by this factor, one or one per axis.
    scaled: divides the products by sqrt(channels per head), as the Non-local U-Net; the original
      block doesn't, and saturates with many channels.
    residual: adds the input; where size or channels differ, a convolution of it without bias, of
      the query's kind.
    norm, norm_groups: after `out`.
    dropout: of the attention weights.
    chunk: queries at a time: memory grows with chunk x voxels instead of voxels^2, in the backward
      pass too (the weights are computed again). The result doesn't depend on it.

  Raises ValueError for unknown modes and directions, heads that don't divide the channels, and
  options that exclude each other.
  Source: Wang et al., arXiv 1711.07971; Wang, Zou, Liu, Ji, "Non-local U-Nets", arXiv 1812.04103.
  """

  features: int | None = None
  mode: str = "embedded"
  inter: int | None = None
  heads: int = 1
  direction: str = "same"
  sub_sample: int | Sequence[int] = 1
  scaled: bool = True
  residual: bool = True
  norm: str = "none"
  norm_groups: int = 8
  zero_init: bool = True
  dropout: float = 0.0
  chunk: int = 1024
  dtype: Any = None

  def __post_init__(self):
    choice(self.mode, ("gaussian", "embedded", "dot"), "nonlocal: mode")
    choice(self.direction, ("down", "same", "up"), "nonlocal: direction")
    if self.mode == "gaussian" and self.direction != "same":
      raise ValueError(
        f"nonlocal: mode='gaussian' has no query convolution, so direction='{self.direction}' "
        "cannot be; use mode='embedded' or direction='same'."
      )
    if self.mode == "dot" and self.dropout:
      raise ValueError("nonlocal: mode='dot' has no attention weights to drop; set dropout=0.")
    if self.chunk < 1:
      raise ValueError(f"nonlocal: chunk={self.chunk}; expected at least one query at a time.")
    super().__post_init__()

  @property
  def smallest(self) -> int | Sequence[int]:
    """Voxels per axis that the features need."""
    return self.sub_sample

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    features, inter = self.features or channels, self.inter or max(1, channels // 2)
    if inter % self.heads or (self.mode == "gaussian" and channels % self.heads):
      raise ValueError(
        f"nonlocal: {self.heads} heads do not divide the {inter} inner channels"
        + (f" and the {channels} input channels" if self.mode == "gaussian" else "")
        + "; choose 'heads' or 'inter' so that they do."
      )
    linear = he_normal(slope=1.0)  # no activation follows

    def project(name):
      return Conv(inter, 1, dtype=self.dtype, kernel_init=linear, name=name)(x)

    value = project("value")
    if self.mode == "gaussian":
      query = key = x.astype(value.dtype)
    else:
      query, key = self._resampled(inter, "query")(x), project("key")
    if self.sub_sample != 1:
      key, value = (max_pool(a, stride=self.sub_sample) for a in (key, value))

    dropped = self.dropout > 0 and self.has_rng("dropout")
    y = attend(
      *(a.reshape(a.shape[0], -1, self.heads, a.shape[-1] // self.heads) for a in (query, key)),
      value.reshape(value.shape[0], -1, self.heads, inter // self.heads),
      scale=(query.shape[-1] // self.heads) ** -0.5 if self.scaled else 1.0,
      softmax=self.mode != "dot",
      chunk=self.chunk,
      dropout=self.dropout,
      dropout_key=self.make_rng("dropout") if dropped else None,
    )
    y = y.reshape(*query.shape[:-1], inter)

    closed, normed = nn.initializers.zeros, self.norm != "none"
    out_init = closed if self.zero_init and not normed else linear
    y = Conv(features, 1, dtype=self.dtype, kernel_init=out_init, name="out")(y)
    y = Norm(
      self.norm,
      math.gcd(self.norm_groups, features),
      scale_init=closed if self.zero_init else nn.initializers.ones,
      dtype=self.dtype,
      name="norm",
    )(y)
    if not self.residual:
      return y
    if self.direction != "same" or features != channels:
      x = self._resampled(features, "shortcut", use_bias=False)(x)
    return y + x.astype(y.dtype)

  def _resampled(self, features, name, *, use_bias=True):
    """The convolution that decides about the output's size."""
    options = {"use_bias": use_bias, "dtype": self.dtype, "name": name}
    if self.direction == "up":
      return TransposedConv(features, 3, 2, kernel_init=he_normal(1.0, fan="out"), **options)
    kernel, stride = (3, 2) if self.direction == "down" else (1, 1)
    return Conv(features, kernel, stride, kernel_init=he_normal(slope=1.0), **options)


def attend(
  query, key, value, *, scale=1.0, softmax=True, chunk=1024, dropout=0.0, dropout_key=None
):
  """Attention: each query's weighted mean of the values.

  Shapes: query (b, q, heads, c), key (b, n, heads, c), value (b, n, heads, c') ->
  (b, q, heads, c'). The weights are the softmax over n of `scale` query key', in float32; without
  `softmax` the product itself divided by n, which needs no (q, n) array at all. At most
  chunk x n weights per head exist at a time. `dropout_key` turns dropout of weights on; its draw
  depends on the query, not on the chunk.
  """
  if not softmax:
    context = jnp.einsum("bnhc,bnhd->bhcd", key, value, preferred_element_type=jnp.float32)
    context = (context * (scale / key.shape[1])).astype(value.dtype)
    return jnp.einsum("bqhc,bhcd->bqhd", query, context)

  def rows(query, index):
    scores = jnp.einsum("bqhc,bnhc->bhqn", query, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scale * scores)
    if dropout_key is not None:
      shape = (*weights.shape[:2], weights.shape[-1])

      def draw(i):
        return jax.random.bernoulli(jax.random.fold_in(dropout_key, i), 1 - dropout, shape)

      weights = jnp.where(jax.vmap(draw, out_axes=2)(index), weights / (1 - dropout), 0.0)
    return jnp.einsum("bhqn,bnhc->bqhc", weights.astype(value.dtype), value)

  size = query.shape[1]
  index = jnp.arange(size)
  if size <= chunk:
    return rows(query, index)
  number = -(-size // chunk)
  chunk = -(-size // number)  # of equal size: less to pad
  missing = number * chunk - size
  query = jnp.pad(query, ((0, 0), (0, missing), (0, 0), (0, 0)))
  query = jnp.moveaxis(query.reshape(query.shape[0], number, chunk, *query.shape[2:]), 1, 0)
  index = jnp.pad(index, (0, missing)).reshape(number, chunk)
  # without the checkpoint the loop would keep every chunk's weights for the backward pass
  again = jax.checkpoint(rows, prevent_cse=False)
  out = jnp.moveaxis(jax.lax.map(lambda part: again(*part), (query, index)), 0, 1)
  return out.reshape(out.shape[0], -1, *out.shape[3:])[:, :size]
