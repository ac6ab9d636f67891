"""Another derivative for a network's ReLUs: the traced program is gone through and each is swapped.

The network is not edited and need not know: whether a ReLU is a module's or a function's, inside
`nn.remat`, `nn.scan` or a branch, it is a call with a name in the program.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

# zero or nearly so below zero, and so what the rules below are made for; other activations keep
# their derivative
RECTIFIERS = ("relu", "relu6", "leaky_relu")

# (input, cotangent) -> what is passed on
Rule = Callable[[jax.Array, jax.Array], jax.Array]


def guided(x, cotangent):
  """Passes where the input and the cotangent are positive (Springenberg, arXiv 1412.6806)."""
  return jnp.where((x > 0) & (cotangent > 0), cotangent, 0)


def deconvolution(x, cotangent):
  """Passes where the cotangent is positive, whatever the input (Zeiler, Fergus, 1311.2901)."""
  del x
  return jnp.maximum(cotangent, 0)


def with_rule(apply: Callable, rule: Rule) -> Callable:
  """`apply` with the same values, its rectifiers' derivative by `rule`.

  ReLU6 is passed as a ReLU, and a leaky one's slope below zero is left out: by both rules the side
  below zero says nothing. `count` tells which ones a network has.
  """
  return _swapped(apply, lambda equation: _ruled(equation, rule))


def with_listener(apply: Callable, listen: Callable[[Any], None]) -> Callable:
  """`apply` with the same values, which gives each rectifier's input, as NumPy's, to `listen`."""

  def listening(equation: JaxprEqn) -> Callable:
    def rectified(x, *slopes):
      jax.debug.callback(listen, x)
      return _bound(equation, (x, *slopes))

    return rectified

  return _swapped(apply, listening)


def _swapped(apply: Callable, swap: Callable[[JaxprEqn], Callable]) -> Callable:
  """`apply`, each rectifier's call replaced by what `swap` makes of it."""

  def run(*arguments):
    program, outputs = jax.make_jaxpr(lambda *a: apply(*a), return_shape=True)(*arguments)
    values = _evaluate(program, swap, jax.tree.leaves(arguments))
    return jax.tree.unflatten(jax.tree.structure(outputs), values)

  return run


def count(apply: Callable, *arguments) -> Counter:
  """Name -> how many rectifiers of that name a program has, those in a loop's body once."""
  counted: Counter = Counter()
  _count(jax.make_jaxpr(lambda *a: apply(*a))(*arguments).jaxpr, counted)
  return counted


def _rectifier(equation: JaxprEqn) -> str:
  """The name of the rectifier that an equation is the call of, "" for other ones."""
  name = equation.params.get("name", "")
  if equation.primitive.name == "custom_jvp_call":
    (*_, last) = equation.params["call_jaxpr"].jaxpr.eqns or [None]
    name = last.params.get("name", "") if last is not None else ""
  # a scan leaves empty calls behind, of what it took in
  return name if name in RECTIFIERS and equation.outvars else ""


def _inner(equation: JaxprEqn) -> list[Jaxpr]:
  """The programs inside an equation."""
  found = []
  for value in equation.params.values():
    for part in value if isinstance(value, tuple | list) else (value,):
      if isinstance(part, ClosedJaxpr):
        found.append(part.jaxpr)
      elif isinstance(part, Jaxpr):
        found.append(part)
  return found


def _count(program: Jaxpr, counted: Counter) -> None:
  for equation in program.eqns:
    if name := _rectifier(equation):
      counted[name] += 1
      continue
    for inner in _inner(equation):
      _count(inner, counted)


def _holds(program: Jaxpr) -> bool:
  return any(
    _rectifier(equation) or any(map(_holds, _inner(equation))) for equation in program.eqns
  )


def _evaluate(program: ClosedJaxpr, swap: Callable, arguments) -> list[Any]:
  values: dict[Var, Any] = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
  values |= dict(zip(program.jaxpr.invars, arguments, strict=True))

  def read(atom):
    return atom.val if isinstance(atom, Literal) else values[atom]

  for equation in program.jaxpr.eqns:
    outputs = _call(equation, swap)(*map(read, equation.invars))
    values |= dict(zip(equation.outvars, outputs, strict=True))
  return [read(atom) for atom in program.jaxpr.outvars]


def _call(equation: JaxprEqn, swap: Callable) -> Callable:
  """An equation as a function of its inputs; what holds no rectifier stays what it is."""
  if _rectifier(equation):
    return swap(equation)
  if not any(map(_holds, _inner(equation))):
    return lambda *inputs: _bound(equation, inputs)
  kind, params = equation.primitive.name, equation.params

  def inner(program, *inputs):
    return _evaluate(program, swap, inputs)

  if kind in ("jit", "pjit", "closed_call", "core_call"):
    return lambda *inputs: inner(_closed(_inner(equation)[0], params), *inputs)
  if kind in ("remat2", "checkpoint"):
    again = jax.checkpoint(
      lambda *inputs: inner(ClosedJaxpr(params["jaxpr"], ()), *inputs),
      policy=params["policy"],
      prevent_cse=params["prevent_cse"],
    )
    return again
  if kind == "scan":
    return lambda *inputs: _scan(params, inner, inputs)
  if kind == "cond" and params.get("branches_platforms") is None:
    choices = [lambda *inputs, of=of: inner(of, *inputs) for of in params["branches"]]
    return lambda index, *inputs: jax.lax.switch(index, choices, *inputs)
  raise ValueError(
    f"guided and deconvolution: the network has a ReLU inside a '{kind}', which is not gone into; "
    "use gradient, smooth_grad or integrated_gradients."
  )


def _closed(program: Jaxpr, params) -> ClosedJaxpr:
  held = next((v for v in params.values() if isinstance(v, ClosedJaxpr)), None)
  return ClosedJaxpr(program, ()) if held is None else held


def _bound(equation: JaxprEqn, inputs) -> list[Any]:
  outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
  return outputs if equation.primitive.multiple_results else [outputs]


def _ruled(equation: JaxprEqn, rule: Rule) -> Callable:
  @jax.custom_vjp
  def rectified(x, *slopes):
    return _bound(equation, (x, *slopes))

  def forward(x, *slopes):
    return rectified(x, *slopes), (x, slopes)

  def backward(kept, cotangents):
    x, slopes = kept
    return (rule(x, cotangents[0]), *map(jnp.zeros_like, slopes))

  rectified.defvjp(forward, backward)
  return rectified


def _scan(params, inner: Callable, inputs) -> list[Any]:
  consts, carry = _counts(params)
  shared, start, streams = (
    inputs[:consts],
    inputs[consts : consts + carry],
    inputs[consts + carry :],
  )

  def step(state, slices):
    outputs = inner(params["jaxpr"], *shared, *state, *slices)
    return tuple(outputs[:carry]), tuple(outputs[carry:])

  options = {name: params[name] for name in ("length", "reverse", "unroll")}
  state, stacked = jax.lax.scan(step, tuple(start), tuple(streams), **options)
  return [*state, *stacked]


def _counts(params) -> tuple[int, int]:
  """How many of a scan's inputs are shared by all steps, and carried; JAX 0.11 names them anew."""
  if "ft_in" not in params:
    return params["num_consts"], params["num_carry"]
  shared, carried, _ = params["ft_in"].unpack()
  return len(shared), len(carried)
