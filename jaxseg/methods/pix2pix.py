"""Images of label maps (or of other images), judged by a critic that sees both side by side."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.batch import Target
from jaxseg.losses import Loss, gan
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, draws
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.methods.labelled import value
from jaxseg.schedules import Schedule


def pix2pix(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  mode: str = "bce",
  fool: float | Schedule = 1.0,
  feature_weight: float = 0.0,
  critic_steps: int = 1,
  clip_weights: float | None = None,
  gradient_penalty: float = 0.0,
) -> Method:
  """Minimises `loss` between image and truth + fool * what the critic makes of the pair.

  Isola et al. 2017 (1611.07004), whose loss is 100 times the mean absolute difference:
  config.loss=dict(l1=dict(weight=100.0)); the network is `unet_generator`, or `spade_generator`
  (Park et al., 1903.07291). The critic sees what is given (a one-hot label map, or channels) and
  the image. The second of three steps of Guibas et al. (1709.01872). Where samples have no weight,
  both are hidden from it. Noise is the network's dropout, drawn in training and by `apply` where a
  batch has a `draw`; without one `apply` makes the image without noise. Metrics:
  `critic_accuracy`, `image_loss`, `adversarial_loss` and, if weighed, `feature_loss`.

  Args:
    network: gives {"image"} or {"logits"}.
    critic: of `networks.CRITICS`, of what is given and the image as one input or as two.
    loss: (image, Target) -> scalar; Target.labels is the true image.
    optimiser, critic_optimiser: Optax transformations; Adam of 2e-4 and b1=0.5 in the paper.
    mode: "bce", "lsgan", "hinge" or "wgan", see `losses.gan`.
    fool: weight of the adversarial term or a schedule of it.
    feature_weight: weight of the mean absolute difference between the critic's features of the
      true pair and of the other (10 in pix2pixHD, 1711.11585).
    critic_steps: of the critic for one of the network, on the same batch.
    clip_weights: all of the critic's parameters are clipped to +- this (0.01 in WGAN).
    gradient_penalty: weight of (|slope of the critic's score| - 1)^2, 10 in WGAN-GP (1704.00028).
  """
  given = {"clip_weights": clip_weights, "gradient_penalty": gradient_penalty}
  critics.check_game("pix2pix", critic, mode, **given)

  def image_of(params, stats, batch, **options):
    outputs, stats = forward(network, params, stats, batch["image"], **options)
    made = outputs["image"] if "image" in outputs else outputs["logits"]
    if made.shape != batch.get("target_image", made).shape:
      raise ValueError(
        f"pix2pix: the network {type(network).__name__} makes images of {made.shape[1:]}, and the "
        f"true ones are {batch['target_image'].shape[1:]} (config.network, config.task.targets)."
      )
    return made, stats

  def shown(image, batch):
    weight = batch.get("weight")
    seen = jnp.ones(image.shape[:-1]) if weight is None else (weight > 0).astype(jnp.float32)
    maps = batch["image"].astype(jnp.float32) * seen[..., None]
    return critics.show(critic, maps, image * seen[..., None], inputs="basic"), seen

  def init(key, batch):
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def seen():
      return shown(image_of(net.params, net.stats, batch)[0], batch)[0]

    judge, outputs = critics.critic_learner(critic, critic_optimiser, theirs, seen)
    critics.check_penalty("pix2pix", judge, gradient_penalty)
    if feature_weight and not critics.features(outputs):
      raise ValueError(
        f"pix2pix: feature_weight={feature_weight} compares a critic's features, of which "
        f"{type(critic).__name__} gives none (config.networks.critic); expected 0, or another one."
      )
    return State(jnp.zeros((), jnp.int32), {NETWORK: net, CRITIC: judge})

  def train_step(state, batch, key):
    net, judge = state.learners[NETWORK], state.learners[CRITIC]
    truth, weight = batch["target_image"], value(fool, state.step)
    target = Target(
      truth, batch.get("weight"), {}, state.step, batch.get("spacing"), batch["image"]
    )
    noise, of_critic = jax.random.split(key)
    real, visible = shown(truth, batch)

    def make(params):
      made, stats = image_of(params, net.stats, batch, key=noise, update_stats=True)
      judged = critics.ask(critic, judge.params, judge.stats, shown(made, batch)[0])[0]
      apart = loss(made, target)
      term = gan.network_loss(mode, judged["score"], weight=visible)
      metrics = {"image_loss": apart, "adversarial_loss": term, "made": made}
      total = apart + weight * term
      if feature_weight:
        known = critics.ask(critic, judge.params, judge.stats, real)[0]
        pairs = zip(critics.features(known), critics.features(judged), strict=True)
        likeness = [jnp.abs(a.astype(jnp.float32) - b).mean() for a, b in pairs]
        metrics["feature_loss"] = sum(likeness) / len(likeness)
        total += feature_weight * metrics["feature_loss"]
      return total, (stats, metrics)

    net, metrics = descend(optimiser, net, make)
    # no metric: the critic learns from the same pass
    fake = shown(metrics.pop("made"), batch)[0]
    objective = critics.tell_apart(
      critic,
      real,
      fake,
      mode=mode,
      real_weight=visible,
      fake_weight=visible,
      penalty=gradient_penalty,
    )
    judge, of_judge = critics.learn(
      critic_optimiser, judge, objective, of_critic, steps=critic_steps, limit=clip_weights
    )
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    key = draws.key_of(batch) if "draw" in batch else None
    outputs, _ = forward(network, net.params, net.stats, batch["image"], key=key)
    outputs = dict(outputs)
    logits = outputs.pop("logits", None)
    return outputs if logits is None else {**outputs, "image": logits}

  return Method(init, train_step, apply)
