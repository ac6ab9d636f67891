"""Memory traffic of a loss, forward and backward, as XLA counts it, beside the least possible.

Usage: python benchmarks/loss_bytes.py [--size 128 128 128] [--classes 5] [--losses dice ...]

Printed: the memory traffic of the compiled value_and_grad over two reads and one write of the
float32 logits plus one read of the int32 labels. Nothing is run: only compiled. Without loops it is
XLA's "bytes accessed". Loops over blocks (CPU, large logits) are counted as the rows they read and
write in each turn, what lies outside as XLA does; arrays of a block (5 MB together) stay in the
cache and are left out, and so XLA's own number, in which a loop's body counts once, is no guide.

Dice + cross entropy at 1x128^3x5 on a CPU (jax 0.10.2): 210 MB, 1.6 times the least 134 MB; as
whole arrays (`blocks.whole`, --whole) 1,191 MB, 8.9 times. One softmax serves both losses there,
but XLA's CPU compiler does not repeat an exponential inside a fusion: z - max, exp and p are each
written and read as arrays of the logits' size, and its reductions take the products from memory.
With 65,536 voxels a block it takes 0.88 of the time of whole arrays on two quiet cores
(0.208 against 0.237 s; two classes 0.93), with 16,384 1.07 (two classes 1.5): too little for two
cores to share. Tried before: XLA without YNN's sums, 7.6; the same sums by hand, class by class,
in one variadic reduction with a gradient of its own, 6.1; blocks for each loss by itself, about 5:
an array of zeros and a gradient each, and their sum.
"""

import argparse
import math
import re

import jax
import jax.numpy as jnp

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, blocks, weighted_sum

_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*?)\)(?:,|$)", re.M)
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+))\[([\d,]*)\]")
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while"}


def _bytes(shape):
  return sum(
    math.prod(int(n) for n in dims.split(",") if n) * (int(bits) // 8 if bits else 1)
    for _, bits, dims in _ARRAY.findall(shape)
  )


def of_loops(text):
  """Bytes of a compiled module whose loops all take equally many turns, None without loops."""
  turns = {int(n) for n in re.findall(r'known_trip_count":\{"n":"(\d+)"', text)}
  if not turns:
    return None
  if len(turns) > 1 or len(re.findall(r" while\(", text)) != text.count("known_trip_count"):
    raise ValueError(f"loss_bytes: loops of {turns} turns; expected one known number of them.")
  (count,), total = turns, 0
  loops, _, main = text.partition("\nENTRY ")
  for _, shape, operation, _ in _LINE.findall(loops):
    if operation == "dynamic-slice":
      total += count * _bytes(shape)
    elif operation == "dynamic-update-slice":  # a row of the stacked outputs
      total += _bytes(shape)
  sizes = {name: _bytes(shape) for name, shape, _, _ in _LINE.findall(main)}
  for name, _, operation, operands in _LINE.findall(main):
    if operation not in _FREE:
      total += sizes[name] + sum(sizes.get(o, 0) for o in re.findall(r"%([\w.\-]+)", operands))
  return total


def traffic(names, size, classes, *, whole=False):
  """(bytes to and from memory, least bytes) of the sum of the named losses."""
  loss = weighted_sum({name: (1.0, LOSSES[name]) for name in names})

  def objective(logits, labels):
    return loss(logits, Target(labels))

  logits = jax.ShapeDtypeStruct((1, *size, classes), jnp.float32)
  labels = jax.ShapeDtypeStruct((1, *size), jnp.int32)
  with blocks.whole(whole):
    compiled = jax.jit(jax.value_and_grad(objective)).lower(logits, labels).compile()
  least = 3 * logits.size * 4 + labels.size * 4
  return of_loops(compiled.as_text()) or compiled.cost_analysis()["bytes accessed"], least


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", type=int, nargs="+", default=[128, 128, 128])
  parser.add_argument("--classes", type=int, default=5)
  parser.add_argument("--losses", nargs="+", default=["dice", "cross_entropy"], choices=LOSSES)
  parser.add_argument("--whole", action="store_true", help="without blocks")
  arguments = parser.parse_args()
  options = {"whole": arguments.whole}
  accessed, least = traffic(arguments.losses, arguments.size, arguments.classes, **options)
  print(
    f"{' + '.join(arguments.losses)} at 1x{'x'.join(map(str, arguments.size))}x"
    f"{arguments.classes} on {jax.devices()[0].device_kind}: {accessed / 1e6:.0f} MB accessed, "
    f"{least / 1e6:.0f} MB at least, ratio {accessed / least:.2f}"
  )


if __name__ == "__main__":
  main()
