"""Stored numbers of DICOM files and their units, in every way that they are stored."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import dataset, enhanced, save, volume, write_series
from pydicom.data import get_testdata_file
from pydicom.uid import (
  ExplicitVRBigEndian,
  ExplicitVRLittleEndian,
  ImplicitVRLittleEndian,
  RLELossless,
)

from jaxseg.data import read_image


def test_a_cts_numbers_are_hounsfield_units(tmp_path):
  stored = volume().astype(np.uint16)
  write_series(tmp_path, stored, RescaleSlope=1, RescaleIntercept=-1024)
  image, _ = read_image(tmp_path)
  np.testing.assert_array_equal(image[..., 0], stored.astype(int) - 1024)
  assert image.dtype == np.int32


@pytest.mark.parametrize("sort", ["PT", "MR", "CT"])
def test_each_slice_has_its_own_slope(tmp_path, sort):
  slopes = 0.37 * (1 + np.arange(6))

  def each(i):
    return {"RescaleSlope": f"{slopes[i]:.10g}", "RescaleIntercept": i}

  write_series(tmp_path, volume(), each=each, sort=sort)
  expected = volume() * slopes[:, None, None] + np.arange(6)[:, None, None]
  np.testing.assert_allclose(read_image(tmp_path)[0][..., 0], expected, rtol=1e-6)


def test_a_first_slice_in_whole_numbers_does_not_round_the_others(tmp_path):
  def each(i):
    return {"RescaleSlope": 1 if i == 0 else 0.25, "RescaleIntercept": 0}

  write_series(tmp_path, volume(), each=each)
  expected = volume() * np.where(np.arange(6) == 0, 1, 0.25)[:, None, None]
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], expected)


def test_a_slice_without_the_slope_of_the_others_is_told(tmp_path):
  def each(i):
    return {} if i == 2 else {"RescaleSlope": 1, "RescaleIntercept": -1024}

  write_series(tmp_path, volume(), each=each)
  with pytest.raises(ValueError, match=r"rescale slope and intercept none, the rest .* told"):
    read_image(tmp_path)


def test_a_slice_without_a_slope_is_like_one_that_tells_no_change(tmp_path):
  def each(i):
    return {} if i == 2 else {"RescaleSlope": 1, "RescaleIntercept": 0}

  write_series(tmp_path, volume(), each=each)
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())


def test_each_frame_of_a_file_has_its_own_slope(tmp_path):
  rescale = [(0.5 * (i + 1), i) for i in range(6)]
  data = enhanced(volume(), positions=[(0, 0, 2 * i) for i in range(6)], rescale=rescale)
  slope, intercept = np.array(rescale).T[:, :, None, None]
  image, _ = read_image(save(tmp_path / "a.dcm", data))
  np.testing.assert_array_equal(image[..., 0], volume() * slope + intercept)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless])
def test_transfer_syntaxes_give_the_same_numbers(tmp_path, syntax):
  for i, file in enumerate(write_series(tmp_path, volume())):
    data = pydicom.dcmread(file)
    if syntax == RLELossless:
      data.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
      data.PixelData = volume()[i].astype(">i2").tobytes()
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(file, data, enforce_file_format=True)
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressions_that_pydicom_alone_does_not_know_are_decoded(tmp_path, compressor):
  writer = sitk.ImageFileWriter()
  writer.SetImageIO("GDCMImageIO")
  writer.UseCompressionOn()
  writer.SetCompressor(compressor)
  pixels = volume((3, 32, 24)).astype(np.int16) - 700
  for i, one in enumerate(pixels):
    image = sitk.GetImageFromArray(one[None])
    image.SetOrigin((0, 0, 2.0 * i))
    for key, value in {"0008|0060": "CT", "0028|1052": "-1024", "0028|1053": "1"}.items():
      image.SetMetaData(key, value)
    image.SetMetaData("0020|000e", "1.2.3.4")
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(tmp_path / f"{i}.dcm"))
    writer.Execute(image)
  syntax = pydicom.dcmread(tmp_path / "0.dcm").file_meta.TransferSyntaxUID
  assert syntax.is_compressed
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], pixels)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [False, True])
def test_files_without_preamble_or_meta_information_are_read(tmp_path, syntax, preamble):
  for i, pixels in enumerate(volume()):
    place = {"ImagePositionPatient": [0, 0, i], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    data = dataset(pixels, PixelSpacing=[1, 1], RescaleSlope=2, **place)
    implicit = syntax == ImplicitVRLittleEndian
    del data.file_meta
    start = b"\0" * 128 + b"DICM" if preamble else b""
    with (tmp_path / f"IM{i}").open("wb") as file:
      file.write(start)
      encoder = pydicom.filebase.DicomFileLike(file)
      encoder.is_implicit_VR, encoder.is_little_endian = implicit, True
      pydicom.filewriter.write_dataset(encoder, data)
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], 2 * volume())


FILES = (
  "MR_small_RLE.dcm",
  "MR_small_bigendian.dcm",
  "MR_small_expb.dcm",
  "MR_small_implicit.dcm",
  "MR_small_jp2klossless.dcm",
  "MR_small_jpeg_ls_lossless.dcm",
  "MR_small_padded.dcm",
)


@pytest.mark.parametrize("name", FILES)
def test_pydicoms_own_files_are_read(name):
  """One image in every transfer syntax."""
  image, _ = read_image(get_testdata_file(name))
  np.testing.assert_array_equal(image, read_image(get_testdata_file("MR_small.dcm"))[0])
  assert image.std() > 0


def test_a_compressed_file_that_is_damaged_is_told(tmp_path):
  data = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
  data.PixelData = data.PixelData[:600] + bytes(len(data.PixelData) - 600)
  with pytest.raises(ValueError, match=r"a.dcm: cannot be read as DICOM"):
    read_image(save(tmp_path / "a.dcm", data))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [11, 15])
def test_what_lies_in_the_bits_beside_the_numbers_is_left_out(tmp_path, signed, high):
  """Twelve bits without their sign, and an overlay in the others, as old files have it."""
  values = np.random.default_rng(0).integers(-2048 if signed else 0, 2048, (6, 7)).astype(np.int32)
  overlay = np.random.default_rng(1).integers(0, 16, (6, 7))
  low = high - 11
  bits = ((values & 0xFFF) << low) | (overlay << (12 if low == 0 else 0))
  tags = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": int(signed)}
  path = save(tmp_path / "a.dcm", dataset(bits.astype(np.uint16), **tags))
  np.testing.assert_array_equal(read_image(path)[0][..., 0], values)


def test_decoders_in_c_say_nothing_of_their_own(capfd):
  """Twelve-bit JPEG, which GDCM tries as eight bits first."""
  image, _ = read_image(get_testdata_file("JPGExtended.dcm"))
  assert image.max() == 264
  captured = capfd.readouterr()
  assert captured.err + captured.out == ""


def test_colours_are_three_channels(tmp_path):
  picture = np.random.default_rng(0).integers(0, 255, (6, 7, 3)).astype(np.uint8)
  image, geometry = read_image(save(tmp_path / "a.dcm", dataset(picture, sort="OT")))
  np.testing.assert_array_equal(image, picture)
  assert geometry.kind == "picture"
  planes = dataset(picture, sort="OT", PlanarConfiguration=1)
  planes.PixelData = np.moveaxis(picture, -1, 0).tobytes()
  np.testing.assert_array_equal(read_image(save(tmp_path / "b.dcm", planes))[0], picture)


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_gdcm.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm"])
def test_stored_luminance_and_chrominance_become_red_green_and_blue(name):
  """Bars of the pure colours; 255 red and 255 blue are told apart."""
  image, _ = read_image(get_testdata_file(name))
  np.testing.assert_allclose(image[5, 50], (255, 0, 0), atol=4)
  np.testing.assert_allclose(image[15, 50], (255, 128, 128), atol=6)


def test_palettes_become_colours():
  image, _ = read_image(get_testdata_file("examples_palette.dcm"))
  assert image.shape[-1] == 3
  assert (image[..., 0] != image[..., 1]).any()


def test_an_x_ray_is_bright_where_it_is_dense(tmp_path):
  picture = np.random.default_rng(0).integers(0, 4095, (6, 7)).astype(np.uint16)
  tags = {"sort": "DX", "BitsStored": 12, "HighBit": 11, "ImagerPixelSpacing": [0.2, 0.1]}
  plain = save(tmp_path / "a.dcm", dataset(picture, **tags))
  inverse = save(
    tmp_path / "b.dcm", dataset(picture, PhotometricInterpretation="MONOCHROME1", **tags)
  )
  image, geometry = read_image(plain)
  np.testing.assert_array_equal(image[..., 0], picture)
  np.testing.assert_allclose(geometry.spacing, (0.2, 0.1))
  np.testing.assert_array_equal(read_image(inverse)[0][..., 0], 4095 - picture)


def test_hounsfield_units_are_not_turned_by_how_a_screen_shows_them(tmp_path):
  write_series(tmp_path, volume(), PhotometricInterpretation="MONOCHROME1")
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], volume())


def test_the_size_of_ultrasound_pixels_is_told_in_centimetres(tmp_path):
  region = pydicom.Dataset()
  region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
  region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
  data = dataset(np.zeros((6, 7, 3), np.uint8), sort="US", SequenceOfUltrasoundRegions=[region])
  np.testing.assert_allclose(read_image(save(tmp_path / "a.dcm", data))[1].spacing, (0.3, 0.2))


def test_units_agree_with_gdcm(tmp_path):
  write_series(tmp_path, volume(), RescaleSlope=2, RescaleIntercept=-1000)
  reader = sitk.ImageSeriesReader()
  reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
  expected = sitk.GetArrayFromImage(reader.Execute())
  np.testing.assert_array_equal(read_image(tmp_path)[0][..., 0], expected)


def test_enhanced_files_are_told_where_they_contradict_themselves(tmp_path):
  data = enhanced(volume(), positions=[(0, 0, 2 * i) for i in range(6)])
  del data.PerFrameFunctionalGroupsSequence[5]
  with pytest.raises(ValueError, match=r"a.dcm: .*it has 6 frames but describes 5"):
    read_image(save(tmp_path / "a.dcm", data))
