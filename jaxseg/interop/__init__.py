"""Weights of other ecosystems, in our paths and layouts.

A new format is a reader and a row in `FORMATS`, and a test that its network's outputs are those of
the original.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxseg.interop import nnunet


class Format(NamedTuple):
  """A kind of file with weights.

  Attributes:
    read: file -> {path: array} of a learner's parameters and statistics, in our paths and layouts,
      floats as float32; raises FileNotFoundError or ValueError that names the file.
    write: (file, {path: array}) writes one, None where there is no writer.
  """

  read: Callable[[str], Mapping[str, np.ndarray]]
  write: Callable[[str, Mapping[str, np.ndarray]], None] | None = None


FORMATS: dict[str, Format] = {"nnunet": Format(nnunet.read)}

__all__ = ["FORMATS", "Format"]
