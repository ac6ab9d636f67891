"""Axes that may be mirrored, from label volumes whose answer is known by construction."""

import json

import numpy as np
import pytest

from jaxseg import augment, planning
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source
from jaxseg.data.formats.geometry import Geometry, orient, oriented, plain_geometry

SHAPE = (24, 30, 36)
RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def box(label, value, centre, size, random):
  """Draws a box whose centre varies by two voxels per axis."""
  centre = np.array(centre) + random.integers(-2, 3, len(centre))
  low = [max(0, c - n // 2) for c, n in zip(centre, size, strict=True)]
  label[tuple(slice(at, at + n) for at, n in zip(low, size, strict=True))] = value


def front_and_back(label, random):
  """Two boxes end to end along y, at a common place along the others."""
  middle = np.array([12, 15, 18]) + random.integers(-2, 3, 3)
  z, y, x = middle
  label[z - 4 : z + 4, y - 8 : y, x - 4 : x + 4] = 1
  label[z - 4 : z + 4, y : y + 8, x - 4 : x + 4] = 2


def in_any_order(label, random):
  """Two boxes far apart along y, either of them first."""
  first, second = random.permutation([1, 2])
  box(label, first, (12, 7, 18), (8, 8, 8), random)
  box(label, second, (12, 23, 18), (8, 8, 8), random)


def sides(label, random):
  """Two boxes on both sides of the middle along x, below a large one on one side."""
  box(label, 1, (8, 15, 9), (8, 8, 8), random)
  box(label, 2, (8, 15, 27), (8, 8, 8), random)
  label[15:, 4:26, :22] = 3


def nested(label, random):
  """A small box anywhere inside a large one."""
  label[6:20, 6:24, 8:28] = 1
  box(label, 2, random.integers((9, 9, 11), (17, 21, 25)), (4, 4, 4), random)


def source(draw, cases=8, names=("background", "1", "2"), affine=None, axes=3, **labels):
  """A set of which `draw` draws every label; the image is noise, and brighter in the foreground."""

  def read(case):
    number = int(case)
    random = np.random.default_rng(number)
    label = np.zeros(SHAPE, np.uint8)
    draw(label, random)
    label = label[(12,) * (3 - axes)] if axes < 3 else label
    image = random.normal(0, 10, label.shape) + 100.0 * (label > 0)
    grid = plain_geometry(label.shape)
    if affine is not None:
      turn = affine(number)
      grid = Geometry(turn, label.shape, "itk")
      flips = tuple(i for i in range(3) if turn[2 - i, 2 - i] < 0)
      image, label = np.flip(image, flips), np.flip(label, flips)
    return RawCase(image[..., None].astype(np.float32), label, None, grid)

  spec = LabelSpec(tuple(names), tuple(range(len(names))), **labels)
  return Source("set", tuple(map(str, range(cases))), ("MR",), spec, axes, read, "")


def measured(*arguments, **options):
  found = planning.fingerprint(source(*arguments, **options), workers=1, draws=100)
  return found.mirroring


def allowed(mirroring):
  return [axis.mirrored for axis in mirroring.axes]


def test_an_axis_along_which_two_classes_keep_their_order_is_left_alone():
  found = measured(front_and_back, affine=lambda i: RAS)
  assert allowed(found) == [True, False, True]
  assert found.axes[1].why == "2 lies further to the front than 1 in 8 of 8 cases"
  assert found.orientations == {"RAS": 8}


def test_the_order_is_that_of_the_body_where_files_differ_in_orientation():
  """Every other case is stored with x and y reversed: as stored, neither class comes first."""
  mixed = measured(front_and_back, affine=lambda i: (RAS, LPS)[i in (2, 5, 6)])
  assert allowed(mixed) == [True, False, True]
  assert mixed.axes[1].why == "2 lies further to the front than 1 in 8 of 8 cases"
  assert mixed.orientations == {"RAS": 5, "LPS": 3}


def test_cases_with_axes_in_any_order_are_compared_as_bodies():
  """Five as RAS, six each in an orientation of its own."""
  names = ("background", "left", "right", "liver")
  upright = source(sides, cases=11, names=names, affine=lambda i: RAS)
  front = source(front_and_back, cases=11, affine=lambda i: RAS)
  codes = ["RAS"] * 5 + ["LPS", "PIR", "SAL", "ILP", "RSA", "AIL"]

  def stored(read):
    def turned(case):
      raw, to = read(case), codes[int(case)]
      arrays = (orient(array, raw.geometry, to) for array in (raw.image, raw.label))
      return RawCase(*arrays, None, oriented(raw.geometry, to))

    return turned

  for of, mirrored, swap in (
    (upright, [True] * 3, [(), (), ((1, 2),)]),
    (front, [True, False, True], [()] * 3),
  ):
    mixed = of._replace(read=stored(of.read))
    found = planning.fingerprint(mixed, workers=1, draws=100).mirroring
    assert next(iter(found.orientations)) == "RAS"
    assert allowed(found) == mirrored
    assert [axis.swap for axis in found.axes] == swap


def test_classes_in_any_order_leave_all_axes_to_be_mirrored():
  assert allowed(measured(in_any_order)) == [True] * 3


def test_left_and_right_swap_their_names():
  names = ("background", "left kidney", "kidney_right", "liver")
  found = measured(sides, names=names, affine=lambda i: LPS)
  assert allowed(found) == [True] * 3
  assert [axis.swap for axis in found.axes] == [(), (), ((1, 2),)]
  assert "left kidney and kidney_right are mirror images" in found.axes[2].why


def test_twins_without_names_are_known_by_their_likeness():
  found = measured(sides, names=("background", "1", "2", "3"))
  assert [axis.swap for axis in found.axes] == [(), (), ((1, 2),)]


@pytest.mark.parametrize("other", ["aorta", "left lung"])
def test_names_that_say_otherwise_make_no_twins(other):
  found = measured(sides, names=("background", "right kidney", other, "liver"))
  assert allowed(found) == [True, True, False]
  assert not any(axis.swap for axis in found.axes)


def test_a_class_around_one_of_them_makes_them_no_twins():
  """As the myocardium, of which mirroring would make a wall of the right ventricle."""

  def heart(label, random):
    sides(label, random)
    label[label == 3] = 0
    z, y, x = np.argwhere(label == 2).mean(0).astype(int)
    wall = np.s_[z - 6 : z + 7, y - 6 : y + 7, x - 6 : x + 7]
    label[wall] = np.where(label[wall] == 2, 2, 3)

  names = ("background", "right ventricle", "left ventricle", "myocardium")
  found = measured(heart, names=names)
  assert allowed(found) == [True, True, False]
  assert not any(axis.swap for axis in found.axes)


def test_sided_classes_inside_sided_ones_hinder_nothing():
  """A tumour of one kidney lies in it alone, and its name says so."""

  def draw(label, random):
    sides(label, random)
    z, y, x = np.argwhere(label == 1).mean(0).astype(int)
    label[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 4

  names = ("background", "left kidney", "right kidney", "liver", "left tumour")
  assert measured(draw, names=names).axes[2].swap == ((1, 2),)


def test_numbered_pairs_swap_with_their_own_number():
  def ribs(label, random):
    for k in range(3):
      box(label, 1 + k, (5 + 7 * k, 15, 9), (4, 8, 8), random)
      box(label, 4 + k, (5 + 7 * k, 15, 27), (4, 8, 8), random)

  names = ("background", *(f"rib_{side}_{k}" for side in ("left", "right") for k in (1, 2, 3)))
  found = measured(ribs, names=names)
  assert found.axes[2].swap == ((1, 4), (2, 5), (3, 6))
  assert not found.axes[0].mirrored


def test_pairs_that_the_data_set_declares_swap_where_x_runs():
  found = measured(in_any_order, mirror_pairs=((1, 2),), affine=lambda i: RAS)
  assert [axis.swap for axis in found.axes] == [(), (), ((1, 2),)]


def test_one_side_to_a_picture_swaps_by_name():
  def one(label, random):
    box(label, 1 + random.integers(2), (12, 15, 18), (8, 8, 8), random)

  found = measured(one, names=("background", "left eye", "right eye"), axes=2)
  assert found.axes[1].swap == ((1, 2),)


def test_a_class_inside_another_has_no_order():
  assert allowed(measured(nested)) == [True] * 3


def test_one_class_has_no_order():
  def lone(label, random):
    label[2:9, 3:20, 5:30] = 1

  found = measured(lone, names=("background", "1"))
  assert allowed(found) == [True] * 3
  assert found.axes[0].why == "one class: nothing to keep in order"


def test_four_cases_prove_nothing_and_five_do():
  assert allowed(measured(front_and_back, cases=4)) == [True] * 3
  assert allowed(measured(front_and_back, cases=5)) == [True, False, True]


def test_what_agrees_by_chance_is_no_order():
  """Boxes anywhere: of five cases one has the same class first on all in 1 of 16 sets, per axis."""
  wrong = 0
  for trial in range(30):

    def anywhere(label, random, trial=trial):
      random = np.random.default_rng((trial, random.integers(9**9)))
      for value in (1, 2):
        box(label, value, random.integers((6, 6, 6), (18, 24, 30)), (6, 6, 6), random)

    wrong += not all(allowed(measured(anywhere, cases=5)))
  assert wrong <= 1


def test_cases_that_lack_a_class_do_not_count():
  def partial(label, random):
    front_and_back(label, random)
    if random.integers(3) == 0:
      label[label == 2] = 0

  found = measured(partial, cases=12)
  assert allowed(found) == [True, False, True]
  both = sum((source(partial).read(str(i)).label == 2).any() for i in range(12))
  assert found.axes[1].why.endswith(f"in {both} of {both} cases")


def test_regions_are_what_keeps_an_order():
  """Whole and core are concentric; front and back are not."""
  regions = ((1, 2, 3), (1,), (2,))
  names = ("whole", "front", "back")

  def draw(label, random):
    front_and_back(label, random)
    label[10:14][label[10:14] > 0] = 3

  spec = dict(regions=regions)

  def labels(of):
    return LabelSpec(names, (0, 1, 2, 3), **of)

  plain = source(draw, names=("background", "a", "b", "c"))
  found = planning.fingerprint(plain._replace(labels=labels(spec)), workers=1, draws=100).mirroring
  assert allowed(found) == [True, False, True]
  assert found.names == names


def described(**options):
  of = source(**options)
  return planning.plan(planning.fingerprint(of, workers=1, draws=100), planning.description(of))


def test_a_plan_gives_the_axes_of_its_own_patches(tmp_path):
  plan = described(draw=sides, names=("background", "left a", "right a", "b"), affine=lambda i: RAS)
  planning.write_plan(tmp_path / "nnUNetPlans.json", plan)
  read = planning.read_plan(tmp_path / "nnUNetPlans.json")
  assert read.mirroring == plan.mirroring
  assert "mirroring" not in (tmp_path / "nnUNetPlans.json").read_text()
  assert planning.settings(read, "3d_fullres")["mirror"] == {
    "axes": (0, 1, 2),
    "swap": ((1, 2),),
    "swap_axis": 2,
  }
  turned = read.__class__(**{**read.__dict__, "transpose": (1, 2, 0)})
  assert planning.settings(turned, "3d_fullres")["mirror"]["swap_axis"] == 1
  assert planning.settings(turned, "2d")["mirror"] == {
    "axes": (0, 1),
    "swap": ((1, 2),),
    "swap_axis": 0,
  }


def test_cases_of_several_orientations_are_turned_to_the_most_common():
  plan = described(draw=front_and_back, affine=lambda i: (RAS, LPS)[i in (2, 5, 6)])
  assert planning.settings(plan, "3d_fullres")["data"]["orientation"] == "RAS"
  assert "5 x RAS, 3 x LPS" in planning.as_text(plan)
  alike = described(draw=front_and_back, affine=lambda i: LPS)
  assert planning.settings(alike, "3d_fullres")["data"]["orientation"] == "stored"


def test_plans_without_the_file_mirror_all_axes(tmp_path):
  plan = described(draw=front_and_back)
  assert planning.settings(plan, "3d_fullres")["mirror"] == {"axes": (0, 2)}
  assert "left alone" in planning.as_text(plan)
  planning.write_plan(tmp_path / "nnUNetPlans.json", plan)
  (tmp_path / "mirroring.json").unlink()
  read = planning.read_plan(tmp_path / "nnUNetPlans.json")
  assert planning.settings(read, "3d_fullres")["mirror"] == {}
  assert "all" in planning.as_text(read)


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("axes", [], r"its axes are \[\], expected"),
    ("axes", [{"axis": "z", "mirror": 1, "swap": [], "why": ""}], "'mirror' is a number"),
    ("axes", [{"axis": "z", "mirror": True, "swap": [["1", "no"]], "why": ""}], "pairs of"),
    ("orientations", {"RAS": "many"}, "numbers of cases"),
    ("names", [1], "those of the labels"),
  ],
)
def test_an_edited_file_that_says_nothing_sensible_is_told(tmp_path, field, value, message):
  planning.write_plan(tmp_path / "nnUNetPlans.json", described(draw=front_and_back))
  file = tmp_path / "mirroring.json"
  file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
  with pytest.raises(ValueError, match=f"mirroring.json.*{message}"):
    planning.read_plan(tmp_path / "nnUNetPlans.json")


def test_a_fingerprint_keeps_what_was_measured(tmp_path):
  found = planning.fingerprint(source(front_and_back), workers=1, draws=100)
  planning.write_fingerprint(tmp_path / "f.json", found)
  assert planning.read_fingerprint(tmp_path / "f.json") == found


def test_slices_turn_little_where_an_axis_is_not_mirrored():
  """A half turn of a slice mirrors both its axes."""
  turns = [
    augment.nnunet(2, (64, 64), mirror=mirror)["spatial"]["rotation"]
    for mirror in ({}, {"axes": (0, 1)}, {"axes": (0,)}, {"axes": (0, 1), "swap_axis": 1})
  ]
  assert turns == [180.0, 180.0, 30.0, 30.0]
  flat = augment.nnunet(3, (8, 64, 64), mirror={"axes": (1, 2)})
  assert flat["spatial"]["rotation"] == 180.0
  assert flat["mirror"] == {"axes": (1, 2)}
