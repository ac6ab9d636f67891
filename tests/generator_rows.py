"""The table of generators: what the contract tests need of each. A new generator is a new row."""

from typing import NamedTuple

from network_rows import Count


class Row(NamedTuple):
  """What the contract tests need to know of a generator.

  Attributes:
    small: options that make it tiny, for real compiles.
    counts: its published parameter counts; `classes` are the channels that it makes.
    sizes: sizes that it is tried with; their length is the rank.
    channels: of its input.
    silent: parameters whose gradient may be zero, patterns over "module/.../name".
  """

  small: dict
  counts: tuple[Count, ...] = ()
  sizes: tuple[tuple[int, ...], ...] = ((13, 10), (13, 10, 7))
  channels: int = 2
  silent: tuple[str, ...] = ()


ROWS = {
  "resnet_generator": Row(
    dict(widths=(4, 6), blocks=1),
    (Count(11_365_633, classes=1), Count(11_378_179, classes=3, channels=3)),
    # the instance norm that follows takes a bias away
    silent=("first/bias", "down*/bias", "block*/bias", "up*/bias"),
  ),
}
