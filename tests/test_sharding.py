"""The layout: which part of which array each device holds, and what does not fit."""

import jax
import numpy as np
import optax
import pytest
import tiny
from closeness import assert_close

from jaxseg import sharding
from jaxseg.data.stream import Feeder
from jaxseg.losses import LOSSES
from jaxseg.method import Learner, State
from jaxseg.methods import supervised
from jaxseg.networks import NETWORKS
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.runs import checkpoint
from jaxseg.step import compile_step


def test_a_batch_takes_the_most_devices_that_divide_it_and_idle_ones_are_told():
  devices = jax.devices()[:2]
  even = sharding.layout(batches={"config.data.batch": 8}, devices=devices)
  assert (even.sizes, even.notes) == ({"batch": 2, "space": 1, "member": 1}, ())
  lone = sharding.layout(batches={"config.data.batch": 3}, devices=devices)
  assert lone.sizes["batch"] == 1
  assert lone.notes == (
    "config.data.batch=3 uses 1 of 2 devices, the others stay idle: make it a multiple of 2, or "
    "set config.mesh.space=2, which splits every patch.",
  )
  several = {"config.data.batch": 3, "config.streams.rest.batch": 1}
  assert sharding.layout(batches=several, devices=devices).notes == (
    "config.data.batch=3, config.streams.rest.batch=1 use 1 of 2 devices, the others stay idle: "
    "make each a multiple of 2, or set config.mesh.space=2, which splits every patch.",
  )


def test_a_batch_is_split_and_state_replicated():
  layout = sharding.layout(batches={}, devices=jax.devices()[:2])
  array = sharding.place(np.arange(8.0).reshape(4, 2), layout.split)
  assert [s.data.shape for s in array.addressable_shards] == [(2, 2), (2, 2)]
  whole = sharding.place(np.arange(3.0), layout.replicated)
  assert all(s.data.shape == (3,) for s in whole.addressable_shards)


@pytest.mark.parametrize(
  ("mesh", "words"),
  [
    ({"batch": 3}, r"config\.mesh: batch=3 x space=1 x member=1 does not fill the 4 device"),
    ({"batch": 8}, r"batch=8 x space=1 x member=1 does not fill the 4 device.*product is 4"),
    ({"space": 3}, r"batch=-1 x space=3 x member=1 does not fill the 4 device"),
    ({"batch": 1}, r"batch=1 x space=1 x member=1 does not fill the 4 device"),
    ({"batch": 4, "batches": {"config.data.batch": 6}}, r"config\.data\.batch: 6 cannot be split"),
    (
      {"space": 4, "patch": (3, 3), "stride": (1, 1)},
      r"config\.mesh\.space: 4 devices for .*\(3, 3\)",
    ),
    ({"member": 4, "members": 2}, r"config\.mesh\.member: 4 devices for 2 network"),
  ],
)
def test_a_mesh_that_does_not_fit_is_refused_in_words(mesh, words):
  options = {"batches": {"config.data.batch": 8}, "patch": (16, 16), "stride": (4, 4), **mesh}
  with pytest.raises(ValueError, match=words):
    sharding.layout(devices=["a", "b", "c", "d"], **options)


def space_of(patch, stride):
  devices = jax.devices()[:2]
  return sharding.layout(batches={}, patch=patch, stride=stride, space=2, devices=devices)


def test_space_splits_the_longest_axis_that_stays_even_and_says_where_none_does():
  assert space_of((16, 32, 32), (4, 4, 4)).axis == 1
  assert space_of((32, 36, 16), (4, 8, 4)).axis == 0
  uneven = space_of((12, 20), (8, 8))
  assert uneven.axis == 1
  assert "cannot split the 20 voxels of axis 1" in uneven.notes[0]
  assert "a multiple of 16 in config.data.patch" in uneven.notes[0]


