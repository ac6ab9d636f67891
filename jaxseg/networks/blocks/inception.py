"""Inception modules: naive, with 1x1 reductions, factorised, residual."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.options import choice, per_axis
from jaxseg.networks.blocks.resize import pool
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout

KINDS = ("naive", "v1", "factorised", "residual")


def inception_plan(
  kind: str, features: int, kernel: tuple[int, ...], asymmetric: bool = False
) -> dict[str, list[tuple[int, tuple[int, ...]]]]:
  """Branch -> its convolutions, each as (filters, kernel); the last ones sum to `features`.

  For 256 features GoogLeNet's module 3a and about its split everywhere: 1x1 a quarter, 3x3 half,
  5x5 and the pooled branch an eighth each; a 1x1 convolution reduces what the 3x3 sees to 3/4 of
  its filters, the 5x5 to half of its. "residual" has no pooled branch: a quarter, a quarter, and
  half through two 3x3 convolutions (Inception-ResNet-A's 32, 32, 64). Raises ValueError below 4
  features.
  """
  choice(kind, KINDS, "inception: kind")
  if features < 4:
    raise ValueError(f"inception: features={features}; four branches need at least 4.")
  one, point = features // 4, (1,) * len(kernel)
  wide = tuple(2 * k - 1 for k in kernel)  # what two of them see: 5 for 3
  if kind == "residual":
    five = features - 2 * one
    plan = {
      "one": [(one, point)],
      "three": [(one, point), (one, kernel)],
      "five": [(one, point), (max(1, 3 * five // 4), kernel), (five, kernel)],
    }
  else:
    five = max(1, features // 8)
    three = features - one - 2 * five
    to_three, to_five = (max(1, 3 * three // 4), point), (max(1, five // 2), point)
    plan = {
      "one": [(one, point)],
      "three": [to_three, (three, kernel)],
      "five": [to_five, (five, wide)],
      "pool": [(five, point)],
    }
    if kind == "naive":
      plan |= {"three": [(three, kernel)], "five": [(five, wide)]}
    elif kind == "factorised":
      plan["five"] = [to_five, (five, kernel), (five, kernel)]
  if asymmetric:
    plan = {
      name: [f for layer in layers for f in _factors(*layer)] for name, layers in plan.items()
    }
  return plan


def _factors(filters, kernel):
  """One convolution per axis that the kernel extends over, x first: 3x3 is 1x3, then 3x1."""
  extended = [axis for axis, k in enumerate(kernel) if k > 1]
  if len(extended) < 2:
    return [(filters, kernel)]
  return [
    (filters, tuple(k if a == axis else 1 for a, k in enumerate(kernel)))
    for axis in reversed(extended)
  ]


class Inception(nn.Module):
  """`depth` inception modules: branches of different reach side by side, then concatenated.

      1x1 | 1x1 -> 3x3 | 1x1 -> 5x5 | pooling -> 1x1        every convolution with norm, activation

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features); see `inception_plan` for how
  `features` are split.

  Attributes:
    kind: "naive" (no reduction before 3x3 and 5x5; the pooled branch keeps its 1x1, so that the
      width is `features`), "v1" (with them), "factorised" (v3: the 5x5 as two 3x3), or "residual"
      (Inception-ResNet: no pooled branch; a linear 1x1 convolution with bias of the concatenation
      is scaled and added to the input, itself projected by a 1x1 convolution where width or size
      change, then activated).
    asymmetric: every n x n convolution as 1 x n and n x 1 (in 3D three of them).
    kernel: n of the middle branch; the wide one has 2n - 1.
    scale: of the residual branch; the paper takes 0.1 to 0.3, for a stable start.
    pool: "max" (v1) or "average" (v3, v4).
    stride: taken by the last convolution of each branch, and by the pooling.
    features, norm, norm_groups, activation, dropout, spatial_dropout, use_bias, conv, dtype: as
      `Stage`'s.

  Raises ValueError for an unknown kind or pool, fewer than 4 features, or a scale outside (0, 1].
  Source: Szegedy et al., GoogLeNet, arXiv 1409.4842; v3: arXiv 1512.00567; Inception-v4 and
  Inception-ResNet: arXiv 1602.07261.
  """

  features: int
  depth: int = 1
  kind: str = "v1"
  asymmetric: bool = False
  scale: float = 0.2
  pool: str = "max"
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  use_bias: bool = False
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  def __post_init__(self):
    if not 0 < self.scale <= 1:
      raise ValueError(f"inception: scale={self.scale}; expected above 0 and at most 1.")
    choice(self.pool, ("max", "average"), "inception: pool")
    inception_plan(self.kind, self.features, ())  # refuses what cannot be split, for any kernel
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    rank = x.ndim - 2
    kernel = per_axis(self.kernel, rank, "inception: kernel")
    plan = inception_plan(self.kind, self.features, kernel, self.asymmetric)
    layer = functools.partial(
      ConvNormAct,
      norm=self.norm,
      norm_groups=self.norm_groups,
      activation=self.activation,
      use_bias=self.use_bias,
      conv=self.conv,
      dtype=self.dtype,
    )
    for i in range(self.depth):
      inputs, branches = x, []
      stride = per_axis(self.stride if i == 0 else 1, rank, "inception: stride")
      for name, layers in plan.items():
        x, left = inputs, stride
        if name == "pool":
          window = [k | 1 for k in kernel]  # odd, so that it is centred
          x = pool(x, self.pool, kernel=window, stride=stride, padding=[k // 2 for k in window])
          left = (1,) * rank
        for n, (filters, size) in enumerate(layers, start=1):
          steps = left if n == len(layers) else 1
          x = layer(filters, size, steps, name=f"module{i + 1}_{name}{n}")(x)
        branches.append(x)
      x = jnp.concatenate(branches, -1)
      if self.kind == "residual":
        x = self._add(inputs, x, stride, f"module{i + 1}")
    if self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x

  def _add(self, inputs, x, stride, name):
    x = Conv(self.features, 1, dtype=self.dtype, name=f"{name}_linear")(x)
    if inputs.shape[-1] != self.features or max(stride) > 1:
      shortcut = Conv(self.features, 1, stride, dtype=self.dtype, name=f"{name}_shortcut")
      inputs = shortcut(inputs)
    return Activation(self.activation, name=f"{name}_activation")(inputs + self.scale * x)
