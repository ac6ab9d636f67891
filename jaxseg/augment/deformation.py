"""Random smooth displacements: one small matrix per axis makes them from random numbers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array


def _cubic(size: int, points: int) -> np.ndarray:
  """(size, points): cubic convolution (Keys 1981) between control points, the ends at the border.

  Beyond the ends the outermost points repeat.
  """
  at = np.linspace(0, points - 1, size) if size > 1 else np.array([(points - 1) / 2])
  first = np.clip(np.floor(at).astype(int), 0, max(points - 2, 0))
  basis = np.zeros((size, points), np.float32)
  for tap in range(-1, 3):
    t = np.abs(at - (first + tap))
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weight = np.where(t <= 1, near, np.where(t < 2, far, 0.0))
    np.add.at(basis, (np.arange(size), np.clip(first + tap, 0, points - 1)), weight)
  return basis


def _gaussian(size: int, sigma: float) -> np.ndarray:
  """(size, size + 2 radius): smooths white noise; the rows have unit length, so that its
  variance stays the same."""
  radius = int(np.ceil(3 * sigma))
  offset = np.arange(size + 2 * radius)[None, :] - radius - np.arange(size)[:, None]
  basis = np.where(np.abs(offset) <= radius, np.exp(-0.5 * (offset / max(sigma, 1e-6)) ** 2), 0.0)
  return (basis / np.sqrt((basis**2).sum(1, keepdims=True))).astype(np.float32)


def displacement_field(
  key, patch: Sequence[int], *, control: Sequence[int] | None = None, sigma: float = 0.0
) -> Array:
  """(*patch): one component of a smooth random displacement, of unit standard deviation.

  Args:
    key: random key.
    patch: size of the field.
    control: points per axis of a grid of normal numbers, interpolated by cubic convolution
      (U-Net's 3x3, arXiv 1505.04597); None for noise smoothed by a Gaussian.
    sigma: the Gaussian's width in voxels (Simard et al. 2003).
  """
  if control is None:
    bases = [_gaussian(size, sigma) for size in patch]
  else:
    bases = [_cubic(size, points) for size, points in zip(patch, control, strict=True)]
  field = jax.random.normal(key, tuple(basis.shape[1] for basis in bases))
  for axis, basis in enumerate(bases):
    field = jnp.moveaxis(jnp.tensordot(basis, field, (1, axis), precision="highest"), 0, axis)
  return field
