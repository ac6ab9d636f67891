"""The least time of a step: its arithmetic, its memory traffic and its links, each at its peak.

No forecast: arithmetic, memory and links work at once here, all at the makers' figures (Williams et
al. 2009, doi 10.1145/1498765.1498785). Memory traffic is as the compiler counts it, that of fast
memory included, and may take longer here than on the device.
"""

from collections.abc import Iterable
from typing import Any

from jaxseg.benchmark.collectives import Collective
from jaxseg.benchmark.peaks import Peak


def sent_bytes(collective: Collective) -> float:
  """What each device sends by a ring, which for these operations is the least that does it.

  An all-reduce is a reduce-scatter and an all-gather (Patarasu and Yuan 2009,
  doi 10.1016/j.jpdc.2008.09.002).
  """
  share = (collective.devices - 1) / collective.devices
  factors = {"all-reduce": 2 * share, "collective-permute": 1.0}
  return factors.get(collective.kind, share) * collective.bytes


def link_seconds(collectives: Iterable[Collective], peak: Peak) -> float | None:
  """Of all collectives one after the other: a halo goes over one link, all else over all links.

  None where there are some, and the device has no links whose bandwidth is known.
  """
  collectives = list(collectives)
  if collectives and peak.links_bytes_per_second is None:
    return None
  return sum(
    sent_bytes(of)
    / (
      peak.neighbour_bytes_per_second
      if of.kind == "collective-permute"
      else peak.links_bytes_per_second
    )
    for of in collectives
  )


def seconds(
  *, flops: float, memory_bytes: float, collectives: Iterable[Collective], peak: Peak, dtype: str
) -> dict[str, Any]:
  """{"seconds": the largest of the parts, "bound": its name, and each part's seconds}.

  A part whose peak is not known is None and bounds nothing.

  Args:
    flops, memory_bytes: of one device and step, as its compiler counts them.
    collectives: of the step.
    peak: of the device.
    dtype: of the network's arithmetic.
  """
  rate = peak.flops.get(dtype)
  parts = {
    "compute": flops / rate if rate else None,
    "memory": memory_bytes / peak.memory_bytes_per_second,
    "links": link_seconds(collectives, peak),
  }
  known = {name: value for name, value in parts.items() if value is not None}
  bound = max(known, key=known.get)
  return {
    "seconds": known[bound],
    "bound": bound,
    **{f"{name}_seconds": value for name, value in parts.items()},
    "peak": peak.name,
    "source": peak.source,
  }
