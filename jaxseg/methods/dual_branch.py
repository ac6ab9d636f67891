"""Two decoders of one encoder teach each other where nobody drew anything."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.batch import Target
from jaxseg.losses import Loss, centre_crop_target, dice, voxels
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import supervision, value
from jaxseg.schedules import Schedule


def dual_branch(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  pseudo_loss: Loss | None = None,
  *,
  consistency: float | Schedule = 0.5,
  alpha: float | None = None,
  sigmoid: bool = False,
) -> Method:
  """Learns what was drawn, and what both decoders, mixed at random, say of the rest.

      (L(y1, s) + L(y2, s)) / 2 + consistency * (P(y1, m) + P(y2, m)) / 2,
      m = argmax(a softmax(y1) + (1 - a) softmax(y2)),

  with a drawn uniformly from 0 to 1 in each step, no gradient through m, and m on all voxels. With
  `sigmoid` m is where the mixed probability is above 0.5.

  Args:
    network: gives {"logits"} and in training {"second"}, the logits of a decoder that sees the same
      features otherwise (`ssl4mis_unet` with second_decoder=0.5); the first predicts.
    loss: (logits, Target) -> scalar, the L: voxels of weight 0 say nothing, so that cross entropy
      and Dice are partial ones.
    optimiser: an Optax transformation.
    pseudo_loss: the P; by default Dice of all classes over the batch with squared denominator, as
      the paper's code has it.
    consistency: factor of P, or a schedule of it.
    alpha: a fixed a, None to draw it.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Raises ValueError for an alpha outside of 0 to 1, and for a network without a second decoder.
  Source: Luo et al. 2022 (WSL4MIS), 2203.02106.
  """
  if alpha is not None and not 0 <= alpha <= 1:
    raise ValueError(f"dual_branch: alpha is {alpha}; expected 0 to 1, or None to draw it.")
  supervised = supervision(loss)
  if pseudo_loss is None:
    pseudo_loss = functools.partial(dice, squared=True, batch=True, sigmoid=sigmoid)

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current, target = state.learners["network"], batch_module.target(batch, state.step)
    noise, drawing = jax.random.split(key)
    share = jax.random.uniform(drawing) if alpha is None else jnp.float32(alpha)

    def objective(params):
      outputs, stats = forward(
        network, params, current.stats, batch["image"], key=noise, update_stats=True
      )
      if "second" not in outputs:
        raise ValueError(
          f"dual_branch: the network {type(network).__name__} gives no 'second' logits in "
          "training; expected two decoders, as config.network.second_decoder=0.5 of ssl4mis_unet."
        )
      both = (outputs["logits"], outputs["second"])
      first, second = (voxels.probabilities(x, sigmoid=sigmoid) for x in both)
      mixed = jax.lax.stop_gradient(share * first + (1 - share) * second)
      pseudo = (mixed > 0.5).astype(jnp.float32) if sigmoid else jnp.argmax(mixed, -1)
      fitted = centre_crop_target(target, both[0].shape[1:-1])
      drawn = (supervised(outputs, target) + loss(both[1], fitted)) / 2
      told = Target(pseudo, step=state.step, spacing=target.spacing, image=fitted.image)
      agreed = sum(pseudo_loss(logits, told) for logits in both) / 2
      same = (first > 0.5) == (second > 0.5)
      if not sigmoid:
        same = jnp.argmax(first, -1) == jnp.argmax(second, -1)
      metrics = {"drawn_loss": drawn, "pseudo_loss": agreed, "agreement": same.mean()}
      return drawn + value(consistency, state.step) * agreed, (stats, metrics)

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
