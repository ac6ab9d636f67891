"""What devices send each other in a compiled program: counts, bytes and groups, from its text."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
# halves of what runs beside other work: the start is counted, the end is not
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_GROUPS = re.compile(r"replica_groups=(\{\{[\d,]*\}|\[[\d,]+\]|mesh\[[^\]]*\] \{[^}]*\}|\{\})")
_AXIS = re.compile(r"'(\w+)'=(\d+)")
_BITS = re.compile(r"\d+")


class Collective(NamedTuple):
  """One operation between devices.

  Attributes:
    kind: of KINDS.
    bytes: what one device holds of the whole that is summed or gathered: an all-reduce's array, an
      all-gather's result, a reduce-scatter's operand, what a collective-permute or an all-to-all
      sends.
    devices: of each group that exchanges among itself; 2 for a collective-permute.
    shapes: dtype and dimensions of each array of the result.
    name: where in the program it comes from, as JAX tells it; "" if unknown.
  """

  kind: str
  bytes: int
  devices: int
  shapes: tuple[tuple[str, tuple[int, ...]], ...]
  name: str = ""


def read(text: str, devices: int) -> list[Collective]:
  """The collectives of a compiled program's text, `compiled.as_text()`, in its order.

  What lies in a loop counts once, however often it runs.

  Args:
    text: optimised HLO.
    devices: of the whole program, for operations that name no groups.
  """
  seen, out = set(), []
  for line in text.splitlines():
    match = _OPERATION.search(line)
    if not match:
      continue
    result, kind, start = match.groups()
    # the compiler may copy an operation into parts that run at different times
    channel = _CHANNEL.search(line)
    identity = (kind, channel.group(1)) if channel else (kind, len(out), "unnumbered")
    if identity in seen:
      continue
    seen.add(identity)
    shapes = tuple(_shapes(result, kind, bool(start)))
    count = 2 if kind == "collective-permute" else _group_size(line, devices)
    size = sum(_size(*shape) for shape in shapes)
    size *= count if kind == "reduce-scatter" else 1
    name = re.search(r'op_name="([^"]*)"', line)
    out.append(Collective(kind, size, count, shapes, name.group(1) if name else ""))
  return out


def summary(collectives: Sequence[Collective]) -> dict[str, dict[str, Any]]:
  """Kind -> {"count", "bytes", "arrays", "groups": devices of one -> bytes}, of those there are."""
  out = {}
  for kind in KINDS:
    own = [of for of in collectives if of.kind == kind]
    if own:
      groups = {}
      for of in own:
        groups[str(of.devices)] = groups.get(str(of.devices), 0) + of.bytes
      out[kind] = {
        "count": len(own),
        "bytes": sum(of.bytes for of in own),
        "arrays": sum(len(of.shapes) for of in own),
        "groups": groups,
      }
  return out


def _shapes(result: str, kind: str, start: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
  """The arrays of a result; of a start, which repeats its operands, those of the result alone."""
  arrays = _ARRAY.findall(result)
  if start and kind != "all-reduce":
    # ((operands), (results), context...): a context is a number without dimensions
    arrays = [array for array in arrays if array[0] != "u32" or array[1]]
    arrays = arrays[len(arrays) // 2 :]
  for dtype, dimensions in arrays:
    yield dtype, tuple(int(n) for n in dimensions.split(",") if n)


def _size(dtype: str, dimensions: tuple[int, ...]) -> int:
  bits = 8 if dtype == "pred" else int(_BITS.search(dtype).group())
  return math.ceil(math.prod(dimensions) * bits / 8)


def _group_size(line: str, devices: int) -> int:
  """Devices that exchange among each other: {{0,1},{2,3}}, [2,4]<=[8], mesh['x'=8] {'x'}, {}."""
  match = _GROUPS.search(line)
  text = match.group(1) if match else "{}"
  if text.startswith("mesh"):
    mesh, _, axes = text.partition("] {")
    sizes = {name: int(size) for name, size in _AXIS.findall(mesh)}
    return math.prod(sizes[name] for name in re.findall(r"'(\w+)'", axes))
  numbers = [int(n) for n in re.findall(r"\d+", text)]
  if text.startswith("["):
    return numbers[-1]
  return len(numbers) or devices
