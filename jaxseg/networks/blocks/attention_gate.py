"""Attention gates: additive attention of the decoder to a skip (Attention U-Net)."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice, per_axis
from jaxseg.networks.blocks.resize import resize
from jaxseg.networks.blocks.stage import ConvNormAct

NORMALISATIONS = ("sigmoid", "softmax")


def coefficients(q, normalise: str):
  """Attention coefficients alpha of the scores q, both (b, *space, 1); alpha is float32.

  "sigmoid", or "softmax" over space times the number of voxels, so that equal scores give 1.
  """
  choice(normalise, NORMALISATIONS, "attention gate: normalise")
  q = q.astype(jnp.float32)
  if normalise == "sigmoid":
    return jax.nn.sigmoid(q)
  return jax.nn.softmax(q, range(1, q.ndim - 1)) * math.prod(q.shape[1:-1])


class AttentionGate(nn.Module):
  """The gate at the skip's resolution: alpha = sigmoid(psi(ReLU(W_x x + W_g g))), x alpha.

  x is the skip and g the up-sampled decoder map; W_x, W_g and psi are 1x1 convolutions with bias,
  each with a norm. A skip of `unet`: (b, *space, c), (b, *space, c'), unused ->
  [alpha x, g] (b, *space, c + c') and alpha (b, *space, 1).

  Attributes:
    inter: channels of W_x x and W_g g; None: half of the skip's.
    normalise: "sigmoid" or "softmax" (see `coefficients`).
    psi_bias: where psi's bias starts; 3 opens the gate (alpha = 0.95), 0 is the original.
    norm, norm_groups, dtype: as everywhere.

  Source: Oktay et al., arXiv 1804.03999; this form as in LeeJunHyun's public implementation, whose
  `Attention_block(512, 512, 256)` has the same 263,939 parameters.
  """

  inter: int | None = None
  normalise: str = "sigmoid"
  psi_bias: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  def __post_init__(self):
    choice(self.normalise, NORMALISATIONS, "attention gate: normalise")
    super().__post_init__()

  @nn.compact
  def __call__(self, skip, up, coarse=None):
    inter = self.inter or max(1, skip.shape[-1] // 2)

    def weigh(name, x):
      options = {"norm": self.norm, "norm_groups": math.gcd(self.norm_groups, inter)}
      options |= {"activation": None, "use_bias": True, "dtype": self.dtype}
      return ConvNormAct(inter, 1, name=name, **options)(x)

    q = jax.nn.relu(weigh("w_g", up) + weigh("w_x", skip))
    start = nn.initializers.constant(self.psi_bias)  # of the last bias: the norm removes psi's
    q = Conv(1, 1, dtype=self.dtype, bias_init=start, name="psi")(q)
    q = Norm(self.norm, 1, bias_init=start, dtype=jnp.float32, name="psi_norm")(q)
    alpha = coefficients(q, self.normalise)
    return jnp.concatenate([skip * alpha.astype(skip.dtype), up.astype(skip.dtype)], -1), alpha


class GridAttention(nn.Module):
  """The original gate, of a coarse gating signal: (b, *space, c), (b, *coarse, c') -> gated, alpha.

  alpha = up(sigmoid(psi(ReLU(theta(x) + up(phi(g)))))) on a coarser grid than x's: theta is a
  convolution with kernel = stride = `sub_sample` without bias, phi and psi are 1x1 with bias, up is
  linear interpolation. The gated features (b, *space, c) are W(alpha x), W a 1x1 convolution and a
  norm; alpha is (b, *space, 1).

  Attributes: as `AttentionGate`'s, and
    inter: channels of theta and phi; None: as x.
    sub_sample: one or one per axis; None: x's size by the gating signal's.

  Raises ValueError if the skip is smaller than `sub_sample`.
  Source: Oktay et al., arXiv 1804.03999; Schlemper et al., arXiv 1808.08114; equals
  `GridAttentionBlock3D(64, 128, 64)` of ozan-oktay/Attention-Gated-Networks: 45,377 parameters.
  """

  inter: int | None = None
  sub_sample: int | Sequence[int] | None = None
  normalise: str = "sigmoid"
  psi_bias: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, x, gating):
    space, channels = x.shape[1:-1], x.shape[-1]
    inter = self.inter or channels
    sub_sample = self.sub_sample
    if sub_sample is None:
      ratios = zip(space, gating.shape[1:-1], strict=True)
      sub_sample = tuple(max(1, fine // coarse) for fine, coarse in ratios)
    sub_sample = per_axis(sub_sample, len(space), "grid gate: sub_sample")
    if any(n < s for n, s in zip(space, sub_sample, strict=True)):
      raise ValueError(
        f"grid gate: a skip of size {space} is smaller than sub_sample={sub_sample}; "
        "choose a smaller one for this stage."
      )
    theta = Conv(
      inter, sub_sample, sub_sample, padding="valid", use_bias=False, dtype=self.dtype, name="theta"
    )(x)
    phi = Conv(inter, 1, dtype=self.dtype, name="phi")(gating)
    q = jax.nn.relu(theta + resize(phi, theta.shape[1:-1]))
    start = nn.initializers.constant(self.psi_bias)
    q = Conv(1, 1, dtype=self.dtype, bias_init=start, name="psi")(q)
    alpha = resize(coefficients(q, self.normalise), space)
    gated = ConvNormAct(
      channels,
      1,
      norm=self.norm,
      norm_groups=math.gcd(self.norm_groups, channels),
      activation=None,
      use_bias=True,
      dtype=self.dtype,
      name="w",
    )(x * alpha.astype(x.dtype))
    return gated, alpha


class GridAttentionGate(nn.Module):
  """A skip of `unet` through `GridAttention`: the gating signal is what comes as `coarse`.

  Shapes: (b, *space, c), (b, *space, c'), (b, *coarse, c'') -> [gated, up] (b, *space, c + c') and
  the maps (b, *space, gates).

  Attributes: inter, sub_sample, normalise, psi_bias, norm, norm_groups, dtype as `GridAttention`'s,
    gates: number of gates side by side ("multi" of the paper's code: 2).
    combine: a 1x1 convolution, norm and `activation` after the gates; more than one gate needs it.

  Raises ValueError for no gates, and as `GridAttention`.
  Source: Oktay et al., Attention U-Net, arXiv 1804.03999; several gates: Schlemper et al.,
  Attention gated networks, arXiv 1808.08114.
  """

  gates: int = 1
  combine: bool = False
  inter: int | None = None
  sub_sample: int | Sequence[int] | None = None
  normalise: str = "sigmoid"
  psi_bias: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  takes_gating = True

  def __post_init__(self):
    choice(self.normalise, NORMALISATIONS, "grid gate: normalise")
    if self.gates < 1:
      raise ValueError(f"grid gate: gates={self.gates}; expected at least one.")
    super().__post_init__()

  @nn.compact
  def __call__(self, skip, up, coarse):
    options = {"norm": self.norm, "norm_groups": self.norm_groups, "dtype": self.dtype}
    parts = []
    for i in range(self.gates):
      gate = GridAttention(
        self.inter, self.sub_sample, self.normalise, self.psi_bias, name=f"gate{i + 1}", **options
      )
      parts.append(gate(skip, coarse))
    gated, maps = (jnp.concatenate(arrays, -1) for arrays in zip(*parts, strict=True))
    if self.combine or self.gates > 1:
      options["norm_groups"] = math.gcd(self.norm_groups, skip.shape[-1])
      options |= {"activation": self.activation, "use_bias": True}
      gated = ConvNormAct(skip.shape[-1], 1, name="combine", **options)(gated)
    return jnp.concatenate([gated, up.astype(gated.dtype)], -1), maps
