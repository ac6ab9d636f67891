"""What a network mistakes each class for, and how two domains differ in it.

Two scanners' images of one organ look unlike, but the organ is like the others in both: what its
voxels score for every class can be shared where images cannot.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


class Confusion(NamedTuple):
  """What the voxels of each class score.

  Attributes:
    logits: (k, k) float32, row c the mean logits over the voxels of class c; 0 without one.
    present: (k,) whether the batch has a voxel of the class.
  """

  logits: jax.Array
  present: jax.Array


def confusion(logits: Array, target: Target, *, sigmoid: bool = False) -> Confusion:
  """(b, *space, k) logits -> the mean logits of every class; ignored voxels enter no mean."""
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  members = weight * truth
  sizes = members.reshape(-1, members.shape[-1]).sum(0)
  sums = jnp.einsum("...c,...k->ck", members, logits)
  return Confusion(sums / jnp.where(sizes > 0, sizes, 1)[:, None], sizes > 0)


def confusion_distance(
  first: Confusion, second: Confusion, *, temperature: float = 2.0, sigmoid: bool = False
) -> jax.Array:
  """(KL(p || q) + KL(q || p)) / 2 of softened scores, in nats, mean over classes; symmetric.

  p and q are softmax(mean logits / T) of a class. The mean is over the classes that both have: of a
  class that one lacks nothing is known, and it counts for nothing; without a common class it is 0.

  Args:
    first, second: of two domains.
    temperature: T; no factor T^2 makes up for it.
    sigmoid: k independent channels (regions): the divergences of each channel's two outcomes.

  Source: Dou, Liu, Heng and Glocker 2020, 2001.03111.
  """
  a, b = first.logits / temperature, second.logits / temperature
  p, q = (voxels.probabilities(x, sigmoid=sigmoid) for x in (a, b))
  # their logarithms are a and b less what all outcomes have in common, and p - q sums to 0
  each = ((p - q) * (a - b)).sum(-1) / 2
  both = first.present & second.present
  return jnp.where(both, each, 0).sum() / jnp.maximum(both.sum(), 1)
