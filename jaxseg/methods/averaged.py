"""Exponential moving averages of weights, around any method."""

import jax
import jax.numpy as jnp

from jaxseg.method import Method

SUFFIX = "_average"


def averaged(method: Method, *, decay: float = 0.999) -> Method:
  """Keeps an exponential moving average of every learner that learns and applies that one.

  average <- d * average + (1 - d) * weights, with d = min(decay, (1 + t) / (10 + t)) so that the
  random initial weights fade fast. Batch statistics are averaged likewise. The averages are
  frozen learners called "<name>_average" (mean teacher, 1703.01780; Polyak averaging).
  """
  if not 0 < decay < 1:
    raise ValueError(f"averaged: decay must lie between 0 and 1, got {decay}.")

  def plain(state):
    kept = {k: v for k, v in state.learners.items() if not k.endswith(SUFFIX)}
    return state.replace(learners=kept)

  def with_averages(state, averages):
    return state.replace(learners={**state.learners, **averages})

  def init(key, batch):
    state = method.init(key, batch)
    # a copy, because two leaves of a donated state must not share one buffer
    copies = {
      name + SUFFIX: jax.tree.map(jnp.copy, learner.replace(opt_state=()))
      for name, learner in state.learners.items()
      if learner.opt_state != ()  # a frozen one is its own average
    }
    return with_averages(state, copies)

  def train_step(state, batch, key):
    step = state.step.astype(jnp.float32)
    d = jnp.minimum(decay, (1 + step) / (10 + step))
    updated, metrics = method.train_step(plain(state), batch, key)

    def mix(old, new):
      return d * old + (1 - d) * new if jnp.issubdtype(new.dtype, jnp.floating) else new

    averages = {
      name + SUFFIX: jax.tree.map(mix, state.learners[name + SUFFIX], learner.replace(opt_state=()))
      for name, learner in updated.learners.items()
      if name + SUFFIX in state.learners
    }
    return with_averages(updated, averages), metrics

  def apply(state, batch):
    learners = plain(state).learners
    averages = {name: state.learners.get(name + SUFFIX, own) for name, own in learners.items()}
    return method.apply(state.replace(learners=averages), batch)

  return Method(init, train_step, apply)
