"""What options that cost or save memory must leave alone."""

import jax
import jax.numpy as jnp


def assert_same_parameters_and_shapes(plain, other):
  """Equal parameters; float32 logits of the input's size."""
  x = jax.ShapeDtypeStruct((1, 9, 6, 5, 1), jnp.float32)

  def run(net, x):
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return net.init_with_output(rngs, x, train=True)

  plain, other = (jax.eval_shape(lambda x, net=net: run(net, x), x) for net in (plain, other))
  assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), plain[1]) == jax.tree.map(
    lambda leaf: (leaf.shape, leaf.dtype), other[1]
  )
  assert other[0]["logits"].shape == plain[0]["logits"].shape == (1, 9, 6, 5, 3)
  assert other[0]["logits"].dtype == jnp.float32
