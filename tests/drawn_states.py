"""Training states whose numbers numpy draws: `method.init` is traced, and nothing is compiled."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.method import Method, State

# as networks begin; what has another name is drawn
_BEGINS = {"bias": 0.0, "mean": 0.0, "scale": 1.0, "var": 1.0}


def state_of(method: Method, batch, *, seed: int = 0) -> State:
  """A state before the first step, of weights that keep a signal's size.

  Learners of the same shapes have the same weights, so that averages and teachers begin as copies.
  """
  shapes = jax.eval_shape(method.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
  learners = {}
  for name, of in shapes.learners.items():
    stats = {k: _zeros(t) if k == "counts" else _drawn(t, seed) for k, t in of.stats.items()}
    own = {"params": _drawn(of.params, seed), "stats": stats, "opt_state": _zeros(of.opt_state)}
    learners[name] = of.replace(**own)
  return State(_zeros(shapes.step), learners, _zeros(shapes.extra))


def _zeros(shapes):
  return jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), shapes)


def _drawn(shapes, seed: int):
  random = np.random.default_rng(seed)

  def draw(path, of):
    begin = _BEGINS.get(path[-1].key)
    fan = max(1, math.prod(of.shape[:-1]))
    values = random.normal(size=of.shape) / fan**0.5 if begin is None else np.full(of.shape, begin)
    return jnp.asarray(values, of.dtype)

  return jax.tree_util.tree_map_with_path(draw, shapes)
