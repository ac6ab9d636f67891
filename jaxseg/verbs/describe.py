"""describe: layers, parameters, FLOPs and memory of a config's networks and training step."""

import json
import math
import sys
from typing import Any

from jaxseg.compose import complete, method, networks_by_role
from jaxseg.config import rehearsal, synthesis
from jaxseg.config.ranges import COUNT
from jaxseg.feeding import source_of
from jaxseg.networks.describe import Description
from jaxseg.networks.describe import describe as describe_network
from jaxseg.networks.several import one
from jaxseg.planning import memory_plan, network_inputs
from jaxseg.planning.peak_memory import MARGIN, Memory, of_step_compiled, of_step_traced
from jaxseg.planning.planned_config import resolve
from jaxseg.verbs.arguments import Parser, add_config, number, parse


def table(told: Description) -> str:
  """The description as text, a line per module."""
  rows = [("layer", "kind", "output", "parameters")]
  for layer in told.layers:
    indent = "  " * max(0, len(layer.path) - 1)
    name = indent + (layer.path[-1] if layer.path else "(network)")
    rows.append((name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.parameters:,}"))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  return "\n".join(
    f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}"
    for row in rows
  )


def costs(told: Description, shapes) -> str:
  """What a network costs, as text."""
  inputs = ", ".join("x".join(map(str, shape)) for shape in shapes)
  return (
    f"input         {inputs} (batch, space, channels)\n"
    f"parameters    {told.parameters:,}\n"
    f"forward       {told.flops / 1e9:.2f} GFLOP a batch\n"
    f"activations   {told.activation_bytes / 2**20:.0f} MiB a training batch"
  )


def as_json(told: Description, shapes) -> dict[str, Any]:
  """The same as a dict; "input" is a shape, or a list of several."""
  layers = [layer._asdict() for layer in told.layers]
  return {**told._asdict(), "input": shapes[0] if len(shapes) == 1 else shapes, "layers": layers}


def step_memory(
  config: dict[str, Any], nets: dict[str, Any], shape, classes: int, *, compiled: bool = False
) -> Memory:
  """What a training step of one network of `config.members` holds at most on one device."""
  scheme = method(config | {"data": config["data"] | {"prior": {}}, "members": 1}, nets)
  batch = network_inputs.batch(config, shape, classes)
  with rehearsal.one_line_errors("config.method"):
    if compiled:
      return of_step_compiled(scheme.init, scheme.train_step, batch, remat=config["remat"])
    return of_step_traced(scheme.init, scheme.train_step, batch)


def fitting(config: dict[str, Any], nets: dict[str, Any], shape, classes: int, memory: int):
  """{"batch", "patch"} that a memory holds: the most of that patch, the largest patch of two.

  By MARGIN times the prediction, so that what is planned fits.
  """
  patch, channels = shape[1:-1], shape[-1]

  refused = set()

  def predicted(batch: int, size: tuple[int, ...]) -> int:
    return math.ceil(MARGIN * step_memory(config, nets, (batch, *size, channels), classes).peak)

  def peak(batch: int, size: tuple[int, ...]) -> int:
    try:
      return predicted(batch, size)
    except ValueError:
      # too small for some networks, not for the memory
      if math.prod(size) < math.prod(patch):
        refused.add(size)
        return 0
      # some methods take pairs alone: what one more needs is enough
      return predicted(batch + 1, size)

  stride = nets["network"].total_stride(len(patch))
  largest = memory_plan.largest_patch(peak, patch, stride, memory)
  return {
    "batch": memory_plan.largest_batch(peak, patch, memory),
    "patch": None if largest in refused else largest,
  }


def memory_text(told: Memory, *, compiled: bool) -> str:
  by = "by the compiler" if compiled else "predicted"
  parts = {"state and batch": told.arguments, "temporaries": told.temporaries}
  shown = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in parts.items())
  text = (
    f"training step {told.peak / 2**20:.0f} MiB {by} ({shown}), without augmentation and the data "
    "set on the device"
  )
  if compiled:
    return text
  most = MARGIN * told.peak / 2**20
  return f"{text}; mostly within 15 %, the compiler may need up to {most:.0f} MiB (--compile asks)"


def fitting_text(fits: dict[str, Any], patch, memory: str) -> str:
  """What a memory holds, in words."""
  across = "x".join(map(str, patch))
  batch, largest = fits["batch"], fits["patch"]
  first = f"batches of {batch} patches of {across}" if batch else f"not even one patch of {across}"
  second = "x".join(map(str, largest)) if largest else "none: not even the network's total stride"
  return (
    f"{memory} hold    {first}; largest patch for batches of 2: {second} (planned with {MARGIN} "
    "times the prediction)"
  )


def _memory(text: str) -> int:
  try:
    return memory_plan.size(text)
  except ValueError as error:
    raise ValueError(f"--memory: {error}") from None


def main(arguments: list[str]) -> None:
  parser = Parser(prog="jaxseg describe", description=__doc__)
  add = parser.add_argument
  add_config(parser)
  counts = number(int, COUNT)
  add("--channels", type=counts, help="input channels; default: those of the config's data set")
  add("--classes", type=counts, help="classes; default: those of the config's data set")
  add("--patch", type=counts, nargs="+", help="default: the config's")
  add("--batch", type=counts, help="default: the config's")
  add("--memory", help="of a device, as 24GB: the largest batch and patch that it holds are told")
  add("--compile", action="store_true", help="the training step's memory by the compiler itself")
  add("--json", action="store_true", help="print JSON instead of a table")
  wanted, config = parse(parser, arguments)
  try:
    memory = None if wanted.memory is None else _memory(wanted.memory)
    config = complete(resolve(config, make=False))
    channels, classes = wanted.channels, wanted.classes
    if channels is None or classes is None:
      source = source_of(config)
      known = len(source.channels), source.labels.channels
      channels = channels or synthesis.input_channels(config, *known)
      classes = classes or len(synthesis.target_names(config)) or source.labels.channels
    patch = tuple(wanted.patch or config["data"]["patch"])
    shape = (wanted.batch or config["data"]["batch"], *patch, channels)
    nets = networks_by_role(config, classes)
    shapes = network_inputs.shapes(config, nets, shape, classes)
    told = {role: describe_network(one(nets[role]), *of) for role, of in shapes.items()}
    step = step_memory(config, nets, shape, classes, compiled=wanted.compile)
    fits = None if memory is None else fitting(config, nets, shape, classes, memory)
  except (ValueError, OSError) as error:
    sys.exit(f"describe: {error}")
  first = told["network"]
  others = {role: of for role, of in told.items() if role != "network"}
  if wanted.json:
    roles = {role: as_json(of, shapes[role]) for role, of in others.items()}
    networks = {"networks": roles} if roles else {}
    more = {"training_memory": {**step._asdict(), "peak": step.peak, "compiled": wanted.compile}}
    more |= {} if fits is None else {"memory_holds": fits}
    print(json.dumps(as_json(first, shapes["network"]) | networks | more, indent=2))
    return
  print(f"{table(first)}\n\n{costs(first, shapes['network'])}")
  print(memory_text(step, compiled=wanted.compile))
  if fits is not None:
    print(fitting_text(fits, patch, wanted.memory))
  for role, of in others.items():
    print(f"\nnetwork '{role}'\n\n{table(of)}\n\n{costs(of, shapes[role])}")
