"""A method of two networks and two streams, which only tests know, and its config."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import defaults
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner


def adversarial(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  fool: float = 0.1,
) -> Method:
  """Maps of the unlabelled images shall pass for labels (Hung et al. 2018, arXiv 1802.07934)."""

  def init(key, batch):
    ours, theirs = jax.random.split(key)
    maps = jnp.zeros((*batch["image"].shape[:-1], network.classes))
    net = learner(network, optimiser, ours, batch["image"])
    judge = learner(critic, critic_optimiser, theirs, maps)
    return State(jnp.zeros((), jnp.int32), {"network": net, "critic": judge})

  def mistaken(params, stats, maps, real):
    scores = forward(critic, params, stats, maps)[0]["score"]
    return optax.sigmoid_binary_cross_entropy(scores, jnp.full_like(scores, real)).mean()

  def train_step(state, batch, key):
    net, judge = state.learners["network"], state.learners["critic"]
    images = jnp.concatenate([batch["image"], batch["unlabelled"]["image"]])
    labels, known = batch_module.target(batch, state.step), len(batch["image"])

    def generate(params):
      out, stats = forward(network, params, net.stats, images, key=key, update_stats=True)
      maps = jax.nn.softmax(out["logits"][known:])
      fooled = mistaken(judge.params, judge.stats, maps, 1.0)
      return loss(out["logits"][:known], labels) + fool * fooled, (stats, {"fooled": fooled})

    net, metrics = descend(optimiser, net, generate)
    made = forward(network, net.params, net.stats, batch["unlabelled"]["image"])[0]["logits"]
    real = jax.nn.one_hot(labels.labels, network.classes)

    def discriminate(params):
      parts = ((real, 1.0), (jax.nn.softmax(made), 0.0))
      return sum(mistaken(params, judge.stats, *part) for part in parts), (judge.stats, {})

    judge, of_critic = descend(critic_optimiser, judge, discriminate)
    metrics["critic_loss"] = of_critic["loss"]
    return state.replace(step=state.step + 1, learners={"network": net, "critic": judge}), metrics

  def apply(state, batch):
    net = state.learners["network"]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def config():
  """What the method needs of a config: its options, networks, optimisers and streams."""
  config = defaults.config()
  config.method = dict(name="adversarial", fool=0.1)
  config.networks = dict(critic=dict(name="patch_critic", widths=(4, 8)))
  config.optimisers = dict(critic=dict(name="adam", learning_rate=2e-4, b1=0.5))
  config.streams = dict(unlabelled=dict(cases="unlabelled", batch=4))
  config.data.split.labelled = 2
  return config


def distilled(
  network: nn.Module,
  teacher: nn.Module,
  loss: Loss,
  distance_loss: Loss,
  optimiser: optax.GradientTransformation,
  head_optimiser: optax.GradientTransformation | None = None,
  *,
  heat: float = 2.0,
):
  return locals()
