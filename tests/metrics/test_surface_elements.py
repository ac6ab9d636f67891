"""NSD by area: DeepMind's surface-distance, whose values stand here, and areas that are known."""

import itertools
import math

import numpy as np
import pytest

from jaxseg.metrics import METRICS, class_masks, nsd, score
from jaxseg.metrics.surface_elements import surface_elements


def ball(shape, centre, radii):
  """(*shape) bool: an ellipsoid, or an ellipse."""
  grid = zip(np.indices(shape), centre, radii, strict=True)
  return sum(((x - c) / r) ** 2 for x, c, r in grid) <= 1


def block(shape, *ranges):
  mask = np.zeros(shape, bool)
  mask[tuple(slice(*r) for r in ranges)] = True
  return mask


# prediction, label
PAIRS = {
  "squares": (block((8, 8), (2, 6), (3, 8)), block((8, 8), (2, 6), (2, 6))),
  "discs": (ball((20, 24), (9, 11), (7, 8)), ball((20, 24), (10, 13), (6, 8))),
  "balls": (ball((12, 14, 16), (5, 6, 7), (4, 5, 6)), ball((12, 14, 16), (6, 6, 8), (4, 4, 5))),
  "corners": (ball((6, 7, 8), (0, 0, 0), (4, 5, 6)), ball((6, 7, 8), (0, 1, 0), (4, 5, 6))),
}


def by_area(prediction, label, spacing, **options):
  masks = class_masks(prediction[..., None], label[..., None], classes=1)
  return nsd([None], masks, spacing, elements="areas", **options)[0]


@pytest.mark.parametrize(
  ("pair", "spacing", "areas", "at_0", "at_half", "at_1", "at_2", "at_3"),
  [
    ("squares", (1, 1), (16.828427125, 14.828427125), 0.468411264, 0.468411264, 0.828971839, 1, 1),
    (
      *("squares", (1, 3), (36.324555320, 30.324555320)),
      *(0.63503556, 0.63503556, 0.695051365, 0.725059267, 0.907541487),
    ),
    (
      *("discs", (1, 1), (51.112698372, 47.112698372)),
      *(0.222951453, 0.222951453, 0.520361333, 0.864457575, 1),
    ),
    (
      *("discs", (1, 3), (113.570108524, 109.570108524)),
      *(0.251572506, 0.251572506, 0.479165071, 0.716870485, 0.850047206),
    ),
    (
      *("balls", (1, 1, 1), (331.478475753, 256.752740565)),
      *(0.415885504, 0.415885504, 0.859630279, 0.99538744, 1),
    ),
    (
      *("balls", (3, 1, 0.5), (539.367171676, 432.860215285)),
      *(0.455536084, 0.621525846, 0.893964278, 0.973362927, 0.995757667),
    ),
    ("corners", (1, 1, 1), (115.288277493, 132.848755426), 0.894784197, 0.894784197, 1, 1, 1),
    ("corners", (3, 1, 0.5), (187.018085310, 214.492012832), 0.891090554, 0.948523866, 1, 1, 1),
  ],
)
def test_values_are_those_of_surface_distance_0_1(
  pair, spacing, areas, at_0, at_half, at_1, at_2, at_3
):
  for mask, area in zip(PAIRS[pair], areas, strict=True):
    found = surface_elements(np.pad(mask, 1), None, spacing)[1].sum()
    np.testing.assert_allclose(found, area, rtol=1e-9)
  for tolerance, expected in ((0, at_0), (0.5, at_half), (1, at_1), (2, at_2), (3, at_3)):
    found = by_area(*PAIRS[pair], spacing, tolerance=tolerance)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize(
  ("spacing", "total", "weighted"),
  [
    ((1, 1, 1), 241.34313970553745, 30771.25031245602),
    ((2, 1, 0.5), 309.1632231939856, 39418.31095723316),
    ((0.7, 1.3, 3), 610.8111164084678, 77878.41734207963),
    ((1, 1), 12.485281374238571, 93.63961030678928),
    ((1, 3), 26.973665961010276, 202.30249470757707),
  ],
)
def test_all_neighbourhoods_have_the_areas_of_its_table(spacing, total, weighted):
  rank = len(spacing)
  areas = []
  for inside in itertools.product((False, True), repeat=2**rank):
    mask = np.pad(np.array(inside).reshape((2,) * rank), 1)
    centre = (1,) * rank
    places, found = surface_elements(mask, None, spacing)
    number = np.flatnonzero(places.ravel()).tolist()
    at = np.ravel_multi_index(centre, places.shape)
    areas.append(found[number.index(at)] if at in number else 0)
  np.testing.assert_allclose(sum(areas), total, rtol=1e-12)
  np.testing.assert_allclose(areas @ np.arange(len(areas)), weighted, rtol=1e-12)


