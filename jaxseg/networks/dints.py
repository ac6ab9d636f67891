"""DiNTS: networks of a topology between resolutions, and the supernet that holds them all."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.architecture import NAME, Architecture
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice, need_rank
from jaxseg.networks.blocks.padding import crop_to, pad_to_multiple
from jaxseg.networks.blocks.resize import resize
from jaxseg.search import genotypes, relaxation, topology
from jaxseg.search.topology import SKIP, Topology

OPERATIONS = "operations"


class ActNorm(nn.Module):
  """ReLU, convolutions without bias one after another, instance norm: (b, *space, features)."""

  features: int
  kernels: Sequence[int | Sequence[int]] = (3,)
  norm: str = "instance"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    x, last = jax.nn.relu(x), len(self.kernels) - 1
    for i, kernel in enumerate(self.kernels):
      features = self.features if i == last else x.shape[-1]
      x = Conv(features, kernel, use_bias=False, dtype=self.dtype, name=f"conv{i + 1}")(x)
    return Norm(self.norm, dtype=self.dtype, name="norm")(x)


class Halve(nn.Module):
  """ReLU, two 1x1 convolutions of stride 2, one of them a voxel further on every axis, norm."""

  features: int
  norm: str = "instance"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    x, half = jax.nn.relu(x), self.features // 2
    further = x[(slice(None), *(slice(1, None),) * (x.ndim - 2))]
    options = {"stride": 2, "use_bias": False, "dtype": self.dtype}
    first = Conv(half, 1, name="conv1", **options)(x)
    second = Conv(self.features - half, 1, name="conv2", **options)(further)
    x = jnp.concatenate([first, second], -1)
    return Norm(self.norm, dtype=self.dtype, name="norm")(x)


def doubled(x):
  """Twice the size, by linear interpolation that keeps the corners."""
  return resize(x, [2 * n for n in x.shape[1:-1]], align_corners=True)


def kernels_of(operation: str) -> tuple:
  """The kernels of an operation: "conv_3x3x1" has (3, 3, 1), then (1, 1, 3)."""
  sizes = tuple(int(n) for n in operation.removeprefix("conv_").split("x"))
  return (sizes,) if 1 not in sizes else (sizes, tuple(4 - n for n in sizes))


class PathCell(nn.Module):
  """What is on a path: the change of resolution, then its operation or a mix of all of them.

  Attributes:
    features: that come out.
    change: resolutions that the path goes down, -1 is up.
    names: of the operations, one where nothing is mixed.
  """

  features: int
  change: int
  names: Sequence[str]
  norm: str = "instance"
  dtype: Any = None

  @nn.compact
  def __call__(self, x, mix=None):
    options = {"norm": self.norm, "dtype": self.dtype}
    if self.change > 0:
      x = Halve(self.features, name="down", **options)(x)
    elif self.change < 0:
      x = ActNorm(self.features, (1,), name="up", **options)(doubled(x))
    parts = [
      x if name == SKIP else ActNorm(self.features, kernels_of(name), name=name, **options)(x)
      for name in self.names
    ]
    if mix is None:
      return parts[0]
    return sum(mix[i].astype(x.dtype) * part for i, part in enumerate(parts))


class Blocks(nn.Module):
  """The blocks of paths: features of each resolution, None where there are none -> the same.

  Attributes:
    topology: resolutions, and the operations of a mix.
    widths: channels of each resolution.
    chosen: of each block the (path, operation) of a genotype; None for all paths, mixed.
  """

  topology: Topology
  widths: Sequence[int]
  chosen: Sequence[Any] | None = None
  norm: str = "instance"
  dtype: Any = None

  @nn.compact
  def __call__(self, states, mix: Mapping[str, Any] | None = None):
    paths = self.topology.paths
    for block in range(self.topology.blocks):
      made: list[Any] = [None] * self.topology.depths
      for number, names in self._used(block):
        source, target = paths[number]
        cell = PathCell(
          self.widths[target],
          target - source,
          names,
          self.norm,
          self.dtype,
          name=f"block{block + 1}_{number}",
        )
        if mix is None:
          out = cell(states[source])
        else:
          out = cell(states[source], mix[OPERATIONS][block, number])
          out *= mix[relaxation.PATHS][block, number].astype(out.dtype)
        made[target] = out if made[target] is None else made[target] + out
      states = made
    return states

  def _used(self, block: int) -> list[tuple[int, tuple[str, ...]]]:
    if self.chosen is None:
      return [(i, tuple(self.topology.operations)) for i in range(len(self.topology.paths))]
    return [(path, (name,)) for path, name in self.chosen[block]]


class _DintsNet(nn.Module):
  """What both have in common; see `Dints`."""

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest resolution, per axis."""
    return (2 ** (self._depths() - 1 + self.halve),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  def _depths(self) -> int:
    raise NotImplementedError

  def _check(self, who: str) -> None:
    if self.classes < 1 or self.features < 2:
      raise ValueError(
        f"{who}: classes={self.classes}, features={self.features}; expected at least one class and "
        "two channels."
      )
    choice(self.norm, ("instance", "batch", "none"), f"{who}: norm")
    choice(self.dtype, ("float32", "bfloat16"), f"{who}: dtype")

  def _widths(self) -> list[int]:
    """Of the stems, and of the resolutions after them."""
    return [self.features * 2**i for i in range(self._depths() + 1)]

  def _run(self, x, of: Topology, chosen, mix):
    rank = need_rank(x.ndim - 2, (2, 3), type(self).__name__)
    space, widths = x.shape[1:-1], self._widths()
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    every = range(of.depths)
    read = of.sources(tuple(path for path, _ in chosen[0])) if chosen else every
    states = [self._stem(x, i, widths) if i in read else None for i in every]
    options = {"norm": self.norm, "dtype": self.dtype}
    blocks = Blocks(of, widths[self.halve :][: of.depths], chosen, name="topology", **options)
    states = blocks(states, mix)
    x = None
    for i in reversed(every):
      if x is None and states[i] is None:
        continue
      parts = [part for part in (states[i], x) if part is not None]
      width = widths[i] if self.halve else widths[max(i - 1, 0)]
      x = ActNorm(width, name=f"join{i + 1}", **options)(sum(parts))
      x = doubled(x) if self.halve or i else x
    x = crop_to(ActNorm(widths[0], name="last", **options)(x), space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x).astype(jnp.float32)
    return {"logits": logits, "decoder": x}

  def _stem(self, x, i: int, widths: Sequence[int]):
    """The image at resolution i."""
    options = {"use_bias": False, "dtype": self.dtype}
    x = resize(x, [n // 2**i for n in x.shape[1:-1]], align_corners=True)
    x = Conv(widths[i], 3, name=f"stem{i + 1}_conv1", **options)(x)
    x = Norm(self.norm, dtype=self.dtype, name=f"stem{i + 1}_norm1")(x)
    if self.halve:
      x = Conv(widths[i + 1], 3, 2, name=f"stem{i + 1}_conv2", **options)(jax.nn.relu(x))
      x = Norm(self.norm, dtype=self.dtype, name=f"stem{i + 1}_norm2")(x)
    return x


class Dints(_DintsNet):
  """A network of the topology that a genotype describes: blocks of paths between resolutions.

      image at 1/1, 1/2, ... -> stems -> block 1 -> ... -> block n -> joined, coarsest first -> head

  In a block each resolution is the sum of the paths that end there; a path keeps, halves (1x1
  convolutions of stride 2) or doubles (linear, 1x1 convolution) the size and then does its
  operation. Of the stems and joins there are those that the genotype needs.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "decoder": features
  before the head}. Any size works, see `total_stride`.

  Attributes:
    genotype: what `jaxseg derive` wrote, its path in a config; its operations are 2D's or 3D's.
    classes: number of scores per voxel.
    features: channels at the image's own resolution, doubled with each halving.
    halve: the stems halve the size, so that resolution 0 is half the image's.
    norm: "instance", "batch" or "none".
    dtype: compute dtype, "float32" or "bfloat16".

  Source: He et al., CVPR 2021, 2103.15954; stems, joins and counts are those of MONAI's DiNTS.
  """

  genotype: Mapping[str, Any]
  classes: int = 3
  features: int = 32
  halve: bool = True
  norm: str = "instance"
  dtype: str = "float32"

  def __post_init__(self):
    genotypes.check(self.genotype, "genotype", kinds=("dints",))
    self._check("dints")
    super().__post_init__()

  def _depths(self):
    return self.genotype["depths"]

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    chosen = [[(path, name) for path, name in block] for block in self.genotype["blocks"]]
    names = {name for block in chosen for _, name in block} - {SKIP}
    if wrong := names - set(topology.OPERATIONS.get(x.ndim - 2, names)):
      raise ValueError(
        f"dints: the genotype's operation '{min(wrong)}' is not of inputs with {x.ndim - 2} "
        f"spatial axes; expected one that was searched in {x.ndim - 2}D."
      )
    of = topology.topology(blocks=len(chosen), depths=self._depths(), rank=x.ndim - 2)
    return self._run(x, of, chosen, None)


class DintsSupernet(_DintsNet):
  """All paths and operations of DiNTS' topology in one network, mixed by weights that are learnt.

  Shapes: (b, *space, channels), mix -> as `Dints`. `mix` is {"paths": (blocks, paths),
  "operations": (blocks, paths, operations)}; None is that of the network's own weights, its
  parameters "architecture": (12, 10) and (12, 10, 5) of 12 blocks and 4 resolutions in 3D.

  Attributes:
    blocks, depths: of the topology.
    operations: of every path; None are all that there are in the input's rank.
    classes, features, halve, norm, dtype: as of `Dints`.

  Raises ValueError for a space that is empty.
  """

  classes: int = 3
  blocks: int = 12
  depths: int = 4
  operations: Sequence[str] | None = None
  features: int = 32
  halve: bool = True
  norm: str = "instance"
  dtype: str = "float32"

  def __post_init__(self):
    self._check("dints_supernet")
    # operations are of a rank that only the input tells
    topology.topology(blocks=self.blocks, depths=self.depths)
    super().__post_init__()

  def _depths(self):
    return self.depths

  def choices(self, rank: int) -> Topology:
    """What is chosen."""
    names = None if self.operations is None else tuple(self.operations)
    return topology.topology(blocks=self.blocks, depths=self.depths, rank=rank, operations=names)

  @nn.compact
  def __call__(self, x, mix=None, *, train: bool = False):
    of = self.choices(x.ndim - 2)
    if mix is None:
      paths = (of.blocks, len(of.paths))
      shapes = {relaxation.PATHS: paths, OPERATIONS: (*paths, len(of.operations))}
      start = {"near": {OPERATIONS: 1.0}, "deviation": 0.01}
      mix = relaxation.softmax(Architecture(shapes, name=NAME, **start)())
    return self._run(x, of, None, mix)
