"""What methods of search share: a supernet whose weights and whose choices learn in turn.

The weights of operations learn from the main stream, those of choices from the stream
"architecture", of training cases that the main stream leaves out; neither touches the other's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.method import Learner, Method, Metrics, State, descend, forward, split
from jaxseg.methods import bilevel
from jaxseg.methods.labelled import supervision
from jaxseg.networks.blocks.architecture import NAME
from jaxseg.networks.blocks.options import choice
from jaxseg.optimisers import learning_rate
from jaxseg.search import choice as cell_choice
from jaxseg.search import paths
from jaxseg.search.cells import Cells
from jaxseg.search.relaxation import Mix, Weights

NETWORK = "network"
# the learner of choices, and the stream that it learns from
ARCHITECTURE = NAME
# how many steps in a row a choice is of skip connections before it is taken back
PATIENCE = 20


class Relaxation(NamedTuple):
  """How choices become what a supernet mixes by.

  Attributes:
    drawn: (key, weights, step) -> mix, in training.
    settled: weights -> mix, where the network is applied.
    strengths: weights -> mix, by which the strongest are chosen in the end.
    terms: (what is chosen, weights, rank, step) -> (what their loss gains, metrics).
    kinds: of what can be chosen so.
  """

  drawn: Callable[[jax.Array, Weights, jax.Array], Mix]
  settled: Callable[[Weights], Mix]
  strengths: Callable[[Weights], Mix]
  terms: Callable[..., tuple[jax.Array, Metrics]] | None = None
  kinds: tuple[type, ...] = (Cells,)


def searching(
  network: nn.Module,
  loss: Loss,
  architecture_loss: Loss | None,
  optimiser: optax.GradientTransformation,
  architecture_optimiser: optax.GradientTransformation,
  relaxed: Relaxation,
  *,
  order: int = 1,
  hessian: str = bilevel.EXACT,
  inner_rate: float | None = None,
  warm_up: int = 0,
  stop_share: float | None = None,
) -> Method:
  """One step of the choices, then one of the weights; options are those of `darts`."""
  if order not in (1, 2):
    raise ValueError(f"order={order}; expected 1, or 2 to look a step of the weights ahead.")
  choice(hessian, (bilevel.EXACT, bilevel.FINITE), "hessian")
  for option, given in (("inner_rate", inner_rate is not None), ("hessian", hessian != "exact")):
    if order == 1 and given:
      raise ValueError(
        f"{option}: is of the step that order=2 looks ahead; leave it out, or set 2."
      )
  heads = supervision(loss)
  judging = heads if architecture_loss is None else supervision(architecture_loss)

  def init(key, batch):
    _check(network, batch["image"].ndim - 2, relaxed.kinds)
    stats = dict(network.init(key, batch["image"], train=True))
    params = stats.pop("params")
    choices, weights = split(params, (ARCHITECTURE,))
    choices = choices[ARCHITECTURE]
    learners = {
      NETWORK: Learner(weights, stats, optimiser.init(weights)),
      ARCHITECTURE: Learner(choices, {}, architecture_optimiser.init(choices)),
    }
    kept = {name: jnp.zeros((), jnp.int32) for name in ("good", "skipping", "stopped")}
    # a copy, because two leaves of a donated state must not share one buffer
    kept["before"] = jax.tree.map(jnp.copy, choices)
    return State(jnp.zeros((), jnp.int32), learners, kept)

  def loss_of(weights, choices, stats, batch, key, step, criterion):
    """(loss, new statistics) of the mixed network on a batch."""
    draw, noise = jax.random.split(key)
    mix = relaxed.drawn(draw, choices, step)
    outputs, stats = forward(
      network, weights, stats, batch["image"], mix, key=noise, update_stats=True, train=True
    )
    return criterion(outputs, batch_module.target(batch, step)), stats

  def train_step(state, batch, key):
    net, chooser, step = state.learners[NETWORK], state.learners[ARCHITECTURE], state.step
    ours, theirs = jax.random.split(key)
    rest, rank = batch[ARCHITECTURE], batch["image"].ndim - 2
    of = network.choices(rank)

    def train(weights, choices):
      return loss_of(weights, choices, net.stats, batch, ours, step, heads)[0]

    def judge(weights, choices):
      return loss_of(weights, choices, net.stats, rest, theirs, step, judging)[0]

    def ahead(choices):
      rate = _inner_rate(inner_rate, net.opt_state)
      if hessian == bilevel.EXACT:
        return bilevel.unrolled(train, judge, net.params, choices, rate)
      value, slope = bilevel.by_differences(train, judge, net.params, choices, rate)
      return bilevel.with_gradient(value, slope, choices)

    def choose(choices):
      value = judge(net.params, choices) if order == 1 else ahead(choices)
      metrics = {"architecture_loss": value}
      if relaxed.terms is not None:
        added, more = relaxed.terms(of, choices, rank, step)
        value, metrics = value + added, {**metrics, **more}
      return value, ({}, metrics)

    moved, told = descend(architecture_optimiser, chooser, choose)
    learning = (step >= warm_up) & (state.extra["stopped"] == 0)
    chooser = jax.tree.map(lambda new, old: jnp.where(learning, new, old), moved, chooser)
    chooser, kept, more = _watched(of, relaxed, chooser, state.extra, learning, step, stop_share)

    def fit(weights):
      value, stats = loss_of(weights, chooser.params, net.stats, batch, ours, step, heads)
      return value, (stats, {})

    net, metrics = descend(optimiser, net, fit)
    own = {name: value for name, value in told.items() if name not in _OF_DESCENT}
    learners = {NETWORK: net, ARCHITECTURE: chooser}
    state = state.replace(step=step + 1, learners=learners, extra=kept)
    return state, {**metrics, **own, **more}

  def apply(state, batch):
    net = state.learners[NETWORK]
    mix = relaxed.settled(state.learners[ARCHITECTURE].params)
    return forward(network, net.params, net.stats, batch["image"], mix)[0]

  return Method(init, train_step, apply)


def _check(network: nn.Module, rank: int, kinds: tuple[type, ...]) -> None:
  """Raises ValueError for a network with nothing to choose, or nothing that is chosen so."""
  if not hasattr(network, "choices"):
    raise ValueError(
      f"config.network: the network {type(network).__name__} has nothing to choose; expected one "
      "that holds a whole space, as dict(name='cell_supernet')."
    )
  of = network.choices(rank)
  if not isinstance(of, kinds):
    what = " or ".join(kind.__name__.lower() for kind in kinds)
    raise ValueError(
      f"config.method: chooses {what}, and the network {type(network).__name__} holds a choice of "
      f"{type(of).__name__.lower()}; expected another method, as 'darts', or another supernet."
    )


# of the choices' own step: the loss with its terms, whose parts are told apart
_OF_DESCENT = ("loss", "gradient_norm", "learning_rate")


def _inner_rate(given: float | None, opt_state):
  """The size of the step of the weights that is looked ahead."""
  if given is not None:
    return given
  rate = learning_rate(opt_state)
  if rate is None:
    raise ValueError(
      "config.method.inner_rate: is missing, and the optimiser of the weights tells no rate; "
      "expected the size of the step that order=2 looks ahead."
    )
  return rate


def skip_share(of: Any, mix: Mix) -> jax.Array:
  """The largest share of skip connections that a cell of the network chosen now would have."""
  if not isinstance(of, Cells):
    return paths.skip_share(of, mix)
  return jnp.max(cell_choice.skips(of, mix)) / (cell_choice.KEPT * of.nodes)


def _entropy(of: Any, weights: Weights, mix: Mix) -> jax.Array:
  """How open the choice is, in nats: mean over edges; of paths see `paths.entropies`."""
  if not isinstance(of, Cells):
    return sum(paths.entropies(weights)) / 2
  # strengths of each for itself have another sum than 1
  shares = {group: row / jnp.sum(row, -1, keepdims=True) for group, row in mix.items()}
  return cell_choice.mean_entropy(of, shares)


def _watched(of, relaxed: Relaxation, chooser: Learner, kept, learning, step, stop_share):
  """The choices, taken back where they stayed with skip connections; what is kept; metrics.

  Source of the rule: Liang et al., DARTS+, 1909.06035, which counts the skips of a cell.
  """
  strengths = relaxed.strengths(chooser.params)
  share = skip_share(of, strengths)
  metrics = {"skip_share": share, "entropy": _entropy(of, chooser.params, strengths)}
  if stop_share is None:
    return chooser, kept, metrics
  many = share > stop_share
  # what is of skips before anything is learnt is chance
  good = jnp.where(learning & ~many, 1, kept["good"])
  skipping = jnp.where(learning & many & (good > 0), kept["skipping"] + 1, 0)
  stops, fresh = skipping >= PATIENCE, learning & ~many
  before = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), chooser.params, kept["before"])
  params = jax.tree.map(lambda old, new: jnp.where(stops, old, new), before, chooser.params)
  stopped = jnp.where(stops, step + 1, kept["stopped"])
  metrics["stopped"] = (stopped > 0).astype(jnp.float32)
  kept = {"good": good, "skipping": skipping, "stopped": stopped, "before": before}
  return chooser.replace(params=params), kept, metrics
