"""Canny's edges: OpenCV's, whatever the intensities."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import samples, sharding
from jaxseg.benchmark import collectives
from jaxseg.networks.blocks.canny import canny


def picture(seed, height=24, width=31):
  """Bands, a disk and noise, whole numbers from 0 to 255, both of which are there."""
  random = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width]
  disk = (x - 15) ** 2 + (y - 11) ** 2 < 40
  values = 80 + 60 * np.sin(0.35 * x + 0.2 * y) + 50 * disk
  values = np.clip(np.round(values + random.integers(-12, 13, (height, width))), 0, 255)
  values[0, 0], values[-1, -1] = 0, 255
  return values


def by_pixel(image, low, high):
  """The algorithm as it is told, pixel by pixel: suppression by angle, a queue for hysteresis."""
  height, width = image.shape
  at = np.pad(image.astype(int), 1, mode="edge")
  weights, offsets = (1, 2, 1), (-1, 0, 1)
  along_x, along_y = np.zeros((2, height, width), int)
  for i in range(height):
    for j in range(width):
      for w, d in zip(weights, offsets, strict=True):
        along_x[i, j] += w * (at[i + 1 + d, j + 2] - at[i + 1 + d, j])
        along_y[i, j] += w * (at[i + 2, j + 1 + d] - at[i, j + 1 + d])
  size = np.pad(np.abs(along_x) + np.abs(along_y), 1)
  states = np.zeros((height, width), int)
  for i in range(height):
    for j in range(width):
      m, x, y = size[i + 1, j + 1], along_x[i, j], along_y[i, j]
      angle = np.degrees(np.arctan2(abs(y), abs(x)))
      if angle < 22.5:
        steps, equal = ((0, -1), (0, 1)), True
      elif angle > 67.5:
        steps, equal = ((-1, 0), (1, 0)), True
      else:
        d = -1 if (x < 0) != (y < 0) else 1
        steps, equal = ((-1, -d), (1, d)), False
      before, after = (size[i + 1 + a, j + 1 + b] for a, b in steps)
      if m > low and m > before and (m > after or (equal and m == after)):
        states[i, j] = 2 if m > high else 1
  queue = collections.deque(zip(*np.nonzero(states == 2), strict=True))
  while queue:
    i, j = queue.popleft()
    for a in range(max(i - 1, 0), min(i + 2, height)):
      for b in range(max(j - 1, 0), min(j + 2, width)):
        if states[a, b] == 1:
          states[a, b] = 2
          queue.append((a, b))
  return states == 2


# pixels of each column that OpenCV 5.0.0's Canny(picture, 10, 100) calls an edge
OPENCV = (
  "9 7 3 7 2 6 7 3 8 8 5 5 9 5 8 7 4 6 7 5 6 8 2 6 7 4 9 4 5 13 6",
  "7 6 8 5 5 10 4 8 8 8 5 4 10 4 7 6 8 6 4 7 6 4 1 7 7 6 6 4 9 3 7",
)


def test_edges_are_opencvs():
  pictures = np.stack([picture(seed) for seed in range(2)])
  edges = jax.jit(canny)(jnp.asarray(pictures[..., None], jnp.float32))
  assert edges.shape == (2, 24, 31, 1)
  columns = np.asarray(edges).sum((1, 3)).astype(int)
  assert [" ".join(map(str, of)) for of in columns.tolist()] == list(OPENCV)


@pytest.mark.parametrize("thresholds", [(10.0, 100.0), (60.0, 250.0), (150.0, 300.0)])
def test_edges_are_those_of_the_algorithm_told_pixel_by_pixel(thresholds):
  pictures = [picture(seed) for seed in range(3, 6)]
  low, high = thresholds
  edges = canny(jnp.asarray(np.stack(pictures)[..., None], jnp.float32), low=low, high=high)
  for of, expected in zip(np.asarray(edges), pictures, strict=True):
    np.testing.assert_array_equal(of[..., 0] > 0, by_pixel(expected, low, high))


def test_normalised_and_scaled_images_have_the_same_edges():
  image = np.stack([picture(seed) for seed in range(2)])[..., None]
  plain = jax.jit(canny)(jnp.asarray(image, jnp.float32))
  for same in (image / 255, (image - image.mean()) / image.std(), 16 * image - 1024):
    np.testing.assert_array_equal(jax.jit(canny)(jnp.asarray(same, jnp.float32)), plain)
  assert 0.2 < plain.mean() < 0.5


def test_channels_are_averaged_and_a_constant_image_has_no_edges():
  image = picture(0)[None, ..., None]
  colours = np.concatenate([image - 30, image, image + 30], -1)
  grey, of_colours = (canny(jnp.asarray(x, jnp.float32)) for x in (image, colours))
  np.testing.assert_array_equal(of_colours, grey)
  assert not np.any(canny(jnp.full((1, 8, 8, 1), 7.0)))


def test_no_gradient_passes():
  image = jnp.asarray(picture(0)[None, ..., None], jnp.float32)
  assert not np.any(jax.grad(lambda x: (canny(x) * x).sum() - (canny(image) * x).sum())(image))


def test_devices_do_not_ask_each_other_whether_all_edges_are_joined():
  images = np.stack([picture(seed) for seed in range(2)])[..., None]
  places = sharding.layout(batches={}, devices=jax.devices()[:2])

  def edges(x):
    with samples.split_over(places.mesh):
      return canny(x)

  split = jax.device_put(images, places.split)
  program = jax.jit(edges).lower(split).compile()
  assert not collectives.read(program.as_text(), 2)
  np.testing.assert_array_equal(program(split), canny(images))
