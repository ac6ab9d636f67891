"""Peak memory of the training step: what the compiler plans, and what the device counts."""

import resource
import sys
from typing import Any

import jax

from jaxseg.planning import peak_memory


def measure(program, *, options) -> dict[str, Any]:
  """Bytes; the device's own are absent where it counts none, as a CPU.

  The process's peak, of the host, holds Python, JAX and all that was prepared besides the step.
  """
  del options
  out = {"compiler": of_compiled(program.compiled())}
  if peaks := of_devices(program, "peak_bytes_in_use"):
    out["device_peak_bytes"] = max(peaks)
  if limits := of_devices(program, "bytes_limit"):
    out["device_limit_bytes"] = min(limits)
  # Linux tells kilobytes, macOS bytes
  unit = 1 if sys.platform == "darwin" else 1024
  return out | {
    "process_peak_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "state_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(program.abstract)),
  }


def of_devices(program, name: str) -> list[int]:
  """A figure of jax's `memory_stats`, of each of this process's devices that counts it."""
  stats = [device.memory_stats() or {} for device in program.layout.mesh.local_devices]
  return [of[name] for of in stats if name in of]


def of_compiled(compiled) -> dict[str, int]:
  """What the compiler plans for one device: arguments, outputs, temporaries, and their peak.

  The peak counts what an output shares with an argument once.
  """
  planned = peak_memory.of_compiled(compiled)
  return {
    "argument_bytes": planned.arguments,
    "output_bytes": planned.outputs,
    "temp_bytes": planned.temporaries,
    "alias_bytes": planned.aliased,
    "generated_code_bytes": int(compiled.memory_analysis().generated_code_size_in_bytes),
    "peak_bytes": planned.peak,
  }


def lines(values) -> list[tuple[str, str]]:
  compiler = values["compiler"]
  rows = [
    (
      "memory, compiler",
      f"{_mib(compiler['peak_bytes'])} a device (arguments {_mib(compiler['argument_bytes'])}, "
      f"temporaries {_mib(compiler['temp_bytes'])})",
    )
  ]
  if "device_peak_bytes" in values:
    rows.append(("memory, device", f"{_mib(values['device_peak_bytes'])} at most in use"))
  return [
    *rows,
    ("memory, process", f"{_mib(values['process_peak_bytes'])} of the host, all in all"),
  ]


def _mib(size: int) -> str:
  return f"{size / 2**20:.0f} MiB"
