"""One step, compiled whole: sample, augment, mix, then the method's own step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import sharding
from jaxseg.augment.batched import batched
from jaxseg.data import sampling
from jaxseg.experiment import Experiment
from jaxseg.method import State

# what a key is for, folded into the root key of the config's seed
INIT, TRAIN = 0, 1


class Step(NamedTuple):
  """The compiled functions of a run and where their arguments live."""

  init: Callable
  train: Callable
  apply: Callable
  replicated: jax.NamedSharding
  split: jax.NamedSharding


def compile_step(run: Experiment, example: dict, store: dict) -> Step:
  """sample -> augment -> train_step as one jit; shapes are read from an example element.

  Args:
    run: the experiment.
    example: an element of `sampling.batches`, global batch.
    store: the device store, {} with `cache="host"`.
  """
  devices = sharding.usable(run.sampling.batch)
  mesh = sharding.mesh(devices)
  replicated, split = sharding.replicated(mesh), sharding.split(mesh)
  augment = batched(run.augment, mesh, axis=sharding.BATCH)

  def fed(store, element, key):
    batch = sampling.sample_batch(store, element, how=run.sampling) if store else element
    return run.mix(key, augment(key, batch))

  shapes = jax.eval_shape(fed, store, example, jax.random.key(0))

  # keys are made inside, from the seed: a plain number is the same on every process
  def init(seed) -> State:
    key = jax.random.fold_in(jax.random.key(seed), INIT)
    # so are the zeros: only their shapes matter, and nothing becomes a constant of the program
    return run.method.init(key, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))

  def train(state: State, store, element, seed):
    train_key = jax.random.fold_in(jax.random.key(seed), TRAIN)
    augment_key, method_key = jax.random.split(jax.random.fold_in(train_key, state.step))
    return run.method.train_step(state, fed(store, element, augment_key), method_key)

  return Step(
    init=jax.jit(init, out_shardings=replicated),
    train=jax.jit(
      train,
      in_shardings=(replicated, replicated, split, replicated),
      out_shardings=replicated,
      donate_argnums=0,
    ),
    # the logits alone: features that nobody asked for would be computed and kept
    apply=jax.jit(lambda state, batch: {"logits": run.method.apply(state, batch)["logits"]}),
    replicated=replicated,
    split=split,
  )
