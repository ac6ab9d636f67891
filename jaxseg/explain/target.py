"""What is explained: a weighted sum of a network's scores, and how an apply is called."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxseg.batch import Array

# (params, (b, *space, c) image) -> {"logits": (b, *space, k), features}; not compiled: methods look
# into it while it is traced
Apply = Callable[[Any, Array], dict[str, Array]]


class Attribution(NamedTuple):
  """What a method says about one batch of windows.

  Attributes:
    values: (b, *space, c) for every channel of the image, or (b, *space); not scaled.
    numbers: what a reader should know beside the map, float32 scalars.
  """

  values: Array
  numbers: dict[str, Array] = {}  # noqa: RUF012  (never mutated)


def score(outputs: dict[str, Array], target: Array) -> Array:
  """The number that is explained: the sum of logits times `target`, both (b, *space, k).

  A class over a set of voxels is a target of 1 there in its channel, of Seg-Grad-CAM (Vinogradova
  et al., arXiv 2002.11434); one voxel is a set of one.
  """
  return jnp.sum(outputs["logits"].astype(jnp.float32) * target)


def over_channels(values: Array, rank: int, how: str) -> Array:
  """(b, *space, c) -> (b, *space): "sum" of the channels, or "largest" absolute value of them."""
  if values.ndim == rank + 1:
    return values
  return values.sum(-1) if how == "sum" else abs(values).max(-1)
