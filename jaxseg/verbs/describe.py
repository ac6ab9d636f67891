"""describe: layers, parameters, FLOPs and activation memory of a config's network."""

import json
import sys

from jaxseg.compose import complete, networks_by_role
from jaxseg.config.ranges import COUNT
from jaxseg.feeding import source_of
from jaxseg.networks.describe import Description
from jaxseg.networks.describe import describe as describe_network
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


def main(arguments: list[str]) -> None:
  parser = Parser(prog="jaxseg describe", description=__doc__)
  add = parser.add_argument
  add_config(parser)
  counts = number(int, COUNT)
  add("--channels", type=counts, help="input channels; default: those of the config's data set")
  add("--classes", type=counts, help="classes; default: those of the config's data set")
  add("--patch", type=counts, nargs="+", help="default: the config's")
  add("--batch", type=counts, help="default: the config's")
  add("--json", action="store_true", help="print JSON instead of a table")
  wanted, config = parse(parser, arguments)
  try:
    config = complete(resolve(config, make=False))
    channels, classes = wanted.channels, wanted.classes
    if channels is None or classes is None:
      source = source_of(config)
      channels = channels or len(source.channels)
      classes = classes or source.labels.channels
    patch = tuple(wanted.patch or config["data"]["patch"])
    shape = (wanted.batch or config["data"]["batch"], *patch, channels)
    told = describe_network(networks_by_role(config, classes)["network"], shape)
  except (ValueError, OSError) as error:
    sys.exit(f"describe: {error}")
  if wanted.json:
    layers = [layer._asdict() for layer in told.layers]
    print(json.dumps({**told._asdict(), "input": shape, "layers": layers}, indent=2))
    return
  print(table(told))
  print(f"\ninput         {'x'.join(map(str, shape))} (batch, space, channels)")
  print(f"parameters    {told.parameters:,}")
  print(f"forward       {told.flops / 1e9:.2f} GFLOP a batch")
  print(f"activations   {told.activation_bytes / 2**20:.0f} MiB a training batch")
