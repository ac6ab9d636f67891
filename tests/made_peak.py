"""An accelerator whose figures are easy to reckon with."""

from jaxseg.benchmark.peaks import Peak

PEAK = Peak(
  name="made up",
  kinds=("made up",),
  flops={"bfloat16": 100e12},
  memory_bytes=16e9,
  memory_bytes_per_second=1e12,
  neighbour_bytes_per_second=50e9,
  links_bytes_per_second=200e9,
  source="the test",
)