def state_of(members=1):
  stack = () if members == 1 else (members,)
  params = {
    "encoder": {"kernel": jax.ShapeDtypeStruct((*stack, 3, 3, 6, 8), np.float32)},
    "norm": {"scale": jax.ShapeDtypeStruct((*stack, 8), np.float32)},
    "odd": {"kernel": jax.ShapeDtypeStruct((*stack, 3, 5), np.float32)},
  }
  moments = (optax.EmptyState(), optax.TraceState(params))
  step = jax.ShapeDtypeStruct((), np.int32)
  return State(step, {"network": Learner(params, {}, moments)})


def specs(layout, state) -> dict:
  return {name: tuple(of.spec) for name, of in checkpoint.flatten(layout.of_state(state)).items()}


def test_rules_split_the_largest_axis_of_large_arrays_and_their_moments():
  options = {"batches": {}, "devices": jax.devices()[:2]}
  assert set(specs(sharding.layout(**options), state_of()).values()) == {()}
  every = specs(sharding.layout(parameters="fsdp", smallest=16, **options), state_of())
  split = {name for name, spec in every.items() if spec}
  both = ("learners/network/params", "learners/network/opt_state/1/trace")
  assert split == {f"{path}/encoder/kernel" for path in both}
  assert every[f"{both[1]}/encoder/kernel"] == (None, None, None, "batch")
  rules = {"*": "fsdp", "encoder": "replicated"}
  some = specs(sharding.layout(parameters=rules, smallest=1, **options), state_of())
  assert {name for name, spec in some.items() if spec} == {f"{path}/norm/scale" for path in both}
  with pytest.raises(
    ValueError, match=r"config\.mesh\.parameters: the pattern 'decoder\*' names no"
  ):
    sharding.layout(parameters={"decoder*": "fsdp"}, **options).of_state(state_of())
  tie = {"encoder*": "fsdp", "*encoder": "replicated"}
  with pytest.raises(ValueError, match=r"config\.mesh\.parameters: the patterns .* say as much"):
    sharding.layout(parameters=tie, **options).of_state(state_of())


def test_a_rule_that_splits_nothing_is_told():
  options = {"batches": {}, "devices": jax.devices()[:2], "parameters": "fsdp"}
  (note,) = sharding.layout(**options, smallest=10**6).tried(state_of()).notes
  assert note == (
    "config.mesh.parameters: 'fsdp' splits nothing, every device holds all: of 1000000 values or "
    "more (config.mesh.smallest) no array has an axis that 2 devices divide; choose fewer values."
  )
  along = {"space": 2, "batch": 1, "patch": (16, 16), "stride": (2, 2), "smallest": 16}
  (note,) = sharding.layout(**options, **along).tried(state_of()).notes
  assert note.endswith("every device holds all: config.mesh.batch has one device; give it more.")
  assert not sharding.layout(**options, smallest=16).tried(state_of()).notes


def test_members_lie_along_their_own_axis():
  options = {"batches": {}, "devices": jax.devices()[:2], "members": 4, "member": 2}
  plain = specs(sharding.layout(**options), state_of(4))
  assert plain.pop("step") == ()
  assert {spec[0] for spec in plain.values()} == {"member"}


def scheme():
  network = NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, norm="instance")
  # at larger rates rounding grows
  return supervised.supervised(network, LOSSES["cross_entropy"], optax.sgd(0.01))


