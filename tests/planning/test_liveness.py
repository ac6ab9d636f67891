"""Which arrays a program holds at the same time, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.planning.liveness import Life, heap_size, temporaries

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


def test_what_is_cheap_is_computed_again_from_what_it_is_made_from():
  """`y - 1` is an array for the product, but the sum reads y: both are there at the end."""

  def function(x):
    y = x @ x
    z = y - 1
    return (z @ x) @ x + jnp.abs(z)

  # y, z, and one product after the other, the last of which is written over by the result
  assert temporaries(function, X) >= 3 * SIZE
  # what reads two arrays is not computed again
  assert temporaries(lambda x: (z := x @ x - x) @ x @ x + jnp.abs(z), X) == 3 * SIZE


def test_what_is_dear_and_used_twice_is_an_array():
  def function(x, used):
    y = jnp.exp(x)
    return (y + 1 if used == 1 else y + jnp.max(y, 0, keepdims=True)) * 2

  assert temporaries(lambda x: function(x, 1), X) == 0
  assert temporaries(lambda x: function(x, 2), X) >= SIZE


def convolution(dtype):
  image = jax.ShapeDtypeStruct((2, 32, 32, 4), dtype)
  kernel = jax.ShapeDtypeStruct((3, 3, 4, 4), dtype)

  def loss(kernel, image):
    numbers = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    return jnp.sum(out.astype(jnp.float32) ** 2)

  return loss, kernel, image


def test_a_cpus_convolution_reads_copies_in_the_order_that_it_wants():
  loss, *shapes = convolution(jnp.float32)
  size = 4 * 2 * 32 * 32 * 4
  alone = temporaries(jax.grad(loss), *shapes, cpu=False)
  # of the image; that of the gradient that comes back is written over it
  assert temporaries(jax.grad(loss), *shapes, cpu=True) - alone == pytest.approx(size, rel=0.02)


def test_a_cpus_products_of_half_precision_are_made_in_float32():
  loss, kernel, image = convolution(jnp.bfloat16)
  image = jax.ShapeDtypeStruct((1, *image.shape[1:]), image.dtype)
  half, single = (temporaries(loss, kernel, image, cpu=cpu) for cpu in (False, True))
  # the result, and what of it is summed in float32
  assert half == pytest.approx((2 + 4) * 32 * 32 * 4, rel=0.02)
  # the image in float32, and a result of as much
  assert single == pytest.approx((4 + 4) * 32 * 32 * 4, rel=0.1)


def test_what_does_not_fit_into_a_gap_lies_behind_it():
  lives = [Life(3, 0, 1), Life(2, 1, 3), Life(4, 2, 3)]
  # 4 first, then 3 in its place before it, then 2 beside both
  assert heap_size(lives) == 6
  assert heap_size([Life(4, 0, 1), Life(4, 2, 3)]) == 4
  assert heap_size([]) == 0
