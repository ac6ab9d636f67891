"""DiNTS: a search of topology, whose terms make what is chosen a network that fits a memory."""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import searching
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule
from jaxseg.search import paths, relaxation
from jaxseg.search.topology import Topology


def dints(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  architecture_optimiser: optax.GradientTransformation,
  architecture_loss: Loss | None = None,
  *,
  terms: float | Schedule = 1.0,
  topology: float = 0.001,
  memory: float = 0.8,
  warm_up: int = 0,
) -> Method:
  """Searches paths between resolutions and their operations, see `networks.dints`.

  The choices' loss gains terms * (entropy of paths + entropy of operations + |memory - share| +
  topology * how little blocks read what the blocks before make). Roles, further options and
  metrics are those of `darts`, and each term, and `memory_share`.

  Args:
    terms: weight of the terms or a schedule of it; in the published recipe it rises from 0 at the
      end of the warm-up to 1: dict(name="linear", begin=0.5).
    topology: weight of the topology's term among them.
    memory: the share of the memory that all paths together take which the network is to take.

  Source: He et al., CVPR 2021, 2103.15954.
  """

  def added(of, weights, rank, step):
    ours, theirs = paths.entropies(weights)
    share = paths.memory_share(of, relaxation.softmax(weights), rank)
    agree = paths.topology_loss(of, weights[relaxation.PATHS])
    total = ours + theirs + jnp.abs(memory - share) + topology * agree
    parts = {"path_entropy": ours, "operation_entropy": theirs, "topology_loss": agree}
    return value(terms, step) * total, {**parts, "memory_share": share}

  relaxed = searching.Relaxation(
    drawn=lambda key, weights, step: relaxation.softmax(weights),
    settled=relaxation.softmax,
    strengths=relaxation.softmax,
    terms=added,
    kinds=(Topology,),
  )
  return searching.searching(
    network,
    loss,
    architecture_loss,
    optimiser,
    architecture_optimiser,
    relaxed,
    warm_up=warm_up,
  )
