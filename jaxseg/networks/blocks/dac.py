"""Dense atrous convolution block of CE-Net."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv

# of each branch: which of the dilated convolutions, and whether the 1x1 one follows
BRANCHES = (((1,), False), ((2,), True), ((1, 2), True), ((1, 2, 3), True))


class DAC(nn.Module):
  """Four cascades of dilated convolutions, added to the input; fields of view 3, 7, 9 and 19.

  Shapes: (b, *space, c) -> the same. With d_k a 3x3 convolution of rate k, p a 1x1 one and r the
  activation: x + r(d1 x) + r(p d3 x) + r(p d3 d1 x) + r(p d5 d3 d1 x).

  Attributes:
    rates: the three dilations.
    shared: one d1, d3, d5 and p for all branches, as published; otherwise each branch its own.
    activation: after each branch; there is none, and no norm, between its convolutions.
    dtype: compute dtype.

  Source: Gu et al., "CE-Net", arXiv 1903.02740.
  """

  rates: Sequence[int] = (1, 3, 5)
  shared: bool = True
  activation: str = "relu"
  dtype: Any = None

  def __post_init__(self):
    if len(self.rates) != 3:
      raise ValueError(f"dac: rates={tuple(self.rates)}; expected three dilations, as (1, 3, 5).")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    layers = {}

    def layer(name, branch, kernel, rate=1):
      name = name if self.shared else f"branch{branch}_{name}"
      if name not in layers:
        layers[name] = Conv(x.shape[-1], kernel, dilation=rate, dtype=self.dtype, name=name)
      return layers[name]

    total = x
    for number, (cascade, point) in enumerate(BRANCHES, start=1):
      y = x
      for i in cascade:
        y = layer(f"dilated{i}", number, 3, self.rates[i - 1])(y)
      y = layer("point", number, 1)(y) if point else y
      total += Activation(self.activation, name=f"activation{number}")(y)
    return total
