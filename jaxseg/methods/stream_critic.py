"""A critic that tells two streams apart by what a network makes of their images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.batch import Array, Target
from jaxseg.losses import gan
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, labelled
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.schedules import Schedule


def stream_critic(
  networks: tuple[nn.Module, nn.Module],
  supervision: Callable[[labelled.Outputs, Target], Array],
  optimisers: tuple[optax.GradientTransformation, optax.GradientTransformation],
  *,
  show: Callable[[Array, Array], tuple[Array, ...]],
  features: str = "logits",
  mode: str = "bce",
  fool: float | Schedule,
  freeze_statistics: bool = False,
) -> Method:
  """supervision(labelled) + fool * what the critic makes of the images without labels.

  The critic learns that the main stream is real, and the stream without labels is not; network and
  critic learn from the same pass of the network, both streams as one batch.

  Args:
    networks, optimisers: of the network that predicts, of the critic.
    supervision: (outputs, Target) -> the loss of the labelled images.
    show: (features, image) -> the critic's inputs.
    features: name of the network's output that they are made of.
    mode: one of `gan.GAMES`.
    fool: weight of the adversarial term, or a schedule of it.
    freeze_statistics: see `supervised`.
  """
  (network, critic), (optimiser, critic_optimiser) = networks, optimisers

  def init(key, batch):
    # the network's key is that of `supervised`, so that both start alike
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def seen():
      outputs = forward(network, net.params, net.stats, batch["image"])[0]
      labelled.check_output(outputs, features, network)
      return show(outputs[features], batch["image"])

    judge, _ = critics.critic_learner(critic, critic_optimiser, theirs, seen)
    return State(jnp.zeros((), jnp.int32), {NETWORK: net, CRITIC: judge})

  def train_step(state, batch, key):
    net, judge = state.learners[NETWORK], state.learners[CRITIC]
    target = batch_module.target(batch, state.step)
    noise, of_critic = jax.random.split(key)
    weight = labelled.value(fool, state.step)
    known_images, other_images = batch["image"], batch[labelled.UNLABELLED]["image"]

    def segment(params):
      outputs, stats = forward(
        network,
        params,
        net.stats,
        labelled.images(batch),
        key=noise,
        update_stats=not freeze_statistics,
        train=True,
      )
      known, unknown = labelled.parts(outputs, batch)
      inputs = show(unknown[features], other_images)
      score = critics.ask(critic, judge.params, judge.stats, inputs)[0]["score"]
      parts = {
        "supervised_loss": supervision(known, target),
        "adversarial_loss": gan.network_loss(mode, score),
      }
      total = parts["supervised_loss"] + weight * parts["adversarial_loss"]
      return total, (stats, {**parts, "known": known[features], "unknown": unknown[features]})

    net, metrics = descend(optimiser, net, segment)
    # no metric: the critic learns from the same pass
    known, unknown = metrics.pop("known"), metrics.pop("unknown")
    real, fake = show(known, known_images), show(unknown, other_images)
    objective = critics.tell_apart(critic, real, fake, mode=mode)
    judge, of_judge = critics.learn(critic_optimiser, judge, objective, of_critic)
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)
