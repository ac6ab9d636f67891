"""Projected step times by hand: rings, hops, slices, halos."""

import pytest
from made_peak import PEAK

from jaxseg.benchmark.projection import (
  Assumptions,
  Slice,
  Work,
  all_reduce_seconds,
  step_seconds,
)

ASSUME = Assumptions(
  compute_share=0.5,
  memory_share=0.5,
  link_share=0.5,
  hop_seconds=1e-6,
  network_bytes_per_second=1e9,
  network_seconds=10e-6,
)
TORUS, LINE = Slice((4, 4), True), Slice((2, 4), False)


def test_hops_to_the_farthest_device():
  assert (TORUS.hops, LINE.hops, Slice((1,), False).hops) == (2 + 2, 1 + 3, 0)
  assert Slice((16, 16), True, 4).devices == 1024


def test_a_sum_over_a_torus_a_line_and_slices():
  size = 16e6
  # 15/16 twice over 100 GB/s; 4 hops there and back
  torus = 2 * 15 / 16 * size / 100e9 + 8e-6
  assert all_reduce_seconds(size, TORUS, PEAK, ASSUME) == pytest.approx(torus)
  # 7/8 twice over half of that
  line = 2 * 7 / 8 * size / 50e9 + 8e-6
  assert all_reduce_seconds(size, LINE, PEAK, ASSUME) == pytest.approx(line)
  # a sixteenth of the sum goes to the other slice, at 1 GB/s
  two = all_reduce_seconds(size, TORUS._replace(slices=2), PEAK, ASSUME)
  assert two == pytest.approx(torus + 1e6 / 1e9 + 20e-6)
  assert all_reduce_seconds(size, Slice((1, 1), False), PEAK, ASSUME) == 0


def test_the_parts_of_a_step_add_up():
  work = Work(
    flops=1e12, traffic_bytes=1e9, gradient_bytes=16e6, statistics=10, halos=5, halo_bytes=1e6
  )
  parts = step_seconds(work, TORUS, PEAK, "bfloat16", ASSUME)
  assert parts["device"] == pytest.approx(1e12 / 50e12)
  assert parts["gradients"] == pytest.approx(all_reduce_seconds(16e6, TORUS, PEAK, ASSUME))
  assert parts["statistics"] == pytest.approx(10 * 8e-6)
  assert parts["halos"] == pytest.approx(5e-6 + 1e6 / 25e9)
  assert parts["seconds"] == pytest.approx(sum(v for k, v in parts.items() if k != "seconds"))
  hidden = step_seconds(work, TORUS, PEAK, "bfloat16", ASSUME._replace(overlap=1.0))
  assert hidden["gradients"] == 0
  slow = step_seconds(work._replace(traffic_bytes=1e11), TORUS, PEAK, "bfloat16", ASSUME)
  assert slow["device"] == pytest.approx(1e11 / 0.5e12)
