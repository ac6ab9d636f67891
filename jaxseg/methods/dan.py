"""Deep adversarial networks: what is made of unlabelled images shall pass for that of labelled."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss, gan
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, labelled
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.schedules import Schedule


def dan(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  fool: float | Schedule = 0.1,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Deep adversarial networks with unannotated images (Zhang et al., MICCAI 2017).

  loss(labelled) + fool * BCE(critic(unlabelled), labelled). The critic, an evaluator of quality,
  sees a map of the network's probabilities and its image and learns whether the image was labelled,
  1, or not, 0; labels themselves it never sees, so that nothing is hidden from it where they have
  no weight, which would tell the two apart. It is not asked where the network is applied.

  SSL4MIS has fool=dict(name="gaussian", end=0.1), and Adam (1e-4, b1=0.9, b2=0.99) for the critic,
  which learns there from a second pass of the network after its step; here from the same one.
  Metrics: `adversarial_loss`, `critic_accuracy` (0.5: it cannot tell them apart).

  Args:
    network: the one that predicts.
    critic: takes map and image, as two_input_critic; one of one input gets them side by side.
    loss: (logits, Target) -> scalar, of the labelled.
    optimiser, critic_optimiser: Optax transformations.
    fool: weight of the adversarial term, or a schedule of it.
    head_decay, freeze_statistics: see `supervised`.
    sigmoid: the labels are regions.
  """
  supervised = labelled.supervision(loss, decay=head_decay)

  def seen(logits, image):
    maps = probabilities(logits.astype(jnp.float32), sigmoid=sigmoid)
    return critics.show(critic, maps, image, inputs="basic")

  def init(key, batch):
    # the network's key is that of `supervised`, so that both start alike
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def made():
      logits = forward(network, net.params, net.stats, batch["image"])[0]["logits"]
      return seen(logits, batch["image"])

    judge, _ = critics.critic_learner(critic, critic_optimiser, theirs, made)
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
      inputs = seen(unknown["logits"], other_images)
      score = critics.ask(critic, judge.params, judge.stats, inputs)[0]["score"]
      parts = {
        "supervised_loss": supervised(known, target),
        "adversarial_loss": gan.network_loss("bce", score),
      }
      total = parts["supervised_loss"] + weight * parts["adversarial_loss"]
      return total, (stats, {**parts, "known": known["logits"], "unknown": unknown["logits"]})

    net, metrics = descend(optimiser, net, segment)
    # no metric: the critic learns from the same pass
    known, unknown = metrics.pop("known"), metrics.pop("unknown")
    objective = critics.tell_apart(critic, seen(known, known_images), seen(unknown, other_images))
    judge, of_judge = critics.learn(critic_optimiser, judge, objective, of_critic)
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)
