"""The roofline by hand: each part, the largest of them, and what isn't known."""

import pytest
from made_peak import PEAK

from jaxseg.benchmark import peaks, roofline
from jaxseg.benchmark.collectives import Collective


def collective(kind: str, size: int, devices: int) -> Collective:
  return Collective(kind, size, devices, (("f32", (size // 4,)),))


def test_what_a_device_sends_by_a_ring():
  # of 8 parts of 1000 bytes each device sends 7 to be summed, and 7 of the sums
  assert roofline.sent_bytes(collective("all-reduce", 8000, 8)) == 14000
  assert roofline.sent_bytes(collective("reduce-scatter", 8000, 8)) == 7000
  assert roofline.sent_bytes(collective("all-gather", 8000, 8)) == 7000
  assert roofline.sent_bytes(collective("all-to-all", 8000, 8)) == 7000
  assert roofline.sent_bytes(collective("collective-permute", 8000, 2)) == 8000
  assert roofline.sent_bytes(collective("all-reduce", 8000, 1)) == 0


def test_each_part_and_the_largest_of_them():
  sent = [collective("all-reduce", 8_000_000, 8), collective("collective-permute", 500_000, 2)]
  options = dict(memory_bytes=2e9, collectives=sent, peak=PEAK, dtype="bfloat16")
  by_memory = roofline.seconds(flops=1e11, **options)
  assert by_memory["compute_seconds"] == pytest.approx(1e-3)
  assert by_memory["memory_seconds"] == pytest.approx(2e-3)
  # 14 MB over all links, 0.5 MB over one
  assert by_memory["links_seconds"] == pytest.approx(14e6 / 200e9 + 0.5e6 / 50e9)
  assert (by_memory["seconds"], by_memory["bound"]) == (pytest.approx(2e-3), "memory")
  by_compute = roofline.seconds(flops=5e11, **options)
  assert (by_compute["seconds"], by_compute["bound"]) == (pytest.approx(5e-3), "compute")


def test_a_part_without_a_known_peak_is_none_and_bounds_nothing():
  sent = [collective("all-reduce", 8_000_000, 8)]
  known = roofline.seconds(
    flops=1e15, memory_bytes=1e6, collectives=sent, peak=PEAK, dtype="float32"
  )
  assert known["compute_seconds"] is None
  assert known["bound"] == "links"
  alone = PEAK._replace(links_bytes_per_second=None, neighbour_bytes_per_second=None)
  assert roofline.link_seconds(sent, alone) is None
  assert roofline.link_seconds([], alone) == 0


def test_the_published_bandwidths_of_a_pod_follow_from_those_of_its_chips():
  # cloud.google.com/tpu/docs/v5e: all-reduce 51.2 TB/s for 256 chips; v6e: 102.4
  for kind, pod in (("TPU v5 lite", 51.2e12), ("TPU v6 lite", 102.4e12)):
    assert 256 * peaks.of_kind(kind).links_bytes_per_second == pytest.approx(pod)
