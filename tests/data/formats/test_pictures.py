"""PNG, JPG, GIF and BMP: what counts as brightness, colour and class; how they are turned."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from jaxseg.data.formats.images import read_image, read_label, write_label
from jaxseg.data.sources.nnunet_folder import nnunet_raw

MASK = np.random.default_rng(0).integers(0, 3, (5, 6)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
WIDE = np.random.default_rng(2).integers(0, 65536, (5, 6, 3)).astype(np.uint16)


def palette(path, colours, indices=MASK, **options):
  page = Image.fromarray(indices).convert("L")
  page = Image.frombytes("P", page.size, page.tobytes())
  page.putpalette(np.array(colours, np.uint8).ravel().tolist())
  page.save(path, **options)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize(
  "colours",
  [[(0, 0, 0), (255, 255, 255), (128, 128, 128)], [(9, 9, 9), (255, 0, 0), (0, 255, 0)]],
  ids=["grey", "colours"],
)
def test_an_index_is_the_class_whatever_its_colour(tmp_path, suffix, colours):
  path = tmp_path / f"a{suffix}"
  palette(path, colours)
  np.testing.assert_array_equal(read_label(path)[0], MASK)
  shown = np.array(colours, np.uint8)[MASK]
  image = read_image(path)[0]
  grey = len(set(colours[0] + colours[1])) == 2
  np.testing.assert_array_equal(image, shown[..., :1] if grey else shown)


def test_an_index_that_is_transparent_is_a_class_still(tmp_path):
  palette(tmp_path / "a.png", [(0, 0, 0), (255, 0, 0), (0, 255, 0)], transparency=0)
  np.testing.assert_array_equal(read_label(tmp_path / "a.png")[0], MASK)
  with pytest.raises(ValueError, match=r"a\.png: its transparency \(alpha\) differs"):
    read_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("read", [read_image, read_label])
def test_transparency_is_dropped_where_it_is_everywhere_the_same(tmp_path, mode, read):
  page = Image.fromarray(MASK).convert(mode)
  page.save(tmp_path / "a.png")
  array = read(tmp_path / "a.png")[0]
  np.testing.assert_array_equal(array.reshape(5, 6, -1)[..., 0], MASK)
  alpha = np.full((5, 6), 255, np.uint8)
  alpha[0, 0] = 3
  page.putalpha(Image.fromarray(alpha))
  page.save(tmp_path / "a.png")
  with pytest.raises(ValueError, match=r"a\.png: its transparency \(alpha\) differs"):
    read(tmp_path / "a.png")


@pytest.mark.parametrize("samples", [3, 4])
def test_colours_of_16_bits_keep_them(tmp_path, samples):
  stored = np.concatenate([WIDE, np.full((5, 6, samples - 3), 65535, np.uint16)], -1)
  sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=True), tmp_path / "a.png")
  image = read_image(tmp_path / "a.png")[0]
  assert image.dtype == np.uint16
  np.testing.assert_array_equal(image, WIDE)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_keeps_its_type(tmp_path, kind):
  Image.fromarray(WIDE[..., 0].astype(kind)).save(tmp_path / "a.png")
  image = read_image(tmp_path / "a.png")[0]
  assert image.dtype == kind
  np.testing.assert_array_equal(image[..., 0], WIDE[..., 0].astype(kind))


def test_one_bit_is_black_and_white_in_an_image_and_0_and_1_in_a_label(tmp_path):
  for suffix in (".png", ".tif", ".bmp"):
    Image.fromarray(MASK == 1).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_label(tmp_path / f"a{suffix}")[0], MASK == 1)
    image = read_image(tmp_path / f"a{suffix}")[0]
    np.testing.assert_array_equal(image[..., 0], np.where(MASK == 1, 255, 0))


def test_cmyk_becomes_colour(tmp_path):
  page = Image.fromarray(np.zeros((5, 6, 4), np.uint8), "CMYK")
  page.save(tmp_path / "a.jpg", quality=100)
  np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[0], 255, atol=1)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_are_turned_as_they_are_shown(tmp_path, turn, suffix):
  # a block of 8 x 8 pixels per value survives JPG
  stored = np.kron(np.array([[0, 100, 200], [250, 50, 150]]), np.ones((8, 8))).astype(np.uint8)
  exif = Image.Exif()
  exif[274] = turn
  options = {"quality": 100} if suffix == ".jpg" else {}
  Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, **options)
  flip = {1: "", 2: "x", 3: "yx", 4: "y", 5: "t", 6: "tx", 7: "tyx", 8: "ty"}[turn]
  wanted = stored.T if "t" in flip else stored
  wanted = wanted[::-1] if "y" in flip else wanted
  wanted = wanted[:, ::-1] if "x" in flip else wanted
  np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}")[0][..., 0], wanted, atol=3)
  np.testing.assert_allclose(read_label(tmp_path / f"a{suffix}")[0], wanted, atol=3)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_several_frames_are_refused(tmp_path, suffix):
  frames = [Image.fromarray(MASK * k) for k in (40, 80, 120)]
  frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
  with pytest.raises(ValueError, match=rf"a\{suffix}: it holds 3 frames, expected one"):
    read_image(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("low", [-1, 0])
def test_values_that_no_picture_holds_are_not_written_as_one(tmp_path, low):
  label = MASK.astype(np.int32) + low
  label[0, 0] = 70000 if low == 0 else 2
  geometry = read_geometry(tmp_path)
  with pytest.raises(ValueError, match=r"pictures hold unsigned 8 or 16 bit integers.*write NIfTI"):
    write_label(tmp_path / "b.png", label, geometry)


def read_geometry(folder):
  Image.fromarray(MASK).save(folder / "a.png")
  return read_image(folder / "a.png")[1]


def test_masks_in_jpg_are_told_to_be_lossy(tmp_path):
  for part in ("imagesTr", "labelsTr"):
    (tmp_path / part).mkdir()
  mask = np.zeros((40, 40), np.uint8)
  mask[7:22, 5:31] = 255
  Image.fromarray(mask).save(tmp_path / "imagesTr/a_0000.jpg", quality=80)
  Image.fromarray(mask).save(tmp_path / "labelsTr/a.jpg", quality=80)
  labels = {"background": 0, "ball": 255}
  text = {"channel_names": {"0": "grey"}, "labels": labels, "file_ending": ".jpg"}
  (tmp_path / "dataset.json").write_text(json.dumps(text))
  with pytest.raises(ValueError, match=r"a\.jpg.*JPG changes values.*label value\(s\)"):
    nnunet_raw(tmp_path).read("a")
