"""Peak memory from a traced program: which arrays it must hold at the same time.

The model of a compiler: elementwise operations and what only moves values are joined with what
uses them, and no array is made between them, unless a convolution, a product or a loop reads it, or
several read what is dear to compute. Everything else is an array from its operation to its last
use. Steps run in the order of the trace.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

# elementwise, dear: an array where several use it
DEAR = {
  *("exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "erf", "erfc", "erf_inv", "pow"),
  *("sqrt", "rsqrt", "cbrt", "sin", "cos", "tan", "atan2", "div", "rem"),
}
# elementwise and cheap, or moving values: computed again by each that uses it
CHEAP = {
  *("add", "sub", "mul", "neg", "abs", "sign", "max", "min", "select_n", "integer_pow", "square"),
  *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor", "is_finite", "clamp", "floor"),
  *("ceil", "round", "add_any", "convert_element_type", "broadcast_in_dim", "iota", "slice", "pad"),
  *("concatenate", "transpose", "rev", "stop_gradient", "shift_left", "shift_right_logical"),
  *("shift_right_arithmetic", "nextafter", "real", "imag", "dynamic_slice", "erf_inv", "exp2"),
}
# another name of the same array
ALIASES = {"reshape", "squeeze", "expand_dims", "copy", "copy_p", "name", "optimization_barrier"}
ALIASES |= {"sharding_constraint", "reduce_precision", "random_wrap", "random_unwrap"}
# what reads its operands as it goes
SUMS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod"}


class Operation(NamedTuple):
  """A step of a flat program: values are numbers, `inner` is what it holds beside its operands."""

  name: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  inner: int


class Program(NamedTuple):
  """A flat program; `sizes` are the bytes of each value."""

  operations: list[Operation]
  sizes: list[int]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]


def temporaries(function: Callable, *arguments) -> int:
  """Bytes that `function(*arguments)` holds at most beside arguments and outputs."""
  return _peak(_flat(jax.make_jaxpr(function)(*arguments)))


def _bytes(aval) -> int:
  return math.prod(getattr(aval, "shape", ())) * getattr(
    getattr(aval, "dtype", None), "itemsize", 4
  )


def _flat(closed) -> Program:
  """A traced program without calls, without what nothing uses."""
  sizes: list[int] = []
  operations: list[Operation] = []
  # what was computed before, by what it is computed from
  before: dict[Any, list[int]] = {}
  literals: dict[Any, int] = {}

  def value(aval) -> int:
    sizes.append(_bytes(aval))
    return len(sizes) - 1

  def run(jaxpr, inputs) -> list[int]:
    own = dict(zip(jaxpr.invars, inputs, strict=True))
    for constant in jaxpr.constvars:
      own[constant] = value(constant.aval)

    def read(atom) -> int:
      if not hasattr(atom, "val"):
        return own[atom]
      key = (str(atom.val), str(atom.aval))
      if key not in literals:
        literals[key] = value(atom.aval)
      return literals[key]

    for equation in jaxpr.eqns:
      taken = [read(atom) for atom in equation.invars]
      called = _called(equation)
      if equation.params.get("differentiated"):
        # computed again, from what is kept: not the same as what was computed before
        behind = [value(atom.aval) for atom in equation.invars]
        for number, again in zip(taken, behind, strict=True):
          operations.append(Operation("optimization_barrier", (number,), (again,), 0))
        taken = behind
      if called is not None:
        given = run(called, taken)
      else:
        name = equation.primitive.name
        key = (name, *taken, str(equation.params)) if name in CHEAP | DEAR | SUMS else None
        given = before.get(key)
        if given is None:
          given = [value(out.aval) for out in equation.outvars]
          operations.append(Operation(name, tuple(taken), tuple(given), _inside(equation)))
          before[key if key else len(operations)] = given
      own |= dict(zip(equation.outvars, given, strict=True))
    return [read(atom) for atom in jaxpr.outvars]

  inputs = [value(var.aval) for var in closed.jaxpr.invars]
  outputs = run(closed.jaxpr, inputs)
  needed, kept = set(outputs), []
  for operation in reversed(operations):
    if needed & set(operation.outputs):
      needed |= set(operation.inputs)
      kept.append(operation)
  return Program(kept[::-1], sizes, tuple(inputs), tuple(outputs))


def _called(equation):
  """The program that an equation calls once with its own arguments, or None."""
  name, params = equation.primitive.name, equation.params
  if name in ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"):
    inner = params.get("jaxpr", params.get("call_jaxpr", params.get("fun_jaxpr")))
    return getattr(inner, "jaxpr", inner)
  if name in ("checkpoint", "remat", "remat2"):
    return params["jaxpr"]
  if name == "linear_with_transpose":
    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
    count = params["constants"]
    traced = jax.make_jaxpr(lambda *a: params["function"](a[:count], a[count:]))(*shapes)
    return traced.jaxpr
  return None


def _programs(params) -> Iterator[Any]:
  for item in params.values():
    for one in item if isinstance(item, tuple | list) else (item,):
      inner = getattr(one, "jaxpr", one)
      if hasattr(inner, "eqns"):
        yield one if hasattr(one, "jaxpr") else jax.extend.core.ClosedJaxpr(one, ())


def _inside(equation) -> int:
  """Bytes that an operation holds while it runs, beside what it reads and gives."""
  return max((_peak(_flat(inner)) for inner in _programs(equation.params)), default=0)


def _peak(program: Program) -> int:
  """Bytes held at most at the same time, without the program's inputs and outputs."""
  operations, sizes = program.operations, program.sizes
  maker = {out: operation for operation in operations for out in operation.outputs}
  users: dict[int, list[Operation]] = {}
  for operation in operations:
    for taken in set(operation.inputs):
      users.setdefault(taken, []).append(operation)
  arrays = _arrays(program, maker, users)

  def sources(number: int) -> set[int]:
    """The arrays that a value is computed from where it is used."""
    if number in arrays or number not in maker:
      return {number}
    if number not in known:
      known[number] = set().union(*(sources(taken) for taken in maker[number].inputs), set())
    return known[number]

  known: dict[int, set[int]] = {}
  # the last step that reads each array
  last: dict[int, int] = {}
  reads = []
  for step, operation in enumerate(operations):
    makes = [out for out in operation.outputs if out in arrays]
    read = set().union(*(sources(taken) for taken in operation.inputs), set()) if makes else set()
    reads.append(read)
    last |= dict.fromkeys(read, step)
  free = {*program.inputs, *program.outputs}
  held = most = 0
  live: set[int] = set()
  for step, operation in enumerate(operations):
    made = [out for out in operation.outputs if out in arrays and out not in free]
    dying = {number for number in reads[step] & live if last[number] == step}
    size = sum(sizes[out] for out in made)
    if operation.name in CHEAP | DEAR:
      # written over an operand that is not read again
      reused = max((sizes[n] for n in dying if sizes[n] == size), default=0)
      most = max(most, held + size - reused)
    else:
      most = max(most, held + size + operation.inner)
    held += size - sum(sizes[number] for number in dying)
    live = (live - dying) | set(made)
    unread = [out for out in made if out not in last]
    held -= sum(sizes[out] for out in unread)
  return most


