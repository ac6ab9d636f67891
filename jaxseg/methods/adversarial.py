"""Adversarial segmentation: a critic tells segmentations from labels, a network learns to pass."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss, gan
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, labelled
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.networks.blocks.options import choice
from jaxseg.schedules import Schedule

FEATURES = "multi_scale_l1"
MODES = (*gan.GAMES, FEATURES)


def adversarial(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  *,
  mode: str = "bce",
  inputs: str = "basic",
  fool: float | Schedule = 0.1,
  least: float = 0.9,
  straight_through: bool = False,
  include_background: bool = True,
  critic_steps: int = 1,
  clip_weights: float | None = None,
  gradient_penalty: float = 0.0,
  feature_weights: Sequence[float] | None = None,
  head_decay: float = 0.5,
  freeze_statistics: bool = False,
  sigmoid: bool = False,
) -> Method:
  """Minimises `loss` + fool * what the critic makes of the network's probabilities.

  Luc et al. 2016 (1611.08408), SegAN (Xue et al. 2018, 1706.01805), SCAN (Dai et al. 2018,
  1703.08770). Critic and network learn from the same forward pass of the network, each with the
  other held still. The critic is not asked where the network is applied. Voxels of weight 0 are
  hidden from it. Metrics: `critic_accuracy` (0.5: it cannot tell; always 1: it teaches little), of
  "multi_scale_l1" the `critic_distance`.

  Args:
    network: the one that predicts.
    critic: of `networks.CRITICS`.
    loss: (logits, Target) -> scalar.
    optimiser, critic_optimiser: Optax transformations.
    mode: "bce", "lsgan", "hinge", "wgan", see `losses.gan`; "multi_scale_l1" is SegAN's: the critic
      makes its features of both as different as it can, the network as alike.
    inputs: what the critic sees: the "maps" of classes alone, 0 or 1 of the labels (SCAN); map and
      image ("basic"); the image masked by each class ("product"); or "scaling", as "basic" with the
      labels as near the network's probabilities as `least` of the right class allows, so that
      being 0 or 1 doesn't give them away.
    fool: weight of the adversarial term or a schedule of it, as a warm-up:
      dict(name="linear", begin=0.2, until=0.5, end=0.1). The critic learns from the first step.
    least: of the labels' "scaling".
    straight_through: the critic sees decided maps, the gradient goes through to the undecided.
    include_background: of the "product"; SegAN's has the foreground alone.
    critic_steps: of the critic for one of the network, on the same batch.
    clip_weights: all of the critic's parameters are clipped to +- this (0.01 in WGAN, 0.05 in
      SegAN); None doesn't.
    gradient_penalty: weight of (|slope of the critic's score| - 1)^2, 10 in WGAN-GP (1704.00028).
    feature_weights: of "multi_scale_l1", one for each scale, the finest first; None is 1 for all.
    head_decay, freeze_statistics: see `supervised`.
    sigmoid: the labels are regions.
  """
  _check(critic, mode, inputs, clip_weights, gradient_penalty, feature_weights)
  if sigmoid and not include_background:
    raise ValueError(
      "adversarial: include_background=False, but the labels are regions, which have no "
      "background; leave it out."
    )
  supervised = labelled.supervision(loss, decay=head_decay)
  by_features, first = mode == FEATURES, 0 if include_background else 1

  def pair(logits, target, image):
    made, truth, visible = critics.judged_maps(logits, target, sigmoid=sigmoid)
    if inputs == "scaling":
      truth = critics.softened(truth, made, least=least, sigmoid=sigmoid)
      truth = truth * visible[..., None]
    if straight_through:
      made = critics.straight_through(made, sigmoid=sigmoid) * visible[..., None]
    seen = (critics.show(critic, maps, image, inputs=inputs, first=first) for maps in (truth, made))
    return *seen, visible

  def distance(real, fake):
    return gan.feature_distance(*map(critics.features, (real, fake)), weights=feature_weights)

  def init(key, batch):
    # the network's key is that of `supervised`, so that both start alike
    theirs = jax.random.fold_in(key, 1)
    net = learner(network, optimiser, key, batch["image"])

    def seen():
      logits = forward(network, net.params, net.stats, batch["image"])[0]["logits"]
      return pair(logits, batch_module.target(batch), batch["image"])[1]

    judge, outputs = critics.critic_learner(
      critic, critic_optimiser, theirs, seen, scores=not by_features
    )
    scales = len(critics.features(outputs))
    if feature_weights is not None and len(feature_weights) != scales:
      raise ValueError(
        f"adversarial: feature_weights has {len(feature_weights)} numbers, and the critic "
        f"{type(critic).__name__} gives {scales} scales of features; expected one for each."
      )
    critics.check_penalty("adversarial", judge, gradient_penalty)
    return State(jnp.zeros((), jnp.int32), {NETWORK: net, CRITIC: judge})

  def train_step(state, batch, key):
    net, judge = state.learners[NETWORK], state.learners[CRITIC]
    target, image = batch_module.target(batch, state.step), batch["image"]
    noise, of_critic = jax.random.split(key)
    weight = labelled.value(fool, state.step)

    def segment(params):
      outputs, stats = forward(
        network,
        params,
        net.stats,
        image,
        key=noise,
        update_stats=not freeze_statistics,
        train=True,
      )
      real, fake, visible = pair(outputs["logits"], target, image)
      judged = critics.ask(critic, judge.params, judge.stats, fake)[0]
      if by_features:
        term = distance(critics.ask(critic, judge.params, judge.stats, real)[0], judged)
      else:
        term = gan.network_loss(mode, judged["score"], weight=visible)
      known = supervised(outputs, target)
      metrics = {"supervised_loss": known, "adversarial_loss": term, "logits": outputs["logits"]}
      return known + weight * term, (stats, metrics)

    net, metrics = descend(optimiser, net, segment)
    # no metric: the critic learns from the same pass
    real, fake, visible = pair(metrics.pop("logits"), target, image)

    weights = {"real_weight": visible, "fake_weight": visible}
    objective = (
      _pull_apart(critic, real, fake, distance)
      if by_features
      else critics.tell_apart(critic, real, fake, mode=mode, penalty=gradient_penalty, **weights)
    )
    judge, of_judge = critics.learn(
      critic_optimiser, judge, objective, of_critic, steps=critic_steps, limit=clip_weights
    )
    learners = {NETWORK: net, CRITIC: judge}
    return state.replace(step=state.step + 1, learners=learners), {**metrics, **of_judge}

  def apply(state, batch):
    net = state.learners[NETWORK]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def _pull_apart(critic, real, fake, distance) -> critics.Objective:
  """What SegAN's critic learns: features of both as different as they can be."""

  def of(judge, key):
    at_real, at_fake = jax.random.split(key)

    def objective(params):
      truth, stats = critics.ask(critic, params, judge.stats, real, at_real)
      made, stats = critics.ask(critic, params, stats, fake, at_fake)
      apart = distance(truth, made)
      return -apart, (stats, {"distance": apart})

    return objective

  return of


def _check(critic, mode, inputs, clip_weights, gradient_penalty, feature_weights) -> None:
  """Raises ValueError for options that cannot be, or not together."""
  choice(mode, MODES, "adversarial: mode")
  choice(inputs, critics.INPUTS, "adversarial: inputs")
  if critics.takes_two(critic) and inputs in ("maps", "product"):
    raise ValueError(
      f"adversarial: inputs='{inputs}' is one input, but the critic {type(critic).__name__} takes "
      "two (config.networks.critic), a map and an image; expected inputs='basic' or 'scaling', or "
      "a critic of one."
    )
  if mode == FEATURES and gradient_penalty:
    raise ValueError(
      f"adversarial: gradient_penalty={gradient_penalty} is of scores, of which mode='{FEATURES}' "
      "has none; expected 0, and clip_weights or a critic with spectral=True."
    )
  if mode != FEATURES:
    given = {"clip_weights": clip_weights, "gradient_penalty": gradient_penalty}
    critics.check_game("adversarial", critic, mode, **given)
  elif clip_weights is None and not getattr(critic, "spectral", False):
    raise ValueError(
      f"adversarial: mode='{mode}' lets the critic grow without end; expected clip_weights, as "
      "0.05, or a critic with spectral=True."
    )
  if feature_weights is not None and mode != FEATURES:
    raise ValueError(
      f"adversarial: feature_weights are of mode='{FEATURES}', and this is mode='{mode}'; leave "
      "them out."
    )
