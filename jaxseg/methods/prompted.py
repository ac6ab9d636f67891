"""What methods share that learn from a simulated user's prompts: the turns of user and network."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg import samples
from jaxseg.batch import Array, Target
from jaxseg.interaction import encoding, simulate
from jaxseg.interaction.encoding import Encoding
from jaxseg.interaction.simulate import Interactions
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import Outputs


class User(NamedTuple):
  """A simulated user, of one sample.

  Attributes:
    begin: (key, truth, weight) -> what is marked before anything was answered; (*space) each.
    correct: (key, what is marked, truth, weight, logits) -> with what is marked next.
  """

  begin: Callable[[jax.Array, Array, Array], Interactions]
  correct: Callable[[jax.Array, Interactions, Array, Array, Array], Interactions]


class Turns(NamedTuple):
  """How often user and network take turns before the network learns.

  Attributes:
    most: of the user's corrections.
    drawn: their number is drawn anew in each step, 0 to `most`; else it is always `most`.
    each: the network learns from every answer; else from the last one.
    automatic: share of the samples, each drawn by itself, that it sees without any marks: in the
      last answer, or, where it learns from each, in the first one, which the user then corrects.
  """

  most: int = 3
  drawn: bool = True
  each: bool = False
  automatic: float = 0.0


def prompts_of(spec: Mapping[str, Any], who: str, *, sigmoid: bool, **needed) -> Encoding:
  """A method's option `prompts`, checked.

  `needed` names fields of the encoding that the method's user marks, which must not be None.
  Raises ValueError also for labels that are regions.
  """
  if sigmoid:
    raise ValueError(
      f"{who}: the labels are regions that overlap, and a click says which one class a voxel has; "
      "expected classes that exclude each other: leave config.data.source's regions out."
    )
  of = encoding.encoding_of(spec)
  for name, example in needed.items():
    if getattr(of, name) is None:
      raise ValueError(
        f"{who}: its user makes {name}, but config.method.prompts shows none; expected "
        f"{name}={example!r}."
      )
  return of


def known(target: Target) -> tuple[Array, Array]:
  """The truth that a user sees, (b, *space) int32, and where there is any; ValueError of others."""
  truth = target.labels
  if not jnp.issubdtype(truth.dtype, jnp.integer):
    raise ValueError(
      "a simulated user knows one class of each voxel, but the batch has soft labels; leave mixup "
      "out (config.augment)."
    )
  weight = jnp.ones(truth.shape) if target.weight is None else target.weight
  return truth, weight


def show(of: Encoding, users: Interactions, before: Array, image: Array, classes: int) -> Array:
  """Images with the channels of their users' marks; `before`: what is seen of the last answer."""

  def one(image, user):
    return simulate.sight(of, user, image, classes=classes)

  fields = samples.each(one, image, users)
  if of.previous:
    fields["previous"] = before
  return encoding.joined(of, {"image": image, **fields}, classes)


def prompted(
  network: nn.Module,
  supervised: Callable[[Outputs, Target], Array],
  optimiser: optax.GradientTransformation,
  user: User,
  of: Encoding,
  *,
  turns: Turns,
) -> Method:
  """One network that a user shows marks to, looks at its answer, marks more, and so on.

  The answers in between are those that a user would get: as the network is applied, and no gradient
  passes through them. Where it is applied without marks it segments automatically.

  Args:
    network: its input has the channels of `interaction.encoding.joined`.
    supervised: the loss of its outputs in training.
    optimiser: an Optax transformation.
    user: who marks.
    of: what the network sees of it.
    turns: how often.
  """
  classes = network.classes

  def init(key, batch):
    seen = encoding.joined(of, {"image": batch["image"]}, classes)
    return State(jnp.zeros((), jnp.int32), {"network": learner(network, optimiser, key, seen)})

  def train_step(state, batch, key):
    current, image = state.learners["network"], batch["image"]
    target = batch_module.target(batch, state.step)
    truth, weight = known(target)
    starts, between, noise, drawing = jax.random.split(key, 4)
    each_sample, of_step = jax.random.split(drawing)
    count = len(truth)
    alone = jax.random.uniform(each_sample, (count,)) < turns.automatic

    def seen(users, before):
      return show(of, users, before, image, classes)

    def shown(users, before, alone):
      """Of those that are left alone nothing."""
      before = jnp.where(alone.reshape(-1, *[1] * (before.ndim - 1)), 0, before)
      return seen(jax.vmap(simulate.hidden)(users, alone), before)

    def look(key, users, logits):
      check_size(logits, truth, network)
      keys, logits = jax.random.split(key, count), jax.lax.stop_gradient(logits)
      users = samples.each(user.correct, keys, users, truth, weight, logits)
      return users, encoding.seen_before(of, logits) if of.previous else jnp.zeros(logits.shape)

    def learn(params, stats, key, *marks):
      return forward(network, params, stats, shown(*marks), key=key, update_stats=True)

    def after_all(params):
      outputs, stats = learn(params, current.stats, noise, users, before, alone)
      check_size(outputs["logits"], truth, network)
      return supervised(outputs, target), (stats, {})

    def after_each(params):
      def turn(carry, keys):
        users, before, alone, stats = carry
        outputs, stats = learn(params, stats, keys[0], users, before, alone)
        users, before = look(keys[1], users, outputs["logits"])
        return (users, before, jnp.zeros_like(alone), stats), supervised(outputs, target)

      keys = [jax.random.split(of, turns.most + 1) for of in (noise, between)]
      (*_, stats), losses = samples.in_turn(turn, (users, before, alone, current.stats), keys)
      return losses.mean(), (stats, {"first_loss": losses[0], "last_loss": losses[-1]})

    users = samples.each(user.begin, jax.random.split(starts, count), truth, weight)
    before = jnp.zeros((*truth.shape, classes))
    if turns.most and not turns.each:
      number = jax.random.randint(of_step, (), 0, turns.most + 1) if turns.drawn else turns.most

      def go_on(key, users, before):
        given = seen(users, before)
        logits = forward(network, current.params, current.stats, given)[0]["logits"]
        return look(key, users, logits)

      def turn(carry, item):
        which, key = item
        stay = lambda key, users, before: (users, before)  # noqa: E731
        return samples.either(which < number, go_on, stay, key, *carry), None

      items = jnp.arange(turns.most), jax.random.split(between, turns.most)
      (users, before), _ = samples.in_turn(turn, (users, before), items)
    updated, metrics = descend(optimiser, current, after_each if turns.each else after_all)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    seen = encoding.joined(of, batch, classes)
    return forward(network, current.params, current.stats, seen)[0]

  return Method(init, train_step, apply)


def check_size(logits: Array, truth: Array, network: nn.Module) -> None:
  """Raises ValueError for a network whose answer is smaller than the image."""
  if logits.shape[:-1] != truth.shape:
    raise ValueError(
      f"config.network: {type(network).__name__} answers with {logits.shape[1:-1]} voxels for an "
      f"image of {truth.shape[1:]}, and a user marks what is wrong at the image's edge, too; "
      "expected a network that keeps the size (padding='same')."
    )
