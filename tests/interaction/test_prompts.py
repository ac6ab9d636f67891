"""Prompts: what is refused on the host, and the fields that they become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg import batch, interaction
from jaxseg.interaction import fields, pack

PROMPTS = (
  {"class": 1, "point": (3, 4)},
  {"class": 0, "point": (8, 1)},
  {"class": 2, "box": ((2, 2), (5, 9))},
  {"class": 1, "stroke": ((1, 1), (1, 6), (4, 6))},
  {"class": 2, "stroke": ((9, 9),)},
)
SPACE = (11, 12)


def field_of(name, prompts=PROMPTS, space=SPACE, **options):
  packed = pack(prompts, space, classes=3)
  return jax.jit(lambda p: fields(p, space, classes=3, **options))(packed)[name]


def test_each_class_has_a_map_of_its_own_points_boxes_and_strokes():
  points = np.asarray(field_of("clicks", points=dict(name="disk", radius=0)))
  assert points.shape == (*SPACE, 3)
  np.testing.assert_array_equal(np.argwhere(points), [[3, 4, 1], [8, 1, 0]])
  boxes = np.zeros((*SPACE, 3))
  boxes[2:6, 2:10, 2] = 1
  np.testing.assert_array_equal(field_of("prompt_box"), boxes)
  strokes = np.zeros((*SPACE, 3))
  strokes[1, 1:7, 1] = strokes[1:5, 6, 1] = strokes[9, 9, 2] = 1
  np.testing.assert_array_equal(field_of("strokes", thickness=0.0), strokes)
  # two voxels thick: what touches the line, too
  assert field_of("strokes")[..., 2].sum() == 5


@pytest.mark.parametrize(
  ("points", "near"),
  [
    ("disk", 1),
    ("gaussian", 1),
    ("ball", 1),
    ("tanh", 0),
    (dict(name="geodesic", limit=10.0), 0),
  ],
)
def test_every_way_to_show_points_is_a_field_of_its_kind(points, near):
  name = points if isinstance(points, str) else points["name"]
  field = interaction.POINTS[name].field
  row = batch.kind(field)
  image = np.random.default_rng(0).normal(size=(*SPACE, 1)).astype(np.float32)
  maps = np.asarray(field_of(field, points=points, image=image))
  assert maps.dtype == np.float32
  assert maps[3, 4, 1] == maps[8, 1, 0] == near
  # far from all marks it is what lies outside of a case, where that is known
  nothing = np.asarray(field_of(field, prompts=(), points=points, image=image))
  assert (nothing == 1 - near).all()
  assert row.pad in (None, 1 - near)
  assert row.spatial
  assert row.channels
  assert row.classes
  assert not row.target
  assert set(batch.inputs({field: maps})) == {field}


def test_lengths_are_millimetres_where_the_spacing_is_known():
  spacing = jnp.array([1.0, 4.0])
  maps = np.asarray(field_of("clicks", prompts=PROMPTS[:1], spacing=spacing))[..., 1]
  y, x = np.mgrid[:11, :12]
  inside = (y - 3) ** 2 + (4 * (x - 4)) ** 2 <= 25
  np.testing.assert_array_equal(maps > 0, inside)


def test_points_and_strokes_are_the_seeds_of_geodesic_maps():
  image = np.zeros((*SPACE, 1), np.float32)
  image[:, 6:] = 1
  options = dict(points=dict(name="geodesic", limit=4.0, contrast=1.0), image=image)
  maps = np.asarray(field_of("click_geodesic", prompts=PROMPTS[:1], **options))
  assert_close(maps[:, :6, 1], 0, atol=1e-4)
  assert_close(maps[:, 6:, 1], 0.25, atol=1e-4)
  drawn = np.asarray(field_of("click_geodesic", prompts=PROMPTS[4:], **options))
  assert_close(drawn[:, :6, 2], 0.25, atol=1e-4)
  assert_close(drawn[:, 6:, 2], 0, atol=1e-4)


def test_volumes_and_batches_are_taken():
  space = (4, 5, 6)
  sets = (({"class": 1, "point": (1, 2, 3)},), ({"class": 0, "box": ((0, 0, 0), (3, 1, 1))},))
  packed = jax.tree.map(lambda *of: np.stack(of), *(pack(p, space, classes=2) for p in sets))
  made = jax.jit(jax.vmap(lambda p: fields(p, space, classes=2)))(packed)
  assert made["clicks"].shape == (2, *space, 2)
  assert made["clicks"][0, 1, 2, 3, 1] == 1
  assert not made["clicks"][1].any()
  assert made["prompt_box"][1, ..., 0].sum() == 4 * 2 * 2


@pytest.mark.parametrize(
  ("prompt", "words"),
  [
    ({"class": 1, "point": (11, 4)}, r"\.point: \(11\.0, 4\.0\) is outside of the image"),
    ({"class": 1, "point": (3, -1)}, r"outside of the image, whose voxels go from 0 to \(10, 11\)"),
    ({"class": 1, "point": (float("nan"), 1)}, r"\(nan, 1\.0\) is outside of the image"),
    ({"class": 1, "box": ((2, 2), (5, 12))}, r"\.box: \(5\.0, 12\.0\) is outside"),
    ({"class": 1, "stroke": ((1, 1), (20, 1))}, r"\.stroke: \(20\.0, 1\.0\) is outside"),
    ({"class": 3, "point": (1, 1)}, r"\.class: 3; expected a whole number from 0 to 2"),
    ({"class": True, "point": (1, 1)}, r"\.class: True; expected a whole number"),
    ({"class": 1.0, "point": (1, 1)}, r"\.class: 1\.0; expected a whole number"),
    ({"class": 1, "point": (1, 1, 1)}, r"\.point: .*expected one position of 2 numbers"),
    ({"class": 1, "point": "here"}, r"\.point: 'here'; expected one position"),
    ({"class": 1, "point": ("3", "4")}, r"\.point: \('3', '4'\); expected one position"),
    ({"class": 1, "point": (True, False)}, r"\.point: \(True, False\); expected one position"),
    ({"class": 1, "point": np.array([True, False])}, r"\.point: .*expected one position"),
    ({"class": 1, "point": (10**400, 1)}, r"\.point: \(10+.*expected one position"),
    ({"class": 1, "stroke": ((1, 1), (1, None))}, r"\.stroke: .*expected one or more"),
    ({"class": 1, "stroke": ((1, 1), (1,))}, r"\.stroke: .*expected one or more"),
    ({"class": 1, "box": ((1, 1),)}, r"\.box: .*expected two positions of 2 numbers"),
    ({"class": 1, "box": ((5, 1), (2, 3))}, r"\.box: first voxel \(5, 1\), last \(2, 3\)"),
    ({"class": 1, "stroke": ()}, r"\.stroke: \(\); expected one or more positions"),
    ({"class": 1, "click": (1, 1)}, "has 'class', 'click'; expected 'class' and one of 'point'"),
    ({"point": (1, 1)}, "has 'point'; expected 'class' and one of"),
    ({"class": 1, "point": (1, 1), "box": ((1, 1), (2, 2))}, "expected 'class' and one of"),
    ((1, 1), r"\(1, 1\); expected an object with a class"),
  ],
)
def test_what_is_no_prompt_of_this_image_is_refused(prompt, words):
  with pytest.raises(ValueError, match=rf"^prompts\[0\].*{words}"):
    pack((prompt,), SPACE, classes=3)


def test_contradicting_points_and_too_many_prompts_are_refused():
  first, second = {"class": 1, "point": (3, 4)}, {"class": 0, "point": (3.4, 4)}
  with pytest.raises(
    ValueError, match=r"a\[1\]: class 0 at voxel \(3, 4\), of which a\[0\] says c"
  ):
    pack((first, second), SPACE, classes=3, where="a")
  pack((first, first), SPACE, classes=3)
  with pytest.raises(ValueError, match="2 prompts of kind 'point'; there is room for 1"):
    pack((first, {"class": 0, "point": (5, 5)}), SPACE, classes=3, points=1)
  with pytest.raises(ValueError, match="3 pieces of strokes; there is room for 2"):
    pack(PROMPTS, SPACE, classes=3, strokes=2)


def test_an_unknown_way_to_show_points_or_option_of_it_is_told():
  packed = pack((), SPACE, classes=3)
  with pytest.raises(ValueError, match=r"shown as 'gausian' \(did you mean 'gaussian'\?\)"):
    fields(packed, SPACE, classes=3, points="gausian")
  with pytest.raises(
    ValueError, match=r"points\.sigma: 'disk' has no such option; options: radius"
  ):
    fields(packed, SPACE, classes=3, points=dict(name="disk", sigma=1.0))
  with pytest.raises(ValueError, match="'geodesic' are ways along the image; give `image`"):
    fields(packed, SPACE, classes=3, points=dict(name="geodesic", limit=1.0))
