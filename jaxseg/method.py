"""THE contract: a training scheme is three pure functions over named learners.

The loop knows `Method` and `State` and nothing else. Schemes in `jaxseg.methods` are written
with `learner`, `forward` and `descend`; `split` and `merge` part parameters by path.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxseg.batch import Array, Batch
from jaxseg.networks.blocks.statistics import of_network
from jaxseg.optimisers import learning_rate, without_frozen
from jaxseg.paths import merge as merge
from jaxseg.paths import split as split

PyTree = Any
Metrics = dict[str, Array]


@struct.dataclass
class Learner:
  """Everything that one optimiser owns.

  Attributes:
    params: trainable parameters.
    stats: the other Linen collections, {} if none: "batch_stats", and "counts" of the steps that a
      network's schedules go by.
    opt_state: the optimiser's state; () when frozen (teachers, averaged copies).
  """

  params: PyTree
  stats: PyTree
  opt_state: PyTree


@struct.dataclass
class State:
  """All that training carries from step to step, and all that a checkpoint holds."""

  step: Array
  learners: dict[str, Learner]
  extra: PyTree = None


class Method(NamedTuple):
  """A training scheme as three pure functions.

  Attributes:
    init: (key, batch) -> State. Traced; the batch gives shapes only.
    train_step: (state, batch, key) -> (State, metrics); metrics are float32 scalars.
    apply: (state, batch) -> {"logits": ..., features}; one patch, inference mode.
  """

  init: Callable[[jax.Array, Batch], State]
  train_step: Callable[[State, Batch, jax.Array], tuple[State, Metrics]]
  apply: Callable[[State, Batch], dict[str, Array]]


def learner(net: nn.Module, tx: optax.GradientTransformation | None, key, *inputs) -> Learner:
  """Initialises a network and its optimiser; `tx=None` makes a frozen learner."""
  # train=True, so that heads that only training uses (deep supervision) get their parameters
  stats = dict(net.init(key, *inputs, train=True))
  params = stats.pop("params")
  return Learner(params, stats, () if tx is None else tx.init(params))


def learns(learner: Learner) -> bool:
  """Whether it has an optimiser; a frozen one has none."""
  return learner.opt_state != ()


def forward(net: nn.Module, params, stats, *inputs, key=None, update_stats=False, train=None):
  """Applies a network: (outputs, new stats), with three settings that don't depend on each other.

  A `key` turns dropout and other noise on. `update_stats` normalises with the batch's own
  statistics and updates the running ones. `train` (None is `update_stats`) computes the outputs
  that only training uses and counts the step that schedules go by. Frozen BatchNorm and Monte
  Carlo dropout are values of the three, not code paths of their own: layers ask Linen for the
  first two (`has_rng("dropout")`, `is_mutable_collection("batch_stats")`).
  """
  train = update_stats if train is None else train
  with of_network(net):
    outputs, updated = net.apply(
      {"params": params, **stats},
      *inputs,
      train=train,
      rngs=None if key is None else {"dropout": key},
      mutable=[name for name in stats if update_stats or (train and name == "counts")],
    )
  return outputs, {**stats, **updated}


def descend(tx, learner: Learner, objective) -> tuple[Learner, Metrics]:
  """One gradient step.

  Args:
    tx: the Optax transformation that `learner.opt_state` belongs to.
    learner: what to update.
    objective: params -> (loss, (new stats, metrics)).

  Returns:
    The updated learner and the metrics, with "loss", "gradient_norm" (of what is not frozen for
    good) and "learning_rate" added.
  """
  of = jax.value_and_grad(lambda params: objective(without_frozen(tx, params)), has_aux=True)
  (loss, (stats, metrics)), gradients = of(learner.params)
  updates, opt_state = tx.update(gradients, learner.opt_state, learner.params)
  params = optax.apply_updates(learner.params, updates)
  metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients), **metrics}
  rate = learning_rate(opt_state)
  if rate is not None:
    metrics["learning_rate"] = rate
  metrics = {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
  return Learner(params, stats, opt_state), metrics
