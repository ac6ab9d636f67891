"""Edges of the labels' objects, and the loss of a network's output that says where they are.

They compare an output of one channel, not classes of voxels: no rows of `LOSSES`.
"""

import math

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses.cross_entropy import cross_entropy
from jaxseg.morphology import dilate


def edge_target(
  labels: Array, classes: int, *, radius: float = 2.0, sigmoid: bool = False
) -> jax.Array:
  """1 where a voxel of an object and one outside of it are at most `radius` apart, on both sides.

  The edge of every class but the background, by exact Euclidean distances; beyond the image is
  outside. Source: SAUNet, arXiv 2001.07645, whose release computes it on the host.

  Args:
    labels: (b, *space) int, or (b, *space, classes) soft or region labels.
    classes: how many, background included.
    radius: in voxels, at least 1; of axes that differ in spacing, too.
    sigmoid: labels are regions, none of which is the background.

  Returns:
    (b, *space, 1) float32.
  """
  if radius < 1:
    raise ValueError(f"edge_target: radius is {radius}; expected at least 1 voxel.")
  if jnp.issubdtype(labels.dtype, jnp.floating):
    masks = (labels if sigmoid else labels[..., 1:]) > 0.5
  else:
    index = jnp.arange(1, max(classes, 2))
    masks = labels[..., None] == index.reshape((1,) * labels.ndim + (-1,))
  reach = math.floor(radius)

  def edge(mask):
    beyond = jnp.pad(~mask, 1, constant_values=True)
    inner = mask & dilate(beyond, radius, reach=reach)[(slice(1, -1),) * mask.ndim]
    return inner | (~mask & dilate(mask, radius, reach=reach))

  of_each = jax.vmap(jax.vmap(edge))(jnp.moveaxis(masks, -1, 1))
  return of_each.any(1)[..., None].astype(jnp.float32)


def edge_loss(
  logits: Array, target: Target, classes: int, *, radius: float = 2.0, sigmoid: bool = False
) -> jax.Array:
  """Binary cross entropy of (b, *space, 1) logits with `edge_target` -> float32 scalar.

  No voxel counts that has an ignored one within `radius`: an object may end there or go on.
  """
  truth = edge_target(target.labels, classes, radius=radius, sigmoid=sigmoid)
  weight = target.weight
  if weight is not None:
    near = jax.vmap(lambda of: dilate(of, radius, reach=math.floor(radius)))(weight <= 0)
    weight = jnp.where(near, 0, weight)
  return cross_entropy(logits, Target(truth, weight), sigmoid=True)
