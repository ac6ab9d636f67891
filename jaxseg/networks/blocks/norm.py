"""Normalisation by name, with float32 statistics whatever the compute dtype."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import samples
from jaxseg.networks.blocks.acceleration import by_platform
from jaxseg.networks.blocks.linear import linear
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.statistics import is_frozen

NORMS = ("batch", "instance", "group", "none")


class Norm(nn.Module):
  """Normalises (b, *space, channels) and applies a learned scale and bias per channel.

  - "batch": over batch and space; a training step (the collection "batch_stats" is mutable) uses
    the batch's statistics and updates the running ones, otherwise the running ones are used
    (Ioffe, Szegedy, arXiv 1502.03167). The running variance is the biased one. Those of frozen
    parts may be kept in training, too (`blocks.statistics`).
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
    row = (1,) * (x.ndim - 1) + (channels,)
    scale, bias = jnp.ones(row, jnp.float32), jnp.zeros(row, jnp.float32)
    if self.affine:
      shape = (channels,), jnp.float32
      scale = self.param("scale", self.scale_init, *shape).astype(jnp.float32).reshape(row)
      bias = self.param("bias", self.bias_init, *shape).astype(jnp.float32).reshape(row)
    return getattr(self, f"_{self.kind}")(x, scale, bias, use).astype(dtype)

  def _batch(self, x, scale, bias, use: int):
    channels, of_use = x.shape[-1], f"_{use}" if use else ""
    shape = (channels,), jnp.float32
    running_mean = self.variable("batch_stats", f"mean{of_use}", jnp.zeros, *shape)
    running_var = self.variable("batch_stats", f"var{of_use}", jnp.ones, *shape)
    frozen = is_frozen(self.path)
    running = running_mean.value, running_var.value

    def by_running(x, scale, bias):
      mean, variance = (of.reshape(scale.shape) for of in running)
      return _apply(x, mean, jax.lax.rsqrt(variance + self.epsilon), scale, bias), running

    def by_batch(x, scale, bias):
      axes = tuple(range(x.ndim - 1))
      out, *batch = _normalise(x, scale, bias, axes, channels, self.epsilon)
      new = tuple(
        self.momentum * old + (1 - self.momentum) * of.reshape(channels)
        for old, of in zip(running, batch, strict=True)
      )
      return out, new

    if not self.is_mutable_collection("batch_stats") or frozen is True:
      return by_running(x, scale, bias)[0]
    if frozen is False:
      out, new = by_batch(x, scale, bias)
    else:
      out, new = samples.either(frozen, by_running, by_batch, x, scale, bias)
    if not self.is_initializing():
      running_mean.value, running_var.value = new
    return out

  def _instance(self, x, scale, bias, use: int):
    return _normalise(x, scale, bias, tuple(range(1, x.ndim - 1)), x.shape[-1], self.epsilon)[0]

  def _group(self, x, scale, bias, use: int):
    if x.shape[-1] % self.groups:
      raise ValueError(
        f"group normalisation with {self.groups} groups does not divide {x.shape[-1]} channels; "
        "choose a number of groups that divides every width."
      )
    return _normalise(x, scale, bias, tuple(range(1, x.ndim - 1)), self.groups, self.epsilon)[0]


def _apply(x, mean, factor, scale, bias):
  return (x - mean) * (factor * scale) + bias


def _normalise(x, scale, bias, axes, groups, epsilon):
  """Normalised x, and the mean and biased variance per channel that it was normalised by.

  Statistics are over `axes` and the channels of each of `groups` (one per channel: none are
  united), in two passes, so that they lose nothing to cancellation. Returned, they pass no gradient
  on.

  On CPU the gradient is written out, in one pass for its sums and one for x: XLA's compiler writes
  every term of the derived one out (some 5 % of a U-Net's step, docs/benchmarks.md). What its sums
  lose to a mean far from zero is of the order of what the input's rounding loses.
  """

  @jax.custom_jvp
  def normalise(x, scale, bias):
    return _normalise_forward(x, scale, bias, axes, groups, epsilon)[0]

  @normalise.defjvp
  def derivative(primals, tangents):
    (out, *statistics), constants = _normalise_forward(*primals, axes, groups, epsilon)
    tangent = functools.partial(_tangent, axes, groups)
    gradient = functools.partial(_gradient, axes, groups)
    types = tuple(jax.typeof(a) for a in tangents)

    def derived(constants, cotangents):
      return jax.linear_transpose(functools.partial(tangent, constants), types)(cotangents)[0]

    def transposed(constants, cotangents):
      return by_platform(constants, cotangents, cpu=gradient, plain=derived)

    (slope,) = linear(tangent, transposed, constants, tangents, like=(out,))
    statistics = [jax.lax.stop_gradient(a) for a in statistics]
    return (out, *statistics), (slope, *map(jnp.zeros_like, statistics))

  return normalise(x, scale, bias)


def _normalise_forward(x, scale, bias, axes, groups, epsilon):
  mean = _unite(jnp.mean(x, axes, keepdims=True), groups)
  variance = _unite(jnp.mean(jnp.square(x - mean), axes, keepdims=True), groups)
  factor = jax.lax.rsqrt(variance + epsilon)
  return (_apply(x, mean, factor, scale, bias), mean, variance), (x, mean, factor, scale)


def _tangent(axes, groups, constants, tangents):
  """The change of the normalised x with those of x, scale and bias."""
  x, mean, factor, scale = constants
  of_x, of_scale, of_bias = tangents
  offset = _unite(jnp.mean(of_x, axes, keepdims=True), groups)
  along = _unite(jnp.mean((x - mean) * of_x, axes, keepdims=True), groups)
  change = (of_x - offset) * factor - (x - mean) * (along * factor**3)
  return (change * scale + (x - mean) * (factor * of_scale) + of_bias,)


def _gradient(axes, groups, constants, cotangents):
  """The transpose of `_tangent`."""
  x, mean, factor, scale = constants
  (g,) = cotangents
  total = jnp.sum(g, axes, keepdims=True)
  # of g times the normalised x
  along = (jnp.sum(g * x, axes, keepdims=True) - mean * total) * factor
  count = math.prod(x.shape[axis] for axis in axes)
  slope = -factor / count * _unite(scale * along, groups) * factor
  offset = -factor / count * _unite(scale * total, groups)
  ours = tuple(range(x.ndim - 1))  # scale and bias serve all samples
  of_scale, of_bias = (jnp.sum(a, ours, keepdims=True) for a in (along, total))
  return g * (factor * scale) + (x - mean) * slope + offset, of_scale, of_bias


def _unite(of_channel, groups):
  """The mean over the channels of each group, at every channel of it."""
  channels = of_channel.shape[-1]
  if groups == channels:
    return of_channel
  split = of_channel.reshape(*of_channel.shape[:-1], groups, channels // groups)
  return jnp.repeat(jnp.mean(split, -1), channels // groups, -1)
