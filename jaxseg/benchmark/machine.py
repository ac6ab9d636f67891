"""What the figures are of: processor, devices, versions. `python -m jaxseg.benchmark.machine`."""

import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

_PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "numpy")
# what may differ between two results that are compared without a word
_SOFTWARE = ("versions", "python", "xla_flags")


def describe() -> dict[str, Any]:
  """This machine; starts JAX's backend."""
  import jax

  devices = jax.devices()
  return {
    "cpu_model": _cpu_model(),
    "cpu_cores": len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count(),
    "memory_bytes": _memory(),
    "system": platform.system(),
    "platform": devices[0].platform,
    "device_kind": devices[0].device_kind,
    "device_count": len(devices),
    "process_count": jax.process_count(),
    "versions": {name: _version(name) for name in _PACKAGES},
    "python": platform.python_version(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
  }


def differences(one: dict[str, Any], other: dict[str, Any], *, software: bool = False) -> list[str]:
  """What two machines don't share, a phrase each: their hardware, or their software."""
  names = [name for name in one if (name in _SOFTWARE) == software]
  return [
    f"{name} {one[name]} against {other.get(name)}"
    for name in names
    if one[name] != other.get(name)
  ]


def load_average() -> float | None:
  """Processes that wanted a core over the last minute."""
  return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _cpu_model() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return platform.processor() or platform.machine()
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  return names[0] if names else platform.machine()


def _memory() -> int | None:
  try:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (ValueError, OSError, AttributeError):
    return None


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


if __name__ == "__main__":
  print(json.dumps(describe()))
