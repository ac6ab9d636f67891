"""TIF as microscopes and tools write it: axes, samples, compressions, spacing."""

import json
import struct

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image, TiffImagePlugin

from jaxseg.data.formats.images import read_image, read_label
from jaxseg.data.sources.nnunet_folder import nnunet_raw
from jaxseg.data.sources.picture_folder import paired_folder
from jaxseg.data.sources.source import fingerprint

SIZES = {"T": 3, "Z": 4, "C": 2, "Y": 5, "X": 6, "S": 3}
GREY = np.random.default_rng(0).integers(0, 3, (5, 6)).astype(np.uint8)
VOLUME = np.random.default_rng(1).integers(0, 3, (4, 5, 6)).astype(np.uint8)
WIDE = np.random.default_rng(2).integers(0, 65536, (5, 6, 3)).astype(np.uint16)


def save(path, array, **options):
  tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
  return path


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "ZCYX", "CZYX", "YXS", "ZYXS"])
def test_axes_are_what_the_file_says(tmp_path, kind, axes):
  array = np.arange(np.prod([SIZES[a] for a in axes])).reshape([SIZES[a] for a in axes])
  name = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
  if kind == "imagej" and axes == "CZYX":
    pytest.skip("ImageJ has one order only")
  options = {"imagej": True} if kind == "imagej" else {}
  array = array.astype(np.uint8)
  photometric = "rgb" if "S" in axes else "minisblack"
  save(name, array, metadata={"axes": axes}, photometric=photometric, **options)
  channels = [i for i, axis in enumerate(axes) if axis in "CS"]
  wanted = np.moveaxis(array, channels, [-1] * len(channels)) if channels else array[..., None]
  image, geometry = read_image(name)
  np.testing.assert_array_equal(image, wanted)
  assert geometry.rank == axes.count("Z") + 2


@pytest.mark.parametrize("axes", ["TYX", "TZYX", "TZCYX", "TCYX"])
def test_a_series_over_time_is_told(tmp_path, axes):
  save(
    tmp_path / "a.tif",
    np.zeros([SIZES[a] for a in axes], np.uint8),
    imagej=True,
    metadata={"axes": axes},
  )
  with pytest.raises(ValueError, match=rf"a\.tif: its axes are {axes} .*a series over time"):
    read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("samples", [2, 3, 5])
def test_bands_are_channels(tmp_path, samples, planar):
  array = np.random.default_rng(3).integers(0, 256, (5, 6, samples)).astype(np.uint8)
  stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
  kind = "rgb" if samples == 3 else "minisblack"
  save(tmp_path / "a.tif", stored, photometric=kind, planarconfig=planar)
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], array)


def test_transparency_is_dropped_where_it_is_everywhere_the_same(tmp_path):
  stored = np.concatenate([WIDE, np.full((5, 6, 1), 65535, np.uint16)], -1)
  save(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"])
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], WIDE)
  stored[0, 0, 3] = 7
  save(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"])
  with pytest.raises(ValueError, match=r"a\.tif: its transparency \(alpha\) differs"):
    read_image(tmp_path / "a.tif")
  save(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unspecified"])
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], stored)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("kind", ["grey", "wide", "colour", "float"])
def test_compressed_pictures_are_the_plain_ones(tmp_path, compression, kind):
  array = {
    "grey": GREY,
    "wide": WIDE[..., 0],
    "colour": WIDE.astype(np.uint8),
    "float": WIDE[..., 0].astype(np.float32) / 7,
  }[kind]
  Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
  image = read_image(tmp_path / "a.tif")[0]
  assert image.dtype == array.dtype
  np.testing.assert_array_equal(image.reshape(array.shape), array)


def test_compressed_colours_of_16_bits_keep_them(tmp_path):
  image = sitk.GetImageFromArray(WIDE, isVector=True)
  sitk.WriteImage(image, tmp_path / "a.tif", useCompression=True, compressor="LZW")
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], WIDE)


def test_compressed_pages_are_slices(tmp_path):
  pages = [Image.fromarray(page) for page in VOLUME]
  pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], VOLUME)


