"""Soft skeleton and clDice against grey morphology by scipy."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.batch import Target
from jaxseg.losses import cldice
from jaxseg.losses.cldice import soft_skeleton


def skeleton(image, iterations):
  """Of one image in [0, 1], (*space)."""
  cross = ndimage.generate_binary_structure(image.ndim, 1)

  def erode(x):
    return ndimage.grey_erosion(x, footprint=cross, mode="constant", cval=9)

  def top(x):
    return np.maximum(0, x - ndimage.grey_dilation(erode(x), size=3, mode="constant", cval=-9))

  found = top(image)
  for _ in range(iterations):
    image = erode(image)
    found = found + np.maximum(0, (1 - found) * top(image))
  return found


@pytest.mark.parametrize("space", [(9, 11), (5, 6, 7)])
def test_soft_skeleton_is_that_of_grey_morphology(space):
  random = np.random.default_rng(0)
  # smooth, so that there is something left to erode
  noise = ndimage.gaussian_filter(random.normal(size=(2, *space, 3)), (0, *(1 for _ in space), 0))
  scores = (1 / (1 + np.exp(-9 * noise))).astype(np.float32)
  found = jax.jit(functools.partial(soft_skeleton, iterations=3))(scores)
  for sample in range(2):
    for k in range(3):
      expected = skeleton(scores[sample, ..., k], 3)
      assert_close(found[sample, ..., k], expected, atol=1e-6)


def test_the_skeleton_of_a_bar_is_its_centre_line():
  bar = np.zeros((1, 9, 15, 1), np.float32)
  bar[:, 3:6, 2:13] = 1
  found = np.asarray(jax.jit(functools.partial(soft_skeleton, iterations=3))(bar))
  line = np.zeros_like(bar)
  line[:, 4, 3:12] = 1
  np.testing.assert_array_equal(found, line)


@pytest.mark.parametrize("space", [(7, 8), (4, 5, 6)])
def test_cldice_is_the_harmonic_mean_of_what_the_skeletons_share(space):
  random = np.random.default_rng(1)
  logits = random.normal(size=(2, *space, 3)).astype(np.float32)
  labels = random.integers(0, 3, (2, *space))
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  g = np.eye(3)[labels]
  losses = np.zeros((2, 3))
  for b in range(2):
    for k in range(3):
      p_k, g_k = p[b, ..., k], g[b, ..., k]
      s_p, s_g = skeleton(p_k, 2), skeleton(g_k, 2)
      precision = ((s_p * g_k).sum() + 1) / (s_p.sum() + 1)
      sensitivity = ((s_g * p_k).sum() + 1) / (s_g.sum() + 1)
      centre = 2 / (1 / precision + 1 / sensitivity)
      dice = (2 * (p_k * g_k).sum() + 1) / ((p_k + g_k).sum() + 1)
      losses[b, k] = 0.3 * (1 - dice) + 0.7 * (1 - centre)
  loss = functools.partial(cldice, iterations=2, alpha=0.7)
  assert_close(jax.jit(loss)(logits, Target(labels)), losses[:, 1:].mean())
  weighted = functools.partial(loss, include_background=True, class_weights=(1, 2, 5))
  assert_close(jax.jit(weighted)(logits, Target(labels)), (losses @ [1, 2, 5]).mean() / 3)


def test_cldice_needs_smoothing():
  with pytest.raises(ValueError, match="smooth is 0; expected a positive number"):
    cldice(np.zeros((1, 3, 3, 2), np.float32), Target(np.zeros((1, 3, 3), int)), smooth=0)


def test_a_skeleton_over_two_devices_has_the_gradient_of_one():
  rng = np.random.default_rng(0)
  values = rng.uniform(size=(1, 16, 8, 1)).astype(np.float32)
  mesh = jax.make_mesh((2,), ("space",), devices=jax.devices()[:2])
  gradient = jax.jit(jax.grad(lambda v: (soft_skeleton(v, iterations=2) ** 2).sum()))
  split = jax.device_put(values, jax.NamedSharding(mesh, jax.P(None, "space")))
  np.testing.assert_allclose(gradient(split), gradient(values), atol=1e-6)
