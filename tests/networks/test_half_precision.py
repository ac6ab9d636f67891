"""bfloat16 of every network: its convolutions compute in it, all that is kept stays float32."""

import jax
import jax.numpy as jnp
import pytest
from network_rows import ROWS

from jaxseg import networks
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.describe import _inner

# convolutions of logits, which are float32
OF_LOGITS = {"triplanar": 1}


def half(name):
  """The network in bfloat16; one that is made of networks says so of each."""
  small = ROWS[name].small
  try:
    return networks.NETWORKS[name](classes=3, **{**small, "dtype": "bfloat16"})
  except TypeError:
    inner = {
      key: {**of, "dtype": "bfloat16"} if isinstance(of, dict) else of for key, of in small.items()
    }
    return networks.NETWORKS[name](classes=3, **inner)


def convolutions(program):
  for equation in program.eqns:
    if equation.primitive.name == "conv_general_dilated":
      yield {str(operand.aval.dtype) for operand in equation.invars}
    for inner in _inner(equation.params):
      yield from convolutions(inner)


@pytest.mark.parametrize("name", ROWS)
def test_convolutions_are_in_half_precision_and_nothing_else_is(name):
  net = half(name)
  x = jax.ShapeDtypeStruct((2, *ROWS[name].sizes[-1], 2), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))

  def run(variables, x, key):
    mutable = [kind for kind in variables if kind != "params"]
    return net.apply(variables, x, train=True, rngs={"dropout": key}, mutable=mutable)

  # those written for CPUs compute in float32
  with cpu_gradients(False):
    variables = jax.eval_shape(lambda key, x: net.init(key, x, train=True), key, x)
    program, (outputs, _) = jax.make_jaxpr(run, return_shape=True)(variables, x, key)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32"), "int32"}
  assert {of.dtype for of in (outputs["logits"], *outputs.get("aux", ()))} == {jnp.dtype("float32")}
  types = list(convolutions(program.jaxpr))
  full = [of for of in types if "float32" in of]
  assert len(full) == OF_LOGITS.get(name, 0), full
  assert len(types) > len(full)
