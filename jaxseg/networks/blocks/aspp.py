"""Atrous spatial pyramid pooling of DeepLabv3."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import named
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


class ASPP(nn.Module):
  """Atrous spatial pyramid pooling: the same voxel at several fields of view.

  Shapes: (b, *space, c) -> (b, *space, features). A 1x1 convolution, a 3x3 one per rate, and the
  mean of the image through a 1x1 one, each with norm and activation, are concatenated and joined
  by a last 1x1 convolution with norm and activation.

  A rate that reaches the size of the features leaves a 3x3 kernel its centre only: choose rates by
  the features, 6, 12, 18 for DeepLab's 33 voxels at stride 16.

  Attributes:
    features: channels of every branch and of the output.
    rates: dilations of the 3x3 convolutions.
    image_pooling: the branch of the mean. In training its batch norm sees one value per sample:
      with a batch of one it gives its bias, whatever the image (PyTorch refuses). Instance norm,
      which never sees more than that value, is left out there.
    conv: of the 3x3 convolutions, a name of `blocks.CONVS`: "separable" for DeepLabv3+'s.
    dropout: at the end.
    norm, norm_groups, activation: of all convolutions.
    dtype: compute dtype.

  Source: Chen et al., "Rethinking atrous convolution", arXiv 1706.05587.
  """

  features: int = 256
  rates: Sequence[int] = (6, 12, 18)
  image_pooling: bool = True
  conv: str | Mapping[str, Any] = "plain"
  dropout: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    branches = [self._layer("point", 1)(x)]
    for i, rate in enumerate(self.rates, start=1):
      branches.append(self._layer(f"rate{i}", 3, rate)(x))
    if self.image_pooling:
      mean = jnp.mean(x.astype(jnp.float32), tuple(range(1, x.ndim - 1)), keepdims=True)
      norm = "none" if self.norm == "instance" else self.norm
      mean = self._layer("image", 1, norm=norm)(mean.astype(x.dtype))
      branches.append(jnp.broadcast_to(mean, branches[0].shape))
    x = self._layer("join", 1)(jnp.concatenate(branches, -1))
    return Dropout(self.dropout, name="dropout")(x) if self.dropout else x

  def _layer(self, name, kernel, rate=1, norm=None):
    norm = norm or self.norm
    conv = named(self.conv)
    return ConvNormAct(
      self.features,
      kernel,
      norm=norm,
      norm_groups=math.gcd(self.norm_groups, self.features),
      activation=self.activation,
      use_bias=norm == "none",
      conv={**conv, "dilation": rate} if kernel > 1 else "plain",
      dtype=self.dtype,
      name=name,
    )