def test_planes_have_their_area_at_any_spacing():
  # a plane across each axis: the elements away from its rim cover a voxel's face each
  spacing = (3.0, 1.0, 0.5)
  for axis in range(3):
    mask = np.zeros((8, 8, 8), bool)
    mask[(slice(None),) * axis + (slice(2, 6),)] = True
    places, areas = surface_elements(mask, None, spacing)
    whole = np.zeros(places.shape)
    whole[places] = areas
    plane = np.moveaxis(whole, axis, 0)[1][1:-1, 1:-1]
    np.testing.assert_allclose(plane, math.prod(spacing) / spacing[axis])


def test_large_cuboids_have_nearly_their_area_and_a_shift_is_told():
  spacing, size = (2.0, 1.0, 0.5), (20, 30, 40)
  label = block((60, 60, 60), *((5, 5 + n) for n in size))
  sides = [n * s for n, s in zip(size, spacing, strict=True)]
  area = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
  found = surface_elements(np.pad(label, 1), None, spacing)[1].sum()
  # edges and corners are cut off
  assert 0.97 * area < found < area
  shifted = np.roll(label, 3, 1)
  # of each cuboid two faces lie 3 mm off, one of them inside the other cuboid, near its sides
  off = (sides[0] * sides[2] + (sides[0] - 2 * 2.5) * (sides[2] - 2 * 2.5)) / area
  assert by_area(shifted, label, spacing, tolerance=2.5) == pytest.approx(1 - off, abs=0.01)
  assert by_area(shifted, label, spacing, tolerance=3) == 1


def test_ignored_voxels_have_no_elements_and_empty_surfaces_score_what_is_documented():
  label = block((6, 12), (1, 5), (2, 6))
  prediction = block((6, 12), (1, 5), (2, 10))
  weight = np.ones((6, 12))
  chosen = {"nsd": lambda surfaces, masks, spacing: nsd(surfaces, masks, spacing, **options)}
  options = {"elements": "areas", "tolerance": 0}

  def value(p, t, weight=None):
    return score(chosen, p.astype(int), t.astype(int), weight, classes=2)["nsd"][1]

  assert value(prediction, label) < 0.8
  weight[:, 6:] = 0
  assert value(prediction, label, weight) == 1
  assert math.isnan(value(label & False, label & False))
  assert value(label, label & False) == value(label & False, label) == 0


def test_what_cannot_be_is_refused_in_words():
  label = block((4, 4), (1, 3), (1, 3))
  with pytest.raises(ValueError, match="elements is 'area'; expected one of voxels, areas"):
    nsd([None], elements="area")
  with pytest.raises(ValueError, match="elements='areas' needs the masks and the spacing"):
    nsd([None], elements="areas")
  with pytest.raises(ValueError, match="masks of 1 axes; areas are known in two and three"):
    by_area(label[1], label[1], (1,))
  with pytest.raises(ValueError, match=r"nsd: the spacing is .*; expected 2 positive numbers"):
    by_area(label, label, (1, 1, 1))
  by_default = score({"nsd": METRICS["nsd"]}, label.astype(int), label.astype(int), classes=2)
  assert by_default["nsd"][1] == 1
