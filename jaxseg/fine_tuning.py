"""Optax transformations for weights that come from elsewhere: layers by depth, unfreezing, L2-SP.

Layers are groups of patterns of paths (see `paths`), from the input up. What no layer names, a new
decoder or head, learns from the first step at the full rate.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxseg import paths

PyTree = Any
Layers = Sequence[str | Sequence[str]]

# the label of what learns from the first update on; sorted before those of the layers
_ALWAYS = "always"


def groups(layers: Any, where: str) -> tuple[tuple[str, ...], ...]:
  """The layers, each a tuple of patterns; raises ValueError, beginning with `where`, in words."""
  made = tuple((of,) if isinstance(of, str) else tuple(of) for of in layers)
  patterns = [pattern for group in made for pattern in group]
  if not all(made) or not all(isinstance(pattern, str) and pattern for pattern in patterns):
    raise ValueError(
      f"{where}: {layers!r}; expected patterns of paths from the input up, as ('encoder/conv1', "
      "'encoder/layer1'), of several for one layer a tuple in it."
    )
  twice = next((pattern for pattern in patterns if patterns.count(pattern) > 1), None)
  if twice is not None:
    raise ValueError(f"{where}: '{twice}' is named twice; expected each pattern in one layer.")
  return made


def depths(layers: Sequence[Sequence[str]]) -> dict[str, int]:
  """Pattern -> how far below the top its layer lies, 1 for the top one."""
  return {
    pattern: below for below, group in enumerate(reversed(layers), start=1) for pattern in group
  }


def moments(unfreeze: Sequence[float], layers: int, steps: int, where: str) -> tuple[int, ...]:
  """The step from which each layer learns, from the top down.

  Args:
    unfreeze: whole numbers are steps, others shares of training.
    layers: how many there are.
    steps: length of training.
    where: the config field, which messages begin with.
  """
  for moment in unfreeze:
    good = 1 <= moment < steps if isinstance(moment, int) else 0 < moment < 1
    if isinstance(moment, bool) or not good:
      raise ValueError(
        f"{where}: {moment!r} is no moment of a training of {steps} steps; expected whole numbers "
        f"from 1 to {steps - 1}, or shares between 0 and 1."
      )
  if len(unfreeze) != layers:
    raise ValueError(
      f"{where}: {len(unfreeze)} moment(s) for {layers} layer(s); expected one for each of them, "
      "from the top down (a factor of 0 in scale freezes for good)."
    )
  at = tuple(of if isinstance(of, int) else max(1, round(of * steps)) for of in unfreeze)
  if any(b <= a for a, b in itertools.pairwise(at)):
    raise ValueError(
      f"{where}: {tuple(unfreeze)} are the steps {at}, which don't rise; expected rising ones, for "
      "layers are unfrozen from the top down."
    )
  return at


def unfrozen(
  make: Callable[[int], optax.GradientTransformation],
  until: Mapping[str, int],
  before: Sequence[optax.GradientTransformation] = (),
  after: Sequence[optax.GradientTransformation] = (),
) -> optax.GradientTransformation:
  """Layers that learn later, each with an optimiser's state of its own that begins when they do.

  Until then they keep their bits and don't count for `after`'s norm of the gradient. An optimiser
  whose moments had not grown with its count would start with steps that are too large.

  Args:
    make: number of the first update -> the optimiser from then on.
    until: pattern -> number of the update from which its parameters learn.
    before: changes gradients before those of frozen layers are set to zero.
    after: changes them then, as clipping.
  """
  # called by their order: a share of a longer training is another update
  numbers = {f"layer_{i}": at for i, at in enumerate(sorted(set(until.values())))}
  names = {at: name for name, at in numbers.items()}

  def labels(tree):
    def label(keys, _):
      pattern = paths.match(paths.of_leaf(keys), until)
      return _ALWAYS if pattern is None else names[until[pattern]]

    return jax.tree_util.tree_map_with_path(label, tree)

  def zeroed(updates, state, params=None):
    del params

    def of_label(label, of):
      if label == _ALWAYS:
        return of
      return jnp.where(state.count < numbers[label], jnp.zeros_like(of), of)

    updates = jax.tree.map(of_label, labels(updates), updates)
    return updates, optax.ScaleByScheduleState(optax.safe_increment(state.count))

  own = {name: _beginning(make(at), at) for name, at in numbers.items()}
  return optax.chain(
    *before,
    optax.GradientTransformation(lambda params: counting(), zeroed),
    *after,
    optax.partition({_ALWAYS: make(0), **own}, labels),
  )


def counting() -> optax.ScaleByScheduleState:
  """The state of a transformation that goes by the number of updates."""
  return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))


class Beginning(NamedTuple):
  """State of an optimiser that begins at an update: those so far, and its own state."""

  count: jax.Array
  inner: PyTree


def _beginning(tx: optax.GradientTransformation, at: int) -> optax.GradientTransformation:
  """`tx` from update `at` on; no change and no change of its state before."""

  def init(params):
    return Beginning(jnp.zeros((), jnp.int32), tx.init(params))

  def update(updates, state, params=None):
    still = state.count < at
    changed, inner = tx.update(updates, state.inner, params)
    changed = jax.tree.map(lambda of: jnp.where(still, jnp.zeros_like(of), of), changed)
    inner = jax.tree.map(
      lambda old, new: jnp.where(still, old, new).astype(old.dtype), state.inner, inner
    )
    return changed, Beginning(optax.safe_increment(state.count), inner)

  return optax.GradientTransformation(init, update)


class Anchors(NamedTuple):
  """State of L2-SP, which a checkpoint holds: a run goes on where its source is gone.

  Attributes:
    points: the initial weights of what was taken from elsewhere, 0 of what is new.
    taken: 1 of what was taken, 0 of what is new; a scalar for each array.
  """

  points: PyTree
  taken: PyTree


def l2_sp(*, weight: float, new: float) -> optax.GradientTransformation:
  """The gradient of weight / 2 |w - w0|^2 of what was taken and new / 2 |w|^2 of what is new.

  L2-SP, Li, Grandvalet, Davoine, "Explicit inductive bias for transfer learning with convolutional
  networks", arXiv 1802.01483. All is new until `anchored` tells what was taken.
  """

  def init(params):
    taken = jax.tree.map(lambda _: jnp.zeros((), jnp.float32), params)
    return Anchors(jax.tree.map(jnp.zeros_like, params), taken)

  def update(updates, state, params=None):
    def add(of, w, point, taken):
      strength = jnp.where(taken > 0, weight, new).astype(of.dtype)
      return of + strength * (w - point)

    return jax.tree.map(add, updates, params, *state), state

  return optax.GradientTransformation(init, update)


def has_anchors(opt_state: PyTree) -> bool:
  """Whether an optimiser draws weights to where they start."""
  leaves = jax.tree.leaves(opt_state, is_leaf=_is_anchors)
  return any(map(_is_anchors, leaves))


def anchored(opt_state: PyTree, fill: Callable[[str, Any], Any], taken: Collection[str]) -> PyTree:
  """An optimiser's state that knows the weights which a learner starts from.

  Args:
    opt_state: of a new learner.
    fill: (path, an array of zeros) -> the initial weights in its place, where it lies.
    taken: the paths of what was taken from elsewhere.
  """

  def of_state(state):
    if not _is_anchors(state):
      return state

    def point(keys, leaf):
      path = paths.of_leaf(keys)
      return fill(path, leaf) if path in taken else leaf

    def flag(keys, leaf):
      value = np.full(leaf.shape, paths.of_leaf(keys) in taken, leaf.dtype)
      return jax.device_put(value, getattr(leaf, "sharding", None))

    points = jax.tree_util.tree_map_with_path(point, state.points)
    return Anchors(points, jax.tree_util.tree_map_with_path(flag, state.taken))

  if not has_anchors(opt_state):
    return opt_state
  return jax.tree.map(of_state, opt_state, is_leaf=_is_anchors)


def _is_anchors(of: Any) -> bool:
  return isinstance(of, Anchors)


def update_of(step: int, accumulate: int) -> int:
  """The first update all of whose batches are at a step or later."""
  return math.ceil(step / accumulate)
