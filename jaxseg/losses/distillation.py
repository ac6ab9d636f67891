"""What a student has to share with a teacher: probabilities, places, attention, features.

Each kind is a description of one network's outputs and a distance between two descriptions. The
gradient of every distance depends on the teacher's description linearly: the distance to the mean
of several teachers' descriptions has the gradient of the mean distance to each of them.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from jaxseg.batch import Array
from jaxseg.losses import voxels


def softened(logits: Array, *, temperature: float = 1.0, sigmoid: bool = False) -> jax.Array:
  """(b, *space, k) logits -> float32 probabilities of logits / temperature."""
  return voxels.probabilities(_hot(logits, temperature), sigmoid=sigmoid)


def logits_distance(
  logits: Array, taught: Array, *, temperature: float = 1.0, sigmoid: bool = False
) -> jax.Array:
  """T^2 KL(teacher || student) of softened probabilities, in nats, mean over voxels.

  With `sigmoid` the divergences of each channel's two outcomes, mean over voxels and channels. T^2
  keeps gradients of one size whatever the temperature.

  Args:
    logits: (b, *space, k) of the student.
    taught: (b, *space, k), the teacher's `softened`.
    temperature: T, the one that the teacher's were softened with.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Source: Hinton, Vinyals and Dean 2015, 1503.02531.
  """
  logits, taught = _hot(logits, temperature), jnp.asarray(taught, jnp.float32)
  yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  each = xlogy(taught, taught) - taught * yes
  if sigmoid:
    rest = 1 - taught
    each += xlogy(rest, rest) - rest * voxels.log_complements(logits, sigmoid=True)
  else:
    each = each.sum(-1)
  return temperature**2 * each.mean()


def places(logits: Array, *, temperature: float = 1.0) -> jax.Array:
  """(b, *space, k) -> (b, voxels, k): of each channel, how its values spread over the patch.

  A softmax over the voxels, so that it sums to 1 for each sample and channel.
  """
  return jax.nn.softmax(_flat(_hot(logits, temperature)), 1)


def places_distance(logits: Array, taught: Array, *, temperature: float = 1.0) -> jax.Array:
  """T^2 KL(teacher || student) of each channel's `places`, mean over channels and samples.

  Source: Shu et al. 2020, 2011.13256 (channel-wise distillation).
  """
  ours = jax.nn.log_softmax(_flat(_hot(logits, temperature)), 1)
  taught = jnp.asarray(taught, jnp.float32)
  return temperature**2 * (xlogy(taught, taught) - taught * ours).sum(1).mean()


def attention_map(features: Array) -> jax.Array:
  """(b, *space, channels) -> (b, voxels): mean square over channels, of length 1."""
  energy = _flat(jnp.asarray(features, jnp.float32) ** 2).mean(-1)
  # a root has no gradient at 0, which features after a ReLU may all be
  return energy * jax.lax.rsqrt(jnp.maximum((energy**2).sum(1, keepdims=True), 1e-24))


def attention_distance(features: Array, taught: Array) -> jax.Array:
  """Mean squared difference of two attention maps; `taught` is the teacher's `attention_map`.

  Source: Zagoruyko and Komodakis 2016, 1612.03928, as their code has it (mean, not length).
  """
  return ((attention_map(features) - taught) ** 2).mean()


def features_distance(features: Array, taught: Array, kernel: Array | None = None) -> jax.Array:
  """Mean squared difference of a teacher's features and a linear map of the student's.

  Args:
    features: (b, *space, channels) of the student.
    taught: (b, *space, theirs).
    kernel: (channels, theirs), or (b, channels, theirs) of each sample's teacher; None takes the
      features as they are.

  Source: Romero et al. 2014, 1412.6550 (FitNets), whose regressor is such a 1x1 convolution.
  """
  features, taught = jnp.asarray(features, jnp.float32), jnp.asarray(taught, jnp.float32)
  if kernel is not None:
    ours = "bvc,bcd->bvd" if kernel.ndim == 3 else "bvc,cd->bvd"
    features, taught = jnp.einsum(ours, _flat(features), kernel), _flat(taught)
  return ((features - taught) ** 2).mean()


def agreement(logits: Array, taught: Array, *, sigmoid: bool = False) -> jax.Array:
  """Share of the voxels (and channels, with `sigmoid`) on which both decide alike."""
  if sigmoid:
    return ((logits > 0) == (taught > 0.5)).mean(dtype=jnp.float32)
  return (logits.argmax(-1) == taught.argmax(-1)).mean(dtype=jnp.float32)


def centred(values: Array, space: Sequence[int]) -> Array:
  """(b, *space, ...) cut to the size `space` about its centre: valid convolutions give less."""
  for axis, size in enumerate(space, start=1):
    first = (values.shape[axis] - size) // 2
    values = jax.lax.slice_in_dim(jnp.asarray(values), first, first + size, axis=axis)
  return values


def _hot(logits: Array, temperature: float) -> jax.Array:
  return jnp.asarray(logits, jnp.float32) / temperature


def _flat(values: jax.Array) -> jax.Array:
  return values.reshape(values.shape[0], -1, values.shape[-1])
