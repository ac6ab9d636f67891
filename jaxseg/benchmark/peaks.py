"""What accelerators can do at most, by their makers' pages: the one table; and what this one does.

A device is one as JAX counts them: a whole chip in all rows but TPU7x's, of which it is a half.
Links are those that join all devices of a machine; bridges between two cards are left out.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_TPU = "https://cloud.google.com/tpu/docs/"
_NVIDIA = "https://www.nvidia.com/en-us/data-center/"
_IMAGES = "https://images.nvidia.com/aem-dam/"
_AMPERE = (
  "en-zz/Solutions/geforce/ampere/pdf/NVIDIA-ampere-GA102-GPU-Architecture-Whitepaper-V1.pdf"
)


class Peak(NamedTuple):
  """One kind of accelerator.

  Attributes:
    name: what people call it.
    kinds: the `device_kind`s that JAX gives it.
    flops: dtype of a network's arithmetic -> dense FLOP/s; float32 at JAX's default precision,
      which multiplies in bfloat16 on TPUs and in TensorFloat-32 on GPUs that have it.
    memory_bytes: of the device's own memory.
    memory_bytes_per_second: between that memory and the cores.
    neighbour_bytes_per_second: to one other device, one way; None without links of its own.
    links_bytes_per_second: over all links of the device together, one way; None without.
    source: the page; figures that it gives with sparsity are halved.
  """

  name: str
  kinds: tuple[str, ...]
  flops: Mapping[str, float]
  memory_bytes: float
  memory_bytes_per_second: float
  neighbour_bytes_per_second: float | None
  links_bytes_per_second: float | None
  source: str


def _gpu(name, kinds, half, single, memory, bandwidth, links, source, *, bfloat=True) -> Peak:
  """TFLOP/s, GB, GB/s; NVIDIA counts both directions of its `links`, a switch joins all GPUs."""
  flops = {"float16": half * 1e12, "float32": single * 1e12}
  if bfloat:
    flops["bfloat16"] = half * 1e12
  one_way = links * 1e9 / 2 if links else None
  return Peak(name, kinds, flops, memory * 1e9, bandwidth * 1e9, one_way, one_way, source)


def _tpu(name, kinds, half, memory, bandwidth, links, ports, page) -> Peak:
  """TFLOP/s, GB, GB/s; the pages give the bandwidth of all ports together, both directions.

  One of 4 ports (2D torus) or 6 (3D torus) leads to a neighbour.
  """
  flops = {"bfloat16": half * 1e12, "float32": half * 1e12}
  one_way = links * 1e9 / 2 if links else None
  neighbour = one_way / ports if links else None
  return Peak(name, kinds, flops, memory * 1e9, bandwidth * 1e9, neighbour, one_way, _TPU + page)


PEAKS = (
  _gpu(
    "V100 SXM2",
    ("Tesla V100-SXM2-16GB",),
    *(125, 15.7, 16, 900, 300, _NVIDIA + "v100/"),
    bfloat=False,
  ),
  _gpu(
    "V100 SXM2 32 GB",
    ("Tesla V100-SXM2-32GB",),
    *(125, 15.7, 32, 900, 300, _NVIDIA + "v100/"),
    bfloat=False,
  ),
  _gpu(
    "V100 PCIe", ("Tesla V100-PCIE-16GB",), 112, 14, 16, 900, None, _NVIDIA + "v100/", bfloat=False
  ),
  _gpu(
    "V100 PCIe 32 GB",
    ("Tesla V100-PCIE-32GB",),
    *(112, 14, 32, 900, None, _NVIDIA + "v100/"),
    bfloat=False,
  ),
  _gpu("T4", ("Tesla T4",), 65, 8.1, 16, 320, None, _NVIDIA + "tesla-t4/", bfloat=False),
  _gpu("A100 SXM 40 GB", ("NVIDIA A100-SXM4-40GB",), 312, 156, 40, 1555, 600, _NVIDIA + "a100/"),
  _gpu("A100 PCIe 40 GB", ("NVIDIA A100-PCIE-40GB",), 312, 156, 40, 1555, None, _NVIDIA + "a100/"),
  _gpu("A100 SXM 80 GB", ("NVIDIA A100-SXM4-80GB",), 312, 156, 80, 2039, 600, _NVIDIA + "a100/"),
  _gpu("A100 PCIe 80 GB", ("NVIDIA A100 80GB PCIe",), 312, 156, 80, 1935, None, _NVIDIA + "a100/"),
  _gpu("H100 SXM", ("NVIDIA H100 80GB HBM3",), 989, 494, 80, 3350, 900, _NVIDIA + "h100/"),
  _gpu("H100 PCIe", ("NVIDIA H100 PCIe",), 756, 378, 80, 2000, None, _NVIDIA + "h100/"),
  _gpu("H100 NVL", ("NVIDIA H100 NVL",), 835, 417, 94, 3900, None, _NVIDIA + "h100/"),
  _gpu("H200 SXM", ("NVIDIA H200",), 989, 494, 141, 4800, 900, _NVIDIA + "h200/"),
  _gpu("L4", ("NVIDIA L4",), 121, 60, 24, 300, None, _NVIDIA + "l4/"),
  _gpu("L40S", ("NVIDIA L40S",), 362, 183, 48, 864, None, _NVIDIA + "l40s/"),
  # halves are summed in float32, as in training; summed in float16 these two are twice as fast
  _gpu("RTX 3090", ("NVIDIA GeForce RTX 3090",), 71, 35.6, 24, 936, None, _IMAGES + _AMPERE),
  _gpu(
    "RTX 4090",
    ("NVIDIA GeForce RTX 4090",),
    *(165.2, 82.6, 24, 1008, None),
    _IMAGES + "Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
  ),
  # its page tells no bandwidth of a chip's links
  _tpu("TPU v4", ("TPU v4",), 275, 32, 1200, None, 6, "v4"),
  _tpu("TPU v5e", ("TPU v5 lite", "TPU v5e"), 197, 16, 819, 400, 4, "v5e"),
  _tpu("TPU v5p", ("TPU v5", "TPU v5p"), 459, 95, 2765, 1200, 6, "v5p"),
  _tpu("TPU v6e", ("TPU v6 lite", "TPU v6e"), 918, 32, 1638, 800, 4, "v6e"),
  # of a chip's two cores one: 2307 TFLOP/s, 192 GB and 7380 GB/s are the chip's
  _tpu("TPU7x", ("TPU7x",), 2307 / 2, 96, 7380 / 2, 600, 6, "tpu7x"),
)


def of_kind(kind: str) -> Peak | None:
  """The peaks of a `device_kind`; None where they aren't known: then no share is printed."""
  return next((peak for peak in PEAKS if kind in peak.kinds), None)


