"""SmoothGrad: the gradient, averaged over noisy copies of the image."""

import functools

import jax
import jax.numpy as jnp

from jaxseg.explain.gradient import gradient
from jaxseg.explain.target import Apply, Attribution


@functools.partial(jax.jit, static_argnames=("apply", "samples"))
def smooth_grad(
  apply: Apply, params, image, target, *, samples: int = 25, noise: float = 0.15, seed: int = 0
) -> Attribution:
  """The mean gradient of noisy images, (b, *space, c) (Smilkov et al., arXiv 1706.03825).

  Args:
    apply, params, image, target: as `gradient`'s.
    samples: number of noisy copies.
    noise: standard deviation, as a share of each channel's range; the paper's 10 to 20 %.
    seed: of the noise.
  """
  space = tuple(range(1, image.ndim - 1))
  deviation = noise * (image.max(space, keepdims=True) - image.min(space, keepdims=True))

  def add(total, key):
    noisy = image + deviation * jax.random.normal(key, image.shape, image.dtype)
    return total + gradient(apply, params, noisy, target).values, None

  keys = jax.random.split(jax.random.key(seed), samples)
  total, _ = jax.lax.scan(add, jnp.zeros_like(image), keys)
  return Attribution(total / samples)
