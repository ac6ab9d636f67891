"""NIfTI's units, types, scales and axes, against the header's definition written out."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.formats.images import read_image, read_label, write_image, write_label

VOLUME = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.uint8)
OBLIQUE = np.array([[-1.9, 0.3, 0.1, 12], [0.25, 0.2, 2.9, -7], [0.1, -0.9, 0.4, 3], [0, 0, 0, 1]])
COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
CLEAR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])


def save(path, array, affine=None, *, slope=None, intercept=0.0, **header):
  """(z, y, x) or (z, y, x, c) as NIfTI's (x, y, z, c); a slope is written without scaling."""
  voxels = np.moveaxis(array, (0, 1, 2), (2, 1, 0)) if array.ndim > 2 else array.T
  image = nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine, dtype=array.dtype)
  for name, value in header.items():
    image.header[name] = value
  raw = bytearray(image.to_bytes())
  if slope is not None:
    raw[112:120] = np.array([slope, intercept], "<f4").tobytes()
  path.write_bytes(bytes(raw))
  return path


@pytest.mark.parametrize(("code", "size"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (3 + 8, 0.001)])
@pytest.mark.parametrize("form", ["sform", "qform", "sizes"])
def test_the_unit_of_the_header_is_honoured_and_kept(tmp_path, code, size, form):
  affine = OBLIQUE if form == "sform" else np.diag([500.0, 250, 800, 1])
  image = nib.Nifti1Image(VOLUME.T, affine)
  image.header.set_qform(affine, 1 if form == "qform" else 0)
  image.header.set_sform(affine, 1 if form == "sform" else 0)
  image.header["xyzt_units"] = code
  nib.Nifti1Image(VOLUME.T, None, image.header).to_filename(tmp_path / "a.nii")
  geometry = read_image(tmp_path / "a.nii")[1]
  wanted = nib.load(tmp_path / "a.nii").affine.copy()
  wanted[:3] *= size
  np.testing.assert_allclose(geometry.affine, wanted, rtol=1e-6)
  write_label(tmp_path / "b.nii", VOLUME, geometry)
  before, after = nib.load(tmp_path / "a.nii"), nib.load(tmp_path / "b.nii")
  assert after.header["xyzt_units"] == code
  assert after.header["sform_code"] == before.header["sform_code"]
  np.testing.assert_allclose(after.affine, before.affine, rtol=1e-6)
  np.testing.assert_allclose(read_label(tmp_path / "b.nii")[1].affine, wanted, rtol=1e-6)


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_spacing_in_other_units_is_what_itk_reads(tmp_path, code):
  save(tmp_path / "a.nii", VOLUME, np.diag([0.5, 0.25, 2, 1]), xyzt_units=code)
  itk = sitk.ReadImage(str(tmp_path / "a.nii"))
  spacing = read_image(tmp_path / "a.nii")[1].spacing
  np.testing.assert_allclose(spacing, itk.GetSpacing()[::-1], rtol=1e-6)
  write_label(tmp_path / "a.nrrd", VOLUME, read_image(tmp_path / "a.nii")[1])
  np.testing.assert_allclose(read_label(tmp_path / "a.nrrd")[1].spacing, spacing, rtol=1e-6)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
@pytest.mark.parametrize("field", ["pixdim", "srow_x"])
def test_voxels_of_no_size_are_refused(tmp_path, value, field):
  image = nib.Nifti1Image(VOLUME.T, np.eye(4))
  if field == "pixdim":
    image.header.set_sform(None, 0)
  image = nib.Nifti1Image(VOLUME.T, None, image.header)
  raw = bytearray(image.to_bytes())
  start = {"pixdim": 80, "srow_x": 280}[field]
  raw[start : start + 4] = np.float32(value).tobytes()
  (tmp_path / "a.nii").write_bytes(bytes(raw))
  with pytest.raises(
    ValueError, match=r"a\.nii: .*spacing of|a\.nii: .*NaN|a\.nii: cannot be read"
  ):
    read_image(tmp_path / "a.nii")


def test_negative_sizes_are_lengths_as_nibabel_and_itk_have_it(tmp_path):
  image = nib.Nifti1Image(VOLUME.T, None)
  image.header["pixdim"][1:4] = (1, 1, 2)
  raw = bytearray(image.to_bytes())
  raw[80:84] = np.float32(-1).tobytes()
  (tmp_path / "a.nii").write_bytes(bytes(raw))
  np.testing.assert_array_equal(read_image(tmp_path / "a.nii")[1].spacing, (2, 1, 1))


