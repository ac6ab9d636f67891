"""What a sound file holds, but an image or a label cannot be."""

import numpy as np


class Unsuitable(ValueError):
  """Its text is the reason and what to do, without the file: "its voxels are ...; save ..."."""


def opaque(colours: np.ndarray) -> np.ndarray:
  """(..., samples + 1) -> (..., samples); Unsuitable where the last, transparency, varies."""
  if colours[..., -1].min() != colours[..., -1].max():
    raise Unsuitable(
      "its transparency (alpha) differs between voxels, so that colours alone don't tell what is "
      "seen; save it without transparency"
    )
  return colours[..., :-1]
