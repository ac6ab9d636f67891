"""Non-local block: worked values, published counts, chunks that change nothing but memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import NonLocal
from jaxseg.networks.blocks.nonlocal_block import attend


def parameters(block, *shape):
  variables = jax.eval_shape(
    block.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
  )
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def triple(queries, keys, seed=0):
  rng = np.random.default_rng(seed)
  shapes = ((2, queries, 2, 3), (2, keys, 2, 3), (2, keys, 2, 4))
  return tuple(rng.normal(size=s).astype(np.float32) for s in shapes)


def test_published_counts():
  aggregation = NonLocal(inter=128, heads=2)
  assert parameters(aggregation, 1, 4, 4, 4, 128) == 4 * (128**2 + 128) == 66_048
  embedded = NonLocal(inter=32)
  assert parameters(embedded, 1, 8, 8, 64) == 8_352
  assert parameters(NonLocal(inter=32, norm="batch"), 1, 8, 8, 64) == 8_352 + 128
  # no query and key: value and output only
  assert parameters(NonLocal(mode="gaussian", inter=32), 1, 8, 8, 64) == 2_080 + 2_112


@pytest.mark.parametrize(
  ("mode", "query"), [("gaussian", False), ("embedded", True)], ids=lambda v: str(v)
)
def test_identity_projections_give_the_worked_values(mode, query):
  x = jnp.array([0.0, 1.0, 2.0]).reshape(1, 3, 1, 1)
  one = {"kernel": jnp.ones((1, 1, 1, 1)), "bias": jnp.zeros(1)}
  names = ("query", "key", "value", "out") if query else ("value", "out")
  params = dict.fromkeys(names, one)
  y = NonLocal(mode=mode, inter=1, residual=False).apply({"params": params}, x)
  assert_close(y.ravel(), (1.0, 1.575210, 1.850937), atol=1e-6)
  # dot product: x_i times the mean of x_j^2
  if query:
    y = NonLocal(mode="dot", inter=1, residual=False).apply({"params": params}, x)
    assert_close(y.ravel(), np.array([0, 1, 2]) * 5 / 3)


def test_attention_equals_its_definition_per_head():
  q, k, v = triple(5, 7)
  got = jax.jit(functools.partial(attend, scale=0.5))(q, k, v)
  for b in range(2):
    for h in range(2):
      weights = np.exp(0.5 * q[b, :, h] @ k[b, :, h].T)
      weights /= weights.sum(-1, keepdims=True)
      np.testing.assert_allclose(got[b, :, h], weights @ v[b, :, h], rtol=2e-5, atol=1e-6)
  got = attend(q, k, v, scale=0.5, softmax=False)
  want = np.einsum("bqhc,bnhc,bnhd->bqhd", q, k, v) * 0.5 / 7
  np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_chunks_change_neither_values_nor_gradients(dropout):
  arrays = triple(11, 7)
  key = jax.random.key(3) if dropout else None

  @functools.partial(jax.jit, static_argnums=1)
  def run(arrays, chunk):
    def loss(arrays):
      out = attend(*arrays, chunk=chunk, dropout=dropout, dropout_key=key)
      return jnp.sum(jnp.sin(out)), out

    return jax.grad(loss, has_aux=True)(arrays)

  whole, parts = run(arrays, 11), run(arrays, 4)
  jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-6), whole, parts)


def sizes(jaxpr):
  """Elements of every intermediate array, inside loops and checkpoints too."""
  for equation in jaxpr.eqns:
    yield from (v.aval.size for v in equation.outvars)
    for value in equation.params.values():
      for inner in value if isinstance(value, tuple | list) else (value,):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          yield from sizes(inner)


def test_memory_of_forward_and_backward_pass_is_linear_in_the_chunk():
  arrays = [jnp.zeros((1, 4096, 1, 4))] * 3

  def largest(chunk):
    def loss(arrays):
      return jnp.sum(attend(*arrays, chunk=chunk))

    return max(sizes(jax.make_jaxpr(jax.grad(loss))(arrays).jaxpr))

  assert largest(4096) == 4096**2
  assert largest(64) == 64 * 4096
  assert largest(16) == 16 * 4096


def test_block_starts_as_the_identity():
  x = jax.random.normal(jax.random.key(0), (1, 4, 6, 4))
  for norm in ("none", "batch", "group"):
    block = NonLocal(heads=2, norm=norm)
    variables = jax.jit(block.init)(jax.random.key(1), x)
    np.testing.assert_array_equal(block.apply(variables, x), x)


@pytest.mark.parametrize(
  ("direction", "size"), [("down", (4, 3, 3)), ("same", (7, 6, 5)), ("up", (14, 12, 10))]
)
def test_the_query_decides_the_output_size(direction, size):
  block = NonLocal(8, direction=direction, heads=2, sub_sample=(2, 1, 2))
  x = jax.ShapeDtypeStruct((2, 7, 6, 5, 4), jnp.float32)
  y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
  assert y.shape == (2, *size, 8)
  assert "bias" not in variables["params"]["shortcut"]


def test_sub_sampled_keys_and_values_are_fewer():
  x = jnp.arange(8.0).reshape(1, 4, 2, 1)
  one = {"kernel": jnp.ones((1, 1, 1, 1)), "bias": jnp.zeros(1)}
  params = {"params": dict.fromkeys(("query", "key", "value", "out"), one)}
  y = NonLocal(inter=1, residual=False, sub_sample=2).apply(params, x)
  # windows' maxima: 3 and 7
  assert_close(y[0, 0, 0, 0], 5.0)
  assert_close(y[0, 0, 1, 0], (3 + 7 * np.exp(4)) / (1 + np.exp(4)))


def test_dropout_is_on_only_with_a_key():
  x = jax.random.normal(jax.random.key(0), (1, 4, 4, 4))
  block = NonLocal(dropout=0.5, zero_init=False)
  variables = jax.jit(block.init)(jax.random.key(1), x)
  off, again = (block.apply(variables, x) for _ in range(2))
  on = block.apply(variables, x, rngs={"dropout": jax.random.key(2)})
  np.testing.assert_array_equal(off, again)
  assert np.abs(on - off).max() > 0


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(mode="gauss"), "choices: gaussian, embedded, dot"),
    (dict(direction="left"), "choices: down, same, up"),
    (dict(heads=3), "3 heads do not divide the 2 inner channels"),
    (dict(mode="gaussian", direction="up"), "no query convolution"),
    (dict(mode="dot", dropout=0.1), "no attention weights to drop"),
    (dict(chunk=0), "at least one query"),
  ],
)
def test_bad_options_are_refused_in_words(options, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(NonLocal(**options).init, jax.random.key(0), jnp.zeros((1, 4, 4, 4)))
