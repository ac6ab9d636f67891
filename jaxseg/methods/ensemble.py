"""Several networks that are trained together, around any method."""

import jax
import jax.numpy as jnp

from jaxseg.method import Method
from jaxseg.sharding import Layout


def ensemble(method: Method, layout: Layout | None = None, *, members: int) -> Method:
  """Trains networks that differ in initial weights and noise alone (deep ensembles, 1612.01474).

  All see the same batch. Learners and `extra` are stacked on a leading axis of members; member i is
  what a run of its own would be whose keys are folded with i. Metrics and what `apply` gives are
  the members' means, as the logits of several folds are averaged.

  Args:
    method: of one member.
    layout: over whose axis `member` they are spread; None is one device.
    members: how many.
  """
  if members < 1:
    raise ValueError(f"ensemble: members={members}; expected at least one.")

  def each(function, stacked, shared):
    if layout is None:
      return jax.lax.map(lambda own: function(own, shared), stacked)
    return layout.over_members(function, stacked, shared)

  def mean(tree):
    return jax.tree.map(lambda x: x.mean(0), tree)

  def init(key, batch):
    def one(member, shared):
      key, batch = shared
      return method.init(jax.random.fold_in(key, member), batch)

    states = each(one, jnp.arange(members), (key, batch))
    return states.replace(step=jnp.zeros((), jnp.int32))

  def train_step(state, batch, key):
    def one(own, shared):
      member, learners, extra = own
      step, batch, key = shared
      current = state.replace(step=step, learners=learners, extra=extra)
      after, metrics = method.train_step(current, batch, jax.random.fold_in(key, member))
      return (after.learners, after.extra), metrics

    stacked = (jnp.arange(members), state.learners, state.extra)
    (learners, extra), metrics = each(one, stacked, (state.step, batch, key))
    return state.replace(step=state.step + 1, learners=learners, extra=extra), mean(metrics)

  def apply(state, batch):
    def one(own, shared):
      learners, extra = own
      step, batch = shared
      return method.apply(state.replace(step=step, learners=learners, extra=extra), batch)

    return mean(each(one, (state.learners, state.extra), (state.step, batch)))

  return Method(init, train_step, apply)
