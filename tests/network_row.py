"""What a row of the table of networks holds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Count(NamedTuple):
  """A published number of trainable parameters, and what it holds for.

  Attributes:
    parameters: equal to the digit.
    classes, channels, rank: of the logits, of the input, and spatial axes of the input.
    options: of the network, beyond its defaults.
  """

  parameters: int
  classes: int = 3
  channels: int = 1
  rank: int = 2
  options: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
  """What the contract tests need to know of a network.

  Attributes:
    small: options that make it tiny, for real compiles.
    counts: its published parameter counts.
    sizes: odd sizes that it is tried with; their length is the rank. A network that is 2D or 3D by
      nature has one.
    silent: parameters whose gradient may be zero, as patterns of `fnmatch` over "module/.../name";
      every pattern has its reason beside it.
  """

  small: dict
  counts: tuple[Count, ...] = ()
  sizes: tuple[tuple[int, ...], ...] = ((13, 10), (13, 10, 7))
  silent: tuple[str, ...] = ()
