"""Weights by our own paths and layouts, in a file of any kind that is read here."""

import numpy as np

from jaxseg.interop import tensor_files


def read(path) -> dict[str, np.ndarray]:
  """A file whose tensors are called as ours, "encoder1/layer1/conv/kernel" or with dots."""
  return {
    name.replace(".", "/"): np.asarray(of, np.float32)
    for name, of in tensor_files.read(path).items()
  }
