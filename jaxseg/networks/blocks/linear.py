"""Linear functions with a transpose of their own, for derivatives in both modes, of any order.

`jax.custom_vjp` gives a gradient of one's own and takes `jax.jvp` away. Here the derivative of a
function stays a linear function, which forward mode calls and reverse mode transposes.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def linear(function, transpose, constants, x, like):
  """`function(constants, x)`, which reverse mode differentiates by `transpose`.

  Args:
    function: (constants, x) -> y, linear in x; derivatives by the constants are its own.
    transpose: (constants, y) -> x, its transpose.
    constants, x: tuples of arrays.
    like: arrays (or shapes and types) like those of the tuple y.
  """
  y = tuple(jax.typeof(a) for a in like)
  options = {"function": function, "transpose": transpose, "constants": len(constants), "y": y}
  return tuple(_linear.bind(*constants, *x, **options))


def bilinear(function, of_left, of_right):
  """`function(left, right)`, an array linear in each of two, with a derivative through others.

  `of_left(y, right)` is its transpose for the left one, `of_right(left, y)` for the right one.
  Where these are bilinear too, derivatives of any order consist of nothing else.
  """

  @jax.custom_jvp
  def product(left, right):
    return function(left, right)

  def rule(primals, tangents):
    (left, right), (to_left, to_right) = primals, tangents
    out, terms = product(left, right), []
    if not isinstance(to_left, SymbolicZero):
      terms += linear(
        lambda constants, x: (product(x[0], constants[0]),),
        lambda constants, y: (of_left(y[0], constants[0]),),
        (right,),
        (to_left,),
        like=(out,),
      )
    if not isinstance(to_right, SymbolicZero):
      terms += linear(
        lambda constants, x: (product(constants[0], x[0]),),
        lambda constants, y: (of_right(constants[0], y[0]),),
        (left,),
        (to_right,),
        like=(out,),
      )
    return out, sum(terms[1:], terms[0])

  product.defjvp(rule, symbolic_zeros=True)
  return product


_linear = Primitive("linear_with_transpose")
_linear.multiple_results = True


@_linear.def_impl
def _call(*args, function, transpose, constants, y):
  return function(args[:constants], args[constants:])


@_linear.def_abstract_eval
def _abstract(*args, function, transpose, constants, y):
  return y


def _jvp(args, tangents, *, function, constants, **options):
  fixed, x = args[:constants], args[constants:]
  options |= {"function": function, "constants": constants}
  out, terms = _linear.bind(*args, **options), []
  moved = [i for i, t in enumerate(tangents[:constants]) if not isinstance(t, ad.Zero)]
  if moved:

    def by_constants(*values):
      changed = list(fixed)
      for i, value in zip(moved, values, strict=True):
        changed[i] = value
      return function(tuple(changed), x)

    terms.append(jax.jvp(by_constants, [fixed[i] for i in moved], [tangents[i] for i in moved])[1])
  if any(not isinstance(t, ad.Zero) for t in tangents[constants:]):
    terms.append(_linear.bind(*fixed, *map(ad.instantiate_zeros, tangents[constants:]), **options))
  return out, [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _transpose(cotangents, *args, function, transpose, constants, y):
  fixed, x = args[:constants], args[constants:]
  # what is known of x in a linear function is a zero: of an argument that is not differentiated by
  unknown = [ad.is_undefined_primal(a) for a in x]
  out = _linear.bind(
    *fixed,
    *map(ad.instantiate_zeros, cotangents),
    function=transpose,
    transpose=function,
    constants=constants,
    y=tuple(a.aval if u else jax.typeof(a) for a, u in zip(x, unknown, strict=True)),
  )
  return [None] * constants + [a if u else None for a, u in zip(out, unknown, strict=True)]


def _batch(args, axes, *, function, transpose, constants, y):
  size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
  # linear arguments without the axis get it, so that their cotangents are summed over it
  x = [
    jnp.broadcast_to(a, (size, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
    for a, axis in zip(args[constants:], axes[constants:], strict=True)
  ]
  over = functools.partial(jax.vmap, in_axes=(tuple(axes[:constants]), 0))
  batched = [jax.eval_shape(lambda a: jnp.broadcast_to(a, (size, *a.shape)), a) for a in y]
  out = linear(over(function), over(transpose), tuple(args[:constants]), tuple(x), batched)
  return out, (0,) * len(out)


ad.primitive_jvps[_linear] = _jvp
ad.primitive_transposes[_linear] = _transpose
batching.primitive_batchers[_linear] = _batch
mlir.register_lowering(_linear, mlir.lower_fun(_call, multiple_results=True))
