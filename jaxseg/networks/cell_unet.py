"""U-shaped networks of cells: of a genotype, and the supernet that holds them all."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.architecture import NAME, Architecture
from jaxseg.networks.blocks.cell import Cell, of_genotype
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.operations import NormOf
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.padding import crop_to, pad_to_multiple
from jaxseg.networks.blocks.resample import linear_up
from jaxseg.search import cells as cell_data
from jaxseg.search import genotypes, relaxation
from jaxseg.search.cells import Cells

NORMS = {"nas_unet": "group", "darts": "batch"}
# channels of the stem, in those of a node
STEMS = {"nas_unet": 4, "darts": 3}


class _CellNet(nn.Module):
  """What both have in common; see `CellUNet`. Attributes come from those."""

  def _cells(self) -> Cells:
    raise NotImplementedError

  def _edges(self, cell: str) -> Sequence[Any] | None:
    raise NotImplementedError

  def _stem_width(self) -> int:
    raise NotImplementedError

  @property
  def _levels(self) -> int:
    # NAS-UNet's stem halves once more
    return self.depth + (self._cells().kind == "nas_unet")

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest cell, per axis."""
    return (2**self._levels,) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  def _check(self, who: str) -> None:
    if self.classes < 1 or self.features < 1 or self.depth < 1:
      raise ValueError(
        f"{who}: classes={self.classes}, features={self.features}, depth={self.depth}; expected at "
        "least one of each."
      )
    if self.norm is not None:
      choice(self.norm, ("group", "batch", "instance", "none"), f"{who}: norm")
    choice(self.dtype, ("float32", "bfloat16"), f"{who}: dtype")

  def _run(self, x, mix):
    cells, rank, space = self._cells(), x.ndim - 2, x.shape[1:-1]
    if not 2 <= rank <= 3:
      raise ValueError(
        f"{type(self).__name__}: the input has shape {x.shape}; expected (batch, *space, channels) "
        "with two or three spatial axes."
      )
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    run = self._nas_unet if cells.kind == "nas_unet" else self._darts
    x = crop_to(run(x, mix), space)
    head = Conv(self.classes, 1, use_bias=False, dtype=self.dtype, name="head")
    logits = head(x).astype(jnp.float32)
    if self.unused_norms:
      for which, of in (("scale", nn.initializers.ones), ("bias", nn.initializers.zeros)):
        self.param(f"head_{which}", of, (self.classes,), jnp.float32)
    return {"logits": logits, "decoder": x}

  def _stem(self, x, name: str, kernel: int, stride: int = 1):
    width = self._stem_width() * self.features
    options = {"use_bias": False, "dtype": self.dtype}
    x = Conv(width, kernel, stride, name=f"{name}_conv", **options)(x)
    return NormOf(self._norm(), dtype=self.dtype, name=f"{name}_norm")(x)

  def _norm(self) -> str:
    return self.norm or NORMS[self._cells().kind]

  def _cell(self, cell: str, name: str, features: int, first, second, mix, halve_first=False):
    """`mix` is one for all cells, or one for each."""
    module = Cell(
      self._cells(),
      cell,
      features,
      self._edges(cell),
      halve_first,
      self._norm(),
      self.dtype,
      self.unused_norms,
      name=name,
    )
    own = None if mix is None else mix.get(cell)
    # a group of weights may be called as a cell is
    return module(first, second, own if isinstance(own, Mapping) else mix)

  def _width(self, level: int) -> int:
    """Of the nodes of cells that are so many times halved."""
    return self.features * (2**level if self.double else 1)

  def _nas_unet(self, x, mix):
    """Down cells, then up cells whose first input is the encoder's of the size that comes out."""
    made = [self._stem(x, "stem1", 1), self._stem(x, "stem2", 3, 2)]
    for i in range(self.depth):
      made.append(self._cell("down", f"down{i + 1}", self._width(i + 1), *made[-2:], mix))
    x = made.pop()
    for i in reversed(range(self.depth + 1)):
      # the coarsest up cell has the width of the coarsest down cell
      x = self._cell("up", f"up{i + 1}", self._width(i), made.pop(), x, mix)
    return x

  def _darts(self, x, mix):
    """Normal cells with a reduction cell between levels; decoder cells take skip and coarser."""
    first = second = self._stem(x, "stem", 3)
    skips, halve = [], False
    for level in range(self.depth + 1):
      for i in range(self.normal_cells):
        name = f"encoder{level + 1}_{i + 1}"
        made = self._cell("normal", name, self._width(level), first, second, mix, halve)
        first, second, halve = second, made, False
      if level < self.depth:
        skips.append(second)
        width = self._width(level + 1)
        made = self._cell("reduce", f"reduce{level + 1}", width, first, second, mix)
        first, second, halve = second, made, True
    for level in reversed(range(self.depth)):
      first, second = skips.pop(), linear_up(second)
      for i in range(self.normal_cells):
        name = f"decoder{level + 1}_{i + 1}"
        made = self._cell("normal", name, self._width(level), first, second, mix)
        first, second = second, made
    return second


