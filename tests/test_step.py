"""The compiled step: its state is written in place, and may rest on the host."""

import jax
import numpy as np
import pytest
import tiny

from jaxseg import compose, sharding
from jaxseg.data.stream import Feeder
from jaxseg.step import compile_step


def compiled(**changes):
  """(step, the compiled training step, its arguments after the state)."""
  run = tiny.experiment(**changes)
  feeder = Feeder(run.streams, cache="device")
  store, element = feeder.store(), feeder.element(0)
  step = compile_step(run, element, store)
  rest = (
    sharding.place(store, run.layout.replicated),
    sharding.place(element, run.layout.split),
    np.uint32(0),
  )
  return step, step.train.lower(step.abstract, *rest).compile(), rest


def size(tree) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_the_whole_state_is_written_in_place():
  step, program, _ = compiled()
  # but for a few numbers
  assert program.memory_analysis().alias_size_in_bytes >= size(step.abstract) - 64


def test_an_optimiser_that_rests_on_the_host_trains_as_on_the_device():
  after = {}
  for where in ("device", "host"):
    step, program, rest = compiled(**{"mesh.optimiser": where, "mesh.smallest": 1})
    state = step.init(np.uint32(0))
    for _ in range(2):
      state, _ = program(state, *rest)
    after[where] = state
    moments = jax.tree.leaves(state.learners["network"].opt_state)
    kinds = {leaf.sharding.memory_kind for leaf in moments if leaf.size > 1}
    assert kinds == ({"pinned_host"} if where == "host" else {"device"})
    params = jax.tree.leaves(state.learners["network"].params)
    assert {leaf.sharding.memory_kind for leaf in params} == {"device"}
  for a, b in zip(*map(jax.tree.leaves, after.values()), strict=True):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_batch_is_traced_once_for_its_shapes_and_for_the_step():
  run, seen = tiny.experiment(), []
  augment = run.main.augment

  def counted(key, sample):
    seen.append(sample)
    return augment(key, sample)

  run = tiny.with_main(run, augment=counted)
  feeder = Feeder(run.streams, cache="device")
  store = feeder.store()
  element = sharding.place(feeder.element(0), run.layout.split)
  step = compile_step(run, element, store)
  store = sharding.place(store, run.layout.replicated)
  step.train.lower(step.init(np.uint32(0)), store, element, np.uint32(0))
  assert len(seen) == 1


class Device:
  platform = "other"

  def addressable_memories(self):
    return ()


def test_devices_without_memory_of_the_host_are_refused():
  with pytest.raises(ValueError, match=r"config.mesh.optimiser: 'host' needs 'pinned_host'.*lacks"):
    sharding.check_host_memory([Device()], "config.mesh.optimiser", "host")


def test_offload_is_refused_where_the_devices_are_cpus():
  run = tiny.experiment()
  with pytest.raises(ValueError, match=r"config.remat: 'offload'.*CPUs.*'products' or 'blocks'"):
    compose.layout({**run.config, "remat": "offload"}, run.network)
