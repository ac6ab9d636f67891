"""Weights by our own paths and layouts, in a file of any kind that is read here."""

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import float32


def read(path) -> dict[str, np.ndarray]:
  """A file whose tensors are called as ours, "encoder1/layer1/conv/kernel" or with dots."""
  out = {}
  for name, of in tensor_files.read(path).items():
    own = name.replace(".", "/")
    if own in out:
      raise ValueError(f"{path}: '{name}' is a second '{own}'; expected each tensor once.")
    out[own] = float32(of, name, path)
  return out