class CellUNet(_CellNet):
  """A U-shaped network of the cells that a genotype describes.

  Of NAS-UNet's genotypes the published network: two stems of 4 c channels (1x1; 3x3 with stride 2),
  `depth` down cells, depth + 1 up cells, whose first input is what the encoder made of the size
  that comes out, and a 1x1 convolution. The published transposed convolutions give one voxel less
  than twice the size, which is then interpolated; ours give twice the size.

  Of DARTS' genotypes, which are of classifiers: `normal_cells` normal cells at each of depth + 1
  resolutions with a reduction cell between them; then, resolution by resolution, normal cells on
  the encoder's output and on the coarser one, linearly up-sampled.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "decoder": features
  before the head}. Any size works, see `total_stride`.

  Attributes:
    genotype: what `jaxseg derive` wrote (its path in a config), or a published one's name:
      "nas_unet_v2", "nas_unet_v2_en", "darts_v2"; see `search.genotypes`.
    classes: number of scores per voxel.
    features: channels of a node, c; a cell gives as many for each of its nodes.
    depth: how often cells halve the size.
    double: doubles c from each cell that halves to the next, as NAS-UNet's option
      `double_down_channel` and as DARTS.
    normal_cells: of DARTS' genotypes, at each resolution.
    stem: channels of the stem, in c; None is the published 4, and 3 of DARTS.
    norm: "group" (16 channels each), "batch", "instance", "none"; None is the published one, groups
      of NAS-UNet and batch of DARTS.
    unused_norms: registers the norm of NAS-UNet's head that its code has and never applies, for its
      published counts: 2 parameters a class.
    dtype: compute dtype, "float32" or "bfloat16".

  Sources: Weng et al., "NAS-Unet", IEEE Access 2019; Liu et al., 1806.09055.
  """

  genotype: str | Mapping[str, Any]
  classes: int = 3
  features: int = 16
  depth: int = 4
  double: bool = False
  normal_cells: int = 1
  stem: int | None = None
  norm: str | None = None
  unused_norms: bool = False
  dtype: str = "float32"

  def __post_init__(self):
    self.genotype = genotypes.check(
      genotypes.PUBLISHED.get(self.genotype, self.genotype)
      if isinstance(self.genotype, str)
      else self.genotype,
      "genotype",
      kinds=tuple(NORMS),
    )
    self._check("cell_unet")
    super().__post_init__()

  def _cells(self):
    return of_genotype(self.genotype, next(name for name in self.genotype if name != "space"))[0]

  def _edges(self, cell):
    return of_genotype(self.genotype, cell)[1]

  def _stem_width(self):
    return self.stem or STEMS[self.genotype["space"]]

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    return self._run(x, None)


class CellSupernet(_CellNet):
  """All cells of a space in one network: each edge mixes its operations by weights that are learnt.

  A method of search trains it (`methods.darts` and others); what they choose is a `CellUNet`
  (`jaxseg derive`). Norms have no scale and bias but in the stem, because the weights of a mix and
  scales would stand for each other.

  Shapes: (b, *space, channels), mix -> as `CellUNet`. `mix` is {group: (edges, operations)}, or
  {cell: such a mix}; None is the softmax of the network's own weights, which are its parameters
  "architecture": (9, 7), (9, 6) and (9, 4) of NAS-UNet with 3 nodes, (14, 8) twice of DARTS.

  Attributes:
    space: "nas_unet" or "darts".
    nodes: of every cell; None is the published 3 and 4.
    operations: group -> its operations, of those that differ from `search.cells`.
    sharing: of NAS-UNet, edges that keep the size choose by the same weights in both cells.
    stem: channels of the stem, in c; None is the published one, as many as nodes and 3 of DARTS.
    unused_norms: registers the scale and bias that the published supernet has for every "none" and
      for the head, and never uses.
    classes, features, depth, double, normal_cells, norm, dtype: as of `CellUNet`.

  Raises ValueError for a space that is empty.
  """

  classes: int = 3
  space: str = "nas_unet"
  nodes: int | None = None
  operations: Mapping[str, Sequence[str]] | None = None
  sharing: bool = True
  features: int = 16
  depth: int = 4
  double: bool = False
  normal_cells: int = 1
  stem: int | None = None
  norm: str | None = None
  unused_norms: bool = False
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.space, cell_data.CELLS, "cell_supernet: space")
    self._check("cell_supernet")
    self._cells()
    super().__post_init__()

  def _cells(self):
    options: dict[str, Any] = {} if self.nodes is None else {"nodes": self.nodes}
    given = {group: tuple(names) for group, names in (self.operations or {}).items()}
    groups = ("down", "up", "normal") if self.space == "nas_unet" else ("operations",)
    for group in given:
      if group not in groups:
        raise ValueError(
          f"cell_supernet: operations of '{group}'; expected those of {', '.join(groups)}."
        )
    if self.space == "nas_unet":
      options["sharing"] = self.sharing
    return cell_data.CELLS[self.space](**options, **given)

  def choices(self, rank: int) -> Cells:
    """What is chosen, of inputs of any rank."""
    del rank
    return self._cells()

  def _edges(self, cell):
    return None

  def _stem_width(self):
    return self.stem or (self._cells().nodes if self.space == "nas_unet" else STEMS["darts"])

  @nn.compact
  def __call__(self, x, mix=None, *, train: bool = False):
    if mix is None:
      mix = relaxation.softmax(Architecture(self._cells().shapes, name=NAME)())
    return self._run(x, mix)
