"""A training step made for accelerators that are not there: memory, collectives, FLOPs, roofline.

For a TPU the step is compiled, by the compiler that a TPU's machine has. For CUDA it is lowered
only: what its compiler makes of it shows on a GPU.
"""

import collections
import re
import time
from collections.abc import Mapping
from typing import Any

from jaxseg.benchmark import collectives, memory, peaks, roofline, topologies

_CUSTOM_CALL = re.compile(r"stablehlo\.custom_call @(\w+)")
# marks of the partitioner, which no device runs
_MARKS = ("Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "annotate_device_placement")


def add_options(parser) -> None:
  parser.add_argument(
    "--compile-for",
    metavar="TARGET",
    help=f"make the step for accelerators that are not there ({topologies.EXAMPLES}) instead of "
    "timing it here; TPUs need libtpu from the package index",
  )
  parser.add_argument(
    "--compile-effort",
    type=float,
    metavar="E",
    help="of the TPU's compiler, -1 to 1: below 0 it compiles faster and the program is slower",
  )


def devices(config: Mapping[str, Any], target: str) -> list:
  """The devices to lay a config's step out over, before any data are read.

  Raises ValueError where there is no such target, or the layout leaves some of it idle.
  """
  from jaxseg import compose  # what only shows help needs none of it

  there = topologies.devices(topologies.parse(target))
  nets = compose.networks_by_role(config, config["network"].get("classes", 2))
  placed = compose.layout(config, nets["network"], there)
  if placed.mesh.size != len(there):
    raise ValueError(
      f"--compile-for {target}: {placed.notes[0]} Expected a batch (config.data.batch) that its "
      f"{len(there)} devices divide, or config.mesh to say how to use them."
    )
  return there


def measure(program, *, options) -> dict[str, Any]:
  """Figures of one device and step, as the compiler has them; bytes, FLOPs, seconds.

  FLOPs and memory traffic are the compiler's count of the program that each device runs, after it
  was split: traffic counts what each fused operation reads and writes, in fast memory as well.
  """
  target = topologies.parse(options["compile_for"])
  program.say(f"lowering for {target.name}")
  begin = time.perf_counter()
  traced = program.train.trace(*program.shapes())
  lowered = traced.lower(lowering_platforms=(target.platform,))
  text = lowered.as_text()
  out = {
    "target": target.name,
    "platform": target.platform,
    "lower_seconds": time.perf_counter() - begin,
    "stablehlo_bytes": len(text),
    "custom_calls": dict(
      collections.Counter(n for n in _CUSTOM_CALL.findall(text) if n not in _MARKS)
    ),
  }
  if target.platform != topologies.TPU:
    return out | {"compiled": False, **_estimate(lowered)}
  program.say(f"compiling for {target.name}: minutes")
  begin = time.perf_counter()
  compiled = lowered.compile(compiler_options=effort(options.get("compile_effort")))
  out |= {"compiled": True, "compile_seconds": time.perf_counter() - begin}
  mesh = program.layout.mesh
  kind = mesh.devices.flat[0].device_kind
  return out | of_compiled(compiled, kind, devices=mesh.size, dtype=program.dtype)


def of_compiled(compiled, kind: str, *, devices: int, dtype: str) -> dict[str, Any]:
  """Memory, collectives, FLOPs, traffic and roofline of a compiled step, of one device.

  Args:
    compiled: of JAX.
    kind: of the devices, as JAX names it.
    devices: of the program.
    dtype: of the network's arithmetic.
  """
  sent = collectives.read(compiled.as_text(), devices)
  cost = compiled.cost_analysis()
  figures = {"flops": float(cost["flops"]), "memory_traffic_bytes": float(cost["bytes accessed"])}
  out = {
    "device_kind": kind,
    "memory": memory.of_compiled(compiled),
    **figures,
    "collectives": collectives.summary(sent),
    "sent_bytes": sum(map(roofline.sent_bytes, sent)),
  }
  peak = peaks.of_kind(kind)
  if peak is not None:
    out["roofline"] = roofline.seconds(
      flops=figures["flops"],
      memory_bytes=figures["memory_traffic_bytes"],
      collectives=sent,
      peak=peak,
      dtype=dtype,
    )
  return out


def effort(level: float | None) -> dict[str, Any] | None:
  """Options of the TPU's compiler for a level from -1, which compiles fastest, to 1."""
  if level is None:
    return None
  return {"exec_time_optimization_effort": level, "memory_fitting_effort": level}


def _estimate(lowered) -> dict[str, Any]:
  """FLOPs of all devices together, before any optimisation, where JAX can tell them."""
  try:
    cost = lowered.cost_analysis()
  except Exception:  # a backend that has no such analysis says so in many ways
    return {}
  return {"flops_of_all_devices": float(cost["flops"])} if cost and "flops" in cost else {}


def lines(values) -> list[tuple[str, str]]:
  head = f"{values['target']}, StableHLO {values['stablehlo_bytes'] / 2**20:.2f} MiB"
  if not values["compiled"]:
    flops = values.get("flops_of_all_devices")
    calls = ", ".join(f"{n} {name}" for name, n in values["custom_calls"].items()) or "none"
    rows = [("lowered for", f"{head}: lowered, not compiled"), ("custom calls", calls)]
    return [*rows, ("FLOPs, all devices", f"{flops / 1e9:.4g} GFLOP a step")] if flops else rows
  of = values["memory"]
  rows = [
    ("compiled for", f"{head}, in {values['compile_seconds']:.0f} s"),
    (
      "memory, a device",
      f"{_mib(of['peak_bytes'])} (arguments {_mib(of['argument_bytes'])}, outputs "
      f"{_mib(of['output_bytes'])}, temporaries {_mib(of['temp_bytes'])}, of the outputs "
      f"{_mib(of['alias_bytes'])} in arguments' place)",
    ),
    (
      "a device and step",
      f"{values['flops'] / 1e9:.4g} GFLOP, {values['memory_traffic_bytes'] / 1e9:.4g} GB of memory "
      "traffic (the compiler's count)",
    ),
    ("collectives", collectives_text(values["collectives"])),
  ]
  if "roofline" not in values:
    return [*rows, ("roofline", f"none: the peaks of {values['device_kind']} are not known")]
  bound = values["roofline"]
  parts = [f"{name} {_ms(bound[f'{name}_seconds'])}" for name in ("compute", "memory", "links")]
  rows.append(("roofline", f"{_ms(bound['seconds'])} by {bound['bound']} ({', '.join(parts)})"))
  return [*rows, ("peaks", f"{bound['peak']}: {bound['source']}")]


def collectives_text(summary) -> str:
  """The collectives of a summary in a phrase."""
  parts = [f"{of['count']} {kind} ({of['bytes'] / 2**20:.3g} MiB)" for kind, of in summary.items()]
  return ", ".join(parts) or "none"


def _mib(size: float) -> str:
  return f"{size / 2**20:.4g} MiB"


def _ms(seconds: float | None) -> str:
  return "unknown" if seconds is None else f"{1e3 * seconds:.3g} ms"
