"""What the loop trains: one run, or several of one config (seeds, folds) in one program.

Members of one device take their steps one after the other, by one compiled step: each does what its
run alone would do, with the activations of one in memory. Over the mesh axis `member` as many as it
has devices step at the same time, each on its own ones, and nothing passes between them.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import sharding
from jaxseg.data.pool import Feeders
from jaxseg.experiment import Experiment
from jaxseg.method import State
from jaxseg.sharding import BATCH, MEMBER, SPACE, Layout
from jaxseg.step import Step, compile_step, halves
from jaxseg.xla_flags import of_step


class Program(NamedTuple):
  """The compiled functions of all members; what they train is opaque to the loop.

  Attributes:
    step: of a member alone: its init and apply, and where its state lives.
    begin: states of the members, one after the other -> what is trained.
    place: elements of the members, on the host -> on the devices.
    train: (what is trained, placed elements) -> (it after a step, metrics).
    member: (what is trained, number) -> the state of a member.
    rows: metrics, fetched -> a dict of scalars for each member.
  """

  step: Step
  begin: Callable[[Iterable[State]], Any]
  place: Callable[[Sequence[dict]], Any]
  train: Callable[[Any, Any], tuple[Any, Any]]
  member: Callable[[Any, int], State]
  rows: Callable[[Any], list[dict[str, np.ndarray]]]


def compile_program(
  runs: Sequence[Experiment], feeders: Feeders, layout: Layout | None = None
) -> Program:
  """The step of a run, or of several that differ in seeds and cases alone.

  Args:
    runs: the experiments; the first one's method trains all of them.
    feeders: of these runs.
    layout: over whose axis `member` they are spread; None trains one after the other.
  """
  store = feeders.store()
  # any element has the shapes of all; of several processes each reads its own part of it
  devices = runs[0].layout
  example = sharding.place(feeders.element(0, devices.slots)[0], devices.split)
  step = compile_step(runs[0], example, store)
  seeds = [np.uint32(run.config["seed"]) for run in runs]
  if layout is None or layout.sizes[MEMBER] == 1:
    return _in_turn(runs[0].layout, step, store, seeds)
  return _spread(runs[0], layout, step, store, seeds)


def _in_turn(layout: Layout, step: Step, store: dict, seeds: Sequence[np.uint32]) -> Program:
  store = sharding.place(store, layout.replicated)

  def train(states, elements):
    pairs = [
      step.train(state, store, element, seed)
      for state, element, seed in zip(states, elements, seeds, strict=True)
    ]
    return [state for state, _ in pairs], [metrics for _, metrics in pairs]

  return Program(
    step,
    begin=list,
    place=lambda elements: [sharding.place(of, layout.split) for of in elements],
    train=train,
    member=lambda states, number: states[number],
    rows=list,
  )


def _spread(
  run: Experiment, layout: Layout, step: Step, store: dict, seeds: Sequence[np.uint32]
) -> Program:
  """Members over the axis `member`; where there are more of them, in groups, one after the other.

  What is trained are the stacked states of each group.
  """
  mesh, width = layout.mesh, layout.sizes[MEMBER]
  if layout.optimiser == sharding.HOST:
    raise ValueError(
      "config.mesh.optimiser: 'host' with several runs over config.mesh.member, whose states are "
      "stacked on the devices; expected 'device', or the runs one after the other."
    )
  own = dataclasses.replace(layout, members=1).of_state(step.abstract)
  stacked = jax.tree.map(lambda place: jax.NamedSharding(mesh, jax.P(MEMBER, *place.spec)), own)
  each = jax.NamedSharding(mesh, jax.P(MEMBER))
  split = jax.NamedSharding(mesh, jax.P(MEMBER, BATCH))
  store = sharding.place(store, layout.replicated)
  seeds = [sharding.place(np.array(of), each) for of in _groups(seeds, width)]

  def local(states, store, elements, seeds):
    # inside, the axis `member` is no more than this device's own
    inner = dataclasses.replace(layout, mesh=jax.sharding.get_abstract_mesh(), members=1)
    alone = inner.sizes[BATCH] * inner.sizes[SPACE] == 1
    batch, update = halves(run, inner, None if alone else inner.mesh)
    state, element, seed = jax.tree.map(lambda x: x[0], (states, elements, seeds))
    after = update(state, *batch(state.step, store, element, seed))
    return jax.tree.map(lambda x: x[None], after)

  compiled = jax.jit(
    jax.shard_map(
      local,
      mesh=mesh,
      in_specs=(jax.P(MEMBER), jax.P(), jax.P(MEMBER), jax.P(MEMBER)),
      out_specs=jax.P(MEMBER),
      axis_names={MEMBER},
      check_vma=False,
    ),
    in_shardings=(stacked, layout.replicated, split, each),
    out_shardings=(stacked, each),
    donate_argnums=0,
    compiler_options=of_step(run.config["remat"], mesh.devices.flat[0].platform),
  )
  take = jax.jit(lambda group, at: jax.tree.map(lambda x: x[at], group), out_shardings=own)

  def begin(states):
    # by way of the host: a device never holds more than its own member's
    hosts = [jax.device_get(state) for state in states]
    return [
      jax.tree.map(lambda place, *arrays: _stacked(arrays, place), stacked, *group)
      for group in _groups(hosts, width)
    ]

  def place(elements):
    groups = [jax.tree.map(lambda *x: np.stack(x), *of) for of in _groups(elements, width)]
    return [sharding.place(group, split) for group in groups]

  def train(groups, elements):
    pairs = [
      compiled(group, store, element, seed)
      for group, element, seed in zip(groups, elements, seeds, strict=True)
    ]
    return [group for group, _ in pairs], [metrics for _, metrics in pairs]

  def member(groups, number):
    group, at = divmod(number, width)
    return jax.device_put(take(groups[group], jnp.asarray(at, jnp.int32)), step.places)

  def rows(metrics):
    return [
      {name: of[at] for name, of in group.items()} for group in metrics for at in range(width)
    ]

  return Program(step, begin, place, train, member, rows)


def _groups(of: Sequence, width: int) -> list[Sequence]:
  return [of[first : first + width] for first in range(0, len(of), width)]


def _stacked(arrays: Sequence[np.ndarray], place: jax.NamedSharding) -> jax.Array:
  whole = np.stack(arrays)
  return jax.make_array_from_callback(whole.shape, place, lambda index: whole[index])
