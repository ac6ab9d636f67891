"""Adaptive batch normalisation: another domain is normalised by its own statistics."""

import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method, forward
from jaxseg.methods.labelled import UNLABELLED
from jaxseg.methods.supervised import supervised

_STATISTICS = "batch_stats"


def adabn(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
) -> Method:
  """`supervised`, but the running statistics are those of the stream without labels.

  Weights are learnt with the batch's own statistics, so that they are those of `supervised` to the
  bit; the running ones, by which a network predicts, are taken from a second pass over the other
  domain's images after each step, so that it predicts the main stream's worse than before. The
  paper takes them once at the end: with a rate that falls to 0 the running averages are of nearly
  the same weights.
  Source: Li et al., 1603.04779.

  Args:
    network: one with batch norm.
    loss, optimiser, head_decay, drop_last_head: as for `supervised`.
  """
  options = {"head_decay": head_decay, "drop_last_head": drop_last_head}
  inner = supervised(network, loss, optimiser, **options)

  def init(key, batch):
    state = inner.init(key, batch)
    if _STATISTICS not in state.learners["network"].stats:
      raise ValueError(
        f"adabn: the network {type(network).__name__} has no batch norm, whose statistics would be "
        "the other domain's; expected config.network.norm='batch', or another method."
      )
    return state

  def train_step(state, batch, key):
    before = state.learners["network"].stats[_STATISTICS]
    state, metrics = inner.train_step(state, batch, key)
    current = state.learners["network"]
    stats = {**current.stats, _STATISTICS: before}
    images = batch[UNLABELLED]["image"]
    _, seen = forward(network, current.params, stats, images, update_stats=True, train=False)
    # the step that schedules go by has been counted
    current = current.replace(stats={**current.stats, _STATISTICS: seen[_STATISTICS]})
    return state.replace(learners={"network": current}), metrics

  return inner._replace(init=init, train_step=train_step)
