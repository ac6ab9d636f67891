"""The convolution that critics halve an image with."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv

# the collection of the vectors and singular values that power iteration goes on from
SPECTRAL = "spectral"


def convolution(
  x,
  width: int,
  *,
  kernel: int = 4,
  stride: int = 2,
  padding: int = 1,
  use_bias: bool = True,
  spectral: bool = False,
  dtype: Any = None,
):
  """Convolution inside a critic's `__call__`, (b, *space, c) -> (b, *space', width).

  `padding` voxels on each side, weights from N(0, 0.02) as DCGAN and pix2pix draw them.
  `spectral` divides the kernel by its largest singular value, so that the layer's slope is at most
  about 1 (Miyato et al., arXiv 1802.05957). One step of power iteration goes on from the last
  training step's vector, which is state in the collection `SPECTRAL`; a forward pass that updates
  no statistics takes the step and keeps the old vector.
  """
  x = jnp.pad(x, [(0, 0), *[(padding, padding)] * (x.ndim - 2), (0, 0)])
  layer = Conv(
    width,
    kernel=kernel,
    stride=stride,
    padding="valid",
    use_bias=use_bias,
    dtype=dtype,
    kernel_init=nn.initializers.normal(0.02),
  )
  return normalised(layer, x) if spectral else layer(x)


def normalised(layer: nn.Module, x):
  """A layer's output, its kernel divided by its largest singular value, inside a `__call__`."""
  norm = nn.SpectralNorm(layer, collection_name=SPECTRAL)
  return norm(x, update_stats=norm.is_mutable_collection(SPECTRAL))


def check_size(x, of: Sequence[int], who: str, widths: Sequence[int], smallest: int = 2) -> None:
  """Raises ValueError where features have become too small for a further stage.

  `of` is the size of the critic's input, `smallest` what the next stage needs of an axis.
  """
  if min(x.shape[1:-1]) < smallest:
    raise ValueError(
      f"{who}: an input of {tuple(of)} is too small for {len(widths)} stages ({tuple(widths)}); "
      "give larger patches or fewer widths."
    )
