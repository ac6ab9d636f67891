"""Distances to marks: Euclidean ones by all pairs, geodesic ones by Dijkstra's algorithm."""

import functools
import heapq
import itertools

import distances
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.interaction import distance_to_points, distance_to_strokes, geodesic_distance

SPACES = (((13, 17), (1.0, 3.0)), ((6, 7, 8), (2.5, 1.0, 0.7)), ((11,), (0.5,)))


@pytest.mark.parametrize("of_spacing", [False, True])
@pytest.mark.parametrize(("space", "spacing"), SPACES)
def test_the_distance_to_points_is_that_to_the_nearest_that_counts(space, spacing, of_spacing):
  random = np.random.default_rng(0)
  points = np.stack([random.integers(0, n, 5) for n in space], -1)
  there = np.array([True, False, True, True, False])
  sources = np.zeros(space, bool)
  sources[tuple(points[there].T)] = True
  spacing = spacing if of_spacing else None
  run = jax.jit(lambda p, t: distance_to_points(p, t, space, spacing))
  assert_close(run(points, there), distances.to_nearest(sources, spacing), rtol=1e-5)
  assert np.isinf(run(points, np.zeros(5, bool))).all()


def test_points_may_lie_between_voxels_and_there_may_be_none_at_all():
  distance = distance_to_points(jnp.array([[0.5, 0.0]]), jnp.array([True]), (2, 2))
  assert_close(distance, [[0.5, np.sqrt(1.25)], [0.5, np.sqrt(1.25)]])
  assert np.isinf(distance_to_points(jnp.zeros((0, 2)), jnp.zeros(0, bool), (2, 2))).all()


@pytest.mark.parametrize(("space", "spacing"), SPACES)
def test_the_distance_to_strokes_is_that_to_their_densest_points(space, spacing):
  random = np.random.default_rng(1)
  starts, ends = (np.stack([random.uniform(0, n - 1, 3) for n in space], -1) for _ in range(2))
  ends[2] = starts[2]  # a point
  there = np.array([True, True, False])
  shares = np.linspace(0, 1, 2001)[:, None]
  dense = np.concatenate([a + shares * (b - a) for a, b in zip(starts[:2], ends[:2], strict=True)])
  places = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1)[..., None, :]
  expected = np.linalg.norm((places - dense) * spacing, axis=-1).min(-1)
  run = jax.jit(lambda t: distance_to_strokes(starts, ends, t, space, spacing))
  assert_close(run(there), expected, atol=1e-2)
  alone = distance_to_points(starts[2:], np.array([True]), space, spacing)
  assert_close(run(np.array([False, False, True])), alone, rtol=1e-6)


def dijkstra(image, seeds, spacing=None, *, contrast=1.0):
  """GeodisTK's costs of steps, and a queue."""
  spacing = np.ones(seeds.ndim) if spacing is None else np.asarray(spacing)
  steps = [s for s in itertools.product((-1, 0, 1), repeat=seeds.ndim) if any(s)]
  far = np.full(seeds.shape, np.inf)
  queue = [(0.0, tuple(place)) for place in np.argwhere(seeds).tolist()]
  for _, place in queue:
    far[place] = 0
  while queue:
    way, place = heapq.heappop(queue)
    if way > far[place]:
      continue
    for step in steps:
      there = tuple(a + b for a, b in zip(place, step, strict=True))
      if not all(0 <= a < n for a, n in zip(there, seeds.shape, strict=True)):
        continue
      length = np.linalg.norm(np.asarray(step) * spacing)
      difference = np.linalg.norm(image[place].astype(np.float64) - image[there])
      new = way + length / ((1 - contrast) + contrast / (difference + 1e-5))
      if new < far[there]:
        far[there] = new
        heapq.heappush(queue, (new, there))
  return far


def test_the_sheets_geodesic_distances():
  image = jnp.array([[0, 0, 5, 5], [0, 1, 5, 5], [0, 0, 0, 5]], jnp.float32)[..., None]
  seeds = jnp.zeros((3, 4), bool).at[0, 0].set(True)
  run = {of: geodesic_distance(image, seeds, contrast=of) for of in (0.0, 1.0)}
  root = np.sqrt(2)
  chamfer = [[0, 1, 2, 3], [1, root, 1 + root, 2 + root], [2, 1 + root, 2 * root, 1 + 2 * root]]
  assert_close(run[0.0], chamfer, atol=1e-5)
  assert_close(run[1.0], [[0, 0, 5, 5], [0, 1, 5, 5], [0, 0, 0, 5]], atol=1e-3)


@pytest.mark.parametrize("contrast", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize(("space", "spacing"), SPACES)
def test_geodesic_distances_are_dijkstras(space, spacing, contrast):
  random = np.random.default_rng(2)
  image = random.normal(size=(*space, 2)).astype(np.float32)
  seeds = random.random(space) < 0.05
  seeds.flat[3] = True
  for of in (None, spacing):
    run = jax.jit(functools.partial(geodesic_distance, contrast=contrast))
    assert_close(run(image, seeds, of), dijkstra(image, seeds, of, contrast=contrast), rtol=2e-5)


def winding(size=21):
  """Walls that leave one way through the whole image, and a seed at its start."""
  image = np.zeros((size, size, 1), np.float32)
  for number, row in enumerate(range(1, size, 2)):
    image[row] = 100
    image[row, -1 if number % 2 == 0 else 0] = 0
  seeds = np.zeros((size, size), bool)
  seeds[0, 0] = True
  return image, seeds


def test_a_winding_way_is_followed_to_its_end():
  image, seeds = winding()
  exact = dijkstra(image, seeds)
  assert exact[-1, -1] < 0.01  # along the way, not through the walls
  run = jax.jit(geodesic_distance, static_argnames="rounds")
  assert_close(run(image, seeds), exact, rtol=1e-4, atol=1e-6)
  few = run(image, seeds, rounds=2)
  assert (few >= exact * 0.999 - 1e-6).all()
  assert few[-1, -1] > 1


def test_without_seeds_all_is_infinitely_far_and_samples_do_not_mix():
  image, seeds = winding(9)
  images, both = np.stack([image, image]), np.stack([seeds, np.zeros_like(seeds)])
  far = jax.jit(jax.vmap(geodesic_distance))(images, both)
  assert np.isinf(far[1]).all()
  assert_close(far[0], dijkstra(image, seeds), rtol=1e-4, atol=1e-6)


def test_no_gradient_passes_through_a_geodesic_distance():
  image, seeds = winding(5)
  gradient = jax.grad(lambda x: geodesic_distance(x, seeds).sum() + x.sum())(jnp.asarray(image))
  np.testing.assert_array_equal(gradient, np.ones_like(image))


def test_what_does_not_fit_is_refused():
  image, seeds = np.zeros((3, 4, 1), np.float32), np.zeros((3, 4), bool)
  with pytest.raises(ValueError, match=r"contrast is 1\.5; expected 0 to 1"):
    geodesic_distance(image, seeds, contrast=1.5)
  with pytest.raises(ValueError, match="rounds is 0; expected 1 or more"):
    geodesic_distance(image, seeds, rounds=0)
  with pytest.raises(ValueError, match=r"shape \(3, 4\) with seeds of shape \(3, 4\)"):
    geodesic_distance(image[..., 0], seeds)
  with pytest.raises(ValueError, match=r"the spacing has shape \(3,\); expected \(2,\)"):
    geodesic_distance(image, seeds, np.ones(3))
