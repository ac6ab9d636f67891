"""Scribbles: inside of what they mark, of each kind, broken, warped, in one plane of a volume."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxseg.interaction import scribbles


def regions(space, size, seed):
  """Smooth regions, (*space) bool."""
  random = np.random.default_rng(seed)
  return ndimage.gaussian_filter(random.standard_normal(space), size) > 0


MASK = regions((40, 48), 5, 1)
KEYS = jax.random.split(jax.random.key(0), 12)


def drawn(function, mask=MASK, keys=KEYS):
  return np.asarray(jax.jit(jax.vmap(lambda key: function(key, jnp.asarray(mask))))(keys))


@pytest.mark.parametrize("kind", scribbles.KINDS)
def test_a_scribble_is_a_part_of_its_mask(kind):
  made = drawn(functools.partial(scribbles.scribble, kinds=(kind,)))
  assert not made[:, ~MASK].any()
  assert made.any((1, 2)).all()
  # thin, and another one each time
  assert made.sum((1, 2)).max() < MASK.sum() / 3
  assert len({of.tobytes() for of in made}) == len(made)


def test_an_empty_mask_has_no_scribble():
  assert not drawn(scribbles.scribble, np.zeros((20, 24), bool)).any()
  assert not drawn(scribbles.lasso, np.zeros((20, 24), bool)).any()


def test_a_thicker_scribble_is_thicker():
  thin, thick = (drawn(functools.partial(scribbles.scribble, thickness=width)) for width in (1, 2))
  assert (thick & thin == thin).all()
  assert thick.sum() > 1.5 * thin.sum()


def test_a_centre_line_is_one_voxel_wide_and_in_as_many_parts():
  middle = drawn(scribbles.centre_line)[0]
  inner = np.zeros_like(MASK)
  inner[1:-1, 1:-1] = MASK[1:-1, 1:-1]
  corners = np.ones((3, 3))
  assert ndimage.label(middle, corners)[1] == ndimage.label(inner, corners)[1]
  # no block of three by three is left
  assert not ndimage.binary_erosion(middle, corners).any()


def test_breaks_take_parts_away_and_leave_something():
  line = np.zeros((32, 64), bool)
  line[16] = True
  parts = drawn(scribbles.broken, line)
  assert not parts[:, ~line].any()
  shares = parts[:, line].mean(1)
  assert (shares > 0).all()
  assert 0.3 < shares.mean() < 0.8


def test_a_warp_moves_voxels_by_some_voxels():
  square = np.zeros((40, 40), bool)
  square[12:28, 12:28] = True
  moved = drawn(scribbles.warped, square)
  assert (moved != square).any((1, 2)).sum() >= 10
  away = ndimage.distance_transform_edt(~square)
  # by at most 6 voxels of an axis times what noise is at most
  assert max(away[of].max() for of in moved) <= 2 * 6
  assert np.abs(moved.sum((1, 2)) / square.sum() - 1).max() < 0.6


def test_noise_is_smooth_and_has_no_mean():
  made = np.asarray(
    jax.jit(jax.vmap(lambda key: scribbles.noise(key, (64, 64), 16.0)))(
      jax.random.split(jax.random.key(1), 40)
    )
  )
  assert abs(made.mean()) < 0.05
  assert 0.2 < made.std() < 0.6
  # to the next voxel a sixteenth of the way between knots
  assert np.abs(np.diff(made, axis=1)).max() < 0.4


@pytest.mark.parametrize("function", [scribbles.scribble, scribbles.lasso])
def test_in_a_volume_one_plane_through_the_point_is_drawn_on(function):
  mask = regions((12, 14, 10), 2, 3)
  point = np.argwhere(mask)[mask.sum() // 2]

  def draw(key, mask):
    return scribbles.in_a_plane(key, function, mask, jnp.asarray(point))

  axes = set()
  for of in drawn(draw, mask):
    assert of.any()
    flat = [axis for axis in range(3) if len(np.unique(np.argwhere(of)[:, axis])) == 1]
    assert any((np.argwhere(of)[:, axis] == point[axis]).all() for axis in flat)
    axes.update(flat if len(flat) == 1 else ())
  assert axes == {0, 1, 2}
