"""What a method must be fed beside images and labels."""

from typing import NamedTuple


class Needs(NamedTuple):
  """What the config must feed a method, told before data are prepared where it does not.

  Attributes:
    streams: names of further streams of cases without labels, whose patches go through the network
      in one batch with the main stream's.
    fields: of the main stream's cases, beside image and label.
    other_domains: names of further streams of another domain, each from a source of its own, whose
      images have the main stream's channels and rank.
    signed: images lie in [-1, 1].
    task: the only one that the method's output means something in; "" is any.
    held_back: names of further streams of training cases with labels that the main stream leaves
      out.
    domains: each stream is a domain, with labels and a source of its own, and there are several;
      where the method is applied, the field `domain` tells which (`by_domain.names`).
  """

  streams: tuple[str, ...] = ()
  fields: tuple[str, ...] = ()
  other_domains: tuple[str, ...] = ()
  signed: bool = False
  task: str = ""
  domains: bool = False
  held_back: tuple[str, ...] = ()
