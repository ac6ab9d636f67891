"""Three taps in half the products, against the sum over taps in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks.winograd import TAPS, fewer_products


def pointwise(x, kernel):
  return jnp.tensordot(x, kernel.reshape(kernel.shape[-2:]), 1, precision="highest")


def oracle(x, kernel, axis, padding):
  x, kernel = np.float64(x), np.float64(kernel).reshape(TAPS, *kernel.shape[-2:])
  x = np.moveaxis(x, axis, 0)
  x = np.pad(x, [padding] + [(0, 0)] * (x.ndim - 1))
  out = sum(x[i : len(x) - TAPS + 1 + i] @ kernel[i] for i in range(TAPS))
  return np.moveaxis(out, 0, axis)


def example(size, axis, channels=6, features=5):
  rng = np.random.default_rng(size)
  space, taps = [3, 2, 2], [1, 1, 1]
  space[axis - 1], taps[axis - 1] = size, TAPS
  x = rng.normal(size=(2, *space, channels)).astype(np.float32)
  return x, rng.normal(size=(*taps, channels, features)).astype(np.float32)


@pytest.mark.parametrize("padding", [(1, 1), (0, 0), (2, 0), (0, 3)])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("size", [4, 5, 7, 8])
def test_values_equal_the_sum_over_taps(size, axis, padding):
  x, kernel = example(size, axis)
  out = fewer_products(pointwise, x, kernel, axis, padding)
  assert_close(out, oracle(x, kernel, axis, padding), atol=2e-5)


def test_four_outputs_take_six_products():
  x, kernel = example(16, 1)
  voxels = []

  def counting(x, kernel):
    voxels.append(x.size)
    return pointwise(x, kernel)

  fewer_products(counting, x, kernel, 1, (1, 1))
  assert sum(voxels) == x.size * 6 / 4


def test_rounding_stays_near_that_of_plain_sums():
  x, kernel = example(64, 1, channels=64, features=64)
  exact = oracle(x, kernel, 1, (1, 1))
  padded = np.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * 3)
  plain = sum(pointwise(padded[:, i : i + 64], kernel[i]) for i in range(TAPS))
  fewer = fewer_products(pointwise, x, kernel, 1, (1, 1))
  error, usual = (np.sqrt(np.mean((np.float64(a) - exact) ** 2)) for a in (fewer, plain))
  assert error < 3 * usual
