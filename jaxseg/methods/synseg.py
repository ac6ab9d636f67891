"""SynSeg-Net: a segmenter of one domain from the labels of another, joint with the translation."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.method import Method, State, forward, learner
from jaxseg.methods import labelled
from jaxseg.methods.critics import NETWORK
from jaxseg.methods.jointly import descend_jointly
from jaxseg.methods.translation import CRITIC, REVERSE, SOURCE_CRITIC, TARGET, Translation
from jaxseg.schedules import Schedule

GENERATOR = "generator"


def synseg(
  network: nn.Module,
  generator: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  generator_optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  reverse: nn.Module | None = None,
  source_critic: nn.Module | None = None,
  *,
  mode: str = "lsgan",
  cycle: float = 10.0,
  identity: float = 0.0,
  segmentation: float | Schedule = 1.0,
  pool: int = 50,
  head_decay: float = 0.5,
) -> Method:
  """The game of `cyclegan`, and S learns the source's labels on G's images of the target's style.

      GAN(G) + GAN(F) + cycle (|F(G(a)) - a| + |G(F(b)) - b|) + segmentation loss(S(G(a)), label)

  One gradient moves S, G and F: the segmentation's reaches G, which learns to keep what the labels
  tell of, and neither F nor the critics. S is applied to images of the target as they are, so that
  scores of the main stream's cases, which are the source's, tell little; see
  config.evaluate.streams. Images lie in [-1, 1]. The cycle's distance is L1.

  SynSeg-Net: Adam 2e-4 with b1=0.5 for everything, no identity loss, S a ResNet of 9 blocks
  (resnet_segmenter; any segmentation network does), cross entropy or Dice.
  Metrics: `supervised_loss` of S, and those of `cyclegan`.

  Args:
    network: S; it predicts.
    generator, reverse: G from the main stream's domain to that of the stream "target", and F
      back, of `networks.GENERATORS`; F is like G where it is None.
    critic, source_critic: of the target's images and of the source's, one input; the latter is like
      the former where it is None.
    loss: (logits, Target) -> scalar.
    optimiser, generator_optimiser, critic_optimiser: of S, of G and F, of both critics.
    mode, cycle, identity, pool: see `cyclegan`.
    segmentation: factor of the segmentation's loss, or a schedule of it.
    head_decay: see `supervised`.

  Source: Huo et al., arXiv 1810.06498.
  """
  networks = {GENERATOR: generator, REVERSE: reverse or generator}
  networks |= {CRITIC: critic, SOURCE_CRITIC: source_critic or critic}
  game = Translation(GENERATOR, networks, mode, cycle, identity, pool).check("synseg")
  optimisers = {NETWORK: optimiser, GENERATOR: generator_optimiser, REVERSE: generator_optimiser}
  supervised = labelled.supervision(loss, decay=head_decay)

  def distance(image, truth):
    return jnp.abs(image - truth).mean()

  def init(key, batch):
    source, target = batch["image"], batch[TARGET]["image"]
    # the segmenter's key is that of `supervised`, so that both start alike
    keys = {role: jax.random.fold_in(key, i) for i, role in enumerate(networks, start=1)}
    learners, pools = game.init(keys, source, target, generator_optimiser, critic_optimiser)
    own = learner(network, optimiser, key, target)
    outputs = jax.eval_shape(lambda: forward(network, own.params, own.stats, target)[0])
    if "logits" not in outputs:
      raise ValueError(
        f"config.network: {type(network).__name__} gives {', '.join(sorted(outputs))}, and no "
        "logits; expected a network that segments, as resnet_segmenter, and the generator in "
        "config.networks.generator."
      )
    return State(jnp.zeros((), jnp.int32), {NETWORK: own, **learners}, pools)

  def train_step(state, batch, key):
    source, target = batch["image"], batch[TARGET]["image"]
    truth, weight = batch_module.target(batch, state.step), labelled.value(segmentation, state.step)
    noise, of_segmenter, of_critics = jax.random.split(key, 3)
    learning = {role: state.learners[role] for role in optimisers}
    stats = {role: own.stats for role, own in learning.items()}

    def translate_and_segment(params):
      images, after = game.images(params, stats, source, target, noise)
      total, parts = game.loss(images, state.learners, source, target, distance)
      outputs, after[NETWORK] = forward(
        network,
        params[NETWORK],
        stats[NETWORK],
        images.target,
        key=of_segmenter,
        update_stats=True,
      )
      known = supervised(outputs, truth)
      parts |= {"supervised_loss": known, "made": images.target, "back": images.source}
      return total + weight * known, (after, parts)

    learnt, metrics = descend_jointly(optimisers, learning, translate_and_segment)
    # no metrics: the critics learn from the same pass
    made = {CRITIC: metrics.pop("made"), SOURCE_CRITIC: metrics.pop("back")}
    real = {CRITIC: target, SOURCE_CRITIC: source}
    after, of_judges = game.judge(critic_optimiser, state, learnt, real, made, of_critics)
    return after, {**metrics, **of_judges}

  def apply(state, batch):
    own = state.learners[NETWORK]
    return forward(network, own.params, own.stats, batch["image"])[0]

  return Method(init, train_step, apply)
