"""What methods with a critic share: what it is shown, how it is asked, how it learns."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import samples
from jaxseg.batch import Array, Target
from jaxseg.losses import centre_crop_target, gan, voxels
from jaxseg.method import Learner, Metrics, descend, forward, learner
from jaxseg.networks.blocks import centre_crop
from jaxseg.networks.blocks.options import choice

# (critic, key) -> what `descend` takes
Objective = Callable[[Learner, jax.Array], Callable]
NETWORK, CRITIC = "network", "critic"
# what a critic may be shown of a segmentation and its image
INPUTS = ("maps", "basic", "product", "scaling")


def takes_two(critic: nn.Module) -> bool:
  """Whether a critic takes a map and its image, and not one input of all channels."""
  return getattr(critic, "two_inputs", False)


def check_game(
  who: str,
  critic: nn.Module,
  mode: str,
  *,
  clip_weights: float | None,
  gradient_penalty: float,
) -> None:
  """Raises ValueError for a game that there is not, and one that lets its critic grow."""
  choice(mode, tuple(gan.GAMES), f"{who}: mode")
  bound = clip_weights is not None or gradient_penalty or getattr(critic, "spectral", False)
  if gan.GAMES[mode].middle is None and not bound:
    raise ValueError(
      f"{who}: mode='{mode}' lets the critic grow without end; expected clip_weights, as 0.01, "
      "gradient_penalty, as 10, or a critic with spectral=True."
    )


def check_penalty(who: str, judge: Learner, gradient_penalty: float) -> None:
  """Raises ValueError for a penalty of each sample where a batch norm mixes them."""
  if gradient_penalty and "batch_stats" in judge.stats:
    raise ValueError(
      f"{who}: gradient_penalty is of each sample, and the critic's batch norm mixes them "
      "(config.networks.critic.norm); expected norm='instance' or 'none'."
    )


def judged_maps(
  logits: Array, target: Target, *, sigmoid: bool = False
) -> tuple[Array, Array, Array]:
  """(probabilities, the labels' own, visible): the first two (b, *space, k), the last (b, *space).

  Both are 0 where the weight is: what the labels don't tell, a critic must not go by. `visible` is
  1 elsewhere. A target of a larger grid than the logits' is cut to its centre.
  """
  fitted = centre_crop_target(target, logits.shape[1:-1])
  of = voxels.prepare(logits, fitted, sigmoid=sigmoid)
  visible = (of.weight > 0).astype(jnp.float32)
  made = voxels.probabilities(of.logits, sigmoid=sigmoid)
  return made * visible, of.truth * visible, visible[..., 0]


def show(
  critic: nn.Module, maps: Array, image: Array, *, inputs: str, first: int = 0
) -> tuple[Array, ...]:
  """What a critic is given of maps (b, *space, k) and their image (b, *larger, c).

  Args:
    critic: takes one input, or two.
    maps, image: of the same samples.
    inputs: "maps" alone; map and image side by side, or each by itself where it takes two; or their
      "product", the image masked by each class, (b, *space, k c).
    first: of the product's classes; 1 leaves out the background.
  """
  image = centre_crop(image, maps.shape[1:-1]).astype(jnp.float32)
  if inputs == "maps":
    return (maps,)
  if inputs == "product":
    masked = maps[..., first:, None] * image[..., None, :]
    return (masked.reshape(*maps.shape[:-1], -1),)
  return (maps, image) if takes_two(critic) else (jnp.concatenate([maps, image], -1),)


def decided(maps: Array, *, sigmoid: bool = False) -> Array:
  """The map of the likeliest class, or of the regions that are likelier than not: 0 or 1."""
  if sigmoid:
    return (maps > 0.5).astype(maps.dtype)
  return jax.nn.one_hot(jnp.argmax(maps, -1), maps.shape[-1], dtype=maps.dtype)


def straight_through(maps: Array, *, sigmoid: bool = False) -> Array:
  """The decided map, 0 or 1, with the gradient of the undecided one (1308.3432)."""
  return maps + jax.lax.stop_gradient(decided(maps, sigmoid=sigmoid) - maps)


def softened(truth: Array, maps: Array, *, least: float, sigmoid: bool = False) -> Array:
  """The labels as nearly a network's output as they can be while the right class has `least`.

  Luc et al.'s "scaling" (1611.08408): the right class gets max(least, p), the others share the rest
  as the network's do. Of regions each is right or absent by itself. Labels that are no class, 0 in
  all channels, stay 0; no gradient goes into the network's output.
  """
  p = jax.lax.stop_gradient(maps)
  if sigmoid:
    return jnp.where(truth > 0.5, jnp.maximum(least, p), jnp.minimum(1 - least, p))
  right = (truth * p).sum(-1, keepdims=True)
  known = truth.sum(-1, keepdims=True)
  new = jnp.maximum(least, right)
  rest = (1 - new) / jnp.maximum(1 - right, jnp.finfo(p.dtype).tiny)
  return known * (truth * new + (1 - truth) * p * rest)


def critic_learner(
  critic: nn.Module,
  optimiser: optax.GradientTransformation,
  key,
  inputs: Callable[[], tuple[Array, ...]],
  *,
  scores: bool = True,
) -> tuple[Learner, dict[str, jax.ShapeDtypeStruct]]:
  """Initialises a critic for inputs of the shapes that `inputs()` would have: (it, its outputs).

  Raises ValueError for one that gives no score, or with `scores=False` no features.
  """
  zeros = [jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(inputs)]
  made = learner(critic, optimiser, key, *zeros)
  outputs = jax.eval_shape(lambda: forward(critic, made.params, made.stats, *zeros)[0])
  if scores and "score" not in outputs:
    raise ValueError(
      f"the critic {type(critic).__name__} (config.networks.critic) gives "
      f"{', '.join(sorted(outputs))}, and no score; expected a critic with one, as patch_critic."
    )
  if not scores and len(features(outputs)) < 2:
    raise ValueError(
      f"the critic {type(critic).__name__} (config.networks.critic) gives no features at several "
      "scales; expected one that does, as multi_scale_critic."
    )
  return made, outputs


def features(outputs: dict[str, Array]) -> list[Array]:
  """A critic's features, the finest first: its masked input if it gives that, then its stages."""
  stages = sorted((name for name in outputs if name.startswith("stage")), key=lambda s: int(s[5:]))
  return [outputs[name] for name in ("input", *stages) if name in outputs]


def ask(critic: nn.Module, params, stats, inputs, key=None) -> tuple[dict[str, Array], dict]:
  """(outputs, new statistics) of a critic in training; a `key` turns its dropout on."""
  return forward(critic, params, stats, *inputs, key=key, update_stats=True)


def tell_apart(
  critic: nn.Module,
  real: tuple[Array, ...],
  fake: tuple[Array, ...],
  *,
  mode: str = "bce",
  real_weight: Array | None = None,
  fake_weight: Array | None = None,
  penalty: float = 0.0,
) -> Objective:
  """What a critic learns: real inputs from fake ones, with its accuracy.

  Args:
    critic: gives scores.
    real, fake: its inputs.
    mode: one of `gan.GAMES`.
    real_weight, fake_weight: (b, *space), count where each voxel has a score.
    penalty: weight of the gradient penalty, between real and fake inputs that have all but the
      first in common.
  """

  def of(judge, key):
    at_real, at_fake, between = jax.random.split(key, 3)

    def objective(params):
      truth, stats = ask(critic, params, judge.stats, real, at_real)
      made, stats = ask(critic, params, stats, fake, at_fake)
      scores = truth["score"], made["score"]
      weights = {"real_weight": real_weight, "fake_weight": fake_weight}
      total = gan.critic_loss(mode, *scores, **weights)
      metrics = {"accuracy": gan.accuracy(mode, *scores, **weights)}
      if penalty:
        share = jax.random.uniform(between, (len(real[0]), *(1,) * (real[0].ndim - 1)))

        def score(mixed):
          return ask(critic, params, stats, (mixed, *fake[1:]))[0]["score"]

        slope = gan.gradient_penalty(score, share * real[0] + (1 - share) * fake[0])
        metrics["penalty"] = slope
        total += penalty * slope
      return total, (stats, metrics)

    return objective

  return of


def learn(
  optimiser: optax.GradientTransformation,
  judge: Learner,
  objective: Objective,
  key: jax.Array,
  *,
  steps: int = 1,
  limit: float | None = None,
) -> tuple[Learner, Metrics]:
  """A critic after some gradient steps on one batch, and the metrics of the last, "critic_...".

  Args:
    optimiser: of the critic.
    judge: the critic.
    objective: (critic, key) -> what `descend` takes, as `tell_apart` gives it.
    key: of its noise.
    steps: how many.
    limit: all parameters are clipped to +- this after each step (1701.07875).
  """

  def step(judge, key):
    judge, metrics = descend(optimiser, judge, objective(judge, key))
    if limit is not None:
      clip = jax.tree.map(lambda w: jnp.clip(w, -limit, limit), judge.params)
      judge = judge.replace(params=clip)
    return judge, metrics

  if steps == 1:
    judge, metrics = step(judge, key)
  else:
    judge, each = samples.in_turn(step, judge, jax.random.split(key, steps))
    metrics = {name: values[-1] for name, values in each.items()}
  return judge, {f"critic_{name}": value for name, value in metrics.items()}
