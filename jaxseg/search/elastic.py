"""Networks within a network: a `plain_conv_unet` that is cut out of a larger one.

Of each stage the first channels are kept, of each kernel its centre. A network in which what is cut
away is 0 computes what the smaller network computes, so that all sizes share one set of weights:
`masked` for choices that a program draws, `cut` for the smaller network itself.
Sources: Yu, Huang, "Universally slimmable networks", 1903.05134; Cai et al., "Once-for-all",
1908.09791.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.paths import flatten, unflatten

PyTree = Any
_STAGE = re.compile(r"(encoder|decoder|up)(\d+)/")


def stage_of(path: str) -> tuple[str, int] | None:
  """(part, stage from 0) of a parameter; None of heads, which take what there is."""
  found = _STAGE.match(path)
  return (found[1], int(found[2]) - 1) if found else None


def masked(params: PyTree, widths: Sequence[Any], kernels: Sequence[Any]) -> PyTree:
  """The parameters, 0 where a smaller network has none.

  Args:
    params: of a `plain_conv_unet` with instance norms.
    widths, kernels: of each stage, whole numbers or those of a program.
  """

  def of(path, leaf):
    place = stage_of(path)
    if place is None:
      return leaf
    part, stage = place
    kept = (jnp.arange(leaf.shape[-1]) < widths[stage]).reshape((1,) * (leaf.ndim - 1) + (-1,))
    if path.endswith("conv/kernel") and part != "up":
      for axis, size in enumerate(leaf.shape[:-2]):
        # as far from the centre as half of the smaller kernel
        near = jnp.abs(jnp.arange(size) - size // 2) <= kernels[stage] // 2
        shape = [1] * leaf.ndim
        shape[axis] = size
        kept = kept & near.reshape(shape)
    return jnp.where(kept, leaf, 0)

  leaves = flatten(params)
  return unflatten({path: of(path, leaf) for path, leaf in leaves.items()})


def cut(params: PyTree, genotype: Mapping[str, Any]) -> PyTree:
  """The parameters of the smaller network that a genotype of "elastic" describes.

  Raises ValueError for one that does not lie in the network that the parameters are of.
  """
  widths, kernels = genotype["widths"], genotype["kernels"]
  leaves = flatten(params)
  largest = {
    place[1]: leaf.shape[-1]
    for path, leaf in leaves.items()
    if (place := stage_of(path)) and place[0] == "encoder"
  }
  if len(largest) != len(widths):
    raise ValueError(
      f"genotype.widths: {len(widths)} stages, the network has {len(largest)}; expected as many."
    )
  out = {}
  for path, leaf in leaves.items():
    out[path] = _cut_leaf(path, np.asarray(leaf), widths, kernels, largest)
  return unflatten(out)


def _cut_leaf(path: str, leaf, widths, kernels, largest):
  place = stage_of(path)
  if place is None:
    # of a head, whose stage is the finest one's or that of its name
    number = re.match(r"aux(\d+)/", path)
    stage = int(number[1]) if number else 0
    return leaf[..., : widths[stage], :] if path.endswith("kernel") else leaf
  part, stage = place
  if widths[stage] > largest[stage]:
    raise ValueError(
      f"genotype.widths: {widths[stage]} channels of stage {stage + 1}, the network has "
      f"{largest[stage]}; expected as many or fewer."
    )
  leaf = leaf[..., : widths[stage]]
  if not path.endswith("kernel"):
    return leaf
  if part == "up":
    return leaf[..., : widths[stage + 1], :]
  first = "/layer1/" in path
  if not first:
    leaf = leaf[..., : widths[stage], :]
  elif part == "decoder":
    # the encoder's channels, then those that were up-sampled
    skip = leaf[..., : widths[stage], :]
    up = leaf[..., largest[stage] : largest[stage] + widths[stage], :]
    leaf = np.concatenate([skip, up], -2)
  elif stage > 0:
    leaf = leaf[..., : widths[stage - 1], :]
  for axis, size in enumerate(leaf.shape[:-2]):
    away = (size - kernels[stage]) // 2
    if away < 0 or (size - kernels[stage]) % 2:
      raise ValueError(
        f"genotype.kernels: {kernels[stage]} of stage {stage + 1}, the network has {size}; "
        "expected that, or an odd number below it."
      )
    leaf = np.take(leaf, np.arange(away, size - away), axis)
  return leaf


def drawn(key, options: Sequence[Sequence[int]]) -> list[jax.Array]:
  """One option of each stage, each as likely as the others."""
  keys = jax.random.split(key, len(options))
  return [
    jnp.asarray(of, jnp.int32)[jax.random.randint(own, (), 0, len(of))]
    for own, of in zip(keys, options, strict=True)
  ]
