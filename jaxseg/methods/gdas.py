"""GDAS: in each step every edge has one operation, drawn by the choices that it teaches."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import searching
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule
from jaxseg.search import relaxation


def strongest(weights: relaxation.Weights) -> relaxation.Mix:
  """1 at the strongest option of each row, else 0."""
  return {
    group: jax.nn.one_hot(jnp.argmax(of, -1), of.shape[-1], dtype=of.dtype)
    for group, of in weights.items()
  }


def gdas(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  architecture_optimiser: optax.GradientTransformation,
  architecture_loss: Loss | None = None,
  *,
  temperature: float | Schedule = 1.0,
  warm_up: int = 0,
  stop_share: float | None = None,
) -> Method:
  """Searches an architecture: each edge's operation is drawn, its gradient is the soft draw's.

  The network that is trained is thus one of those that may be chosen, and not a mixture of all.
  Roles, further options and metrics are those of `darts`; where it is applied, the network has the
  strongest operation of each edge.

  Args:
    temperature: of the Gumbel softmax, or a schedule of it; the paper's goes from 10 to 0.1,
      dict(name="linear", start=10.0, end=0.1).

  Source: Dong, Yang, 1910.04465.
  """
  relaxed = searching.Relaxation(
    drawn=lambda key, weights, step: relaxation.gumbel(
      key, weights, temperature=value(temperature, step)
    ),
    settled=strongest,
    strengths=relaxation.softmax,
  )
  return searching.searching(
    network,
    loss,
    architecture_loss,
    optimiser,
    architecture_optimiser,
    relaxed,
    warm_up=warm_up,
    stop_share=stop_share,
  )