def published(kind: str, dtype: str) -> tuple[float, str] | None:
  """FLOP/s of one device for a network of that dtype, and where the figure is from; None: unknown.

  At another precision of products than JAX's default, float32 is none of the table's figures.
  """
  peak = of_kind(kind)
  exact = jax.config.jax_default_matmul_precision not in (None, "default")
  if peak is None or dtype not in peak.flops or (dtype == "float32" and exact):
    return None
  return peak.flops[dtype], f"published, {peak.name}, {dtype}: {peak.source}"


def measured(dtype: str, *, seconds: float = 1.0) -> dict[str, Any]:
  """FLOP/s of one device, by a product of matrices and by a convolution, the best of some runs.

  Each is about as long as a tenth of `seconds`, whatever the device.
  """
  out = {}
  for name, make in (("matrix_product", _product), ("convolution", _convolution)):
    call, arguments, flops = _sized(make, dtype, seconds / 10)
    best, begun = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begun < seconds:
      best = min(best, _seconds(call, arguments))
    out[f"{name}_flops_per_second"] = flops / best
  return out


def _sized(make, dtype: str, seconds: float):
  """The smallest of growing problems that takes so long, or the largest."""
  for size in range(8):
    call, arguments, flops = make(size, dtype)
    _seconds(call, arguments)
    if _seconds(call, arguments) >= seconds:
      break
  return call, arguments, flops


def _seconds(call, arguments) -> float:
  begun = time.perf_counter()
  jax.block_until_ready(call(*arguments))
  return time.perf_counter() - begun


def _product(size: int, dtype: str):
  n = 256 * 2**size
  x = jnp.ones((n, n), dtype)
  return jax.jit(jnp.matmul), (x, x), 2 * n**3


def _convolution(size: int, dtype: str):
  """3x3, 64 to 64 channels (512 of larger ones), the borders not padded."""
  channels, side, batch = (64, 64 * 2**size, 1) if size < 3 else (512, 256, 2 ** (size - 3))
  x = jnp.ones((batch, side, side, channels), dtype)
  kernel = jnp.ones((3, 3, channels, channels), dtype)

  def call(x, kernel):
    return jax.lax.conv_general_dilated(
      x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

  return jax.jit(call), (x, kernel), 2 * batch * (side - 2) ** 2 * channels**2 * 9
