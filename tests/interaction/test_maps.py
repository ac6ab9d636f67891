"""Maps of marks: the published ones' values, borders, no marks at all."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg import interaction


def one_point(space, place, encode):
  distance = interaction.distance_to_points(jnp.array([place]), jnp.array([True]), space)
  return np.asarray(encode(distance))


# voxels of a disk or ball that no border cuts
@pytest.mark.parametrize(
  ("radius", "rank", "voxels"),
  [(5, 2, 81), (4, 2, 49), (1, 3, 7), (2, 3, 33), (3, 3, 123), (4, 3, 257)],
)
def test_disks_and_balls_have_as_many_voxels_as_published(radius, rank, voxels):
  space = (2 * radius + 3,) * rank
  place = (radius + 1,) * rank
  disk = functools.partial(interaction.disk, radius=radius)
  assert one_point(space, place, disk).sum() == voxels
  there = jnp.array([True])
  faded = interaction.ball(jnp.array([place]), there, space, radius=radius)
  np.testing.assert_array_equal(faded > 0, one_point(space, place, disk) > 0)


def test_tanh_and_gaussian_have_the_published_values():
  row = one_point((1, 9), (0, 0), interaction.tanh)[0]
  assert_close(row[[0, 3, 5]], [0, 0.833655, 0.964028], atol=1e-6)
  row = one_point((1, 9), (0, 0), interaction.gaussian)[0]
  assert_close(row[[0, 2, 4]], np.exp([0, -0.5, -2]), atol=1e-6)
  clipped = functools.partial(interaction.clipped, limit=4.0)
  assert_close(one_point((1, 9), (0, 0), clipped)[0], np.minimum(np.arange(9) / 4, 1))


@pytest.mark.parametrize("radius", [0, 1, 3, 4, (2, 4, 3)])
def test_a_ball_fades_as_the_distance_to_what_is_outside_of_it(radius):
  radii = (radius,) * 3 if isinstance(radius, int) else radius
  grid = itertools.product(*(range(-r, r + 1) for r in radii))
  inside = [sum((x / max(r, 0.5)) ** 2 for x, r in zip(at, radii, strict=True)) <= 1 for at in grid]
  stamp = ndimage.distance_transform_edt(np.pad(np.reshape(inside, [2 * r + 1 for r in radii]), 1))
  expected = np.zeros((16, 16, 16))
  box = tuple(slice(7 - r, 10 + r) for r in radii)
  expected[box] = stamp / stamp.max()
  place, there = jnp.array([[8, 8, 8], [-1, -1, -1]]), jnp.array([True, False])
  run = jax.jit(lambda p, t: interaction.ball(p, t, (16, 16, 16), radius=radius))
  maps = np.asarray(run(place, there))
  assert_close(maps, expected, atol=1e-6)
  assert_close(maps[8, 8, 8], 1, atol=1e-6)
  if radius == 4:
    assert_close(maps[8, 8, 9], 0.766965, atol=1e-6)


def test_balls_at_the_border_are_cut_and_of_several_the_larger_value_counts():
  places = jnp.array([[0, 0], [2, 1], [0, 6]])
  alone = [
    interaction.ball(places[i : i + 1], jnp.array([True]), (5, 7), radius=3) for i in range(3)
  ]
  whole = interaction.ball(jnp.array([[6, 6]]), jnp.array([True]), (13, 13), radius=3)
  np.testing.assert_array_equal(alone[0], whole[6:11, 6:13])
  together = interaction.ball(places, jnp.ones(3, bool), (5, 7), radius=3)
  np.testing.assert_array_equal(together, np.maximum.reduce(alone))


def test_boxes_have_their_first_voxels_and_not_those_after_the_last():
  lows, highs = jnp.array([[1, 2], [0, 0], [3, 3]]), jnp.array([[3, 4], [1, 1], [9, 9]])
  there = jnp.array([True, True, False])
  expected = np.zeros((5, 6))
  expected[1:3, 2:4] = expected[0, 0] = 1
  np.testing.assert_array_equal(interaction.boxes(lows, highs, there, (5, 6)), expected)


def test_without_marks_maps_are_as_far_from_all_of_them():
  far = jnp.full((3, 4), jnp.inf)
  for encode, value in (
    (interaction.disk, 0),
    (interaction.gaussian, 0),
    (interaction.tanh, 1),
    (functools.partial(interaction.clipped, limit=3.0), 1),
  ):
    np.testing.assert_array_equal(encode(far), np.full((3, 4), value, np.float32))
  none = jnp.zeros((2, 2), jnp.int32), jnp.zeros(2, bool)
  assert not np.any(interaction.ball(*none, (3, 4)))
  assert not np.any(interaction.boxes(none[0], none[0], none[1], (3, 4)))


@pytest.mark.parametrize("decay", [0.98, 0.9, 1.0])
def test_older_marks_fade_as_newer_ones_written_larger_and_all_divided(decay):
  """nnInteractive's lazy rule: a new mark is written times 1 / decay^n, all divided before use."""
  random = np.random.default_rng(0)
  news = (random.random((6, 2, 8, 8)) * (random.random((6, 2, 8, 8)) < 0.3)).astype(np.float32)
  eager, lazy, scale = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8)), 1.0
  for new in news:
    eager = interaction.faded(eager, new, decay=decay)
    scale /= decay
    lazy = np.maximum(lazy, new * scale)
    assert_close(eager, lazy / scale, rtol=1e-5, atol=1e-7)
  assert_close(interaction.faded(jnp.ones(3), jnp.zeros(3)), 0.98 * np.ones(3))


@pytest.mark.parametrize(
  ("run", "words"),
  [
    (lambda d: interaction.disk(d, radius=-1), "disk: radius is -1; expected 0 or more"),
    (lambda d: interaction.gaussian(d, sigma=0), "gaussian: sigma is 0; expected more than 0"),
    (lambda d: interaction.tanh(d, radius=0), "tanh: radius is 0; expected more than 0"),
    (lambda d: interaction.clipped(d, limit=0), "clipped: limit is 0; expected more than 0"),
    (lambda d: interaction.faded(d, d, decay=0), "faded: decay is 0; expected more than 0"),
    (
      lambda d: interaction.ball(d[:, :1], d[:, 0] > 0, (3, 3), radius=(1, 2, 3)),
      r"ball: radius is \(1, 2, 3\); expected 0 or more, one whole number or 2",
    ),
  ],
)
def test_options_that_cannot_be_are_refused(run, words):
  with pytest.raises(ValueError, match=words):
    run(jnp.zeros((3, 3)))
