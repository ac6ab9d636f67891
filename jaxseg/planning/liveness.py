"""Peak memory from a traced program: which arrays it must hold at the same time.

The model of a compiler, after XLA's `InstructionFusion`: elementwise operations and what only moves
values are joined with each that uses them, which computes them again from what they are computed
from, and no array is made between. Arrays are what convolutions, products, sums, loops and the like
read and give, and what several use that is dear to compute, or reads more than it gives. Such an
array is not read by those that compute it again: what it is computed from lives on beside it.
Everything is held from its operation to its last use. Steps run in the order of the trace.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxseg.planning.traced import ALIASES, CHEAP, DEAR, JOINED, SUMS, Operation, Program, flat

# parts of the largest array that are not placed
SMALL = 200


def temporaries(function: Callable, *arguments, cpu: bool = True) -> int:
  """Bytes that `function(*arguments)` holds at most beside arguments and outputs.

  `cpu` tells what XLA's compiler for CPUs adds, see `traced.flat`.
  """
  return _peak(flat(jax.make_jaxpr(function)(*arguments), cpu=cpu))


class Life(NamedTuple):
  """Bytes that are held from one step to another, both included."""

  size: int
  first: int
  last: int


def _peak(program: Program) -> int:
  """Bytes held at most at the same time, without the program's inputs and outputs."""
  return heap_size(_lives(program))


def _lives(program: Program) -> list[Life]:
  operations, sizes = program.operations, program.sizes
  arrays, reads = _arrays(program)
  # the last step that reads each array
  last: dict[int, int] = {}
  for step, read in enumerate(reads):
    last |= dict.fromkeys(read, step)
  free = {*program.inputs, *program.outputs}
  begun: dict[int, int] = {}
  lives = []
  for step, operation in enumerate(operations):
    made = [out for out in operation.outputs if out in arrays and out not in free]
    dying = {number for number in reads[step] if number in begun and last[number] == step}
    # an elementwise step writes over an operand that is not read again
    if operation.name in CHEAP | DEAR and made:
      same = [number for number in dying if sizes[number] == sizes[made[0]]]
      for number in same[:1]:
        dying.discard(number)
        lives.append(Life(sizes[number], begun.pop(number), step - 1))
    lives += [Life(sizes[number], begun.pop(number), step) for number in dying]
    if operation.inner:
      lives.append(Life(max(map(_peak, operation.inner)), step, step))
    begun |= dict.fromkeys(made, step)
    lives += [Life(sizes[out], begun.pop(out), step) for out in made if out not in last]
  return lives + [Life(sizes[number], step, len(operations)) for number, step in begun.items()]


def heap_size(lives: list[Life]) -> int:
  """Bytes of the memory that all lie in, the largest placed first, each where it fits most tightly.

  What is small beside the whole is taken as one array more.
  """
  lives = sorted(lives, key=lambda life: (-life.size, life.first))
  if not lives:
    return 0
  least = lives[0].size // SMALL
  placed: list[tuple[int, Life]] = []
  most = 0
  for life in lives:
    if life.size < least:
      break
    beside = sorted(
      (at, at + other.size)
      for at, other in placed
      if other.first <= life.last and life.first <= other.last
    )
    end, best, room = 0, None, None
    for at, upto in beside:
      if at - end >= life.size and (room is None or at - end < room):
        best, room = end, at - end
      end = max(end, upto)
    at = end if best is None else best
    placed.append((at, life))
    most = max(most, at + life.size)
  return most


def _arrays(program: Program) -> tuple[set[int], list[set[int]]]:
  """The values that are arrays of their own, and those that each step reads."""
  operations, elements = program.operations, program.elements
  maker = {out: step for step, operation in enumerate(operations) for out in operation.outputs}
  name = {out: operations[step].name for out, step in maker.items()}
  users: dict[int, set[int]] = {}
  for step, operation in enumerate(operations):
    for taken in _operands(operation, maker, operations):
      users.setdefault(taken, set()).add(step)
  # the values that something reads that is not joined with what it reads
  fixed = set(program.outputs)
  # the steps that compute each operation: its own if what it gives is an array, others' beside it
  homes: list[set[int]] = [set()] * len(operations)
  errors = {o.inputs[0] for o in operations if o.name in ("erf", "erfc")}
  for step in reversed(range(len(operations))):
    operation = operations[step]
    if operation.name not in JOINED:
      homes[step] = {step}
      fixed |= set(_operands(operation, maker, operations))
      continue
    (out,) = operation.outputs
    joined = [user for user in users.get(out, ()) if operations[user].name in JOINED]
    places = set().union(*(homes[user] for user in joined))
    if operation.name in ALIASES:
      barrier = operation.name == "optimization_barrier"
      homes[step] = set() if barrier else places
      fixed |= set(operation.inputs) if barrier or out in fixed else set()
      continue
    several = len(places) + (out in fixed) > 1
    several |= operation.name == "exp" and _squared(operation.inputs[0], maker, operations, errors)
    full = {n for n in operation.inputs if elements[n] >= elements[out]}
    full = {n for n in full if name.get(n) not in ("broadcast_in_dim", "iota")}
    # what is rounded is dear: on a CPU half precision is computed in float32
    half = program.cpu and 0 < program.sizes[out] == 2 * elements[out]
    once = (
      half or operation.name in DEAR | {"concatenate", "pad"} or (len(full) > 1 and out in fixed)
    )
    if several and once:
      homes[step] = {step}
    else:
      homes[step] = places | ({step} if out in fixed else set())
  reads: list[set[int]] = [set() for _ in operations]
  for step, operation in enumerate(operations):
    for taken in _operands(operation, maker, operations):
      number, behind = taken, False
      while name.get(number) in ALIASES:
        behind |= name[number] == "optimization_barrier"
        number = operations[maker[number]].inputs[0]
      known = homes[maker[number]] if number in maker and not behind else set()
      for home in homes[step] - known:
        reads[home].add(number)
      if step in homes[step] and operations[step].name not in JOINED:
        reads[step].add(number)
  arrays = {out for s, o in enumerate(operations) if s in homes[s] for out in o.outputs}
  return arrays | set(program.inputs), reads


def _squared(number: int, maker, operations, errors: set[int]) -> bool:
  """Whether a value is -x^2 of an x whose error function is computed from its exponential, too."""
  while number in maker and operations[maker[number]].name in (
    "neg",
    "square",
    "integer_pow",
    "mul",
  ):
    number = operations[maker[number]].inputs[0]
    if number in errors:
      return True
  return False


def _operands(operation: Operation, maker, operations) -> tuple[int, ...]:
  """What an operation reads; a sum takes the factors of a product itself."""
  if operation.name in SUMS:
    number = operation.inputs[0]
    while number in maker and operations[maker[number]].name in ALIASES:
      number = operations[maker[number]].inputs[0]
    if number in maker and operations[maker[number]].name in ("mul", "square", "integer_pow"):
      return operations[maker[number]].inputs
  return operation.inputs
