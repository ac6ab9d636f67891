"""The way to the network's grid and back, against crops and axes written out by hand."""

import dataclasses

import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage
from skimage.transform import resize as skimage_resize

from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared.cropping import nonzero_mask
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase

PLAIN = Preparation(("MR",), 3, ({"name": "none"},))


def preparation(**changes):
  return dataclasses.replace(PLAIN, **changes)


def raw_case(image, spacing=(1, 1, 1)):
  return RawCase(image[..., None], None, None, plain_geometry(image.shape, spacing))


def noise(shape):
  return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def test_axes_are_transposed_then_cropped_then_resampled():
  image = np.zeros((6, 9, 8), np.float32)
  image[1:5, 2:8, 3:7] = 5 + noise((4, 6, 4))
  prepared = preparation(transpose=(2, 0, 1), crop_nonzero=True, spacing=(1, 2, 1.5))
  found, grid = prepared.place(raw_case(image, (2, 3, 1)))
  box = image[1:5, 2:8, 3:7].transpose(2, 0, 1)  # 4 x 4 x 6 voxels of 1, 2, 3 mm
  expected = skimage_resize(box.astype(float), (4, 4, 12), 3, mode="edge", anti_aliasing=False)
  assert_close(found[..., 0], expected, atol=2e-5)
  assert_close(grid.spacing, [1, 2, 1.5])
  assert grid.whole == (8, 6, 9)
  assert grid.box == (slice(3, 7), slice(1, 5), slice(2, 8))


def test_none_keeps_the_spacing_of_an_axis():
  found, grid = preparation(spacing=(None, 2, 2)).place(raw_case(noise((4, 6, 8)), (7, 1, 1)))
  assert found.shape == (4, 3, 4, 1)
  assert_close(grid.spacing, [7, 2, 2])


def test_normalisation_comes_before_resampling():
  image = 100 * noise((6, 8, 8))
  prepared = preparation(normalisation=({"name": "zscore"},), spacing=(2, 2, 2))
  found = prepared.apply(raw_case(image))
  standard = (image.astype(float) - image.mean()) / image.std()
  expected = skimage_resize(standard, (3, 4, 4), 3, mode="edge", anti_aliasing=False)
  assert_close(found[..., 0], expected, atol=2e-5)


def test_masked_normalisation_counts_holes_and_every_channel():
  image = np.zeros((7, 7, 7, 2), np.float32)
  image[1:6, 1:6, 1:6, 0] = 5 + noise((5, 5, 5))
  image[3, 3, 3, 0] = 0  # a hole: inside
  image[6, 6, 6, 1] = 1  # the other channel alone: inside
  mask = nonzero_mask(image)
  assert mask.sum() == 5**3 + 1
  prepared = Preparation(("a", "b"), 3, ({"name": "zscore", "nonzero": True},) * 2)
  raw = RawCase(image, None, None, plain_geometry(image.shape[:3]))
  found = prepared.apply(raw)
  values = image[..., 0][mask].astype(float)
  assert_close(found[..., 0][mask], (values - values.mean()) / values.std())
  assert not found[~mask].any()


def test_empty_image_is_not_cropped():
  assert preparation(crop_nonzero=True).apply(raw_case(np.zeros((3, 4, 5)))).shape == (3, 4, 5, 1)


def test_scores_come_back_slice_by_slice_where_an_axis_is_apart():
  # 4 slices of 5 mm became 20 of 1 mm: a score's own slice is the nearest, its plane is linear
  prepared = preparation(spacing=(1, 2, 2))
  grid = prepared.grid(plain_geometry((4, 6, 10), (5, 1, 1)))
  assert (grid.shape, grid.orders, grid.score_orders) == ((20, 3, 5), (0, 3, 3), (0, 1, 1))
  scores = noise((20, 3, 5))
  expected = np.stack(
    [
      skimage_resize(scores[i].astype(float), (6, 10), 1, mode="edge", anti_aliasing=False)
      for i in (2, 7, 12, 17)
    ]
  )
  assert_close(grid.restore(scores), expected, atol=2e-6)


def test_resampling_options_choose_the_orders():
  geometry = plain_geometry((4, 6, 10), (5, 1, 1))
  grid = preparation(
    spacing=(1, 2, 2), resampling={"order": 1, "label_order": 0, "separate_z": False}
  ).grid(geometry)
  assert (grid.orders, grid.label_orders, grid.score_orders) == ((1,) * 3, (0,) * 3, (1,) * 3)
  forced = preparation(spacing=(1, 1, 1), resampling={"separate_z": True, "order_z": 1})
  assert forced.grid(plain_geometry((4, 6, 6), (2, 1, 1))).orders == (1, 3, 3)