@pytest.mark.parametrize("clear", [None, 255, 0])
def test_colours_are_channels(tmp_path, clear):
  colour = np.random.default_rng(1).integers(0, 256, (4, 5, 6, 3)).astype(np.uint8)
  kind, stored = COLOUR, colour
  if clear is not None:
    kind, stored = CLEAR, np.concatenate([colour, np.full((4, 5, 6, 1), clear, np.uint8)], -1)
  save(tmp_path / "a.nii", np.ascontiguousarray(stored).view(kind)[..., 0])
  image, geometry = read_image(tmp_path / "a.nii")
  np.testing.assert_array_equal(image, colour)
  assert image.dtype == np.uint8
  assert geometry.shape == (4, 5, 6)
  write_label(tmp_path / "b.nii", VOLUME, geometry)
  np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), VOLUME.T)


def test_colours_that_are_transparent_in_places_are_refused(tmp_path):
  colour = np.zeros((4, 5, 6, 4), np.uint8)
  colour[0, ..., 3] = 9
  save(tmp_path / "a.nii", colour.view(CLEAR)[..., 0])
  with pytest.raises(ValueError, match=r"a\.nii: .*alpha\) differs between voxels"):
    read_image(tmp_path / "a.nii")


def test_label_in_colours_is_refused_unless_they_are_grey(tmp_path):
  colour = np.repeat(VOLUME[..., None], 3, -1)
  save(tmp_path / "grey.nii", np.ascontiguousarray(colour).view(COLOUR)[..., 0])
  np.testing.assert_array_equal(read_label(tmp_path / "grey.nii")[0], VOLUME)
  colour[0, 0, 0, 1] = 7
  save(tmp_path / "a.nii", np.ascontiguousarray(colour).view(COLOUR)[..., 0])
  with pytest.raises(ValueError, match="a label needs one channel, this file has 3"):
    read_label(tmp_path / "a.nii")


@pytest.mark.parametrize("read", [read_image, read_label])
@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_numbers_are_refused_in_words(tmp_path, read, kind):
  save(tmp_path / "a.nii", VOLUME * np.exp(2j).astype(kind))
  with pytest.raises(ValueError, match=r"a\.nii: .*complex numbers.*save the magnitude"):
    read(tmp_path / "a.nii")


@pytest.mark.parametrize(
  ("stored", "slope", "intercept"),
  [
    (VOLUME * 85, 1 / 85, 0),
    (VOLUME * 63, 1 / 63, 0),
    (VOLUME.astype(np.int16) * 3, 1 / 3, 0),
    (VOLUME.astype(np.int16) - 7, 1, 7),
    (VOLUME.astype(np.float32), 0, 0),
    (VOLUME, np.nan, 0),
    (VOLUME, 1, 0),
  ],
)
def test_labels_through_a_scale_are_whole_up_to_its_rounding(tmp_path, stored, slope, intercept):
  save(tmp_path / "a.nii", stored, slope=slope, intercept=intercept)
  label, _ = read_label(tmp_path / "a.nii")
  assert np.issubdtype(label.dtype, np.integer)
  np.testing.assert_array_equal(label, VOLUME)


def test_labels_that_nibabel_scaled_to_16_bits_are_whole_again(tmp_path):
  slope, intercept = 3 / 65000, 1.5
  stored = np.round((VOLUME - intercept) / slope).astype(np.int16)
  save(tmp_path / "a.nii", stored, slope=slope, intercept=intercept)
  assert not np.isin(nib.load(tmp_path / "a.nii").get_fdata(), (0, 1, 2, 3)).all()
  np.testing.assert_array_equal(read_label(tmp_path / "a.nii")[0], VOLUME)


@pytest.mark.parametrize("value", [0.98, 1.4999, 1.001, np.nan, np.inf])
def test_labels_that_are_not_whole_are_refused_with_the_value(tmp_path, value):
  label = VOLUME.astype(np.float32)
  label[0, 0, 0] = value
  save(tmp_path / "a.nii", label)
  with pytest.raises(ValueError, match=rf"a\.nii: .*whole numbers, found {str(value)[:4]}"):
    read_label(tmp_path / "a.nii")
  save(tmp_path / "b.nii", np.full((4, 5, 6), 250, np.uint8), slope=1 / 255)
  with pytest.raises(ValueError, match=r"whole numbers, found 0\.980"):
    read_label(tmp_path / "b.nii")


