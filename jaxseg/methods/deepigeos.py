"""DeepIGeoS: a proposal, then a network that refines it by geodesic maps of a user's scribbles."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.interaction import encoding, simulate
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import prompted
from jaxseg.methods.labelled import supervision
from jaxseg.morphology import components

NETWORK, PROPOSAL = "network", "proposal"
PROMPTS = {
  "points": {"name": "geodesic", "limit": 4.0, "contrast": 1.0, "rounds": 2},
  "strokes": "points",
  "previous": "mask",
}


def deepigeos(
  network: nn.Module,
  proposal: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  proposal_optimiser: optax.GradientTransformation,
  *,
  prompts: Mapping[str, Any] = PROMPTS,
  proposal_steps: int = 0,
  least: int = 30,
  every: int = 100,
  partial: float = 0.0,
  head_decay: float = 0.5,
  sigmoid: bool = False,
) -> Method:
  """Two stages (Wang et al. 2018, 1707.00652): P-Net segments, R-Net refines what a user marks.

  In each connected part of P-Net's errors the user marks voxels, drawn at random: one for every
  100 or part of them, none in parts of less than 30. R-Net sees the image, P-Net's answer, and of
  each class how far a voxel lies from its marks along the image. Where there are no marks P-Net
  answers, as it is applied without prompts. The paper's conditional random field is left out.
  A user who marks one error after the other shows R-Net fewer marks than it ever learns from;
  `partial`, which the paper has not, is for them.

  Args:
    network: R-Net, which answers once there are marks.
    proposal: P-Net; both are `pnet` in the paper.
    loss: (logits, Target) -> scalar, of both.
    optimiser, proposal_optimiser: Optax transformations.
    prompts: what R-Net sees, see `interaction.encoding`; it has "geodesic" points and the answer
      before.
    proposal_steps: at first P-Net learns alone for so many steps, and then stays as it is, as in
      the paper, R-Net in all others, each by a schedule as long as it learns; 0: both learn all
      the time.
    least: parts of fewer voxels are left alone.
    every: one mark for so many voxels of a part.
    partial: how often the user has made only some of these marks: 1 to all of them, the number
      drawn log-uniformly.
    head_decay: see `supervised`.
    sigmoid: labels are regions, which is refused.
  """
  of = prompted.prompts_of(
    prompts, "deepigeos", sigmoid=sigmoid, points="geodesic", previous="mask"
  )
  if of.strokes != "points":
    raise ValueError(
      "deepigeos: its user paints voxels, which are seeds beside the points; expected "
      "config.method.prompts.strokes='points'."
    )
  classes, supervised = network.classes, supervision(loss, decay=head_decay)

  def init(key, batch):
    seen = encoding.joined(of, {"image": batch["image"]}, classes)
    learners = {
      NETWORK: learner(network, optimiser, key, seen),
      PROPOSAL: learner(proposal, proposal_optimiser, jax.random.fold_in(key, 1), batch["image"]),
    }
    return State(jnp.zeros((), jnp.int32), learners)

  def train_step(state, batch, key):
    target, image = batch_module.target(batch, state.step), batch["image"]
    truth, weight = prompted.known(target)
    marking, *noises = jax.random.split(key, 3)

    def learn(tx, net, own, given, noise):
      def objective(params):
        outputs, stats = forward(net, params, own.stats, given(), key=noise, update_stats=True)
        prompted.check_size(outputs["logits"], truth, net)
        return supervised(outputs, target), (stats, {})

      return descend(tx, own, objective)

    first = state.learners[PROPOSAL]

    def show():
      logits = forward(proposal, first.params, first.stats, image)[0]["logits"]
      logits = jax.lax.stop_gradient(logits)
      keys = jax.random.split(marking, len(truth))
      seeds = samples.each(mark, keys, truth, weight, logits)

      def one(image, seeds):
        user = simulate.nothing(image.shape[:-1], classes=classes)
        user = user._replace(drawn={"strokes": seeds})
        return simulate.sight(of, user, image, classes=classes)

      fields = samples.each(one, image, seeds)
      fields["previous"] = encoding.seen_before(of, logits)
      return encoding.joined(of, {"image": image, **fields}, classes)

    def propose(own):
      return learn(proposal_optimiser, proposal, own, lambda: image, noises[0])

    def refine(own):
      return learn(optimiser, network, own, show, noises[1])

    begins = state.step < proposal_steps if proposal_steps else None
    second, metrics = _while(begins, False, refine, state.learners[NETWORK])
    first, of_proposal = _while(begins, True, propose, first)
    metrics |= {f"proposal_{name}": of_proposal[name] for name in ("loss", "gradient_norm")}
    learners = {NETWORK: second, PROPOSAL: first}
    return state.replace(step=state.step + 1, learners=learners), metrics

  def mark(key, truth, weight, logits):
    wrong = (weight > 0) & (simulate.decided(logits) != truth)
    placing, choosing = jax.random.split(key)
    seeds = seeds_in(placing, wrong, truth, classes=classes, least=least, every=every)
    return some_of(choosing, seeds, partial) if partial else seeds

  def apply(state, batch):
    asked = any(field in batch for field in of.fields)
    net, name = (network, NETWORK) if asked else (proposal, PROPOSAL)
    given = encoding.joined(of, batch, classes) if asked else batch["image"]
    own = state.learners[name]
    return forward(net, own.params, own.stats, given)[0]

  return Method(init, train_step, apply)


def _while(begins, wanted: bool, step, own):
  """A step while `begins` is as wanted, always if it is None; else nothing, and metrics of 0."""
  if begins is None:
    return step(own)
  shapes = jax.eval_shape(step, own)[1]

  def rest(own):
    return own, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  return samples.either(begins == wanted, step, rest, own)


def seeds_in(key, wrong, truth, *, classes: int, least: int, every: int) -> jax.Array:
  """Marks at random in each connected part of each class's error: (*space, classes) float32.

  `wrong` is (*space) bool, `truth` (*space) int32. A part of n >= `least` voxels gets
  ceil(n / `every`) of them.
  """

  def of_class(key, index):
    numbers = components(wrong & (truth == index)).reshape(-1)
    drawn = jax.random.uniform(key, numbers.shape)
    # voxels of a part stand together, in a random order
    order = jnp.lexsort((drawn, numbers))
    place, part = jnp.arange(len(order)), numbers[order]
    first = jnp.searchsorted(part, part, side="left")
    size = jnp.searchsorted(part, part, side="right") - first
    mine = (part > 0) & (size >= least) & (place - first < -(-size // every))
    return jnp.zeros(len(order), bool).at[order].set(mine).reshape(truth.shape)

  made = jax.vmap(of_class)(jax.random.split(key, classes), jnp.arange(classes))
  return jnp.moveaxis(made, 0, -1).astype(jnp.float32)


def some_of(key, seeds, chance: float) -> jax.Array:
  """With this chance k of n marks alone, P(k) ~ log((k + 1) / k): (*space, classes) float32."""
  which, share, order = jax.random.split(key, 3)
  number = ((seeds.sum() + 1) ** jax.random.uniform(share)).astype(jnp.int32)
  drawn = jnp.where(seeds > 0, jax.random.uniform(order, seeds.shape), 2.0)
  last = jnp.sort(drawn.reshape(-1))[number - 1]
  kept = jnp.where(drawn <= last, seeds, 0.0)
  return jnp.where(jax.random.bernoulli(which, chance), kept, seeds)