def test_what_was_cropped_away_comes_back_as_told():
  image = np.zeros((5, 6, 7), np.float32)
  image[1:3, 2:5, 3:6] = 1
  raw = raw_case(image)
  grid = preparation(crop_nonzero=True, transpose=(1, 2, 0)).grid(raw.geometry, raw.image)
  scores = noise((3, 3, 2))
  expected = np.full((5, 6, 7), -4, np.float32)
  expected[1:3, 2:5, 3:6] = scores.transpose(2, 0, 1)
  np.testing.assert_array_equal(grid.restore(scores, outside=-4), expected)
  many = grid.restore(np.stack([scores, scores], -1))
  assert many.shape == (5, 6, 7, 2)
  assert not many[0].any()
  with pytest.raises(ValueError, match="follows from its image"):
    preparation(crop_nonzero=True).restore(scores, raw.geometry)


@pytest.mark.parametrize("orientation", ["stored", "RAS"])
def test_label_comes_back_on_its_own_grid(orientation):
  shape = (22, 40, 36)
  z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
  label = np.where(z**2 + y**2 + x**2 < 0.5, 1, 0)
  label[(z - 0.2) ** 2 + (y - 0.1) ** 2 + x**2 < 0.12] = 2
  affine = np.array([[0, 0, 3, 0], [-1.5, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
  raw = RawCase((label[..., None] + 1.0), label, None, Geometry(affine, shape, "nifti"))
  raw.image[:3] = 0
  prepared = preparation(
    orientation=orientation, transpose=(2, 0, 1), crop_nonzero=True, spacing=(1.2, 1.4, 1.1)
  )
  _, grid = prepared.place(raw)
  there = grid.label(grid.cut(label), (0, 1, 2))
  scores = (there[..., None] == np.arange(3)).astype(np.float32)
  back = np.argmax(grid.restore(scores), -1)
  assert back.shape == shape
  for k in (1, 2):
    a, b = back == k, (label == k) & (np.arange(shape[0])[:, None, None] > 2)
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.98, k
  # integers go back as labels, class by class: much the same
  assert (grid.restore(there) == back).mean() > 0.99


def test_ignored_voxels_stay_ignored():
  weight = np.ones((6, 6, 6), np.float32)
  weight[2:4] = 0
  grid = preparation(spacing=(0.5, 1, 1)).grid(plain_geometry((6, 6, 6)))
  found = grid.weight(grid.cut(weight))
  np.testing.assert_array_equal(found, np.repeat(weight, 2, 0))


def test_json_keeps_everything_and_reads_older_run_folders():
  prepared = preparation(
    spacing=(None, 1.5, 2), transpose=(2, 1, 0), crop_nonzero=True, resampling={"order": 1}
  )
  assert Preparation.from_json(prepared.to_json()) == prepared
  older = '{"channels": ["MR"], "rank": 3, "normalisation": [{"name": "none"}]}'
  assert Preparation.from_json(older) == PLAIN


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"spacing": (1, 1)}, r"config.data.spacing: \(1, 1\); expected .* 3 positive numbers"),
    ({"spacing": (1, 0, 1)}, r"config.data.spacing"),
    ({"transpose": (0, 1)}, r"config.data.transpose: \(0, 1\); .* \(0, 1, 2\)"),
    ({"resampling": {"ordre": 1}}, r"ordre: no such option \(did you mean 'order'\?\)"),
    ({"resampling": {"order": 2}}, r"resampling.order: 2; choices: 0, 1, 3"),
    ({"resampling": {"separate_z": 1}}, r"separate_z: 1; choices: None, True, False"),
  ],
)
def test_what_cannot_be_meant_is_told(changes, message):
  with pytest.raises(ValueError, match=message):
    preparation(**changes)


def test_spacing_of_zero_is_told_before_it_is_divided_by():
  raw = raw_case(np.ones((3, 3, 3)))
  raw = raw._replace(geometry=dataclasses.replace(raw.geometry, affine=np.diag([1.0, 1, 0, 1])))
  with pytest.raises(ValueError, match=r"scan: the spacing is \(0, 1, 1\) mm"):
    preparation(spacing=(1, 1, 1)).apply(raw, "scan")


