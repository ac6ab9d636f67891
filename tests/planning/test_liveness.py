"""Which arrays a program holds at the same time, against counts by hand."""

import jax
import jax.numpy as jnp

from jaxseg.planning.liveness import temporaries

X = jax.ShapeDtypeStruct((128, 128), jnp.float32)
SIZE = 4 * 128 * 128


def test_elementwise_steps_make_no_arrays():
  assert temporaries(lambda x: (x + 1) * 2 - x, X) == 0


def test_a_product_needs_its_operand_and_what_it_gives():
  # x + 1 while the first product is made, then that product
  assert temporaries(lambda x: ((x + 1) @ x) @ x, X) == 2 * SIZE


def test_the_derivative_keeps_what_it_reads_again():
  def chain(x):
    for _ in range(4):
      x = jnp.tanh(x @ x)
    return x.sum()

  one = temporaries(chain, X)
  kept = temporaries(jax.grad(chain), X)
  assert kept >= one + 3 * SIZE


def test_what_is_computed_twice_counts_once_unless_it_is_computed_again():
  def block(x):
    for _ in range(4):
      x = jnp.tanh(x @ x)
    return x

  def loss(x, again):
    f = jax.checkpoint(block) if again else block
    for _ in range(4):
      x = f(x)
    return x.sum()

  plain, again = (temporaries(jax.grad(lambda x, a=a: loss(x, a)), X) for a in (False, True))
  assert again < 0.7 * plain


def test_a_loop_holds_what_one_turn_of_it_holds():
  def turn(carry, _):
    return ((carry + 1) @ carry) @ carry, None

  looped = temporaries(lambda x: jax.lax.scan(turn, x, length=100)[0], X)
  assert SIZE <= looped <= 4 * SIZE
