"""Scores of untrained networks, by one or a few batches: more is held to promise more.

Abdelfattah et al. 2021 (2101.08134) compare them; what they are worth on one's own data, Kendall's
tau against full training tells (`ranks`).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.batch import Array
from jaxseg.explain import activations
from jaxseg.networks.blocks import Norm

_NORMS = (Norm, nn.LayerNorm, nn.GroupNorm)


def gradient_norm(objective: Callable, params, batches: Sequence) -> float:
  """The sum over weights of the Euclidean norm of their gradient, mean over batches.

  Weights are the arrays of two axes or more: kernels, not biases nor norms' scales.

  Args:
    objective: (params, batch) -> loss.
    params: of the network at its beginning.
    batches: what the loss is of.
  """
  gradient = jax.jit(jax.grad(objective))
  values = [
    sum(float(jnp.linalg.norm(of)) for of in _kernels(gradient(params, batch))) for batch in batches
  ]
  return float(np.mean(values))


def _kernels(params) -> list[jax.Array]:
  return [of for of in jax.tree.leaves(params) if of.ndim >= 2]


def synflow(apply: Callable, params, shape: Sequence[int]) -> float:
  """The logarithm to base 10 of SynFlow: the sum of |weight| * d output / d |weight|.

  The output is the sum of what the network makes of an image of ones with its weights' absolute
  values and its norms left out, so that nothing cancels (Tanaka et al. 2020, 2006.05467).

  Args:
    apply: (params, image) -> logits, without noise.
    params: of the network at its beginning.
    shape: (b, *space, channels) of the image.

  Raises ValueError where it is no number: a network whose products overflow even so.
  """

  sizes = jax.tree.map(lambda x: jnp.abs(jnp.asarray(x, jnp.float32)), params)

  @jax.jit
  def flows(sizes, scale):
    def output(sizes):
      with nn.intercept_methods(_past_norms):
        out = apply(sizes, scale * jnp.ones(shape, jnp.float32))
      return scale * out.astype(jnp.float32).sum()

    pairs = zip(_kernels(sizes), _kernels(jax.grad(output)(sizes)), strict=True)
    return [(size * slope).sum() for size, slope in pairs]

  # without biases, which begin at 0, the output is in proportion to the input: where a product over
  # many layers leaves single precision, it is that of a smaller one
  for scale in (1.0, 1e-15):
    value = sum(float(of) for of in flows(sizes, scale))
    if np.isfinite(value) and value > 0:
      return float(np.log10(value) - 2 * np.log10(scale))
  raise ValueError(
    f"synflow: is {value} of this network; expected a number above 0: score such networks by "
    "another evaluation."
  )


def _past_norms(call, args, kwargs, context):
  """Norms as the identity; what initialises is not in here."""
  if isinstance(context.module, _NORMS) and context.method_name == "__call__":
    return args[0]
  return call(*args, **kwargs)


def naswot(apply: Callable, params, images: Array) -> float:
  """log |det K| of how alike the samples' patterns of active ReLUs are (NASWOT v3, 2006.04647).

  K[i, j] is in how many of the network's ReLUs, at all places, the samples i and j are both active
  or both inactive. A network that gives every sample a pattern of its own has the largest.

  Args:
    apply: (params, image) -> logits, without noise.
    params: of the network at its beginning.
    images: (n, *space, channels), n of 2 or more samples.

  Raises ValueError for a network without ReLUs, or where two samples have one pattern.
  """
  if len(images) < 2:
    raise ValueError(f"naswot: is of {len(images)} sample(s); expected 2 or more.")
  if not activations.count(apply, params, images):
    raise ValueError(
      "naswot: the network has no ReLU, whose patterns it compares; choose an activation of "
      f"{', '.join(activations.RECTIFIERS)}, or another evaluation."
    )
  agreement = np.zeros((len(images), len(images)))

  def listen(inputs) -> None:
    active = (np.asarray(inputs) > 0).reshape(len(images), -1).astype(np.float64)
    agreement[:] += active @ active.T + (1 - active) @ (1 - active).T

  jax.block_until_ready(jax.jit(activations.with_listener(apply, listen))(params, images))
  jax.effects_barrier()
  sign, value = np.linalg.slogdet(agreement)
  if sign <= 0:
    raise ValueError(
      "naswot: two samples have the same pattern of active ReLUs, so that the determinant is 0; "
      "give it other samples, by another seed or more batches."
    )
  return float(value)