def batch_of(patch):
  random = np.random.default_rng(0)
  label = random.integers(0, 3, (2, *patch)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  weight = np.ones(label.shape, np.float32)
  fields = {"image": image.astype(np.float32), "label": label, "weight": weight}
  return {**fields, "spacing": np.ones((2, len(patch)), np.float32)}


def steps_of(layout, patch):
  """(losses, collectives of the compiled step) of three steps on one batch."""
  method = scheme()
  init = jax.jit(lambda: method.init(jax.random.key(0), batch_of(patch)))
  places = layout.of_state(jax.eval_shape(init))
  state, losses = jax.device_put(init(), places), []
  batch = sharding.place(batch_of(patch), layout.split)
  key = jax.device_put(jax.random.key(1), layout.replicated)
  step = jax.jit(
    lambda state, batch, key: method.train_step(state, layout.spread(batch), key),
    in_shardings=(places, layout.split, layout.replicated),
    out_shardings=(places, layout.replicated),
  )
  # those written for CPUs gather what is split, on GPU and TPU there are none
  with cpu_gradients(False):
    compiled = step.lower(state, batch, key).compile()
  for _ in range(3):
    state, metrics = compiled(state, batch, key)
    losses.append(metrics["loss"])
  return losses, compiled.as_text()


LAYOUTS = {
  "batch": {"batch": 2},
  "space": {"batch": 1, "space": 2},
  "fsdp": {"batch": 2, "parameters": "fsdp", "smallest": 1},
}


@pytest.mark.parametrize("patch", [(16, 8), (14, 10), (8, 8, 4)], ids=["2D", "uneven", "3D"])
def test_every_layout_gives_the_losses_of_one_device(patch):
  stride = (2,) * len(patch)
  options = {"batches": {"config.data.batch": 2}, "patch": patch, "stride": stride}
  one, text = steps_of(sharding.layout(devices=jax.devices()[:1], **options), patch)
  assert "all-reduce" not in text
  for name, mesh in LAYOUTS.items():
    layout = sharding.layout(devices=jax.devices()[:2], **options, **mesh)
    losses, text = steps_of(layout, patch)
    assert_close(losses, one, atol=1e-5, err_msg=name)
    if name == "space" and not layout.notes:
      assert "collective-permute" in text
      assert "all-gather" not in text
    if name == "batch":
      assert "all-gather" not in text
      assert "collective-permute" not in text


def test_a_run_that_splits_patches_gathers_none_of_them():
  network = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1}
  network |= {"norm": "instance", "up": "transpose"}
  run = tiny.experiment(network=network, **{"mesh.batch": 1, "mesh.space": 2})
  feeder = Feeder(run.streams, cache="device")
  store = feeder.store()
  step = compile_step(run, feeder.element(0), store)
  abstract = jax.eval_shape(step.init, np.uint32(0))
  text = step.train.lower(abstract, store, feeder.element(0), np.uint32(0)).compile().as_text()
  assert "collective-permute" in text
  assert "all-gather" not in text


def test_windows_are_split_with_the_fields_that_are_nested_in_them():
  layout = sharding.layout(batches={}, devices=jax.devices()[:2])
  apply = layout.windowed(lambda state, batch: batch["image"] + state * batch["other"]["image"])
  image = np.arange(8.0, dtype=np.float32).reshape(2, 4, 1)
  out = apply(np.float32(2), {"image": image, "other": {"image": 10 * image}})
  np.testing.assert_array_equal(out, 21 * image)


@pytest.mark.parametrize("size", [4, sharding.LARGE])
def test_one_cpu_gives_what_each_window_gives_alone(size):
  def apply(state, batch):
    return {"sum": state * batch["image"].sum(1) + batch["spacing"][:, :1]}

  image = np.random.default_rng(0).integers(0, 9, (3, size, 1)).astype(np.float32)
  image[2] = image[1]
  batch = {"image": image, "spacing": np.arange(6.0, dtype=np.float32).reshape(3, 2)}
  windowed = sharding.layout(batches={}, devices=jax.devices()[:1]).windowed(apply)
  out = windowed(np.float32(2), batch)["sum"]
  np.testing.assert_array_equal(out, 2 * image.sum(1) + batch["spacing"][:, :1])


def test_a_window_that_fills_a_batch_up_is_not_computed_again():
  calls = []

  def apply(state, batch):
    jax.debug.callback(lambda: calls.append(1))
    return {"image": batch["image"] + state}

  image = np.zeros((4, sharding.LARGE, 1), np.float32)
  image[1:] = 1
  windowed = sharding.layout(batches={}, devices=jax.devices()[:1]).windowed(apply)
  out = windowed(np.float32(2), {"image": image})["image"]
  jax.effects_barrier()
  np.testing.assert_array_equal(out, image + 2)
  assert len(calls) == 2