def test_jpeg_in_tif_and_cmyk_become_colour(tmp_path):
  flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
  Image.fromarray(flat).save(tmp_path / "a.tif", compression="jpeg", quality=95)
  np.testing.assert_allclose(read_image(tmp_path / "a.tif")[0], flat, atol=8)
  ink = np.zeros((5, 6, 4), np.uint8)
  ink[..., 0] = 255
  save(tmp_path / "b.tif", ink, photometric="separated")
  np.testing.assert_array_equal(read_image(tmp_path / "b.tif")[0][0, 0], (0, 255, 255))


@pytest.mark.parametrize("kind", ["u1", ">u2", "<u2", "i2", ">i4", "u4", "f4", ">f8"])
def test_types_and_byte_orders_keep_their_values(tmp_path, kind):
  array = (VOLUME * 50).astype(kind) - np.array(3).astype(kind) * (np.dtype(kind).kind != "u")
  order = ">" if kind[0] == ">" else "<"
  save(tmp_path / "a.tif", array, byteorder=order)
  image = read_image(tmp_path / "a.tif")[0]
  np.testing.assert_array_equal(image[..., 0], array)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_bright_in_an_image_and_stored_in_a_label(tmp_path, kind):
  save(tmp_path / "a.tif", GREY.astype(kind), photometric="miniswhite")
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], GREY)
  wanted = np.iinfo(kind).max - GREY.astype(kind)
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0][..., 0], wanted)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4", "tiff_deflate"])
@pytest.mark.parametrize("white", [0, 1])
def test_compressed_black_and_white_is_shown_and_stored_alike(tmp_path, compression, white):
  # Pillow stores a bright pixel of one bit as 1, or as 0 where white is
  tags = TiffImagePlugin.ImageFileDirectory_v2()
  tags[262] = 1 - white
  page = Image.fromarray(GREY == 1)
  page.save(
    tmp_path / "a.tif", tiffinfo=tags, **({"compression": compression} if compression else {})
  )
  with tifffile.TiffFile(tmp_path / "a.tif") as file:
    kind = int(file.pages[0].photometric)
  with Image.open(tmp_path / "a.tif") as file:
    bright = np.asarray(file)
  image = read_image(tmp_path / "a.tif")[0][..., 0]
  np.testing.assert_array_equal(image, np.where(bright, 255, 0))
  label = read_label(tmp_path / "a.tif")[0]
  np.testing.assert_array_equal(label, bright if kind == 1 else ~bright)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
def test_compressed_transparency_is_dropped_or_told(tmp_path, mode, compression):
  page = Image.fromarray(GREY * 90).convert(mode)
  page.save(tmp_path / "a.tif", compression=compression)
  image = read_image(tmp_path / "a.tif")[0]
  assert image.shape == (5, 6, 3 if mode == "RGBA" else 1)
  np.testing.assert_array_equal(image[..., 0], GREY * 90)
  page.putpixel((0, 0), (0, 0, 0, 7) if mode == "RGBA" else (0, 7))
  page.save(tmp_path / "a.tif", compression=compression)
  with pytest.raises(ValueError, match="transparency"):
    read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("grey", [True, False])
def test_compressed_palettes_are_the_plain_ones(tmp_path, compression, grey):
  colours = np.array([(9, 9, 9), (200, 200, 200), (50, 50, 50)], np.uint8)
  if not grey:
    colours[:, 0] = (0, 100, 200)
  page = Image.frombytes("P", GREY.shape[::-1], GREY.tobytes())
  page.putpalette(colours.ravel().tolist())
  page.save(tmp_path / "a.tif", **({"compression": compression} if compression else {}))
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], GREY)
  with Image.open(tmp_path / "a.tif") as file:
    shown = np.asarray(file.convert("RGB"))
  image = read_image(tmp_path / "a.tif")[0]
  np.testing.assert_array_equal(image, shown[..., : image.shape[-1]])


def test_a_palette_of_imagej_is_for_the_eye(tmp_path):
  colours = np.random.default_rng(4).integers(0, 256, (3, 256)).astype(np.uint16)
  save(tmp_path / "a.tif", GREY, photometric="palette", colormap=colours * 257)
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], colours.T[GREY])
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], GREY)
  save(tmp_path / "b.tif", GREY, imagej=True, colormap=colours.astype(np.uint8))
  np.testing.assert_array_equal(read_image(tmp_path / "b.tif")[0][..., 0], GREY)


