"""Normalisation by name, with float32 statistics whatever the compute dtype."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import choice

NORMS = ("batch", "instance", "group", "none")


class Norm(nn.Module):
  """Normalises (b, *space, channels) and applies a learned scale and bias per channel.

  - "batch": over batch and space; a training step (the collection "batch_stats" is mutable) uses
    the batch's statistics and updates the running ones, otherwise the running ones are used
    (Ioffe, Szegedy, arXiv 1502.03167). The running variance is the biased one.
  - "instance": per sample and channel, over space (Ulyanov et al., arXiv 1607.08022).
  - "group": per sample and group of channels, over space (Wu, He, arXiv 1803.08494).
  - "none": the identity, without parameters.

  `scale_init` and `bias_init` start the scale (a zero closes a branch) and the bias.

  A module that is applied several times, with the same scale and bias, tells the number of the use:
  "batch" keeps running statistics for each, because a later use sees another distribution and an
  average over all of them fits none (Cooijmans et al., arXiv 1603.09025).

  Raises ValueError if `groups` does not divide the channels.
  """

  kind: str = "batch"
  groups: int = 8
  momentum: float = 0.9
  epsilon: float = 1e-5
  affine: bool = True
  dtype: Any = None
  scale_init: Callable = nn.initializers.ones
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x, use: int = 0):
    choice(self.kind, NORMS, "norm")
    if self.kind == "none":
      return x
    dtype, channels = self.dtype or x.dtype, x.shape[-1]
    x = x.astype(jnp.float32)
    options = {"use": use} if self.kind == "batch" else {}
    mean, variance = getattr(self, f"_{self.kind}")(x, **options)
    factor = jax.lax.rsqrt(variance + self.epsilon)
    if not self.affine:
      return ((x - mean) * factor).astype(dtype)
    row = (1,) * (x.ndim - 1) + (channels,)
    scale = self.param("scale", self.scale_init, (channels,), jnp.float32).reshape(row)
    bias = self.param("bias", self.bias_init, (channels,), jnp.float32).reshape(row)
    return ((x - mean) * (factor * scale) + bias).astype(dtype)

  def _batch(self, x, use: int):
    channels, of_use = x.shape[-1], f"_{use}" if use else ""
    shape = (channels,), jnp.float32
    running_mean = self.variable("batch_stats", f"mean{of_use}", jnp.zeros, *shape)
    running_var = self.variable("batch_stats", f"var{of_use}", jnp.ones, *shape)
    row = (1,) * (x.ndim - 1) + (channels,)
    if not self.is_mutable_collection("batch_stats"):
      return running_mean.value.reshape(row), running_var.value.reshape(row)
    mean, variance = _moments(x, tuple(range(x.ndim - 1)))
    if not self.is_initializing():
      for running, new in ((running_mean, mean), (running_var, variance)):
        new = jax.lax.stop_gradient(new).reshape(channels)
        running.value = self.momentum * running.value + (1 - self.momentum) * new
    return mean, variance

  def _instance(self, x):
    return _moments(x, tuple(range(1, x.ndim - 1)))

  def _group(self, x):
    channels = x.shape[-1]
    if channels % self.groups:
      raise ValueError(
        f"group normalisation with {self.groups} groups does not divide {channels} channels; "
        "choose a number of groups that divides every width."
      )
    split = x.reshape(*x.shape[:-1], self.groups, channels // self.groups)
    moments = _moments(split, (*range(1, x.ndim - 1), x.ndim))
    return tuple(
      jnp.broadcast_to(m, (*m.shape[:-1], channels // self.groups)).reshape(
        (x.shape[0],) + (1,) * (x.ndim - 2) + (channels,)
      )
      for m in moments
    )


def _moments(x, axes):
  """Mean and biased variance over `axes`, kept; in two passes, so that nothing cancels."""
  mean = jnp.mean(x, axes, keepdims=True)
  return mean, jnp.mean(jnp.square(x - mean), axes, keepdims=True)
