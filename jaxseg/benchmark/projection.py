"""Step times on more devices than a step was compiled for, from its work and published bandwidths.

A model with its assumptions in one place, not a measurement: work on a device by a roofline, then
what devices send each other, by rings along the axes of a torus.
"""

import math
from typing import NamedTuple

from jaxseg.benchmark.peaks import Peak


class Slice(NamedTuple):
  """Devices that are joined.

  Attributes:
    chips: along each axis of the torus.
    wrapped: whether the ends of every axis are joined: else half of the links idle in a ring.
    slices: of this kind, joined by the network of the data center.
  """

  chips: tuple[int, ...]
  wrapped: bool
  slices: int = 1

  @property
  def devices(self) -> int:
    return math.prod(self.chips) * self.slices

  @property
  def hops(self) -> int:
    """Of the longest way to another device of the slice, axis by axis."""
    return sum(n // 2 if self.wrapped else n - 1 for n in self.chips)


class Assumptions(NamedTuple):
  """What no page tells.

  Attributes:
    compute_share, memory_share, link_share: of the published peaks that a step reaches.
    hop_seconds: from a device to its neighbour, however small the message.
    network_bytes_per_second: of a device, between slices, one way.
    network_seconds: from a slice to another, however small the message.
    overlap: share of the gradients' all-reduce that is hidden behind the backward pass.
  """

  compute_share: float = 0.4
  memory_share: float = 0.8
  link_share: float = 0.8
  hop_seconds: float = 1e-6
  network_bytes_per_second: float = 3.1e9
  network_seconds: float = 50e-6
  overlap: float = 0.0


class Work(NamedTuple):
  """Of one device and step.

  Attributes:
    flops: of the model.
    traffic_bytes: to and from the device's memory.
    gradient_bytes: that are summed over all devices.
    statistics: small sums over all devices that wait for each other, those of batch norms.
    halos: slabs that go to a neighbour, one after the other.
    halo_bytes: of all of them.
  """

  flops: float
  traffic_bytes: float
  gradient_bytes: float
  statistics: int = 0
  halos: int = 0
  halo_bytes: float = 0.0


def all_reduce_seconds(size: float, where: Slice, peak: Peak, assume: Assumptions) -> float:
  """Of a sum of so many bytes over all devices: within slices by rings, then between them.

  Each device sends 2 (n - 1) / n of the bytes (Patarasu and Yuan 2009,
  doi 10.1016/j.jpdc.2008.09.002), over all of its links at once; between slices, where each device
  holds the sum of its n-th, the same of that n-th.
  """
  if where.devices == 1:
    return 0.0
  n, rate = math.prod(where.chips), peak.links_bytes_per_second * assume.link_share
  rate *= 1.0 if where.wrapped else 0.5
  seconds = 2 * (n - 1) / n * size / rate + 2 * where.hops * assume.hop_seconds
  if where.slices > 1:
    share = 2 * (where.slices - 1) / where.slices
    seconds += share * size / n / assume.network_bytes_per_second + 2 * assume.network_seconds
  return seconds


def step_seconds(
  work: Work, where: Slice, peak: Peak, dtype: str, assume: Assumptions
) -> dict[str, float]:
  """{"device", "gradients", "statistics", "halos", "seconds": all of them together}."""
  compute = work.flops / (peak.flops[dtype] * assume.compute_share)
  memory = work.traffic_bytes / (peak.memory_bytes_per_second * assume.memory_share)
  gradients = all_reduce_seconds(work.gradient_bytes, where, peak, assume)
  parts = {
    "device": max(compute, memory),
    "gradients": (1 - assume.overlap) * gradients,
    # a few numbers per channel: the way there and back is all that it takes
    "statistics": work.statistics * all_reduce_seconds(0.0, where, peak, assume),
    "halos": work.halos * assume.hop_seconds
    + work.halo_bytes / (peak.neighbour_bytes_per_second * assume.link_share),
  }
  return parts | {"seconds": sum(parts.values())}