def _arrays(program: Program, maker, users) -> set[int]:
  """The values that are arrays of their own."""
  arrays = set(program.inputs) | set(program.outputs)
  for operation in program.operations:
    if operation.name not in CHEAP | DEAR | ALIASES:
      arrays |= set(operation.outputs)
      if operation.name == "reduce_sum":
        arrays |= _summed(operation.inputs[0], maker)
      elif operation.name not in SUMS:
        arrays |= {_root(taken, maker) for taken in operation.inputs}
  count = Counter({number: len(of) for number, of in users.items()})
  errors = {o.inputs[0] for o in program.operations if o.name in ("erf", "erfc")}
  for operation in program.operations:
    shared = operation.name == "exp" and _squared(operation.inputs[0], maker, errors)
    if operation.name in DEAR:
      arrays |= {out for out in operation.outputs if count[out] > 1 or shared}
  return arrays


def _squared(number: int, maker, errors: set[int]) -> bool:
  """Whether a value is -x^2 of an x whose error function is computed from its exponential, too."""
  while number in maker and maker[number].name in ("neg", "square", "integer_pow", "mul"):
    number = maker[number].inputs[0]
    if number in errors:
      return True
  return False


def _summed(number: int, maker) -> set[int]:
  """What a sum reads: its operand, or the factors of a product that it takes itself."""
  number = _root(number, maker)
  if number in maker and maker[number].name in ("mul", "square", "integer_pow"):
    return {_root(taken, maker) for taken in maker[number].inputs}
  return {number}


def _root(number: int, maker) -> int:
  """The array that a value is another name of."""
  while number in maker and maker[number].name in ALIASES:
    number = maker[number].inputs[0]
  return number
