"""What a method must be fed beside images and labels."""

from typing import NamedTuple


class Needs(NamedTuple):
  """What the config must feed a method, told before data are prepared where it does not.

  Attributes:
    streams: names of further streams of cases without labels, whose patches go through the network
      in one batch with the main stream's.
    fields: of the main stream's cases, beside image and label.
  """

  streams: tuple[str, ...] = ()
  fields: tuple[str, ...] = ()
