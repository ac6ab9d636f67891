"""Every component becomes a program for CPUs, CUDA GPUs and TPUs, on a machine that has none.

StableHLO only: what a platform's own compiler makes of it shows there, and for TPUs in
docs/scaling.md. Networks and parts: test_contracts.py, methods whose loss falls there:
test_method_contracts.py, by the programs that they learn by.
"""

import functools
import inspect

import critic_rows
import generator_rows
import jax
import jax.numpy as jnp
import method_rows
import numpy as np
import pytest
import tiny
from platforms import lower
from variant_rows import AUGMENT_OPTIONS, LOSS_OPTIONS, MIXTURE_OPTIONS, random_batch

from jaxseg import sharding
from jaxseg.augment import AUGMENTATIONS, MIXTURES
from jaxseg.batch import Target
from jaxseg.data.stream import Feeder
from jaxseg.losses import IMAGE_LOSSES, LOSSES
from jaxseg.methods import METHODS, averaged, cascaded, ensemble
from jaxseg.networks import CRITICS, GENERATORS
from jaxseg.step import compile_step

KEY = jax.eval_shape(lambda: jax.random.key(0))


def shapes(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), tree)


def lower_learning(net, *shape, further=()) -> jax.stages.Lowered:
  """`lower` of a gradient in training mode, for a float32 input of that shape.

  `further` are the channels of further inputs.
  """
  inputs = [jax.ShapeDtypeStruct((*shape[:-1], n), jnp.float32) for n in (shape[-1], *further)]
  variables = jax.eval_shape(functools.partial(net.init, train=True), KEY, *inputs)
  params, rest = variables["params"], {n: of for n, of in variables.items() if n != "params"}

  def objective(params, rest, inputs, key):
    options = dict(train=True, rngs={"dropout": key}, mutable=list(rest))
    outputs, after = net.apply({"params": params, **rest}, *inputs, **options)
    return sum(jnp.sum(x.astype(jnp.float32)) for x in jax.tree.leaves(outputs)), after

  return lower(jax.grad(objective, has_aux=True), params, rest, inputs, KEY)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_lowers_for_every_platform(name):
  row = generator_rows.ROWS[name]
  lower_learning(GENERATORS[name](**row.small), 1, *row.sizes[0], row.channels)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_lowers_for_every_platform(name, spectral):
  first, *further = critic_rows.channels(name)
  net = CRITICS[name](**critic_rows.SMALL[name], spectral=spectral)
  lower_learning(net, 1, 32, 32, first, further=further)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_lowers_for_every_platform(name):
  loss = jax.value_and_grad(functools.partial(LOSSES[name], **LOSS_OPTIONS.get(name, {})))
  for space in ((8, 6), (8, 6, 4)):
    logits = jax.ShapeDtypeStruct((2, *space, 3), jnp.bfloat16)
    label = jax.ShapeDtypeStruct((2, *space), jnp.int32)
    weight = jax.ShapeDtypeStruct((2, *space), jnp.float32)
    one, each = (jax.ShapeDtypeStruct((2, *space, k), jnp.float32) for k in (1, 3))
    target = Target(label, weight, {"distance": each, "box": each}, image=one)
    lower(loss, logits, target)


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_a_loss_of_images_lowers_for_every_platform(name):
  image = jax.ShapeDtypeStruct((2, 16, 16, 1), jnp.float32)
  lower(jax.value_and_grad(IMAGE_LOSSES[name]), image, Target(image))


@pytest.mark.parametrize("name", [*AUGMENTATIONS, *MIXTURES])
def test_an_augmentation_lowers_for_every_platform(name):
  transform = {**AUGMENTATIONS, **MIXTURES}[name]
  options = {"p": 1.0} if "p" in inspect.signature(transform).parameters else {}
  options |= {**AUGMENT_OPTIONS, **MIXTURE_OPTIONS}.get(name, {})
  for space in ((8, 6), (8, 6, 4)):
    batch = shapes(random_batch(2, space=space))
    given = {"patch": space} if "patch" in options else {}
    if name in MIXTURES:
      batch.pop("body")  # samples' own transforms use it up
    else:
      batch = {field: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for field, x in batch.items()}
    lower(functools.partial(transform, **{**options, **given}), KEY, batch)


def scheme(name: str):
  """The method of that name, tiny, or the wrapper of that name around `supervised`."""
  if name in METHODS:
    return method_rows.method(name)
  inner = method_rows.method("supervised")
  wrappers = {
    "averaged": lambda: averaged.averaged(inner, decay=0.9),
    "cascaded": lambda: cascaded.cascaded(inner),
    "ensemble": lambda: ensemble.ensemble(inner, sharding.layout(batches={}, members=2), members=2),
  }
  return wrappers[name]()


ELSEWHERE = [name for name, row in method_rows.ROWS.items() if row.elsewhere]


@pytest.mark.parametrize(
  ("name", "rank"),
  [*((name, 2) for name in (*ELSEWHERE, "averaged", "cascaded", "ensemble")), ("supervised", 3)],
)
def test_a_method_lowers_for_every_platform(name, rank):
  method, space = scheme(name), (16,) * rank
  batch = shapes(random_batch(2, space=space))
  del batch["body"]
  batch["target_image"] = jax.ShapeDtypeStruct((2, *space, 1), jnp.float32)
  batch["other"] = {of: batch[of] for of in ("image", "label", "spacing")}
  batch["architecture"] = {of: batch[of] for of in ("image", "label")}
  batch["unlabelled"] = batch["target"] = {"image": batch["image"]}
  state = jax.eval_shape(method.init, KEY, batch)
  lower(method.train_step, state, batch, KEY)
  lower(method.apply, state, {name: batch[name] for name in ("image", "prior")})


def test_a_step_lowers_for_every_platform_by_every_layout():
  for rank, changes in (
    (2, {"mesh.batch": 2}),
    (2, {"mesh.batch": 2, "mesh.parameters": "fsdp", "mesh.smallest": 16, "network.norm": "batch"}),
    (3, {"mesh.batch": 1, "mesh.space": 2, "network.dtype": "bfloat16"}),
    (2, {"members": 2, "mesh.batch": 1, "mesh.member": 2}),
  ):
    run = tiny.experiment(rank=rank, **changes)
    feeder = Feeder(run.streams, cache="device")
    store, element = feeder.store(), feeder.element(0)
    step = compile_step(run, element, store)
    arguments = (step.abstract, shapes(store), shapes(element), jax.ShapeDtypeStruct((), np.uint32))
    assert "num_partitions = 2" in lower(step.train, *arguments).as_text()


def test_what_does_not_lower_for_a_platform_fails():
  def function(x):
    return jax.lax.platform_dependent(x, cpu=jnp.sin, cuda=jnp.cos)

  with pytest.raises(NotImplementedError, match="tpu"):
    lower(function, jax.ShapeDtypeStruct((2,), jnp.float32))
