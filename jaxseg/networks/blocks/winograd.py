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
# the error of rounding is 1.4 times that of sums one after the other and 2.2 times that of XLA's
# convolution; with the usual 0, 1, -1, 2, -2 it is 1.9 and 3.3 times.
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
  values = _every_fourth(x, axis, tiles, padding[0], TILE + TAPS - 1)
  taps = [lax.slice_in_dim(kernel, i, i + 1, 1, axis - 1) for i in range(TAPS)]
  products = [
    convolve(_sum(of_values, values), _sum(of_taps, taps))
    for of_values, of_taps in zip(OF_VALUES, OF_TAPS, strict=True)
  ]
  out = jnp.stack([_sum(row, products) for row in OF_PRODUCTS], axis + 1)
  out = out.reshape(*out.shape[:axis], tiles * TILE, *out.shape[axis + 2 :])
  return lax.slice_in_dim(out, 0, size, 1, axis)


def kernel_gradient(gradient: Callable, x, y, axis: int, padding: tuple[int, int]):
  """The gradient of the kernel of `fewer_products`, in as many products.

  They are computed in a loop, which is compiled once.

  Args:
    gradient: (x, y) -> that of a kernel with one tap along the axis, (*taps, channels, features).
    x, y: (b, *space, channels), and the output's cotangents.
    axis, padding: as for `fewer_products`.
  """
  tiles = -(-y.shape[axis] // TILE)
  values = _every_fourth(x, axis, tiles, padding[0], TILE + TAPS - 1)
  outputs = _every_fourth(y, axis, tiles, 0, TILE)

  def product(factors):
    parts = (
      sum(factor * term for factor, term in zip(of, terms, strict=True))
      for of, terms in zip(factors, (values, outputs), strict=True)
    )
    return gradient(*parts)

  factors = (jnp.asarray(of, x.dtype) for of in (OF_VALUES, OF_PRODUCTS.T))
  products = lax.map(product, tuple(factors))
  return jnp.concatenate([_sum(of, products) for of in OF_TAPS.T], axis - 1)


def _every_fourth(x, axis: int, tiles: int, before: int, number: int):
  """Every TILE-th voxel along an axis, from each of the first ones on, x padded by `before`."""
  pads = [(0, 0, 0)] * x.ndim
  # a negative number cuts
  pads[axis] = (before, tiles * TILE + number - TILE - x.shape[axis] - before, 0)
  x = lax.pad(x, jnp.zeros((), x.dtype), pads)
  span = (tiles - 1) * TILE + 1
  return [lax.slice_in_dim(x, i, i + span, TILE, axis) for i in range(number)]


def _sum(factors: np.ndarray, terms: Sequence):
  parts = [
    term if factor == 1 else float(factor) * term
    for factor, term in zip(factors, terms, strict=True)
    if factor
  ]
  return sum(parts[1:], parts[0])
