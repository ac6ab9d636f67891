"""Class activation maps: a layer's features, weighed by what they mean for the score.

The rules are functions of features and gradients (b, *space, channels) -> (b, *space); `at_layer`
makes a method of each, on the image's grid.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxseg.batch import Array
from jaxseg.explain import layers
from jaxseg.explain.target import Apply, Attribution
from jaxseg.networks.blocks.resize import resize


def _space(features: Array) -> tuple[int, ...]:
  return tuple(range(1, features.ndim - 1))


def cam(features: Array, weights: Array) -> Array:
  """sum_k w_k A_k (Zhou et al., arXiv 1512.04150), with its sign; `weights` (b, channels)."""
  return jnp.einsum("b...k,bk->b...", features, weights)


def grad_cam(features: Array, gradients: Array) -> Array:
  """ReLU(sum_k mean(dy / dA_k) A_k) (Selvaraju et al., arXiv 1610.02391).

  With a score over a set of voxels it is Seg-Grad-CAM (Vinogradova et al., arXiv 2002.11434).
  """
  return jax.nn.relu(cam(features, gradients.mean(_space(features))))


def grad_cam_plus_plus(features: Array, gradients: Array) -> Array:
  """Grad-CAM++ (Chattopadhay et al., arXiv 1710.11063), its weights by the public formulas.

  alpha = g^2 / (2 g^2 + sum(A) g^3), 0 where g is; w_k = sum(alpha ReLU(g)).
  """
  space = _space(features)
  square, cube = gradients**2, gradients**3
  below = 2 * square + features.sum(space, keepdims=True) * cube
  # a sum that is nearly zero would make one voxel's weight infinite
  alpha = jnp.where(abs(below) > 1e-7 * square.max(), square / jnp.where(below, below, 1.0), 0.0)
  return jax.nn.relu(cam(features, (alpha * jax.nn.relu(gradients)).sum(space)))


def hires_cam(features: Array, gradients: Array) -> Array:
  """ReLU(sum_k dy / dA_k A_k), voxel by voxel (Draelos, Carin, arXiv 2011.08891)."""
  return jax.nn.relu((features * gradients).sum(-1))


def layer_cam(features: Array, gradients: Array) -> Array:
  """ReLU(sum_k ReLU(dy / dA_k) A_k) (Jiang et al., LayerCAM, IEEE TIP 2021)."""
  return jax.nn.relu((features * jax.nn.relu(gradients)).sum(-1))


def at_layer(rule: Callable[[Array, Array], Array]) -> Callable[..., Attribution]:
  """A method of a rule: (apply, params, image, target, *, layer, stride) -> Attribution."""

  def method(apply: Apply, params, image, target, *, layer: str, stride=()) -> Attribution:
    found = layers.features(apply, params, image, target, layer)
    coarse = rule(found.values, found.gradients)
    return Attribution(on_image(coarse, image.shape[1:-1], target.shape[1:-1], stride))

  method.__doc__ = rule.__doc__
  return method


def class_activation(apply: Apply, params, image, target, *, layer: str, stride=()) -> Attribution:
  """CAM of the 1x1 convolution `layer` that gives the scores, (b, *space), with its sign.

  Its weights are read off the gradient of one voxel's score, the one that weighs most in the
  target: a linear layer's gradient is its weights.
  """
  largest = target.max(-1).reshape(len(target), -1)
  at = jax.nn.one_hot(largest.argmax(-1), largest.shape[1], dtype=target.dtype)
  one = target * (at / largest.max(-1, keepdims=True)).reshape(*target.shape[:-1], 1)
  found = layers.features(apply, params, image, one, layer, layers.INPUT)
  coarse = cam(found.values, found.gradients.sum(_space(found.values)))
  return Attribution(on_image(coarse, image.shape[1:-1], target.shape[1:-1], stride))


@functools.partial(jax.jit, static_argnames=("space", "scores", "stride"))
def on_image(coarse: Array, space, scores, stride=()) -> Array:
  """(b, *coarse) -> (b, *space), by linear interpolation.

  Where valid convolutions make the scores' grid smaller than the image, features lie in its middle;
  `stride` is then what they may be coarser by, per axis. Around them is 0.
  """
  if tuple(space) == tuple(scores):
    return resize(coarse[..., None], space)[..., 0]
  extent = [
    n * max(d for d in range(1, s + 1) if s % d == 0 and (d * n <= size or d == 1))
    for n, size, s in zip(coarse.shape[1:], space, stride or scores, strict=True)
  ]
  middle = resize(coarse[..., None], extent)[..., 0]
  pads = [
    ((size - e) // 2, size - e - (size - e) // 2) for e, size in zip(extent, space, strict=True)
  ]
  return jnp.pad(middle, [(0, 0), *pads])
