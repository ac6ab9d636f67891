"""Convolutional LSTM over a sequence of images or volumes, one- and bidirectional."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import samples
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.options import choice

FUSIONS = ("sum", "concat")


class ConvLSTMCell(nn.Module):
  """One step, from one convolution of [x, h].

  The convolution gives i, f, g, o, and c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').

  Shapes: state (h, c), both (b, *space, features); inputs x (b, *space, in) and `present` (b,),
  False where the state stays as it is -> (new state, its h). The gates lie in that order on the
  channel axis of kernel and bias. The cell c and all gates are float32. The bias of the forget gate
  starts at 1, the others at 0.
  """

  features: int
  kernel: int | Sequence[int] = 3
  dtype: Any = None

  @nn.compact
  def __call__(self, state, inputs):
    (h, c), (x, present) = state, inputs
    both = jnp.concatenate([x.astype(h.dtype), h], -1)
    conv = Conv(4 * self.features, self.kernel, use_bias=False, dtype=self.dtype, name="gates")
    bias = self.param("bias", _remember, (4 * self.features,), jnp.float32)
    gates = conv(both).astype(jnp.float32) + bias.reshape((1,) * (x.ndim - 1) + (-1,))
    i, f, g, o = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = (jax.nn.sigmoid(o) * jnp.tanh(cell)).astype(h.dtype)
    present = present.reshape(-1, *(1,) * (x.ndim - 1))
    hidden, cell = jnp.where(present, hidden, h), jnp.where(present, cell, c)
    return (hidden, cell), hidden


def _remember(key, shape, dtype):
  i, f, g, o = jnp.zeros((4, shape[0] // 4), dtype)
  return jnp.concatenate([i, f + 1, g, o])


class ConvLSTM(nn.Module):
  """ConvLSTM from the first step to the last, or with `reverse` from the last to the first.

  Shapes: (b, steps, *space, in) -> (b, steps, *space, features), the hidden state after each step,
  in the input's order whatever the direction. `present` (b, steps), if given, is False at steps
  that are skipped. The steps are one `lax.scan`, so that the compiled program does not grow with
  their number; `unroll` steps are laid out per iteration.

  Source: Shi et al., arXiv 1506.04214, without peepholes.
  """

  features: int
  kernel: int | Sequence[int] = 3
  reverse: bool = False
  unroll: int = 1
  dtype: Any = None

  made_of_blocks = True  # each step is one, see methods.rematerialised

  @nn.compact
  def __call__(self, x, present=None):
    batch, steps, *space, _ = x.shape
    dtype = self.dtype or x.dtype
    present = jnp.ones((batch, steps), bool) if present is None else jnp.asarray(present)
    start = jnp.zeros((batch, *space, self.features), dtype)
    carry = (start, start.astype(jnp.float32))
    options = {"features": self.features, "kernel": self.kernel, "dtype": dtype, "name": "cell"}
    if samples.together_on_cpus():
      # not a scan, whose gradient of the weights would ask the others in every turn
      cell, hidden = ConvLSTMCell(**options), {}
      for at in reversed(range(steps)) if self.reverse else range(steps):
        carry, hidden[at] = cell(carry, (x[:, at], present[:, at]))
      return jnp.stack([hidden[at] for at in range(steps)], 1)
    cell = nn.scan(
      ConvLSTMCell,
      variable_broadcast="params",
      split_rngs={"params": False},
      in_axes=1,
      out_axes=1,
      reverse=self.reverse,
      unroll=self.unroll,
    )(**options)
    return cell(carry, (x, present))[1]


class BiConvLSTM(nn.Module):
  """Two ConvLSTMs, "forward" and "backward" with weights of their own, joined step by step.

  Shapes: (b, steps, *space, in) -> (b, steps, *space, features), or 2 features (forward first) with
  `fusion="concat"` instead of "sum". `present` and `unroll` as `ConvLSTM`.
  """

  features: int
  kernel: int | Sequence[int] = 3
  fusion: str = "sum"
  unroll: int = 1
  dtype: Any = None

  made_of_blocks = True  # each step is one, see methods.rematerialised

  def __post_init__(self):
    choice(self.fusion, FUSIONS, "bidirectional ConvLSTM: fusion")
    super().__post_init__()

  @nn.compact
  def __call__(self, x, present=None):
    options = {"unroll": self.unroll, "dtype": self.dtype}
    forward, backward = (
      ConvLSTM(self.features, self.kernel, reverse=reverse, name=name, **options)(x, present)
      for name, reverse in (("forward", False), ("backward", True))
    )
    return forward + backward if self.fusion == "sum" else jnp.concatenate([forward, backward], -1)


class ConvLSTMSkip(nn.Module):
  """BCDU-Net's skip: encoder and up-sampled features as a sequence of two steps.

  Shapes: skip and up (b, *space, c) -> (b, *space, features // 2). With `bidirectional`, the last
  states of both directions, H_f (read encoder, decoder) and H_b (decoder, encoder), are joined as
  in the paper: tanh(W_f H_f + W_b H_b + b), W_f and W_b being 1x1 convolutions. Without it, H_b
  alone: that is what the authors' code does.

  Raises ValueError if skip and up differ in channels. Source: Azad et al., arXiv 1909.00166.
  """

  features: int
  kernel: int | Sequence[int] = 3
  bidirectional: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, skip, up, coarse=None):
    if skip.shape != up.shape:
      raise ValueError(
        f"skip 'conv_lstm': the encoder gives {skip.shape} and the decoder {up.shape}; a sequence "
        "of the two needs equal shapes, so give both sides the same width."
      )
    pair = jnp.stack([skip, up], 1)
    features = max(1, self.features // 2)

    def lstm(name, reverse):
      options = {"reverse": reverse, "unroll": 2, "dtype": self.dtype}
      return ConvLSTM(features, self.kernel, name=name, **options)(pair)

    backward = lstm("backward", True)[:, 0]
    if not self.bidirectional:
      return backward, None
    both = jnp.concatenate([lstm("forward", False)[:, -1], backward], -1)
    return jnp.tanh(Conv(features, 1, dtype=self.dtype, name="fusion")(both)), None
