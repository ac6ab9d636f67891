"""Batch norms of frozen parts that keep their running statistics, around any method."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxseg.method import Method
from jaxseg.networks.blocks.statistics import keeping


class Frozen(NamedTuple):
  """Of one network, which of its norms are frozen until when.

  Attributes:
    network: the module that a method calls.
    until: path of a parameter -> the step from which it learns, 0 or infinity among others.
  """

  network: Any
  until: Callable[[str], float]


def frozen_norms(method: Method, networks: Sequence[Frozen]) -> Method:
  """Normalises by the running statistics where a norm's scale is frozen, and keeps them.

  A new batch would move what a frozen encoder tells, though its weights stay. From the step on from
  which the scale learns, a norm is as without this.
  """
  if not networks:
    return method

  def train_step(state, batch, key):
    with keeping([(of.network, of.until) for of in networks], state.step):
      return method.train_step(state, batch, key)

  return method._replace(train_step=train_step)