def test_pages_written_one_by_one_are_slices(tmp_path):
  with tifffile.TiffWriter(tmp_path / "a.tif") as file:
    for page in VOLUME:
      file.write(page, photometric="minisblack")
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], VOLUME)


def test_pages_of_several_sizes_are_told_but_no_thumbnail(tmp_path):
  with tifffile.TiffWriter(tmp_path / "a.tif") as file:
    file.write(GREY)
    file.write(GREY[:3])
  with pytest.raises(ValueError, match=r"a\.tif: it holds 2 different pictures"):
    read_image(tmp_path / "a.tif")
  with tifffile.TiffWriter(tmp_path / "b.tif") as file:
    file.write(GREY)
    file.write(GREY[:3, :3], subfiletype=1)
  np.testing.assert_array_equal(read_label(tmp_path / "b.tif")[0], GREY)
  with tifffile.TiffWriter(tmp_path / "c.tif") as file:
    file.write(VOLUME, subifds=1, photometric="minisblack")
    file.write(VOLUME[:, ::2, ::2], subfiletype=1, photometric="minisblack")
  np.testing.assert_array_equal(read_label(tmp_path / "c.tif")[0], VOLUME)


@pytest.mark.parametrize(
  ("unit", "size"), [("um", 1e-3), ("micron", 1e-3), ("mm", 1), ("nm", 1e-6)]
)
def test_the_spacing_of_imagej_is_taken_with_its_unit(tmp_path, unit, size):
  notes = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
  save(tmp_path / "a.tif", VOLUME, imagej=True, metadata=notes, resolution=(4, 2))
  spacing = read_image(tmp_path / "a.tif")[1].spacing
  np.testing.assert_allclose(spacing, np.array([3, 0.5, 0.25]) * size, rtol=1e-6)


def test_the_spacing_of_ome_is_taken_with_its_unit(tmp_path):
  sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3.0}
  save(tmp_path / "a.ome.tif", VOLUME, metadata={"axes": "ZYX", **sizes})
  spacing = read_image(tmp_path / "a.ome.tif")[1].spacing
  np.testing.assert_allclose(spacing, np.array([3, 0.5, 0.25]) * 1e-3, rtol=1e-6)
  units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
  save(tmp_path / "b.ome.tif", VOLUME, metadata={"axes": "ZYX", **sizes, **units})
  np.testing.assert_allclose(read_image(tmp_path / "b.ome.tif")[1].spacing, (3, 0.5, 0.25))


@pytest.mark.parametrize("unit", [None, "pixel", "furlong"])
def test_what_names_no_length_is_no_spacing(tmp_path, unit):
  notes = {"axes": "ZYX", "spacing": 3.0, **({"unit": unit} if unit else {})}
  save(tmp_path / "a.tif", VOLUME, imagej=True, metadata=notes, resolution=(4, 2))
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[1].spacing, (1, 1, 1))
  save(tmp_path / "b.tif", GREY, resolution=(300, 300), resolutionunit="inch")
  np.testing.assert_array_equal(read_image(tmp_path / "b.tif")[1].spacing, (1, 1))


@pytest.fixture
def folder(tmp_path):
  """A set as nnU-Net's Tiff3DIO reads it: the spacing of c0_0000.tif lies in c0.json."""
  text = {"channel_names": {"0": "EM"}, "labels": {"background": 0, "a": 1, "b": 2}}
  (tmp_path / "dataset.json").write_text(json.dumps({**text, "file_ending": ".tif"}))
  for part, name in (("imagesTr", "c0_0000.tif"), ("labelsTr", "c0.tif")):
    (tmp_path / part).mkdir()
    save(tmp_path / part / name, VOLUME)
    (tmp_path / part / "c0.json").write_text('{"spacing": [3.0, 1.0, 0.5]}')
  return tmp_path


def test_the_spacing_beside_a_volume_is_found_without_the_channels_number(folder):
  np.testing.assert_allclose(nnunet_raw(folder).read("c0").geometry.spacing, (3, 1, 0.5))


