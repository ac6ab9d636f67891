"""DARTS: choices as mixtures, which learn by gradients from cases that the weights don't see."""

import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import bilevel, searching
from jaxseg.search import relaxation
from jaxseg.search.cells import Cells
from jaxseg.search.topology import Topology

RELAXATION = searching.Relaxation(
  drawn=lambda key, weights, step: relaxation.softmax(weights),
  settled=relaxation.softmax,
  strengths=relaxation.softmax,
  kinds=(Cells, Topology),
)


def darts(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  architecture_optimiser: optax.GradientTransformation,
  architecture_loss: Loss | None = None,
  *,
  order: int = 1,
  hessian: str = bilevel.EXACT,
  inner_rate: float | None = None,
  warm_up: int = 0,
  stop_share: float | None = None,
) -> Method:
  """Searches an architecture: every edge of the supernet mixes its operations by a softmax.

  In each step the choices descend on the loss of the stream "architecture", then the weights on
  that of the main stream. `jaxseg derive` takes the strongest of each out of the run. Metrics:
  `architecture_loss`; `skip_share`, the largest share of skip connections that a cell chosen now
  would have: a search that collapses ends near 1; `entropy` of the choice in nats, which falls as
  it is made; `stopped`.

  Args:
    network: a supernet, of `networks.SUPERNETS`.
    loss: of the weights, on the main stream.
    optimiser: of the weights; the paper's is SGD, 0.025 to 0.001 along a cosine, momentum 0.9.
    architecture_optimiser: of the choices; the paper's is Adam, 3e-4, b1=0.5, weight decay 1e-3.
    architecture_loss: of the choices, on the stream "architecture"; `loss` if None.
    order: 1 takes the weights as they are; 2 those after their next step of plain gradient descent,
      which depends on the choices: a choice is then judged by what the weights make of it.
    hessian: of order=2: "exact" differentiates through the step, "finite" takes the paper's
      differences, at less memory.
    inner_rate: size of that step; None is the weights' current learning rate.
    warm_up: steps of the weights alone, before the choices begin.
    stop_share: where more than this share of a cell's edges would be skip connections for 20 steps
      in a row, the choices are taken back to those before that, and stay; None never.

  Source: Liu et al., 1806.09055; the stop: Liang et al., 1909.06035.
  """
  return searching.searching(
    network,
    loss,
    architecture_loss,
    optimiser,
    architecture_optimiser,
    RELAXATION,
    order=order,
    hessian=hessian,
    inner_rate=inner_rate,
    warm_up=warm_up,
    stop_share=stop_share,
  )
