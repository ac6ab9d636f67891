"""Transposed convolution against its definition, tap by tap."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.networks.blocks import TransposedConv


def by_definition(x, kernel, stride, padding, extra):
  """Every input voxel adds the kernel, scaled, to the output: then the padding is cut off."""
  rank, k = x.ndim - 2, kernel.shape[0]
  full = [(n - 1) * stride + k + extra for n in x.shape[1:-1]]
  out = np.zeros((x.shape[0], *full, kernel.shape[-1]))
  for at in itertools.product(*(range(n) for n in x.shape[1:-1])):
    for tap in itertools.product(range(k), repeat=rank):
      where = tuple(stride * a + t for a, t in zip(at, tap, strict=True))
      out[(slice(None), *where)] += x[(slice(None), *at)] @ kernel[tap]
  return out[(slice(None), *(slice(padding, n - padding) for n in full))]


@pytest.mark.parametrize(
  ("rank", "kernel", "stride", "padding", "extra"),
  [
    (1, 3, 2, 1, 1),
    (2, 3, 2, 1, 1),
    (2, 4, 2, 1, 0),
    (3, 3, 2, 1, 1),
    (2, 2, 2, 0, 0),
    (2, 3, 2, 0, 0),
  ],
)
def test_equals_its_definition(rank, kernel, stride, padding, extra):
  x = np.random.default_rng(0).normal(size=(2, *(4, 3, 2)[:rank], 3)).astype(np.float32)
  net = TransposedConv(5, kernel, stride, padding=padding, output_padding=extra, use_bias=False)
  variables = net.init(jax.random.key(0), jnp.asarray(x))
  weights = np.asarray(variables["params"]["kernel"])
  assert weights.shape == (*(kernel,) * rank, 3, 5)
  out = jax.jit(net.apply)(variables, x)
  np.testing.assert_allclose(
    out, by_definition(x, weights, stride, padding, extra), rtol=1e-4, atol=1e-5
  )