@pytest.mark.parametrize("spacing", [[3, 1, 0.6], [0.5, 1, 3]])
def test_another_spacing_of_the_label_is_told(folder, spacing):
  (folder / "labelsTr/c0.json").write_text(json.dumps({"spacing": spacing}))
  with pytest.raises(ValueError, match=r"c0\.tif: the image has a spacing of \(3, 1, 0\.5\) mm"):
    nnunet_raw(folder).read("c0")
  (folder / "labelsTr/c0.json").unlink()
  nnunet_raw(folder).read("c0")
  (folder / "imagesTr/c0.json").unlink()
  (folder / "labelsTr/c0.json").write_text(json.dumps({"spacing": spacing}))
  with pytest.raises(ValueError, match=r"the image has a spacing of \(1, 1, 1\) mm .*the label of"):
    nnunet_raw(folder).read("c0")
  nnunet_raw(folder, check_affine=False).read("c0")


@pytest.mark.parametrize(
  "spacing",
  [
    "[3,1]",
    "[3,-1,1]",
    "[3,0,1]",
    '"3"',
    '[3,"1",1]',
    "null",
    "[NaN,1,1]",
    "[1,1,1,1]",
    '{"z":3}',
    "[true,1,1]",
    "3",
    "[]",
  ],
)
def test_a_spacing_in_another_shape_is_told_with_its_file(folder, spacing):
  (folder / "imagesTr/c0.json").write_text(f'{{"spacing": {spacing}}}')
  with pytest.raises(ValueError, match=r"c0_0000\.tif: c0\.json beside it .*correct or remove it"):
    nnunet_raw(folder).read("c0")


def test_two_spacings_beside_a_picture_that_differ_are_told(folder):
  (folder / "imagesTr/c0_0000.json").write_text('{"spacing": [1, 1, 1]}')
  with pytest.raises(ValueError, match=r"c0_0000\.json gives it .*c0\.json of .*: correct one"):
    nnunet_raw(folder).read("c0")


def test_notes_of_other_programs_beside_a_picture_are_no_spacing(folder):
  (folder / "imagesTr/c0.json").write_bytes(b"\xef\xbb\xbf" + b'{"spacing": [3, 1, 0.5]}')
  (folder / "imagesTr/c0_0000.json").write_text('{"shapes": [], "version": "5"}')
  np.testing.assert_allclose(nnunet_raw(folder).read("c0").geometry.spacing, (3, 1, 0.5))


def test_a_changed_spacing_changes_the_fingerprint(folder):
  before = nnunet_raw(folder).fingerprint
  (folder / "imagesTr/c0.json").write_text('{"spacing": [30.0, 1.0, 0.5]}')
  assert nnunet_raw(folder).fingerprint != before
  (folder / "a.nii.json").write_text("{}")
  (folder / "a.nii.gz").write_text("")
  assert fingerprint([folder / "a.nii.gz"], {}) == fingerprint([folder / "a.nii.gz"], {})


def test_a_spacing_that_the_config_gives_holds_for_image_and_mask(folder):
  source = paired_folder(
    folder / "imagesTr",
    folder / "labelsTr",
    case=r"(.+)_0000",
    spacing=(2, 2, 2),
    names=("a", "b", "c"),
    mask_pattern="{case}.tif",
  )
  (folder / "labelsTr/c0.json").write_text('{"spacing": [9, 9, 9]}')
  np.testing.assert_array_equal(source.read("c0").geometry.spacing, (2, 2, 2))


def packed(array, bits):
  """A TIF of samples of any number of bits, as the specification packs them."""
  rows = ["".join(f"{value:0{bits}b}" for value in row) for row in array]
  rows = [row + "0" * (-len(row) % 8) for row in rows]
  data = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
  data += b"\0" * (len(data) % 2)
  short, long = 3, 4
  height, width = array.shape
  tags = [(256, short, width), (257, short, height), (258, short, bits), (259, short, 1)]
  tags += [(262, short, 1), (273, long, 8), (277, short, 1), (278, short, height)]
  tags += [(279, long, len(data))]
  entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
  head = b"II*\0" + struct.pack("<I", 8 + len(data))
  return head + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_samples_of_a_few_bits_are_unpacked(tmp_path, bits):
  array = np.random.default_rng(bits).integers(0, 2**bits, (4, 11))
  array[0, 0] = 2**bits - 1
  (tmp_path / "a.tif").write_bytes(packed(array, bits))
  np.testing.assert_array_equal(read_label(tmp_path / "a.tif")[0], array)
  shown = array * 255 / (2**bits - 1) if bits < 8 else array
  np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0][..., 0], shown)
