"""Fair DARTS: operations that don't compete, each is used or not."""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import searching
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule
from jaxseg.search import choice, relaxation


def fairdarts(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  architecture_optimiser: optax.GradientTransformation,
  architecture_loss: Loss | None = None,
  *,
  zero_one: float | Schedule = 10.0,
  warm_up: int = 0,
  stop_share: float | None = None,
) -> Method:
  """Searches an architecture: each operation is mixed by its own sigmoid.

  With a softmax a skip connection wins because another operation loses; here none does. The
  choices' loss gains zero_one * (-mean (sigmoid(a) - 0.5)^2), by which each is drawn to 0 or to 1;
  the mean is over the operations that there are: what is not used is of none, so that "none" and
  rows of edges that no cell has are left out.
  Roles, further options and metrics are those of `darts`, and `zero_one`. The network that is
  chosen keeps the two strongest edges of each node, as DARTS', where the paper keeps those above
  0.85, of which there may be none.

  Source: Chu et al., 1911.12126.
  """

  def terms(of, weights, rank, step):
    del rank
    mix = relaxation.sigmoid(weights)
    used = choice.acting(of)
    term = -jnp.mean(jnp.concatenate([jnp.square(mix[group][used[group]] - 0.5) for group in used]))
    return value(zero_one, step) * term, {"zero_one": term}

  relaxed = searching.Relaxation(
    drawn=lambda key, weights, step: relaxation.sigmoid(weights),
    settled=relaxation.sigmoid,
    strengths=relaxation.sigmoid,
    terms=terms,
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
