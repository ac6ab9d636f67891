"""Images and masks paired by name, on small folders and on the real sets."""

import numpy as np
import pytest
from closeness import assert_close
from PIL import Image

from jaxseg.data.sources.picture_folder import paired_folder

RGB = ("red", "green", "blue")


def save(path, array):
  path.parent.mkdir(exist_ok=True, parents=True)
  Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path):
  for i in (10, 2, 1):
    save(tmp_path / f"images/{i}.png", np.full((5, 6), i, np.uint8))
    save(tmp_path / f"masks/{i}.png", (np.arange(30).reshape(5, 6) % 2 * 255).astype(np.uint8))
  return tmp_path


def pair(folder, **options):
  options = {"values": (0, 255), **options}
  return paired_folder(folder / "images", folder / "masks", **options)


def test_cases_are_in_natural_order(folder):
  source = pair(folder)
  assert source.cases == ("1", "2", "10")
  assert source.read("10").image.shape == (5, 6, 1)
  assert source.read("10").image.max() == 10
  assert source.rank == 2


def test_values_choose_the_foreground(folder):
  source = pair(folder, names=("interior", "membrane"), values=(255, 0))
  classes, _ = source.labels.encode(source.read("1").label)
  np.testing.assert_array_equal(classes, 1 - np.arange(30).reshape(5, 6) % 2)


def test_grey_and_coloured_pictures_may_be_mixed(folder):
  colour = np.zeros((5, 6, 3), np.uint8)
  colour[..., 1] = 100
  save(folder / "images/2.png", colour)
  grey = pair(folder)
  assert_close(grey.read("2").image, 58.7)
  rgb = pair(folder, channels=RGB)
  np.testing.assert_array_equal(rgb.read("2").image, colour)
  np.testing.assert_array_equal(rgb.read("10").image, np.full((5, 6, 3), 10))


def test_threshold_joins_instances_and_grey_edges(folder):
  instances = np.array([[0, 1, 2, 300]], np.uint16)
  for i in (1, 2, 10):
    save(folder / f"images/{i}.png", np.zeros((1, 4), np.uint8))
    save(folder / f"masks/{i}.png", instances)
  source = pair(folder, threshold=0)
  np.testing.assert_array_equal(source.read("2").label, [[0, 255, 255, 255]])
  with pytest.raises(ValueError, match="splits a mask into two classes, but names has 3"):
    pair(folder, threshold=0, names=("a", "b", "c"), values=(0, 1, 2))


def test_field_of_view_becomes_the_weight(folder):
  view = np.zeros((5, 6), np.uint8)
  view[1:3] = 255
  for i in (1, 2, 10):
    save(folder / f"fov/{i}_mask.png", view)
  source = pair(folder, weights=folder / "fov", weight_pattern="{case}_mask.png")
  weight = source.read("1").weight
  assert weight.dtype == np.float32
  np.testing.assert_array_equal(weight, view / 255)


def test_image_without_mask_is_named(folder):
  (folder / "masks/2.png").unlink()
  with pytest.raises(ValueError, match=r"images/2\.png: case '2' has no mask .*masks/2\.\*"):
    pair(folder)


def test_mask_without_image_is_named(folder):
  (folder / "images/2.png").unlink()
  with pytest.raises(ValueError, match=r"masks/2\.png: this mask belongs to no image"):
    pair(folder)


def test_two_images_of_one_case_are_told(folder):
  save(folder / "images/2.tif", np.zeros((5, 6), np.uint8))
  with pytest.raises(ValueError, match=r"2\.tif: is the second image of case '2' beside .*/2\.png"):
    pair(folder)


