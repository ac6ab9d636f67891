"""Convolutional block attention module: channel attention, then spatial attention."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.resize import largest
from jaxseg.networks.blocks.squeeze_excitation import channel_mlp, check_reduction

# what the channel gate squeezes space with
POOLS = {"average": jnp.mean, "max": largest, "lse": jax.nn.logsumexp}


class ChannelGate(nn.Module):
  """x sigmoid(sum over pools of MLP(pool(x))), one MLP for all; (b, *space, c) -> the same."""

  reduction: int = 16
  pools: Sequence[str] = ("average", "max")
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    mlp = channel_mlp(x.shape[-1], self.reduction, dtype=self.dtype)
    pooled = [POOLS[pool](x.astype(jnp.float32), range(1, x.ndim - 1)) for pool in self.pools]
    scale = jax.nn.sigmoid(sum(mlp(p) for p in pooled).astype(jnp.float32))
    return x * scale.astype(x.dtype).reshape(x.shape[0], *(1,) * (x.ndim - 2), -1)


class SpatialGate(nn.Module):
  """x sigmoid(norm(convolution of [max, mean] over channels)); (b, *space, c) -> the same."""

  kernel: int | Sequence[int] = 7
  norm: str = "batch"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    pooled = jnp.stack([largest(x, -1), jnp.mean(x, -1)], -1)
    q = Conv(1, self.kernel, use_bias=False, dtype=self.dtype, name="conv")(pooled)
    q = Norm(self.norm, 1, momentum=0.99, dtype=jnp.float32, name="norm")(q)
    return x * jax.nn.sigmoid(q.astype(jnp.float32)).astype(x.dtype)


class CBAM(nn.Module):
  """Channel gate, then spatial gate: (b, *space, c) -> the same.

  Attributes:
    reduction: of the channel gate's MLP, which has biases.
    kernel: of the spatial gate's convolution, 7 or 3; a number or one per axis.
    order: of the gates; one alone is possible.
    pools: of the channel gate: "average", "max", "lse" (log-sum-exp).
    norm: of the spatial gate's map.
    residual: adds the input.

  Raises ValueError for unknown gates and pools, and a reduction below 1.
  Source: Woo et al., arXiv 1807.06521; `CBAM(64, 16)` of the authors' code has the same 680
  parameters.
  """

  reduction: int = 16
  kernel: int | Sequence[int] = 7
  order: Sequence[str] = ("channel", "spatial")
  pools: Sequence[str] = ("average", "max")
  norm: str = "batch"
  residual: bool = False
  dtype: Any = None

  def __post_init__(self):
    if "channel" in self.order:
      check_reduction(self.reduction)
    for pool in self.pools:
      choice(pool, POOLS, "cbam: pools")
    for gate in self.order:
      choice(gate, ("channel", "spatial"), "cbam: order")
    if not self.pools or not self.order or len(set(self.order)) < len(self.order):
      raise ValueError(
        f"cbam: order={tuple(self.order)} and pools={tuple(self.pools)}; expected at least one of "
        "each and no gate twice."
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    gates = {
      "channel": lambda: ChannelGate(self.reduction, self.pools, self.dtype, name="channel"),
      "spatial": lambda: SpatialGate(self.kernel, self.norm, self.dtype, name="spatial"),
    }
    y = x
    for gate in self.order:
      y = gates[gate]()(y)
    return y + x if self.residual else y
