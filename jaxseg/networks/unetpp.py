"""U-Net++: nested U-Nets of every depth, deep supervision, pruning; in 2D and 3D."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  CONVS,
  Conv,
  UpConv,
  choice,
  crop_to,
  linear_up,
  max_pool,
  nearest_up,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
  resize,
)
from jaxseg.networks.blocks.options import total_per_axis
from jaxseg.networks.groups import MOVED, bias_of, dropout_of, norm_of
from jaxseg.networks.parts import ATTENTIONS, BLOCKS, part, try_part


class UNetPP(nn.Module):
  """U-Net++: node x^{i,j} = H([x^{i,0}, ..., x^{i,j-1}, Up(x^{i+1,j-1})]).

      x00 - x01 - x02 - x03 - x04     x^{i,0} is the encoder; row i has 1/2^i of the resolution;
        x10 - x11 - x12 - x13         every node sees all nodes to its left, and the one below
          x20 - x21 - x22             left, up-sampled. The node x^{0,d} ends a U-Net of depth d,
            x30 - x31                 made of the nodes with i + j <= d: a head on it is all that
              x40                     pruning to level d keeps.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck" and
  "decoder": features of the lowest and of the last node that is computed}. With
  `deep_supervision` also "logits1", "logits2", ... of every head, all of full resolution, and in
  training "aux": the other heads' logits, deepest first, "logits" being the deepest's. The paper
  averages the heads' losses: give the method `head_decay=1.0` (its default halves the weight from
  head to head). Any size works: the input is zero-padded to a multiple of `total_stride`, that of
  all widths whatever the level, so that pruning changes nothing at the border either.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each row, finest first.
    level: keeps the nodes with i + j <= level; all of them if None.
    deep_supervision: a head on each of x^{0,1}, ..., x^{0,level}; otherwise on the last one only.
    mode: in inference, "accurate" averages the heads' logits (that is the normalised geometric
      mean of the probabilities, for softmax and for sigmoid), "fast" computes one head and only
      the nodes that it needs.
    head: the head of "fast", the deepest if None.
    block, depth, conv, attention: what a node is made of: a name of `parts.BLOCKS`, its
      convolutions, a name of `blocks.CONVS`, what follows it, a name of `parts.ATTENTIONS` or one
      for each row, finest first, None for none.
    kernels, strides, dropout: as `UNet`'s, per row.
    up: "linear", "nearest" or "transpose" (transposed convolution to the finer row's width).
    align_corners: of "linear"; True as in the public code that the counts are of.
    norm, activation, bias, dtype: as `UNet`'s.

  Raises ValueError for options that contradict each other or the input's rank.
  Source: Zhou et al., arXiv 1807.10165; pruning and modes: arXiv 1912.05074.
  """

  classes: int = 3
  widths: Sequence[int] = (32, 64, 128, 256, 512)
  level: int | None = None
  deep_supervision: bool = False
  mode: str = "accurate"
  head: int | None = None
  block: str | Mapping[str, Any] = "plain"
  depth: int | Sequence[int] = 2
  conv: str | Mapping[str, Any] = "plain"
  attention: str | Mapping[str, Any] | Sequence[Any] | None = "none"
  kernels: int | Sequence[Any] = 3
  strides: int | Sequence[Any] = 2
  up: str = "linear"
  align_corners: bool = True
  norm: str | Mapping[str, Any] = "batch"
  activation: str = "relu"
  dropout: float | Sequence[float] | Mapping[str, Any] = 0.0
  bias: bool | Mapping[str, Any] = True
  dtype: str = "float32"

  moved = MOVED

  def __post_init__(self):
    rows = len(self.widths)
    if rows < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"unetpp: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two rows of at least one channel."
      )
    for option in ("depth", "kernels"):
      per_stage(getattr(self, option), rows, f"unetpp: {option}")
    per_stage(self.strides, rows - 1, "unetpp: strides")
    if not 1 <= self._level() <= rows - 1:
      raise ValueError(f"unetpp: level={self.level}; {rows} rows have levels 1 to {rows - 1}.")
    if self.head is not None and self.head not in self._heads():
      raise ValueError(
        f"unetpp: head={self.head}; this network has the heads {self._heads()} (with "
        "deep_supervision one on each level)."
      )
    choice(self.mode, ("accurate", "fast"), "unetpp: mode")
    choice(self.up, ("linear", "nearest", "transpose"), "unetpp: up")
    kernels = per_stage(self.kernels, rows, "unetpp: kernels")
    attentions = per_stage(self.attention, rows, "unetpp: attention")
    for width, kernel, attention in zip(self.widths, kernels, attentions, strict=True):
      try_part(BLOCKS, self.block, "block", features=width, kernel=kernel)
      try_part(ATTENTIONS, attention, "attention", features=width)
    part(CONVS, self.conv, "conv")
    per_stage(dropout_of(self.dropout, "unetpp").rate, rows, "unetpp: dropout")
    norm_of(self.norm, "unetpp")
    bias_of(self.bias)
    choice(self.activation, ACTIVATIONS, "unetpp: activation")
    choice(self.dtype, ("float32", "bfloat16"), "unetpp: dtype")
    super().__post_init__()

  def _level(self) -> int:
    return len(self.widths) - 1 if self.level is None else self.level

  def _heads(self) -> list[int]:
    return list(range(1, self._level() + 1)) if self.deep_supervision else [self._level()]

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "unetpp: strides")
    return [per_axis(s, rank, "unetpp: strides of a row") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest row of the unpruned network, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    space, rank = x.shape[1:-1], need_rank(x.ndim - 2, (1, 2, 3), "unetpp")
    strides = self._strides(rank)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    heads = self._heads()
    if self.mode == "fast" and not train:
      heads = [self.head or heads[-1]]

    nodes = {}
    for diagonal in range(heads[-1] + 1):  # i + j: everything to the left and below is there
      for i in reversed(range(diagonal + 1)):
        j = diagonal - i
        if j > 0:
          left = [nodes[i, k] for k in range(j)]
          node = jnp.concatenate([*left, self._up(i, j, strides[i])(nodes[i + 1, j - 1])], -1)
        else:
          node = max_pool(nodes[i - 1, 0], stride=strides[i - 1]) if i > 0 else x
        node = self._node(i, j, rank)(node)
        # no fusion across nodes, which could round a node differently when more nodes use it: a
        # pruned network gives the bits of the full one
        nodes[i, j] = jax.lax.optimization_barrier(node)

    each = {d: self._head(d, crop_to(nodes[0, d], space)) for d in heads}
    outputs = {"bottleneck": nodes[heads[-1], 0], "decoder": crop_to(nodes[0, heads[-1]], space)}
    if self.deep_supervision:
      outputs |= {f"logits{d}": logits for d, logits in each.items()}
    if not train:
      return {**outputs, "logits": sum(each.values()) / len(each)}
    outputs["logits"], *aux = (each[d] for d in reversed(heads))
    return {**outputs, "aux": tuple(aux)} if aux else outputs

  def _node(self, i, j, rank):
    rows, dropout = len(self.widths), dropout_of(self.dropout, "unetpp")
    block = part(
      BLOCKS,
      self.block,
      "block",
      features=self.widths[i],
      depth=per_stage(self.depth, rows, "unetpp: depth")[i],
      conv=self.conv,
      use_bias=bias_of(self.bias).conv,
      kernel=per_axis(per_stage(self.kernels, rows, "unetpp: kernels")[i], rank, "unetpp: kernels"),
      **dropout.of_stage(per_stage(dropout.rate, rows, "unetpp: dropout")[i]),
      **self._common(),
    )
    node = block(name=f"x{i}_{j}")
    spec = per_stage(self.attention, rows, "unetpp: attention")[i]
    attention = part(ATTENTIONS, spec, "attention", **self._common())
    return nn.Sequential([node, attention(name=f"attention{i}_{j}")])

  def _common(self):
    norm = norm_of(self.norm, "unetpp")
    options = {"norm": norm.name, "norm_groups": norm.groups}
    return {**options, "activation": self.activation, "dtype": self.dtype}

  def _up(self, i, j, stride):
    """The function from row i + 1's resolution to row i's, on the way to node x^{i,j}."""
    if self.up == "transpose":
      return UpConv(self.widths[i], stride, dtype=self.dtype, name=f"up{i}_{j}")
    if self.up == "nearest":
      return lambda x: nearest_up(x, stride=stride)
    if not self.align_corners:
      return lambda x: linear_up(x, stride=stride)

    def aligned(x):
      size = [n * s for n, s in zip(x.shape[1:-1], stride, strict=True)]
      return resize(x, size, align_corners=True)

    return aligned

  def _head(self, d, x):
    use_bias = bias_of(self.bias).head
    head = Conv(self.classes, 1, use_bias=use_bias, dtype=self.dtype, name=f"head{d}")
    return head(x).astype(jnp.float32)


def prune(params: Mapping, stats: Mapping, level: int) -> tuple[dict, dict]:
  """What `UNetPP(..., level=level)` needs of a trained U-Net++: its nodes and its own head.

  Args:
    params, stats: of a `UNetPP` with deep supervision, as `Learner` holds them; `stats` maps the
      names of the other collections to trees.
    level: the depth that is left, 1 to the number of rows less one.

  Returns:
    Pruned params and stats, for the same options but `level=level` and no deep supervision. The
    logits are "logits{level}" of the full network, bit for bit.

  Raises ValueError if the network has no head on that level.
  Source: Zhou et al., arXiv 1912.05074, section 3.4.
  """
  if f"head{level}" not in params:
    heads = sorted(name for name in params if name.startswith("head"))
    raise ValueError(
      f"prune: level={level}, but this network has only {', '.join(heads)}; train it with "
      "deep_supervision=True for a head on each level."
    )

  def kept(name):
    node = re.search(r"(\d+)_(\d+)$", name)
    return sum(map(int, node.groups())) <= level if node else name == f"head{level}"

  def keep(tree):
    return {name: branch for name, branch in tree.items() if kept(name)}

  return keep(params), {name: keep(tree) for name, tree in stats.items()}