def test_a_case_with_dots_is_not_the_one_before_the_dot(folder):
  for case, value in (("2.b", 0), ("2.b.c", 255)):
    save(folder / f"images/{case}.png", np.zeros((5, 6), np.uint8))
    save(folder / f"masks/{case}.png", np.full((5, 6), value, np.uint8))
  source = pair(folder)
  assert set(source.cases) == {"1", "2", "2.b", "2.b.c", "10"}
  assert (source.read("2.b").label.max(), source.read("2.b.c").label.max()) == (0, 255)
  (folder / "masks/2.png").unlink()
  with pytest.raises(ValueError, match=r"case '2' has 2 files \(2\.b\.c\.png, 2\.b\.png\)"):
    pair(folder)
  (folder / "images/2.b.c.png").unlink()
  (folder / "masks/2.b.c.png").unlink()
  with pytest.raises(ValueError, match=r"2\.b\.png: is the mask of both .*2\.b\.png and .*2\.png"):
    pair(folder)
  (folder / "images/2.b.png").unlink()
  assert pair(folder).read("2").label.max() == 0, "as of a.seg.nrrd, beside a.nrrd"


def test_two_masks_of_one_case_are_told(folder):
  save(folder / "masks/2.tif", np.zeros((5, 6), np.uint8))
  with pytest.raises(ValueError, match=r"case '2' has 2 files \(2\.png, 2\.tif\) for the mask"):
    pair(folder)


def test_one_mask_of_two_images_is_told(folder):
  with pytest.raises(ValueError, match=r"1\.png: is the mask of both .*/1\.png and .*/10\.png"):
    pair(folder, mask_pattern="1.png")


def test_a_mask_without_image_is_told_in_a_folder_of_both(folder):
  for i in (1, 2, 10):
    save(folder / f"images/{i}_seg.png", np.zeros((5, 6), np.uint8))
  options = {"image_pattern": "*[0-9].png", "mask_pattern": "{case}_seg.png"}
  assert len(paired_folder(folder / "images", folder / "images", **options).cases) == 3
  (folder / "images/2.png").unlink()
  with pytest.raises(ValueError, match=r"2_seg\.png: this mask belongs to no image"):
    paired_folder(folder / "images", folder / "images", **options)


def test_a_field_of_view_that_jpg_has_blurred_is_told(folder):
  view = np.zeros((40, 40), np.uint8)
  view[9:31, 7:30] = 255
  for i in (1, 2, 10):
    for part in ("images", "masks"):
      save(folder / f"{part}/{i}.png", view)
    (folder / "fov").mkdir(exist_ok=True)
    Image.fromarray(view).save(folder / f"fov/{i}.jpg", quality=60)
  with pytest.raises(ValueError, match=r"1\.jpg \(JPG changes values.*needs two values"):
    pair(folder, weights=folder / "fov").read("1")


def test_the_spacing_of_the_config_is_for_files_that_store_none(folder):
  geometry = pair(folder, spacing=(0.5, 0.25)).read("1").geometry
  np.testing.assert_array_equal(geometry.spacing, (0.5, 0.25))
  with pytest.raises(ValueError, match="expected 2 positive numbers"):
    pair(folder, spacing=(3, 0.5, 0.25)).read("1")


def test_name_that_does_not_match_is_told(folder):
  with pytest.raises(ValueError, match=r"its name doesn't match config\.data\.case r'scan_"):
    pair(folder, case=r"scan_(\d+)")


def test_missing_folder_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="images: the folder of images not found"):
    paired_folder(tmp_path / "images", tmp_path)


def test_empty_folder_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"no image matches '\*'; known endings"):
    paired_folder(tmp_path, tmp_path)


def test_shapes_that_differ_are_told(folder):
  save(folder / "masks/2.png", np.zeros((5, 7), np.uint8))
  with pytest.raises(ValueError, match=r"2\.png: the image has shape \(5, 6\) but the mask"):
    pair(folder).read("2")


def test_unknown_mask_value_is_told(folder):
  save(folder / "masks/2.png", np.full((5, 6), 9, np.uint8))
  with pytest.raises(ValueError, match=r"masks/2\.png: label value\(s\) \[9\].*`values`"):
    pair(folder).read("2")


@pytest.mark.parametrize("values", [(0, 0.5), (0, "one"), (0, None), (0, True)])
def test_values_must_be_whole(folder, values):
  with pytest.raises(ValueError, match=r"config\.data\.values: a value is"):
    pair(folder, values=values)


