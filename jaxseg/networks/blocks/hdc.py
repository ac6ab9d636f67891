"""Hybrid dilated convolution: rates that leave no holes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


class Coverage(NamedTuple):
  """What a chain of dilated convolutions sees along one axis.

  Attributes:
    distances: M of the HDC rule, one per convolution: the largest distance between two voxels that
      it and its successors reach; the last is its rate.
    receptive_field: voxels from the first that is seen to the last.
    reached: how many of them are seen at all.
    problem: why the rates are bad, in words; empty if they are good.
  """

  distances: tuple[int, ...]
  receptive_field: int
  reached: int
  problem: str

  @property
  def ok(self) -> bool:
    """Every voxel of the receptive field is seen."""
    return not self.problem


def check_hdc(rates: Sequence[int], kernel: int = 3) -> Coverage:
  """Whether convolutions with these dilation rates, one after the other, see without gridding.

  What counts is whether every voxel of the receptive field is seen; that is counted. The paper's
  rule M_2 <= kernel, with M_n = r_n and M_i = max(M_{i+1} - 2 r_i, 2 r_i - M_{i+1}, r_i), and no
  common factor, explains a lattice but doesn't decide: (2, 2, 2) passes M_2 and sees a lattice, two
  of the paper's own cycles, (1, 2, 5, 1, 2, 5), have M_2 = 5 and see every voxel.

  Args:
    rates: dilation rates, first convolution first.
    kernel: taps of each convolution.

  Raises ValueError for rates or kernels that are none.
  Source: Wang et al., "Understanding convolution for semantic segmentation", arXiv 1702.08502.
  """
  rates = tuple(rates)
  if not rates or min(rates) < 1 or kernel < 2:
    raise ValueError(
      f"check_hdc: rates={rates} and kernel={kernel}; expected at least one rate of 1 or more and "
      "a kernel of 2 or more."
    )
  distances = [rates[-1]]
  for rate in reversed(rates[:-1]):
    after = distances[0]
    distances.insert(0, max(after - 2 * rate, 2 * rate - after, rate))
  seen = {0}
  for rate in rates:
    seen = {at + rate * tap for at in seen for tap in range(kernel)}
  field = max(seen) + 1

  factor, problem = math.gcd(*rates), ""
  if len(seen) < field:
    if factor > 1:
      reason = f"the rates have the common factor {factor}"
    elif len(rates) > 1 and distances[1] > kernel:
      reason = f"M_2 = {distances[1]} exceeds the kernel {kernel}"
    else:
      reason = "the taps leave gaps"
    problem = f"{reason}, so that not every voxel is seen ({len(seen)} of {field})"
  return Coverage(tuple(distances), field, len(seen), problem)


class HDC(nn.Module):
  """A residual stage of dilated convolutions whose rates rise and fall like a saw's teeth.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features). For each cycle: convolution, norm
  and activation at every rate, the last without activation; plus the input (through a 1x1
  convolution and a norm if it differs); activation. Dropout, if any, ends the stage.

  Attributes:
    rates: the dilation rates of a cycle: 1, 2, 5 or 1, 2, 3 or 1, 2, 5, 9 for 3x3 kernels.
    cycles: how often they come; each cycle is a residual unit.
    kernel, stride: one integer or one per axis; the stride is the first convolution's.
    features, norm, norm_groups, activation, dropout, spatial_dropout, use_bias, dtype: as
      `Stage`'s; the shortcut's convolution never has a bias.

  Raises ValueError that tells why for rates that leave holes, see `check_hdc`.
  Source: Wang et al., arXiv 1702.08502.
  """

  features: int
  rates: Sequence[int] = (1, 2, 5)
  cycles: int = 1
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  use_bias: bool = False
  dtype: Any = None

  def __post_init__(self):
    kernels = self.kernel if isinstance(self.kernel, Sequence) else (self.kernel,)
    for kernel in set(kernels) - {1}:
      problem = check_hdc(self.rates, kernel).problem
      if problem:
        raise ValueError(
          f"hdc: rates={tuple(self.rates)} grid: {problem}; take (1, 2, 5) or other rates that "
          "check_hdc accepts."
        )
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    for cycle in range(self.cycles):
      inputs, stride = x, self.stride if cycle == 0 else 1
      for i, rate in enumerate(self.rates):
        x = ConvNormAct(
          self.features,
          self.kernel,
          stride if i == 0 else 1,
          norm=self.norm,
          norm_groups=self.norm_groups,
          activation=self.activation if i < len(self.rates) - 1 else None,
          use_bias=self.use_bias,
          conv={"name": "plain", "dilation": rate},
          dtype=self.dtype,
          name=f"cycle{cycle + 1}_rate{i + 1}",
        )(x)
      if inputs.shape != x.shape:
        shortcut = Conv(self.features, 1, stride, use_bias=False, dtype=self.dtype, name="shortcut")
        norm = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="shortcut_norm")
        inputs = norm(shortcut(inputs))
      x = Activation(self.activation, name=f"cycle{cycle + 1}")(inputs + x)
    if self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x
