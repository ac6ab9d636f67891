"""A traced program as a flat list of steps: without calls, each value computed once."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# elementwise, dear: an array where several use it ("narrow" rounds to a type of fewer bytes)
DEAR = {
  *("exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "erf", "erfc", "erf_inv", "pow"),
  *("sqrt", "rsqrt", "cbrt", "sin", "cos", "tan", "atan2", "div", "rem", "narrow"),
}
# elementwise and cheap, or moving values: computed again by each that uses it
CHEAP = {
  *("add", "sub", "mul", "neg", "abs", "sign", "max", "min", "select_n", "integer_pow", "square"),
  *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor", "is_finite", "clamp", "floor"),
  *("ceil", "round", "add_any", "convert_element_type", "broadcast_in_dim", "iota", "slice", "pad"),
  *("concatenate", "split", "unstack", "transpose", "rev", "stop_gradient", "nextafter"),
  *("shift_left", "shift_right_logical", "shift_right_arithmetic", "real", "imag", "dynamic_slice"),
}
PRODUCTS = {"conv_general_dilated", "dot_general"}
# another name of the same array
ALIASES = {"reshape", "squeeze", "expand_dims", "copy", "copy_p", "name", "optimization_barrier"}
ALIASES |= {"sharding_constraint", "reduce_precision", "random_wrap", "random_unwrap"}
# what is joined with what it reads, and with what reads it
JOINED = DEAR | CHEAP | ALIASES
# what reads its operands as it goes
SUMS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_and", "reduce_or", "reduce_prod"}


class Operation(NamedTuple):
  """A step of a flat program: values are numbers, `inner` are the programs that it runs."""

  name: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  inner: tuple["Program", ...] = ()


class Program(NamedTuple):
  """A flat program; `sizes` are bytes of each value, `elements` its numbers; `cpu` as of `flat`."""

  operations: list[Operation]
  sizes: list[int]
  elements: list[int]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  cpu: bool = True


def _bytes(aval) -> int:
  return math.prod(getattr(aval, "shape", ())) * getattr(
    getattr(aval, "dtype", None), "itemsize", 4
  )


def flat(closed, *, cpu: bool) -> Program:
  """A traced program without calls, without what nothing uses.

  Args:
    closed: a ClosedJaxpr.
    cpu: XLA's compiler for CPUs adds steps of its own: convolutions read their operands in one
      order of axes, products of half precision are made in float32, what scattering adds to is
      made before all else.
  """
  sizes: list[int] = []
  elements: list[int] = []
  operations: list[Operation] = []
  # what was computed before, by what it is computed from
  before: dict[Any, list[int]] = {}
  literals: dict[Any, int] = {}
  # of what convolutions read in another order of its axes, made as soon as it is known
  copies: dict[int, int] = {}
  # arrays of one number; steps that are made before all others
  constants: set[int] = set()
  first: list[Operation] = []

  def value(aval) -> int:
    elements.append(math.prod(getattr(aval, "shape", ())))
    sizes.append(_bytes(aval))
    return len(sizes) - 1

  def widened(number: int, aval) -> bool:
    """Whether products of a type are made in float32, which the value then is."""
    if aval.dtype.itemsize < 4 and jnp.issubdtype(aval.dtype, jnp.floating):
      sizes[number] = 4 * elements[number]
      return True
    return False

  def prepared(equation, at: int, number: int) -> int:
    """An operand as the CPU's products read it: in float32, in the order of its axes."""
    aval = equation.invars[at].aval
    if aval.dtype.itemsize < 4 and ("wide", number) not in before:
      wide = value(aval)
      if widened(wide, aval):
        before["wide", number] = [wide]
        operations.append(Operation("convert_element_type", (number,), (wide,)))
    (number,) = before.get(("wide", number), [number])
    if equation.primitive.name == "conv_general_dilated" and _transposed(equation, at):
      if number not in copies:
        copies[number] = value(aval)
        sizes[copies[number]] = sizes[number]
      return copies[number]
    return number

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
      operands = [read(atom) for atom in equation.invars]
      called = _called(equation)
      if equation.params.get("differentiated"):
        # computed again, from what is kept: not the same as what was computed before
        behind = [value(atom.aval) for atom in equation.invars]
        for number, again in zip(operands, behind, strict=True):
          operations.append(Operation("optimization_barrier", (number,), (again,)))
        operands = behind
      if called is not None:
        results = run(called, operands)
      else:
        name = "narrow" if _narrow(equation) else equation.primitive.name
        key = (name, *operands, str(equation.params)) if name in CHEAP | DEAR | SUMS else None
        results = before.get(key)
        if results is None:
          results = [value(out.aval) for out in equation.outvars]
          if cpu and name in PRODUCTS:
            operands = [prepared(equation, at, number) for at, number in enumerate(operands)]
            widened(results[0], equation.outvars[0].aval)
          if cpu and name.startswith("scatter") and operands[0] in constants:
            operands = [value(equation.invars[0].aval), *operands[1:]]
            first.append(Operation("broadcast_in_dim", (), (operands[0],)))
          if name == "broadcast_in_dim" and hasattr(equation.invars[0], "val"):
            constants.update(results)
          inner = tuple(flat(of, cpu=cpu) for of in _programs(equation.params))
          for outs in [[out] for out in results] if name in ("split", "unstack") else [results]:
            operations.append(Operation(name, tuple(operands), tuple(outs), inner))
          if key:
            before[key] = results
      own |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]

  inputs = [value(var.aval) for var in closed.jaxpr.invars]
  outputs = run(closed.jaxpr, inputs)
  ordered = first + [Operation("transpose", (n,), (copies[n],)) for n in copies if n in inputs]
  for operation in operations:
    ordered.append(operation)
    for out in operation.outputs:
      if out in copies:
        ordered.append(Operation("transpose", (out,), (copies[out],)))
  needed, kept = set(outputs), []
  for operation in reversed(ordered):
    if needed & set(operation.outputs):
      needed |= set(operation.inputs)
      kept.append(operation)
  return Program(kept[::-1], sizes, elements, tuple(inputs), tuple(outputs), cpu)


def _narrow(equation) -> bool:
  """Whether an equation rounds to a type of fewer bytes."""
  if equation.primitive.name != "convert_element_type":
    return False
  old, new = equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype
  return jnp.issubdtype(new, jnp.floating) and new.itemsize < old.itemsize


def _transposed(equation, at: int) -> bool:
  """Whether a convolution reads an operand in another order than it lies in memory."""
  first, second, _ = equation.params["dimension_numbers"]
  order = (first[0], *first[2:], first[1]) if at == 0 else (*second[2:], second[1], second[0])
  order = [axis for axis in order if equation.invars[at].aval.shape[axis] > 1]
  return order != sorted(order)


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
