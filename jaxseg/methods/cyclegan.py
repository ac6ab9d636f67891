"""CycleGAN: images of one domain in the style of another, learnt without pairs."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.batch import Target
from jaxseg.losses import Loss
from jaxseg.method import Method, State, forward
from jaxseg.methods.critics import NETWORK
from jaxseg.methods.jointly import descend_jointly
from jaxseg.methods.translation import CRITIC, REVERSE, SOURCE_CRITIC, TARGET, Translation


def cyclegan(
  network: nn.Module,
  critic: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  critic_optimiser: optax.GradientTransformation,
  reverse: nn.Module | None = None,
  source_critic: nn.Module | None = None,
  *,
  mode: str = "lsgan",
  cycle: float = 10.0,
  identity: float = 0.5,
  pool: int = 50,
) -> Method:
  """Two generators, G from the main stream's domain to that of the stream "target", F back.

      GAN(G) + GAN(F) + cycle (|F(G(a)) - a| + |G(F(b)) - b|)
        + cycle identity (|G(b) - b| + |F(a) - a|)

  Each domain has a critic, which learns from real images and, by way of a pool, from those that
  were made of late. It predicts G's image; the other direction is a run whose streams are
  exchanged. Labels are not looked at. Images lie in [-1, 1], where the generators' tanh ends.

  Paper: Adam 2e-4 with b1=0.5, a batch of 1, a rate that is constant for the first half of training
  and falls to 0 in the second: optimiser.schedule=dict(name="linear", ...).
  Metrics: the parts of the loss; `critic_accuracy` of the target's, `source_critic_accuracy` of the
  source's critic (0.5: it cannot tell).

  Args:
    network: G, of `networks.GENERATORS`; it predicts.
    critic: of the target's images, one input: of `networks.CRITICS`.
    loss: between images, l1 in the paper; of the cycle and of what should stay as it is.
    optimiser: of both generators.
    critic_optimiser: of both critics.
    reverse: F; None: like the network.
    source_critic: of the source's images; None: like the critic.
    mode: of the game: "lsgan", "bce", "hinge", or "wgan", see `losses.gan`.
    cycle, identity: factors; the identity's comes beside the cycle's, and 0 leaves it out.
    pool: images of each critic's pool; 0 shows it what was made in this step.

  Source: Zhu et al., arXiv 1703.10593.
  """
  networks = {NETWORK: network, REVERSE: reverse or network}
  networks |= {CRITIC: critic, SOURCE_CRITIC: source_critic or critic}
  game = Translation(NETWORK, networks, mode, cycle, identity, pool).check("cyclegan")
  optimisers = {NETWORK: optimiser, REVERSE: optimiser}

  def distance(image, truth):
    return loss(image, Target(truth))

  def init(key, batch):
    keys = {role: jax.random.fold_in(key, i) for i, role in enumerate(networks) if i}
    images = batch["image"], batch[TARGET]["image"]
    learners, pools = game.init({NETWORK: key, **keys}, *images, optimiser, critic_optimiser)
    return State(jnp.zeros((), jnp.int32), learners, pools)

  def train_step(state, batch, key):
    source, target = batch["image"], batch[TARGET]["image"]
    noise, of_critics = jax.random.split(key)
    generators = {role: state.learners[role] for role in optimisers}
    stats = {role: own.stats for role, own in generators.items()}

    def translate(params):
      images, after = game.images(params, stats, source, target, noise)
      total, parts = game.loss(images, state.learners, source, target, distance)
      return total, (after, {**parts, "made": images.target, "back": images.source})

    generators, metrics = descend_jointly(optimisers, generators, translate)
    # no metrics: the critics learn from the same pass
    made = {CRITIC: metrics.pop("made"), SOURCE_CRITIC: metrics.pop("back")}
    real = {CRITIC: target, SOURCE_CRITIC: source}
    after, of_judges = game.judge(critic_optimiser, state, generators, real, made, of_critics)
    return after, {**metrics, **of_judges}

  def apply(state, batch):
    own = state.learners[NETWORK]
    return forward(network, own.params, own.stats, batch["image"])[0]

  return Method(init, train_step, apply)
