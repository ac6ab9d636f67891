"""Label maps from noise: a critic tells them from those of the training cases."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import gan
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, draws
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule


def mask_gan(
  network: nn.Module,
  critic: nn.Module,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  mode: str = "bce",
  straight_through: bool = True,
  instance_noise: float | Schedule = 0.0,
  critic_steps: int = 1,
  clip_weights: float | None = None,
  gradient_penalty: float = 0.0,
  sigmoid: bool = False,
) -> Method:
  """A network makes label maps of noise, a critic learns what those of the training set are like.

  The first of three steps of Guibas et al. (1709.01872), with DCGAN's networks (1511.06434). The
  images of a batch give nothing but their size. Network and critic learn from one pass of the
  network, each with the other held still. Where labels have no weight, both kinds of maps are
  hidden. `apply` makes maps of the noise that `draws.key_of` tells. Metric: `critic_accuracy`.

  Args:
    network: makes {"logits"} whose noise is a "dropout" key's, as `mask_generator`.
    critic: of `networks.CRITICS`, of one input: maps.
    optimiser, critic_optimiser: Optax transformations.
    mode: "bce", "lsgan", "hinge" or "wgan", see `losses.gan`.
    straight_through: the critic sees decided maps, as the labels are, and its gradient goes through
      to the scores as it is (1308.3432); else it sees probabilities, which being no 0 or 1 give
      away.
    instance_noise: deviation of Gaussian noise on all maps that the critic sees, or a schedule of
      it: the two kinds overlap from the start (1610.04490), and being no 0 or 1 is hidden.
    critic_steps: of the critic for one of the network, on the same batch.
    clip_weights: all of the critic's parameters are clipped to +- this (0.01 in WGAN).
    gradient_penalty: weight of (|slope of the critic's score| - 1)^2, 10 in WGAN-GP (1704.00028).
    sigmoid: the labels are regions.
  """
  given = {"clip_weights": clip_weights, "gradient_penalty": gradient_penalty}
  critics.check_game("mask_gan", critic, mode, **given)
  if critics.takes_two(critic):
    raise ValueError(
      f"mask_gan: the critic {type(critic).__name__} takes maps and their image "
      "(config.networks.critic), and there are maps alone; expected a critic of one input, as "
      "patch_critic."
    )

  def pair(logits, target):
    made, truth, visible = critics.judged_maps(logits, target, sigmoid=sigmoid)
    if straight_through:
      decided = critics.decided(made, sigmoid=sigmoid)
      # by the scores themselves: a probability near 0 or 1 has no slope that brings it back
      made = (decided + logits - jax.lax.stop_gradient(logits)) * visible[..., None]
    return (truth,), (made,), visible

  def init(key, batch):
    if not getattr(network, "latent", 0):
      raise ValueError(
        f"mask_gan: the network {type(network).__name__} (config.network) makes what it gives of "
        "the image, and label maps are made of noise; expected mask_generator."
      )
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def seen():
      outputs = forward(network, net.params, net.stats, batch["image"])[0]
      return pair(outputs["logits"], batch_module.target(batch))[1]

    judge, _ = critics.critic_learner(critic, critic_optimiser, theirs, seen)
    critics.check_penalty("mask_gan", judge, gradient_penalty)
    return State(jnp.zeros((), jnp.int32), {NETWORK: net, CRITIC: judge})

  def train_step(state, batch, key):
    net, judge = state.learners[NETWORK], state.learners[CRITIC]
    target = batch_module.target(batch, state.step)
    noise, of_critic, on_fake, on_real = jax.random.split(key, 4)
    deviation = value(instance_noise, state.step)

    def noisy(key, maps):
      return tuple(x + deviation * jax.random.normal(key, x.shape, x.dtype) for x in maps)

    def fool(params):
      outputs, stats = forward(
        network, params, net.stats, batch["image"], key=noise, update_stats=True
      )
      _, fake, visible = pair(outputs["logits"], target)
      judged = critics.ask(critic, judge.params, judge.stats, noisy(on_fake, fake))[0]
      term = gan.network_loss(mode, judged["score"], weight=visible)
      return term, (stats, {"logits": outputs["logits"]})

    net, metrics = descend(optimiser, net, fool)
    # no metric: the critic learns from the same pass
    real, fake, visible = pair(metrics.pop("logits"), target)
    weights = {"real_weight": visible, "fake_weight": visible}
    real, fake = noisy(on_real, real), noisy(on_fake, fake)
    objective = critics.tell_apart(
      critic, real, fake, mode=mode, penalty=gradient_penalty, **weights
    )
    judge, of_judge = critics.learn(
      critic_optimiser, judge, objective, of_critic, steps=critic_steps, limit=clip_weights
    )
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    return forward(network, net.params, net.stats, batch["image"], key=draws.key_of(batch))[0]

  return Method(init, train_step, apply)
