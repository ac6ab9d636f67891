"""A network's dropout, DropBlock and stochastic depth, turned on in prediction."""

import jax
from flax import linen as nn
from flax.core.scope import LazyRng

from jaxseg.explain.target import Apply


def noisy(apply: Apply, key: jax.Array) -> Apply:
  """`apply` whose networks draw their noise from `key`, as in training; statistics are kept.

  Layers ask Linen for a "dropout" key: the network's own call is given one before it begins.
  """

  def intercept(call, args, kwargs, context):
    module, scope = context.module, context.module.scope
    # what is not bound, as a network that tells its strides, has no path
    if scope is not None and not module.path and not scope.has_rng("dropout"):
      scope.rngs["dropout"], scope.rng_counters["dropout"] = LazyRng.create(key), 0
    return call(*args, **kwargs)

  def run(params, image):
    with nn.intercept_methods(intercept):
      return apply(params, image)

  return run


def sources(apply: Apply, params, image) -> tuple[str, ...]:
  """Paths of the layers that make noise: those with a rate above 0."""
  found: dict[str, None] = {}

  def record(call, args, kwargs, context):
    rate = getattr(context.module, "rate", 0)
    if context.method_name == "__call__" and isinstance(rate, int | float) and rate > 0:
      found["/".join(context.module.path)] = None
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(lambda *arguments: apply(*arguments), params, image)
  return tuple(found)
