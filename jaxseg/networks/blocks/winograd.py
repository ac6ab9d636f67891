"""Winograd's minimal filtering: three taps along one axis in half the products.

Four neighbouring outputs of three taps are sums of six products instead of twelve. A product is
here a convolution over the other axes; what is paid are sums of parts of the input and the output.
Source: Lavin, Gray, arXiv 1509.09308.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

TAPS = 3
TILE = 4
# Where the polynomials are evaluated whose product is the convolution, beside infinity. With these
# the rounding is some 1.4 times that of plain sums, with the usual 0, 1, -1, 2, -2 it is 1.9 times.
POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)


def _factors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A, B, C such that C @ ((B @ taps) * (A @ values)) are TILE outputs of TILE + TAPS - 1 values.

  It is the transpose of multiplying polynomials by their values (Toom, Cook).
  """
  size = len(POINTS) + 1
  evaluation = np.zeros((size, size))
  evaluation[:-1] = np.vander(POINTS, size, increasing=True)
  evaluation[-1, -1] = 1
  of_values = np.linalg.inv(evaluation).T
  of_values[np.abs(of_values) < 1e-12] = 0
  # the last factor of each sum becomes 1, which is no multiplication
  last = np.array([row[np.flatnonzero(row)[-1]] for row in of_values])[:, None]
  infinity = [0] * len(POINTS) + [1]
  of_taps, of_products = evaluation[:, :TAPS].copy(), evaluation[:, :TILE].copy()
  of_taps[:, -1] += infinity
  of_products[:, -1] += infinity
  return of_values / last, of_taps * last, of_products.T


OF_VALUES, OF_TAPS, OF_PRODUCTS = _factors()


def fewer_products(convolve: Callable, x, kernel, axis: int, padding: tuple[int, int]):
  """A convolution of stride 1 whose kernel has three taps along an axis.

  Args:
    convolve: (x, kernel with one tap along the axis) -> the convolution over the other axes.
    x, kernel: (b, *space, channels), (*taps, channels, features).
    axis: of x.
    padding: of that axis.
  """
  size = x.shape[axis] + sum(padding) - TAPS + 1
  tiles = -(-size // TILE)
  pads = [(0, 0, 0)] * x.ndim
  pads[axis] = (padding[0], tiles * TILE + TAPS - 1 - x.shape[axis] - padding[0], 0)
  x = lax.pad(x, jnp.zeros((), x.dtype), pads)
  span = (tiles - 1) * TILE + 1
  values = [lax.slice_in_dim(x, i, i + span, TILE, axis) for i in range(TILE + TAPS - 1)]
  taps = [lax.slice_in_dim(kernel, i, i + 1, 1, axis - 1) for i in range(TAPS)]
  products = [
    convolve(_sum(of_values, values), _sum(of_taps, taps))
    for of_values, of_taps in zip(OF_VALUES, OF_TAPS, strict=True)
  ]
  out = jnp.stack([_sum(row, products) for row in OF_PRODUCTS], axis + 1)
  out = out.reshape(*out.shape[:axis], tiles * TILE, *out.shape[axis + 2 :])
  return lax.slice_in_dim(out, 0, size, 1, axis)


def _sum(factors: np.ndarray, terms: Sequence):
  parts = [
    term if factor == 1 else float(factor) * term
    for factor, term in zip(factors, terms, strict=True)
    if factor
  ]
  return sum(parts[1:], parts[0])