def test_values_must_fit_the_names(folder):
  with pytest.raises(ValueError, match="must give each of the 2 names"):
    pair(folder, values=(0, 1, 2))


# set, options, number of cases, first and last case, shape of the first image, values in masks
REAL = {
  "isbi2012_em": (
    ("train/image", "train/label"),
    {"names": ("interior", "membrane"), "values": (255, 0)},
    (30, "0", "29", (512, 512, 1)),
  ),
  "drive": (
    ("training/images", "training/1st_manual"),
    {
      "values": (0, 255),
      "channels": RGB,
      "case": r"(\d+)_training",
      "mask_pattern": "{case}_manual1.gif",
      "weights": "training/mask",
      "weight_pattern": "{case}_training_mask.gif",
    },
    (20, "21", "40", (584, 565, 3)),
  ),
  "chase_db1": (
    ("", ""),
    {"channels": RGB, "image_pattern": "*.jpg", "mask_pattern": "{case}_1stHO.png"},
    (20, "Image_01L", "Image_10R", (960, 999, 3)),
  ),
  "cvc_clinicdb": (
    ("images", "masks"),
    {"channels": RGB, "values": (0, 255)},
    (43, "3", "423", (288, 384, 3)),
  ),
  "busi": (
    ("images", "masks"),
    {"values": (0, 255)},
    (60, "benign_12", "malignant_205", None),
  ),
  "cxr_lung": (
    ("images", "masks"),
    {"values": (0, 255)},
    (80, "CHNCXR_0006_0", "MCUCXR_0399_1", (512, 512, 1)),
  ),
  "dsb2018_nuclei": (
    ("images", "instances"),
    {"threshold": 0, "channels": RGB},
    (76, "0d2bf916cc8de90d", "ff599c7301daa1f7", (360, 360, 3)),
  ),
  "sunnybrook_lv": (
    ("images", "labels"),
    {"values": (0, 255)},
    (260, "SC-HF-I-01-IM-0001-0048", "SC-N-40-IM-0001-0220", (256, 256, 1)),
  ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_set_needs_a_few_options_only(real_data, name):
  (images, masks), options, (count, first, last, shape) = REAL[name]
  root = real_data / name
  options = {k: root / v if k == "weights" else v for k, v in options.items()}
  source = paired_folder(root / images, root / masks, **options)
  assert source.name == name
  assert len(source.cases) == count
  assert (source.cases[0], source.cases[-1]) == (first, last)
  raw = source.read(first)
  assert shape is None or raw.image.shape == shape
  classes, _ = source.labels.encode(raw.label)
  assert set(np.unique(classes)) == {0, 1}
  if name == "isbi2012_em":  # its README: about 78 % of the pixels are interior
    assert classes.mean() == pytest.approx(0.22, abs=0.05)
  if name == "drive":
    assert set(np.unique(raw.weight)) == {0, 1}


def test_one_npz_may_hold_image_and_mask_and_one_array_is_not_both(tmp_path):
  image, mask = np.arange(20.0, dtype=np.float32).reshape(4, 5), np.arange(20).reshape(4, 5) > 12
  np.savez(tmp_path / "a.npz", image=image, mask=mask, scribbles=np.zeros((3, 2, 4, 5), bool))
  options = dict(image_pattern="*.npz", mask_pattern="{case}.npz")
  source = paired_folder(str(tmp_path), str(tmp_path), **options)
  case = source.read("a")
  assert np.array_equal(case.image[..., 0], image)
  assert np.array_equal(case.label, mask)
  np.savez(tmp_path / "b.npz", array=image)
  source = paired_folder(str(tmp_path), str(tmp_path), **options)
  with pytest.raises(ValueError, match=r"b\.npz: its array 'array' would be both image and mask"):
    source.read("b")
  # what only matches the image's own file is no mask
  with pytest.raises(ValueError, match="has no mask"):
    paired_folder(str(tmp_path), str(tmp_path), image_pattern="*.npz")
