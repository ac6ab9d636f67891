"""SIFA: images and features are aligned together, by an encoder that segments and translates."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss, gan
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import critics, image_pool, labelled
from jaxseg.methods.critics import CRITIC, NETWORK
from jaxseg.methods.translation import SOURCE_CRITIC, TARGET
from jaxseg.schedules import Schedule

GENERATOR, DECODER = "generator", "decoder"
MASK_CRITIC, INNER_CRITIC = "mask_critic", "inner_critic"


def sifa(
  network: nn.Module,
  generator: nn.Module,
  decoder: nn.Module,
  critic: nn.Module,
  source_critic: nn.Module,
  mask_critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  generator_optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  inner_critic: nn.Module | None = None,
  *,
  mode: str = "lsgan",
  features: str = "bottleneck",
  cycle: float = 10.0,
  translation: float = 0.1,
  masks: float | Schedule = 0.1,
  inner_masks: float | Schedule = 0.01,
  cycle_fool: float | Schedule = 0.1,
  pool: int = 50,
  head_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> Method:
  """Chen et al. 2020 (2002.02255; 1901.08211): S segments the target, E is its encoder.

  G makes the source's images a look like the target's, the decoder U makes images of the source out
  of features E(b) of the target's images b. With g = cycle (|U(E(G(a))) - a| + |G(U(E(b))) - b|) +
  GAN(critic of what is made), in this order, each with what was learnt before it in the same step:

      G:  g, by the critic of G(a)
      the critic of G(a) and b
      S and E:  loss(S(G(a)), labels of a) + translation * g, by the critic of U(E(b))
                + masks GAN(S(b)) + inner_masks GAN(inner S(b)) + cycle_fool GAN(U(E(b)) as a cycle)
      U:  g, by the critic of U(E(b))
      the critic of U(E(b)) and a, which also learns whether an image came back from a cycle
      the critics of masks: S(G(a)) is real, S(b) is not; likewise of the inner layer's masks

  The segmentation's loss moves S and E alone. Critics of images learn by way of pools of made ones.
  Images lie in [-1, 1]. Metrics: `supervised_loss`, `cycle_loss`, and of each critic its accuracy.

  Published: a dilated ResNet, Adam 1e-3 with l2 1e-4 for S and E, Adam 2e-4 with b1=0.5 for all
  others, batches of 8, 20,000 steps; critics of masks see logits, here probabilities, as everywhere
  in `adversarial`.

  Args:
    network: S; gives the `features` that E ends with, and for an inner_critic auxiliary heads.
    generator: G, of `networks.GENERATORS`.
    decoder: U, of `networks.DECODERS`.
    critic, source_critic: of the target's images and of the source's; the latter gives two scores a
      patch (patch_critic with scores=2), the second of which tells cycles from made images; with
      cycle_fool=0 one.
    mask_critic: of maps of probabilities.
    loss: (logits, Target) -> scalar.
    optimiser: of S and E.
    generator_optimiser: of G and of U.
    critic_optimiser: of all critics.
    inner_critic: of the maps of the finest auxiliary head, brought to the image's size; None leaves
      that term out.
    mode: of `losses.gan`.
    features: name of the network's output that the decoder is given.
    cycle: factor of the cycle's loss, in g.
    translation: of g in the loss of S and E.
    masks, inner_masks, cycle_fool: of the adversarial terms, numbers or schedules.
    pool: images of each critic's pool.
    head_weights: see `supervised`; (1.0, 0.1) with one auxiliary head is the paper's.
    sigmoid: the labels are regions.
  """
  networks = {NETWORK: network, GENERATOR: generator, DECODER: decoder, CRITIC: critic}
  networks |= {SOURCE_CRITIC: source_critic, MASK_CRITIC: mask_critic}
  networks |= {} if inner_critic is None else {INNER_CRITIC: inner_critic}
  _check(networks, mode)
  supervised = labelled.supervision(loss, weights=head_weights)

  def run(learners, role, *inputs, params=None, key=None, stats=None):
    own = learners[role]
    params, stats = own.params if params is None else params, stats or own.stats
    return forward(networks[role], params, stats, *inputs, key=key, update_stats=True)

  def maps(outputs, inner=False):
    if not inner:
      return probabilities(outputs["logits"].astype(jnp.float32), sigmoid=sigmoid)
    logits = outputs["aux"][0].astype(jnp.float32)
    logits = jax.image.resize(logits, outputs["logits"].shape, "linear")
    return probabilities(logits, sigmoid=sigmoid)

  def scores(learners, role, image, params=None, stats=None):
    outputs, stats = run(learners, role, image, params=params, stats=stats)
    return outputs["score"], stats

  def fooled(learners, role, image, question=0):
    score, _ = scores(learners, role, image)
    return gan.network_loss(mode, score[..., question : question + 1])

  def init(key, batch):
    source, target = batch["image"], batch[TARGET]["image"]
    keys = {role: jax.random.fold_in(key, i) for i, role in enumerate(networks)}
    # the segmenter's key is that of `supervised`, so that both start alike
    own = {NETWORK: learner(network, optimiser, key, target)}
    outputs = jax.eval_shape(lambda: run(own, NETWORK, target)[0])
    labelled.check_output(outputs, features, network)
    _check_heads(outputs, inner_critic, network)
    own[GENERATOR] = learner(generator, generator_optimiser, keys[GENERATOR], source)
    deep = jnp.zeros(outputs[features].shape, outputs[features].dtype)
    own[DECODER] = learner(decoder, generator_optimiser, keys[DECODER], deep, target)
    made = jax.eval_shape(lambda: run(own, GENERATOR, source)[0]["image"])
    back = jax.eval_shape(lambda: run(own, DECODER, deep, target)[0]["image"])
    seen = {CRITIC: made, SOURCE_CRITIC: back, MASK_CRITIC: outputs["logits"]}
    seen |= {} if inner_critic is None else {INNER_CRITIC: outputs["logits"]}
    for role, of in seen.items():
      zeros = jnp.zeros(of.shape, jnp.float32)
      own[role], given = critics.critic_learner(
        networks[role], critic_optimiser, keys[role], lambda zeros=zeros: (zeros,)
      )
      questions = 2 if role == SOURCE_CRITIC and cycle_fool else 1
      if given["score"].shape[-1] != questions:
        raise ValueError(
          f"sifa: {type(networks[role]).__name__} (config.networks.{role}) gives "
          f"{given['score'].shape[-1]} score(s) a patch, expected {questions}"
          + (": real or made, and back from a cycle or made" if questions == 2 else "")
          + f"; set its option scores={questions}."
        )
    pools = {CRITIC: image_pool.empty(pool, made), SOURCE_CRITIC: image_pool.empty(pool, back)}
    return State(jnp.zeros((), jnp.int32), own, pools)

  def translated(learners, source, target, noise, params):
    """What is made of both, there and back, with `params` in place of some learners' own."""
    keys = dict(zip(("a", "b", "aba", "bab"), jax.random.split(noise, 4), strict=True))
    stats = learners[NETWORK].stats

    def of(role, *inputs, stats=None, key=None):
      return run(learners, role, *inputs, params=params.get(role), key=key, stats=stats)

    made = of(GENERATOR, source, key=keys["a"])[0]["image"]
    as_target, stats = of(NETWORK, made, stats=stats, key=keys["aba"])
    own, stats = of(NETWORK, target, stats=stats, key=keys["b"])
    back = of(DECODER, own[features], target)[0]["image"]
    source_again = of(DECODER, as_target[features], made)[0]["image"]
    target_again = of(GENERATOR, back, key=keys["bab"])[0]["image"]
    apart = jnp.abs(source_again - source).mean() + jnp.abs(target_again - target).mean()
    return made, back, source_again, as_target, own, stats, cycle * apart

  def train_step(state, batch, key):
    source, target = batch["image"], batch[TARGET]["image"]
    truth, now = batch_module.target(batch, state.step), dict(state.learners)
    noise, of_pool, of_source_pool = jax.random.split(key, 3)
    told = {}

    def translator(role, judge, which):
      def objective(params):
        made = translated(now, source, target, noise, {role: params})
        image, again = made[which], made[-1]
        total = again + fooled(now, judge, image)
        kept = {"made": image, "again": made[2], "cycle_loss": again / cycle if cycle else again}
        return total, (now[role].stats, kept)

      return descend(generator_optimiser, now[role], objective)

    def judge(role, pairs):
      """Each pair (real, made) is a question of its own."""

      def objective(params):
        total, right, stats = 0.0, [], now[role].stats
        for question, pair in enumerate(pairs):
          answers = []
          for image in pair:
            score, stats = scores(now, role, image, params, stats)
            answers.append(score[..., question : question + 1])
          total += gan.critic_loss(mode, *answers)
          right.append(gan.accuracy(mode, *answers))
        return total, (stats, {"accuracy": right[0]})

      own, metrics = descend(critic_optimiser, now[role], objective)
      told[f"{role}_loss"], told[f"{role}_accuracy"] = metrics["loss"], metrics["accuracy"]
      return own

    # the generator, and the critic of what it makes
    now[GENERATOR], of_generator = translator(GENERATOR, CRITIC, 0)
    shown, seen_pool = image_pool.exchange(of_pool, state.extra[CRITIC], of_generator["made"])
    now[CRITIC] = judge(CRITIC, [(target, shown)])

    def segment(params):
      parts = translated(now, source, target, noise, {NETWORK: params})
      _, back, _, as_target, own, stats, again = parts
      known = supervised(as_target, truth)
      total = known + translation * (again + fooled(now, SOURCE_CRITIC, back))
      value = labelled.value(masks, state.step)
      total += value * fooled(now, MASK_CRITIC, maps(own))
      if inner_critic is not None:
        value = labelled.value(inner_masks, state.step)
        total += value * fooled(now, INNER_CRITIC, maps(own, inner=True))
      if cycle_fool:
        value = labelled.value(cycle_fool, state.step)
        total += value * fooled(now, SOURCE_CRITIC, back, question=1)
      return total, (stats, {"supervised_loss": known})

    now[NETWORK], metrics = descend(optimiser, now[NETWORK], segment)
    now[DECODER], of_decoder = translator(DECODER, SOURCE_CRITIC, 1)
    shown, source_pool = image_pool.exchange(
      of_source_pool, state.extra[SOURCE_CRITIC], of_decoder["made"]
    )
    cycles = [(of_decoder["again"], shown)] if cycle_fool else []
    now[SOURCE_CRITIC] = judge(SOURCE_CRITIC, [(source, shown), *cycles])
    _, _, _, as_target, own, *_ = translated(now, source, target, noise, {})
    now[MASK_CRITIC] = judge(MASK_CRITIC, [(maps(as_target), maps(own))])
    if inner_critic is not None:
      pair = maps(as_target, inner=True), maps(own, inner=True)
      now[INNER_CRITIC] = judge(INNER_CRITIC, [pair])
    metrics |= {**told, "cycle_loss": of_decoder["cycle_loss"]}
    extra = {CRITIC: seen_pool, SOURCE_CRITIC: source_pool}
    return state.replace(step=state.step + 1, learners=now, extra=extra), metrics

  def apply(state, batch):
    own = state.learners[NETWORK]
    return forward(network, own.params, own.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def _check(networks: dict[str, nn.Module], mode: str) -> None:
  """Raises ValueError for critics of other inputs, and for a game that has no end."""
  if mode not in gan.GAMES or mode == "wgan":
    choices = [name for name in gan.GAMES if name != "wgan"]
    raise ValueError(f"sifa: mode='{mode}'; expected one of {', '.join(choices)}.")
  for role, judge in networks.items():
    if role.endswith(CRITIC) and critics.takes_two(judge):
      raise ValueError(
        f"sifa: its critics see one input, and {type(judge).__name__} (config.networks.{role}) "
        "takes a map and an image; expected a critic of one, as patch_critic."
      )


def _check_heads(outputs, inner_critic: nn.Module | None, network: nn.Module) -> None:
  """Raises ValueError where an inner critic has no auxiliary head to look at."""
  if inner_critic is not None and not outputs.get("aux"):
    raise ValueError(
      f"sifa: config.networks.inner_critic looks at an auxiliary head, and the network "
      f"{type(network).__name__} has none; expected one, as config.network.deep_supervision=1, or "
      "no inner_critic."
    )
