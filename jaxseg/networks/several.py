"""Several networks of one kind, their weights stacked: each sample goes through its own ones."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg import samples
from jaxseg.batch import Array
from jaxseg.sharding import BATCH, Layout

PyTree = Any


class Several(NamedTuple):
  """Networks that differ in their weights alone, as the folds of a cross-validation do.

  Attributes:
    network: what all of them are.
    number: how many; each of their arrays has a leading axis of this length.
    mesh: devices over whose axis "batch" samples are split, None for one device.
  """

  network: nn.Module
  number: int
  mesh: jax.sharding.Mesh | None = None

  def init(self, key, *inputs, train: bool = False) -> dict[str, PyTree]:
    """As a Linen module's; every network has weights of its own."""
    keys = jax.random.split(key, self.number)
    return jax.lax.map(lambda own: dict(self.network.init(own, *inputs, train=train)), keys)

  def clone(self, **options) -> "Several":
    """As a Linen module's."""
    return self._replace(network=self.network.clone(**options))

  def described(
    self, variables: PyTree, images: Array, shares: Array, describe: Callable[[dict], PyTree]
  ) -> PyTree:
    """Of each sample the weighted mean of what is said of its networks' outputs.

    A network whose share of a sample is 0 is not computed for it: where each sample has one, it
    costs what one network does.

    Args:
      variables: stacked, {"params": ..., "batch_stats": ...}.
      images: (b, *space, channels).
      shares: (b, number), at least 0, with sum 1 for each sample.
      describe: outputs of a network for a batch of one -> floats with that batch axis.

    Returns:
      What `describe` gives, for the whole batch.
    """

    def one(variables, image, share):
      def of(own):
        return describe(self.network.apply(own, image[None], train=False))

      def add(total, item):
        own, weight = item

        def more():
          return jax.tree.map(lambda x, new: x + weight * new, total, of(own))

        return jax.lax.cond(weight > 0, more, lambda: total), None

      shapes = jax.eval_shape(of, jax.tree.map(lambda x: x[0], variables))
      nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
      return jax.tree.map(lambda x: x[0], jax.lax.scan(add, nothing, (variables, share))[0])

    def mapped(variables, images, shares):
      # in turn, not vmap: a branch that isn't taken costs nothing
      return jax.lax.map(lambda sample: one(variables, *sample), (images, shares))

    mapped = samples.on_own_device(mapped, self.mesh, shared=1, whole=False)
    return mapped(variables, images, shares)


def one(network: Any) -> nn.Module:
  """The network itself: of several that which all of them are."""
  return network.network if isinstance(network, Several) else network


def placed(networks: Mapping[str, Any], layout: Layout | None) -> dict[str, Any]:
  """Networks by role; those that are several, over the devices of a layout."""
  split = layout is not None and layout.sizes[BATCH] > 1
  return {
    name: of._replace(mesh=layout.mesh) if split and isinstance(of, Several) else of
    for name, of in networks.items()
  }
