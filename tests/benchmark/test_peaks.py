import jax
import pytest

from jaxseg.benchmark import peaks


def test_every_kind_of_device_is_there_once():
  kinds = [kind for peak in peaks.PEAKS for kind in peak.kinds]
  assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("peak", peaks.PEAKS, ids=lambda peak: peak.name)
def test_figures_have_the_size_of_their_units(peak):
  assert all(1e12 < speed < 1e16 for speed in peak.flops.values())
  assert 1e11 < peak.memory_bytes_per_second < 1e13
  assert 1e10 < peak.memory_bytes < 1e12
  assert peak.source.startswith("https://")
  # half precision is no slower than float32, which some multiply in it
  assert max(peak.flops.values()) > peak.flops["float32"] * 0.999


def test_the_devices_of_a_lent_machine_and_of_pods_are_known_by_jaxs_names():
  assert peaks.of_kind("NVIDIA H200").memory_bytes == 141e9
  assert peaks.of_kind("TPU v5 lite").name == "TPU v5e"
  assert peaks.of_kind("cpu") is None


def test_a_share_needs_a_published_figure_of_that_dtype_and_precision():
  speed, source = peaks.published("NVIDIA H200", "bfloat16")
  assert speed == 989e12
  assert source.startswith("published, H200")
  assert peaks.published("NVIDIA H200", "float64") is None
  assert peaks.published("cpu", "float32") is None
  with jax.default_matmul_precision("highest"):
    assert peaks.published("NVIDIA H200", "float32") is None
    assert peaks.published("NVIDIA H200", "bfloat16") is not None


def test_a_measured_peak_is_what_products_and_convolutions_of_this_device_reach():
  speeds = peaks.measured("float32", seconds=0.05)
  assert set(speeds) == {"matrix_product_flops_per_second", "convolution_flops_per_second"}
  # a core that did one operation a microsecond, and a machine of ten thousand cores
  assert all(1e6 < speed < 1e15 for speed in speeds.values())
