"""FLOPs of a step, by its trace and by the compiler; the speed and its share of the peak."""

import argparse
from typing import Any

import jax

from jaxseg.benchmark import peaks
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.describe import flops_of, recomputes

COUNTED = "convolutions and matrix products of the traced step, gradients included"
TRIPLE = "three times the forward pass, because the step computes activations again"


def add_options(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--measure-peak",
    action="store_true",
    help="measure what one device does at most, by a matrix product and a convolution",
  )


def measure(program, *, options) -> dict[str, Any]:
  """FLOPs of a step of all devices; FLOP/s are of one device.

  The model's don't depend on hardware: gradients written for CPUs and loops count as plain ones,
  and what remat computes again counts as traced, not as the model's. No share of a peak is given
  where none is published or measured. The compiler's figure is one device's, and counts a loop's
  body once.
  """
  step, forward = _traced(program)
  traced, again = flops_of(step), recomputes(step)
  out = {
    "model_flops_per_step": 3 * forward if again else traced,
    "model_method": TRIPLE if again else COUNTED,
    "forward_flops_per_step": forward,
    "traced_flops_per_step": traced,
  }
  cost = program.compiled().cost_analysis() or {}
  for name, key in (
    ("compiler_flops_per_step", "flops"),
    ("compiler_bytes_per_step", "bytes accessed"),
  ):
    if cost.get(key, -1) >= 0:
      out[f"{name}_per_device"] = cost[key]
  if "training" not in program.measured:
    return out
  seconds = program.measured["training"]["step_seconds"]["median"]
  devices = program.layout.mesh.size
  speed = out["model_flops_per_step"] / seconds / devices
  out["model_flops_per_second_per_device"] = speed
  return out | _share(program, speed, measured=options["measure_peak"])


def _traced(program) -> tuple[Any, int]:
  """The step's program without what is written for CPUs, and the FLOPs of a forward pass."""
  state, store, element, seed = program.shapes()
  with cpu_gradients(False):
    batch, key = jax.eval_shape(program.batch, state.step, store, element, seed)
    step = jax.make_jaxpr(program.update)(state, batch, key).jaxpr
    return step, flops_of(jax.make_jaxpr(program.apply)(state, batch).jaxpr)


def _share(program, speed: float, *, measured: bool) -> dict[str, Any]:
  """The peak of one device, where it is from, and the share of it that a step reaches."""
  kind, out = jax.devices()[0].device_kind, {}
  known = peaks.published(kind, program.dtype)
  if measured:
    program.say("measuring the device's peak")
    out = {"measured": peaks.measured(program.dtype)}
    if known is None:
      best = max(out["measured"], key=out["measured"].get)
      what = best.partition("_flops")[0].replace("_", " ")
      known = out["measured"][best], f"measured here by a {what}"
  if known is None:
    return out
  peak, source = known
  return out | {
    "peak_flops_per_second_per_device": peak,
    "peak_source": source,
    "share_of_peak": speed / peak,
  }


def lines(values) -> list[tuple[str, str]]:
  rows = [("FLOPs, model", f"{_giga(values['model_flops_per_step'])}FLOP a step")]
  if "compiler_flops_per_step_per_device" in values:
    text = f"{_giga(values['compiler_flops_per_step_per_device'])}FLOP a step and device"
    rows.append(("FLOPs, compiler", text))
  if "model_flops_per_second_per_device" in values:
    text = f"{_giga(values['model_flops_per_second_per_device'])}FLOP/s a device"
    rows.append(("achieved", text))
  for name, speed in values.get("measured", {}).items():
    rows.append((name.partition("_flops")[0].replace("_", " "), f"{_giga(speed)}FLOP/s a device"))
  if "share_of_peak" in values:
    rows.append(
      ("share of peak", f"{100 * values['share_of_peak']:.1f} % ({values['peak_source']})")
    )
  elif "model_flops_per_second_per_device" in values:
    rows.append(("share of peak", "not known: no published peak; --measure-peak measures one"))
  return rows


def _giga(value: float) -> str:
  return f"{value / 1e9:.4g} G"