def test_cubic_image_equals_scipys_zoom_of_a_real_looking_volume():
  image = ndimage.gaussian_filter(noise((12, 14, 10)), 1)
  found = preparation(spacing=(0.8, 1.3, 1)).apply(raw_case(image))[..., 0]
  zoom = [m / n for n, m in zip(image.shape, (15, 11, 10), strict=True)]
  expected = ndimage.zoom(image.astype(float), zoom, order=3, mode="nearest", grid_mode=True)
  assert_close(found, np.clip(expected, image.min(), image.max()), atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 21, 33), (15, 12)])
def test_a_fixed_size_with_corners_is_scipys_zoom_there_and_back(shape):
  rank, size = len(shape), (None, 16, 16)[-len(shape) :]
  how = {"size": size, "order": 0, "label_order": 0, "score_order": 0, "corners": True}
  prepared = Preparation(("MR",), rank, ({"name": "none"},), resampling=how)
  image = noise(shape)
  label = np.random.default_rng(4).integers(0, 4, shape)
  there = [(n or of) / of for n, of in zip(size, shape, strict=True)]
  out, grid = prepared.place(raw_case(image, (1.0,) * rank))
  zoomed = ndimage.zoom(image, there, order=0)
  np.testing.assert_array_equal(out[..., 0], zoomed)
  np.testing.assert_array_equal(grid.label(label, range(4)), ndimage.zoom(label, there, order=0))
  back = [1 / factor for factor in there]
  np.testing.assert_array_equal(grid.restore(out)[..., 0], ndimage.zoom(zoomed, back, order=0))
  assert_close(grid.spacing, [of / (n or of) for n, of in zip(size, shape, strict=True)])


def test_a_linear_zoom_with_corners_is_scipys():
  prepared = preparation(resampling={"size": (4, 16, 11), "order": 1, "corners": True})
  image = noise((9, 12, 11))
  out = prepared.apply(raw_case(image))[..., 0]
  assert_close(out, ndimage.zoom(image.astype(float), (4 / 9, 16 / 12, 1), order=1), atol=1e-6)


def test_marks_are_placed_by_the_corners_that_the_grids_share():
  prepared = preparation(resampling={"size": (None, 4, 40), "corners": True})
  grid = prepared.grid(plain_geometry((3, 20, 10)))
  places = np.array([[1, 0, 0], [1, 3, 6], [2, 19, 9]])
  expected = places * [1, 3 / 19, 39 / 9]
  assert_close(grid.positions(places), expected, atol=1e-6)
  for at, there in zip(places, np.round(expected).astype(int), strict=True):
    stored = np.zeros((3, 20, 10), bool)
    stored[tuple(at)] = True
    # a column of the coarser axis, all that is nearest along the finer one
    marked = np.argwhere(grid.mask(stored))
    assert there.tolist() in marked.tolist()
    assert np.unique(marked[:, 1]).tolist() == [there[1]]
  # the outer halves of the border's voxels are inside of the scan
  moved = grid.positions(np.array([[-0.5, -0.5, -0.5], [2.4, 19.4, 9.4]]))
  assert (moved >= -0.5).all()
  assert (moved <= np.array(grid.shape) - 0.5).all()


def test_a_size_and_a_spacing_share_the_axes():
  prepared = preparation(spacing=(2, None, None), resampling={"size": (None, 16, 16)})
  grid = prepared.grid(plain_geometry((4, 8, 32), (4, 2, 1)))
  assert grid.shape == (8, 16, 16)
  assert_close(grid.spacing, [2, 1, 2])
  assert grid.restore(noise((8, 16, 16))).shape == (4, 8, 32)


@pytest.mark.parametrize(
  ("size", "spacing", "words"),
  [
    ((16, 16), (), r"\(16, 16\); expected \(\) for no fixed size, or 3 whole numbers"),
    ((16, 16, 0), (), "expected"),
    ((16, 16, 1.5), (), "expected"),
    ((16, 16, True), (), "expected"),
    (16, (), "16; expected"),
    ((None, 16, 16), (1, 1, None), "axis 1 has both; expected None in one of them"),
  ],
)
def test_a_size_that_cannot_be_is_told(size, spacing, words):
  with pytest.raises(ValueError, match=rf"config.data.resampling.size: .*{words}"):
    preparation(spacing=spacing, resampling={"size": size})


def test_a_stored_size_is_read_back():
  prepared = preparation(resampling={"size": (None, 16, 16), "corners": True})
  assert Preparation.from_json(prepared.to_json()) == prepared
