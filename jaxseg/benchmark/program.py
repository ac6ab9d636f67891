"""What is measured: a training step with all that it is fed, from a config or made up."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxseg.sharding import Layout, place


@dataclasses.dataclass
class Program:
  """A training step, its parts and its data, as the training loop has them.

  Attributes:
    config: plain.
    layout: the devices, and what each of them holds.
    init: seed -> State; compiled when it is called.
    train: (state, store, element, seed) -> (state, metrics), a jit: what the loop calls.
    batch: (number of the step, store, element, seed) -> (batch, key), to be traced: its first half.
    update: (state, batch, key) -> (state, metrics), to be traced: its second half.
    apply: (state, batch) -> outputs in inference mode, to be traced.
    abstract, places: the state's shapes, and the sharding of each of its arrays.
    store: what lies on the devices throughout, on the host.
    elements: (first, last) -> what each step is fed, on the host, made ahead of need.
    element: what a step is fed by all processes together, for its shapes; the first of `elements`
      if None.
    images: patches per step, of the main stream.
    patch: the size of what the network is fed.
    run: the Experiment, where there is one; inference on whole cases needs it.
    say: shows progress, a line.
    measured: what earlier parts gave: name -> values.
    step: `train` as it was compiled, once it was; see `compiled`.
  """

  config: Mapping[str, Any]
  layout: Layout
  init: Callable
  train: Callable
  batch: Callable
  update: Callable
  apply: Callable
  abstract: Any
  places: Any
  store: Mapping[str, Any]
  elements: Callable[[int, int], Iterator]
  images: int
  patch: tuple[int, ...]
  element: Any = None
  run: Any = None
  say: Callable[[str], None] = lambda text: None
  measured: dict[str, dict] = dataclasses.field(default_factory=dict)
  step: Callable | None = None

  @property
  def seed(self) -> np.uint32:
    return np.uint32(self.config.get("seed", 0))

  @property
  def dtype(self) -> str:
    """Of the network's arithmetic."""
    return str(np.dtype(self.config["network"].get("dtype", "float32")))

  @property
  def voxels(self) -> int:
    """Of a step's patches, all together."""
    return self.images * math.prod(self.patch)

  @functools.cached_property
  def on_device(self) -> Any:
    """The store, where the step reads it."""
    return place(self.store, self.layout.replicated)

  def shapes(self) -> tuple:
    """The arguments of `train`, in shapes."""
    state = jax.tree.map(
      lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
      self.abstract,
      self.places,
    )
    element = self.element
    if element is None:
      with contextlib.closing(self.elements(0, 1)) as elements:
        element = next(elements)
    return state, jax.tree.map(_shape, self.store), jax.tree.map(_shape, element), _shape(self.seed)

  def compiled(self) -> Callable:
    """`train`, compiled; by the part that measures how long that takes, if that part is asked."""
    if self.step is None:
      self.say("compiling the step")
      self.step = self.train.lower(*self.shapes()).compile()
    return self.step

  @contextlib.contextmanager
  def fed(self, first: int, last: int) -> Iterator[Iterator]:
    """The elements of some steps, on the devices."""
    with contextlib.closing(self.elements(first, last)) as elements:
      yield (place(element, self.layout.split) for element in elements)


def _shape(x) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype)


def of_experiment(run, say: Callable[[str], None] = lambda text: None) -> Program:
  """The program of an `Experiment`: its own data, fed as the training loop feeds them."""
  # data packages, which a machine that is lent may lack
  from jaxseg.data.stream import Feeder
  from jaxseg.step import compile_step

  feeder = Feeder(run.streams, cache=run.config["data"]["cache"])
  store, element = feeder.store(), feeder.element(0)
  step = compile_step(run, element, store)

  def elements(first: int, last: int) -> Iterator:
    # closed by hand: its threads may wait for one another where garbage is collected
    with contextlib.closing(feeder.elements(first, last, run.layout.slots)) as made:
      yield from made

  return Program(
    config=run.config,
    layout=run.layout,
    init=step.init,
    train=step.train,
    batch=step.batch,
    update=step.update,
    apply=run.method.apply,
    abstract=step.abstract,
    places=step.places,
    store=store,
    elements=elements,
    element=element,
    images=run.main.sampling.batch,
    patch=run.patch,
    run=run,
    say=say,
  )
