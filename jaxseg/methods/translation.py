"""What methods share that translate images between two domains and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.batch import Array
from jaxseg.losses import gan
from jaxseg.method import Learner, Metrics, State, forward, learner
from jaxseg.methods import critics, image_pool
from jaxseg.methods.image_pool import Pool
from jaxseg.networks.blocks.options import choice

# the stream of the other domain, whose labels nobody sees; the main one is the source's
TARGET = "target"
REVERSE, CRITIC, SOURCE_CRITIC = "reverse", critics.CRITIC, "source_critic"
JUDGES = (CRITIC, SOURCE_CRITIC)


class Images(NamedTuple):
  """What two generators make of a batch of each domain.

  Attributes:
    target, source: made: G(source), F(target).
    source_again, target_again: F(G(source)), G(F(target)).
    target_same, source_same: G(target), F(source); None where nobody asks.
  """

  target: Array
  source: Array
  source_again: Array
  target_again: Array
  target_same: Array | None = None
  source_same: Array | None = None


class Translation(NamedTuple):
  """Two generators, two critics, and the game that they play (Zhu et al., arXiv 1703.10593).

  Attributes:
    forth: the role of the generator source -> target; the other one's is REVERSE.
    networks: role -> network, of all four.
    mode: of `losses.gan`.
    cycle: factor of the cycle loss.
    identity: factor of the identity loss beside the cycle's; 0 leaves it out.
    pool: images of each critic's pool.
  """

  forth: str
  networks: Mapping[str, nn.Module]
  mode: str
  cycle: float
  identity: float
  pool: int

  def check(self, who: str) -> "Translation":
    """Itself; raises ValueError for a game that cannot be."""
    choice(self.mode, tuple(gan.GAMES), f"{who}: mode")
    for role in JUDGES:
      judge = self.networks[role]
      if critics.takes_two(judge):
        raise ValueError(
          f"{who}: its critics see images alone, and {type(judge).__name__} "
          f"(config.networks.{role}) takes a map as well; expected a critic of one input, as "
          "patch_critic."
        )
      if self.mode == "wgan" and not getattr(judge, "spectral", False):
        raise ValueError(
          f"{who}: mode='wgan' lets the critic grow without end; expected a critic with "
          f"spectral=True (config.networks.{role}), or another mode."
        )
    return self

  def init(
    self,
    keys: Mapping[str, jax.Array],
    source: Array,
    target: Array,
    optimiser: optax.GradientTransformation,
    critic_optimiser: optax.GradientTransformation,
  ) -> tuple[dict[str, Learner], dict[str, Pool | None]]:
    """The learners of all four roles, from a key for each, and the pools by critic."""
    if source.shape[-1] != target.shape[-1]:
      raise ValueError(
        f"config.streams.{TARGET}: its images have {target.shape[-1]} channel(s), the main "
        f"stream's {source.shape[-1]}; expected as many, of the same meaning."
      )
    learners, made = {}, {}
    for role, image, like in ((self.forth, source, target), (REVERSE, target, source)):
      learners[role] = learner(self.networks[role], optimiser, keys[role], image)
      made[role] = self._made(role, learners[role], image, like.shape[-1])
    pools = {}
    for role, of in ((CRITIC, made[self.forth]), (SOURCE_CRITIC, made[REVERSE])):
      zeros = jnp.zeros(of.shape, jnp.float32)
      learners[role], _ = critics.critic_learner(
        self.networks[role], critic_optimiser, keys[role], lambda zeros=zeros: (zeros,)
      )
      pools[role] = image_pool.empty(self.pool, of)
    return learners, pools

  def _made(self, role: str, own: Learner, image: Array, channels: int) -> jax.ShapeDtypeStruct:
    """The shape of what a generator makes; raises ValueError for what is no image of the domain."""
    net = self.networks[role]
    outputs = jax.eval_shape(lambda: forward(net, own.params, own.stats, image)[0])
    where = "config.network" if role == critics.NETWORK else f"config.networks.{role}"
    if "image" not in outputs:
      raise ValueError(
        f"{where}: {type(net).__name__} gives {', '.join(sorted(outputs))}, and no image; expected "
        "a generator, as resnet_generator."
      )
    if outputs["image"].shape[-1] != channels:
      raise ValueError(
        f"{where}: makes images of {outputs['image'].shape[-1]} channel(s), those of the domain "
        f"have {channels}; leave its option channels out."
      )
    return outputs["image"]

  def images(
    self, params: Mapping[str, Any], stats: Mapping[str, Any], source: Array, target: Array, key
  ) -> tuple[Images, dict[str, Any]]:
    """(what the generators make, their new statistics)."""
    stats = {role: stats[role] for role in (self.forth, REVERSE)}
    keys = iter(jax.random.split(key, 6))

    def make(role, image):
      outputs, stats[role] = forward(
        self.networks[role], params[role], stats[role], image, key=next(keys), update_stats=True
      )
      return outputs["image"]

    made, back = make(self.forth, source), make(REVERSE, target)
    images = Images(made, back, make(REVERSE, made), make(self.forth, back))
    if self.identity:
      images = images._replace(
        target_same=make(self.forth, target), source_same=make(REVERSE, source)
      )
    return images, stats

  def loss(
    self, images: Images, learners: Mapping[str, Learner], source: Array, target: Array, distance
  ) -> tuple[Array, Metrics]:
    """What the generators minimise, and its parts; `distance` is of two images."""
    parts = {}
    for name, role, made in (
      ("adversarial_loss", CRITIC, images.target),
      ("source_adversarial_loss", SOURCE_CRITIC, images.source),
    ):
      judge = learners[role]
      score = critics.ask(self.networks[role], judge.params, judge.stats, (made,))[0]["score"]
      parts[name] = gan.network_loss(self.mode, score)
    total = sum(parts.values())
    parts["source_cycle_loss"] = distance(images.source_again, source)
    parts["target_cycle_loss"] = distance(images.target_again, target)
    total += self.cycle * (parts["source_cycle_loss"] + parts["target_cycle_loss"])
    if self.identity:
      parts["identity_loss"] = distance(images.source_same, source) + distance(
        images.target_same, target
      )
      total += self.cycle * self.identity * parts["identity_loss"]
    return total, parts

  def judge(
    self,
    optimiser: optax.GradientTransformation,
    state: State,
    learners: Mapping[str, Learner],
    real: Mapping[str, Array],
    made: Mapping[str, Array],
    key,
  ) -> tuple[State, Metrics]:
    """The end of a step: each critic learns from real images and, by way of its pool, made ones.

    Args:
      optimiser: of the critics.
      state: before the step.
      learners: role -> learner after the step, of all others.
      real, made: images by critic.
      key: of the step's draws from the pools.
    """
    after, pools, metrics = {}, {}, {}
    for role, own in zip(JUDGES, jax.random.split(key, len(JUDGES)), strict=True):
      drawn, noise = jax.random.split(own)
      shown, pools[role] = image_pool.exchange(drawn, state.extra[role], made[role])
      net, image = self.networks[role], jnp.asarray(real[role], jnp.float32)
      objective = critics.tell_apart(net, (image,), (shown,), mode=self.mode)
      after[role], of = critics.learn(optimiser, state.learners[role], objective, noise)
      prefix = "" if role == CRITIC else "source_"
      metrics |= {f"{prefix}{name}": value for name, value in of.items()}
    state = state.replace(step=state.step + 1, learners={**learners, **after}, extra=pools)
    return state, metrics