@pytest.mark.parametrize(
  "kind", ["i1", "u1", "<i2", ">i2", "u2", ">u2", "i4", "u4", "i8", "u8", "f8"]
)
def test_labels_of_every_type_keep_their_values(tmp_path, kind):
  top = min(np.iinfo(kind).max, 2**62) if np.dtype(kind).kind in "iu" else 2**40
  label = VOLUME.astype(kind)
  label[0, 0, 0] = top
  save(tmp_path / "a.nii", label)
  back, geometry = read_label(tmp_path / "a.nii")
  assert int(back[0, 0, 0]) == top
  write_label(tmp_path / "b.nii", back, geometry)
  np.testing.assert_array_equal(read_label(tmp_path / "b.nii")[0].astype(np.int64), label)


def test_negative_labels_are_written_as_they_are(tmp_path):
  label = VOLUME.astype(np.int32) * -40000
  write_label(tmp_path / "b.nii", label, plain_geometry(label.shape))
  np.testing.assert_array_equal(read_label(tmp_path / "b.nii")[0], label)


def test_unsigned_bytes_and_words_of_images_keep_their_type(tmp_path):
  for kind in (np.uint8, np.uint16, ">u2"):
    save(tmp_path / "a.nii", VOLUME.astype(kind))
    image, _ = read_image(tmp_path / "a.nii")
    assert image.dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(image[..., 0], VOLUME)
  save(tmp_path / "a.nii", VOLUME, slope=0.5, intercept=-1)
  image, _ = read_image(tmp_path / "a.nii")
  assert image.dtype == np.float32
  np.testing.assert_array_equal(image[..., 0], VOLUME * 0.5 - 1)


def test_trailing_axes_of_one_are_no_channels(tmp_path):
  voxels = VOLUME.T.astype(np.float32)
  two = np.stack([voxels, voxels + 9], -1)
  shapes = [(voxels[..., None, None], 1), (two[..., None, None], 2), (two[..., None, :], 2)]
  for stored, channels in shapes:
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "a.nii")
    image, geometry = read_image(tmp_path / "a.nii")
    assert image.shape == (4, 5, 6, channels)
    np.testing.assert_array_equal(image[..., -1], VOLUME + 9 * (channels - 1))
    assert geometry.rank == 3
  nib.save(nib.Nifti1Image(np.stack([two] * 3, -1), np.eye(4)), tmp_path / "a.nii")
  with pytest.raises(ValueError, match="neither 2D, 3D nor 3D with channels"):
    read_image(tmp_path / "a.nii")


def test_a_vector_image_gives_its_label_no_intent(tmp_path):
  image = nib.Nifti1Image(np.zeros((6, 5, 4, 1, 3), np.float32), np.eye(4))
  image.header.set_intent("vector")
  nib.save(image, tmp_path / "a.nii")
  write_label(tmp_path / "b.nii", VOLUME, read_image(tmp_path / "a.nii")[1])
  assert nib.load(tmp_path / "b.nii").header.get_intent()[0] == "none"
  np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "b.nii")), VOLUME)


def test_a_type_that_nibabel_does_not_know_is_told(tmp_path):
  raw = bytearray(nib.Nifti1Image(VOLUME.T, np.eye(4)).to_bytes())
  raw[70:72] = np.int16(1).tobytes()  # one bit per voxel
  (tmp_path / "a.nii").write_bytes(bytes(raw))
  with pytest.raises(ValueError, match=r"a\.nii: cannot be read as \.nii .*data code 1"):
    read_image(tmp_path / "a.nii")


def test_probabilities_keep_the_unit_too(tmp_path):
  save(tmp_path / "a.nii", VOLUME, np.diag([500.0, 500, 800, 1]), xyzt_units=3)
  share = np.random.default_rng(2).random((4, 5, 6, 2)).astype(np.float32)
  write_image(tmp_path / "p.nii", share, read_image(tmp_path / "a.nii")[1])
  back, geometry = read_image(tmp_path / "p.nii")
  np.testing.assert_array_equal(back, share)
  np.testing.assert_allclose(geometry.spacing, (0.8, 0.5, 0.5), rtol=1e-6)
