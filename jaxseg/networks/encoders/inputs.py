"""What an encoder's published weights expect of an image, applied in front of it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.networks.blocks.options import choice


class Colours(NamedTuple):
  """Mean and deviation, of red, green and blue of 0..1, that weights were trained with."""

  mean: tuple[float, float, float]
  std: tuple[float, float, float]


IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# (values of 0..255 - 127) / 128
LITE = Colours((127 / 255,) * 3, (128 / 255,) * 3)
INPUTS = ("as_is", "unit", "zscore")


def standardised(x, inputs: str, colours: Colours):
  """An image (b, *space, channels) as an encoder's published weights have seen them.

  - "as_is": unchanged.
  - "unit": its values are 0..1; (x - mean) / std of `colours`.
  - "zscore": its values have mean 0 and deviation 1; they become those of ImageNet's pictures.

  Channels that are not three have the mean of the colours' numbers. Raises ValueError for another
  word.
  """
  choice(inputs, INPUTS, "inputs")
  if inputs == "as_is":
    return x
  mean, std, theirs, spread = (np.asarray(of) for of in (*colours, *IMAGENET))
  if inputs == "unit":
    factor, shift = 1 / std, -mean / std
  else:
    factor, shift = spread / std, (theirs - mean) / std
  if x.shape[-1] != 3:
    factor, shift = np.mean(factor), np.mean(shift)
  row = (1,) * (x.ndim - 1) + (-1,)
  factor, shift = (jnp.asarray(of, x.dtype).reshape(row) for of in (factor, shift))
  return x * factor + shift
