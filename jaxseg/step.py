"""One step, compiled whole: sample, augment, mix, then the method's own step."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import samples
from jaxseg.augment.chains import batched
from jaxseg.data import stream as streams
from jaxseg.experiment import Experiment
from jaxseg.losses import blocks
from jaxseg.method import State
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.sharding import BATCH, SPACE, Layout
from jaxseg.task import only
from jaxseg.xla_flags import of_one_call, of_step

# what a key is for, folded into the root key of the config's seed
INIT, TRAIN, STREAM = 0, 1, 2


class Step(NamedTuple):
  """The compiled functions of a run and where their state lives.

  Attributes:
    init: seed -> State.
    train: (state, store, element, seed) -> (state, metrics).
    batch: (number of the step, store, element, seed) -> (batch, key), the first half of `train`;
      to be traced.
    update: (state, batch, key) -> (state, metrics), the second half; to be traced.
    apply: (state, batch of windows on the host) -> {the task's output}.
    abstract: the state's structure and shapes.
    places: the sharding of each of its arrays.
  """

  init: Callable
  train: Callable
  batch: Callable
  update: Callable
  apply: Callable
  abstract: State
  places: State


def compile_step(run: Experiment, example: dict, store: dict) -> Step:
  """sample -> augment -> mix for each stream, then train_step, as one jit.

  Shapes are read from an example element.

  Args:
    run: the experiment.
    example: an element of `Feeder`, global batch.
    store: the store of `Feeder`.
  """
  layout = run.layout
  batch, update = halves(run, layout, layout.mesh)
  # inlined: the same program, and what is traced for its shapes isn't traced again for the step,
  # whose arguments lie there
  batch, seed = jax.jit(batch, inline=True), jax.ShapeDtypeStruct((), jnp.uint32)
  lying = (
    jax.tree.map(lambda x, at=at: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=at), of)
    for of, at in (
      (np.int32(0), layout.replicated),
      (store, layout.replicated),
      (example, layout.split),
    )
  )
  shapes, _ = jax.eval_shape(batch, *lying, seed)

  # keys are made inside, from the seed: a plain number is the same on every process
  def init(seed) -> State:
    key = jax.random.fold_in(jax.random.key(seed), INIT)
    # so are the zeros: only their shapes matter, and nothing becomes a constant of the program
    return run.method.init(key, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))

  def train(state: State, store, element, seed):
    return update(layout.on_device(state), *batch(state.step, store, element, seed))

  abstract = jax.eval_shape(init, seed)
  places = layout.of_state(abstract)
  platform = layout.mesh.devices.flat[0].platform
  return Step(
    init=jax.jit(init, out_shardings=places, compiler_options=of_one_call(platform)),
    train=jax.jit(
      train,
      in_shardings=(places, layout.replicated, layout.split, layout.replicated),
      out_shardings=(places, layout.replicated),
      donate_argnums=0,
      compiler_options=of_step(run.config["remat"], platform),
    ),
    batch=batch,
    update=update,
    apply=layout.windowed(only(run.task, run.method.apply)),
    abstract=abstract,
    places=places,
  )


def batch_of(run: Experiment, mesh) -> Callable:
  """(store, element, keys by stream) -> the batch, sampled, augmented and mixed.

  `mesh` is that over whose axis `batch` the samples are split, None for one device.
  """
  augments = {
    name: batched(stream.augment, mesh, axis=BATCH) for name, stream in run.streams.items()
  }

  def made(store, element, keys):
    parts = {}
    for name, part in streams.sample(run.streams, store, element).items():
      parts[name] = run.streams[name].mix(keys[name], augments[name](keys[name], part))
    return streams.nested(parts)

  return made


def halves(run: Experiment, layout: Layout, mesh) -> tuple[Callable, Callable]:
  """The two halves of a step, to be traced: see `Step.batch` and `Step.update`."""
  batch_from = batch_of(run, mesh)

  def batch(step, store, element, seed):
    root = jax.random.key(seed)
    main, method_key = jax.random.split(jax.random.fold_in(jax.random.fold_in(root, TRAIN), step))
    keys = {name: _key(root, name, step) for name in run.streams} | {streams.MAIN: main}
    return layout.spread(batch_from(store, element, keys)), method_key

  def update(state: State, batch, key):
    # what is written for CPUs takes a convolution apart by its voxels, and would gather a patch
    plain = cpu_gradients(False) if layout.sizes[SPACE] > 1 else contextlib.nullcontext()
    with plain, blocks.whole(layout.sizes[BATCH] > 1), samples.split_over(mesh):
      return run.method.train_step(state, batch, key)

  return batch, update


def _key(root, name: str, step):
  """Of a further stream's augmentation; it depends on no other stream."""
  for number in (STREAM, streams.number(name), step):
    root = jax.random.fold_in(root, number)
  return root
