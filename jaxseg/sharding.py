"""Layout: a mesh of devices (batch, space, member), and which part of which array each one holds.

Networks and losses never mention a mesh: they are given arrays that are split, and XLA inserts the
halo exchanges and the sums (GSPMD, 2105.04663).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import paths, samples
from jaxseg.batch import Batch, kind

AXES = BATCH, SPACE, MEMBER = "batch", "space", "member"
REPLICATED, FSDP = "replicated", "fsdp"
DEVICE, HOST = "device", "host"
HOST_MEMORY = "pinned_host"
# values of an array from which on splitting it is worth a message between devices
SMALLEST = 2**16
# values of a window from which on a CPU computes windows in turn
LARGE = 2**15

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Layout:
  """Which part of which array each device holds.

  Attributes:
    mesh: the devices, with the axes of AXES.
    axis: the spatial axis of a patch that `space` splits.
    rules: (pattern of paths, "replicated" or "fsdp"); that which says the most of a parameter
      counts, see `paths.match`.
    smallest: arrays of fewer values are never split by "fsdp".
    members: networks whose learners are stacked, 1 without a stack.
    notes: what is to be told of it, a sentence each.
    optimiser: where its large arrays rest between updates, on the "device" or the "host".
  """

  mesh: jax.sharding.Mesh
  axis: int = 0
  rules: tuple[tuple[str, str], ...] = ()
  smallest: int = SMALLEST
  members: int = 1
  notes: tuple[str, ...] = ()
  optimiser: str = DEVICE

  @property
  def sizes(self) -> dict[str, int]:
    return dict(self.mesh.shape)

  @property
  def replicated(self) -> jax.NamedSharding:
    return jax.NamedSharding(self.mesh, jax.P())

  @property
  def split(self) -> jax.NamedSharding:
    """Of a batch while it is sampled and augmented."""
    return jax.NamedSharding(self.mesh, jax.P(BATCH))

  def of_state(self, abstract: PyTree) -> PyTree:
    """The sharding of every array of a state: by the rules for learners, else replicated.

    A moment of an optimiser follows the rule of its parameter. Raises ValueError for a pattern that
    names no parameter.
    """
    learners = getattr(abstract, "learners", {})
    known = {}
    if self.rules:
      known = {name: set(paths.flatten(of.params)) for name, of in learners.items()}
      every = set().union(*known.values())
      paths.check(dict(self.rules), every, "config.mesh.parameters")
      paths.check_apart(dict(self.rules), every, "config.mesh.parameters")

    def place(path, leaf) -> jax.NamedSharding:
      parts = paths.of_leaf(path).split("/")
      stacked = self.members > 1 and parts[0] != "step"
      spec: list[str | None] = [None] * len(leaf.shape)
      if stacked and spec:
        spec[0] = MEMBER
      if self.rules and parts[0] == "learners" and self._is_split(parts[2:], known[parts[1]]):
        self._split_largest(spec, leaf.shape, first=int(stacked))
      memory = HOST_MEMORY if self._rests_on_host(parts, leaf.shape) else None
      spec = jax.P(*spec) if any(spec) else jax.P()
      return jax.NamedSharding(self.mesh, spec, memory_kind=memory)

    return jax.tree_util.tree_map_with_path(place, abstract)

  def _rests_on_host(self, parts: Sequence[str], shape: Sequence[int]) -> bool:
    """Whether what lies at a path of a state ("learners", NAME, "opt_state", ...) does."""
    large = math.prod(shape) >= self.smallest
    return self.optimiser == HOST and parts[0] == "learners" and parts[2] == "opt_state" and large

  def on_device(self, state: PyTree) -> PyTree:
    """Inside a compiled function: the state with what rests on the host fetched from there."""
    if self.optimiser == DEVICE:
      return state

    def fetched(leaf, place):
      if place.memory_kind != HOST_MEMORY:
        return leaf
      return jax.device_put(leaf, place.with_memory_kind(DEVICE))

    return jax.tree.map(fetched, state, self.of_state(state))

  def tried(self, abstract: PyTree) -> "Layout":
    """This layout, with a note where "fsdp" splits nothing of a state; raises as `of_state`."""
    places = jax.tree.leaves(self.of_state(abstract))
    asked = any(rule == FSDP for _, rule in self.rules) and self.mesh.size > 1
    if not asked or any(BATCH in tuple(place.spec) for place in places):
      return self
    count = self.sizes[BATCH]
    why = "config.mesh.batch has one device; give it more"
    if count > 1:
      why = (
        f"of {self.smallest} values or more (config.mesh.smallest) no array has an axis that "
        f"{count} devices divide; choose fewer values"
      )
    note = f"config.mesh.parameters: 'fsdp' splits nothing, every device holds all: {why}."
    return dataclasses.replace(self, notes=(*self.notes, note))

  def _is_split(self, parts: Sequence[str], params: set[str]) -> bool:
    """Whether the rules split what lies at a path of a learner ("opt_state/0/mu/conv/kernel")."""
    ends = ("/".join(parts[i:]) for i in range(1, len(parts)))
    path = next((end for end in ends if end in params), "/".join(parts[1:]))
    rules = dict(self.rules)
    pattern = paths.match(path, rules)
    return pattern is not None and rules[pattern] == FSDP

  def _split_largest(self, spec: list, shape: Sequence[int], first: int) -> None:
    """Splits the largest axis that the devices of `batch` divide, if the array is worth it."""
    count = self.sizes[BATCH]
    axes = [a for a in range(first, len(shape)) if shape[a] % count == 0]
    if count > 1 and axes and math.prod(shape[first:]) >= self.smallest:
      spec[max(axes, key=lambda a: shape[a])] = BATCH

  def spread(self, batch: Batch) -> Batch:
    """Inside a compiled function: the batch over (`batch`, `space`), as a method is given it."""
    if self.sizes[SPACE] == 1:
      return batch

    def field(name: str, value):
      if isinstance(value, Mapping):
        return self.spread(value)
      spec = (BATCH, *(None,) * self.axis, SPACE) if kind(name).spatial else (BATCH,)
      sharding = jax.NamedSharding(self.mesh, jax.P(*spec))
      return jax.lax.with_sharding_constraint(value, sharding)

    return {name: field(name, value) for name, value in batch.items()}

  def slots(self, batch: int) -> range:
    """The slots of a global batch that this process provides."""
    own = self.split.addressable_devices_indices_map((batch,)).values()
    spans = [span.indices(batch) for (span,) in own]
    return range(min(first for first, _, _ in spans), max(last for _, last, _ in spans))

  def windowed(self, apply: Callable) -> Callable:
    """`apply(state, batch)`, compiled for batches on the host, the same on every process.

    Their windows are split over `batch`, if that divides them; every process gets the outcome of
    all. One CPU computes large windows in turn, in the same memory: each page of it that a program
    touches first costs time, and is in no cache (0.93 of the time of four windows of 64^3).
    """
    if self.mesh.size == 1:
      on_cpu = self.mesh.devices.flat[0].platform == "cpu"
      return jax.jit(_in_turn(apply) if on_cpu else apply)
    out = None if jax.process_count() == 1 else self.replicated
    count = self.sizes[BATCH]

    def spread(state, batch):
      with samples.split_over(self.mesh):
        return apply(state, self.spread(batch))

    split = jax.jit(spread, out_shardings=out)

    def field(value):
      value = np.asarray(value)
      where = self.replicated if len(value) % count else self.split
      return jax.make_array_from_callback(value.shape, where, lambda index: value[index])

    return lambda state, batch: split(state, jax.tree.map(field, batch))

  def over_members(self, function: Callable, stacked: PyTree, shared: PyTree) -> PyTree:
    """`function(own, shared)` for each member, results stacked as the members are.

    Members on different devices work at the same time, those of one device one after the other: a
    vmap would turn their convolutions into grouped ones, which GSPMD cannot split.

    Args:
      function: what a member does.
      stacked: trees whose leaves have a leading axis of members.
      shared: what all are given alike.
    """

    def local(stacked, shared):
      return samples.in_turn(lambda _, own: ((), function(own, shared)), (), stacked)[1]

    if self.sizes[MEMBER] == 1:
      return local(stacked, shared)
    return jax.shard_map(
      local,
      mesh=self.mesh,
      in_specs=(jax.P(MEMBER), jax.P()),
      out_specs=jax.P(MEMBER),
      axis_names={MEMBER},
      check_vma=False,
    )(stacked, shared)


def layout(
  *,
  batches: Mapping[str, int],
  patch: Sequence[int] = (),
  stride: Sequence[int] = (),
  members: int = 1,
  batch: int = -1,
  space: int = 1,
  member: int = 1,
  parameters: str | Mapping[str, str] = REPLICATED,
  smallest: int = SMALLEST,
  optimiser: str = DEVICE,
  devices: Sequence | None = None,
) -> Layout:
  """The layout of a run.

  Args:
    batches: config field -> size of a batch that is split, such as {"config.data.batch": 4}.
    patch: the size of what a network is fed.
    stride: the network's total stride per axis.
    members: networks of an ensemble.
    batch, space, member: devices along each axis of the mesh; -1, of one at most, is all that are
      left. For `batch` these are the most that divide every batch, and idle ones are told.
    parameters: "replicated"; "fsdp", which splits every large array over `batch` (ZeRO 3,
      1910.02054); or patterns of paths of parameters -> one of the two.
    smallest, optimiser: see `Layout`; smaller arrays stay on the device, too.
    devices: all that there are if None.

  Raises ValueError where the mesh doesn't fill the devices or doesn't divide what it splits, and
  where the devices have no memory of the host's for the optimiser.
  """
  devices = list(jax.devices() if devices is None else devices)
  if optimiser == HOST:
    check_host_memory(devices, "config.mesh.optimiser", HOST)
  sizes, notes = _sizes(dict(zip(AXES, (batch, space, member), strict=True)), len(devices), batches)
  if members % sizes[MEMBER]:
    raise ValueError(
      f"config.mesh.member: {sizes[MEMBER]} devices for {members} network(s) that are trained "
      "together (config.members, or the runs of --together); expected a number that divides them."
    )
  axis = 0
  if sizes[SPACE] > 1:
    axis, note = _axis(patch, stride, sizes[SPACE])
    notes += note
  rules = parameters.items() if isinstance(parameters, Mapping) else [("*", parameters)]
  rules = tuple((pattern, rule) for pattern, rule in rules if parameters != REPLICATED)
  mesh = jax.make_mesh(
    tuple(sizes.values()),
    AXES,
    axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
    devices=devices[: math.prod(sizes.values())],
  )
  if optimiser == HOST and devices[0].platform == "cpu":
    notes = [*notes, "config.mesh.optimiser: 'host' saves nothing where the device is a CPU."]
  return Layout(mesh, axis, rules, smallest, members, tuple(notes), optimiser)


def check_offload(devices: Sequence | None, field: str, value: str) -> None:
  """`check_host_memory`, and raises ValueError where the host's memory is the device's own."""
  devices = list(jax.devices() if devices is None else devices)
  if devices[0].platform == "cpu":
    raise ValueError(
      f"{field}: '{value}' moves to the host's memory what is there already, the devices of this "
      "run are CPUs; expected 'products' or 'blocks'."
    )
  check_host_memory(devices, field, value)


def check_host_memory(devices: Sequence, field: str, value: str) -> None:
  """Raises ValueError unless arrays can rest in memory of the host that the devices address."""
  kinds = sorted({memory.kind for memory in devices[0].addressable_memories()})
  if HOST_MEMORY not in kinds:
    raise ValueError(
      f"{field}: '{value}' needs '{HOST_MEMORY}' memory, which the backend "
      f"'{devices[0].platform}' of this run lacks (it has {', '.join(kinds) or 'none'}); expected "
      "another value, as its default."
    )


def _sizes(
  sizes: dict[str, int], count: int, batches: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
  """The size of each axis of the mesh, and what is to be told of idle devices."""
  shown = "config.mesh: " + " x ".join(f"{axis}={n}" for axis, n in sizes.items())
  given = math.prod(n for n in sizes.values() if n != -1)
  free = [axis for axis, n in sizes.items() if n == -1]
  fills = given == count if not free else count % given == 0
  if not fills:
    raise ValueError(
      f"{shown} does not fill the {count} device(s) of this run; expected sizes whose product is "
      f"{count}, or -1 for one of them (all that are left)."
    )
  if free:
    sizes = {**sizes, free[0]: count // given}
  wide = sizes[BATCH]
  uneven = [field for field, batch in batches.items() if batch % wide]
  if not uneven:
    return sizes, []
  field, batch = uneven[0], batches[uneven[0]]
  if BATCH not in free or jax.process_count() > 1:
    raise ValueError(
      f"{field}: {batch} cannot be split over the {wide} devices of config.mesh.batch; make it a "
      f"multiple of {wide}, or give devices to config.mesh.space."
    )
  common, rest = math.gcd(*batches.values()), count // sizes[MEMBER]
  used = max(n for n in range(1, wide + 1) if common % n == 0)
  named = ", ".join(f"{field}={batches[field]}" for field in uneven)
  use, make = ("uses", "it a multiple") if len(uneven) == 1 else ("use", "each a multiple")
  return {**sizes, BATCH: used}, [
    f"{named} {use} {given * used} of {count} devices, the others stay idle: make {make} of "
    f"{wide}, or set config.mesh.space={rest // math.gcd(rest, common)}, which splits every "
    "patch."
  ]


def _axis(patch: Sequence[int], stride: Sequence[int], space: int) -> tuple[int, list[str]]:
  """The axis of a patch to split: the longest that stays even at every stage of the network."""
  longest = max(range(len(patch)), key=lambda a: patch[a])
  if patch[longest] < space:
    raise ValueError(
      f"config.mesh.space: {space} devices for patches of {tuple(patch)} voxels; expected no more "
      f"than their longest axis, {patch[longest]}."
    )
  even = [a for a in range(len(patch)) if patch[a] % (space * stride[a]) == 0]
  if even:
    return max(even, key=lambda a: patch[a]), []
  step = space * stride[longest]
  return longest, [
    f"config.mesh.space={space} cannot split the {patch[longest]} voxels of axis {longest} of a "
    f"patch evenly at every stage of the network: the compiler pads them and gathers the coarse "
    f"stages; a multiple of {step} in config.data.patch needs neither."
  ]


def _in_turn(apply: Callable) -> Callable:
  """`apply(state, batch)` of one sample after the other, where these are large.

  A sample that equals the one before it, as those do that fill a batch up, has its outcome.
  """

  def in_turn(state, batch):
    sizes = [x.size // len(x) for x in jax.tree.leaves(batch)]
    samples = len(jax.tree.leaves(batch)[0])
    if samples == 1 or max(sizes) < LARGE:
      return apply(state, batch)

    def one(sample):
      outputs = apply(state, jax.tree.map(lambda x: x[None], sample))
      return jax.tree.map(lambda x: x[0], outputs)

    def following(before, index):
      equal = [jnp.all(x[index] == x[index - 1]) for x in jax.tree.leaves(batch)]
      sample = jax.tree.map(lambda x: x[index], batch)
      same = (index > 0) & jnp.all(jnp.stack(equal))
      outputs = jax.lax.cond(same, lambda sample: before, one, sample)
      return outputs, outputs

    shapes = jax.eval_shape(one, jax.tree.map(lambda x: x[0], batch))
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(following, none, jnp.arange(samples))[1]

  return in_turn


def place(tree: PyTree, sharding: jax.NamedSharding) -> PyTree:
  """Host arrays -> global arrays; each process gives its own slice of a split array."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
  )
