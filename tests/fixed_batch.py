"""What every method must do on a fixed batch: the loss falls, the state keeps its shapes."""

import chex
import jax
import jax.numpy as jnp


def compiled_once(method):
  """A method's step, compiled, which fails where it would be traced a second time."""
  chex.clear_trace_counter()
  return jax.jit(chex.assert_max_traces(method.train_step, n=1))


def train(method, batch, *, steps: int = 8, first=None, step=None):
  """First state, which may be given, last state and last metrics of some steps on one batch.

  Fails unless the loss falls, one compilation is enough, metrics are finite float32 scalars and
  the state's shapes and types stay. `step` is that of `compiled_once`, where others take it, too.
  """
  step = step or compiled_once(method)
  first = state = first or jax.jit(method.init)(jax.random.key(0), batch)
  losses = []
  for number in range(steps):
    state, metrics = step(state, batch, jax.random.key(number))
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.9 * losses[0]
  assert int(state.step) == steps
  chex.assert_trees_all_equal_shapes_and_dtypes(state, first)
  chex.assert_tree_all_finite((state, metrics))
  chex.assert_shape(list(metrics.values()), ())
  chex.assert_type(list(metrics.values()), jnp.float32)
  return first, state, metrics
