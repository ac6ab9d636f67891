"""Every format is read as (z, y, x[, channels]) and written on the same grid."""

import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.images import (
  ending,
  read_image,
  read_label,
  stem,
  write_image,
  write_label,
)

AFFINES = {
  "oblique": np.array(
    [[-1.9, 0.3, 0.1, 12], [0.25, 0.2, 2.9, -7], [0.1, -0.9, 0.4, 3], [0, 0, 0, 1.0]]
  ),
  "sheared": np.array([[0.8, 0.3, 0, 5], [0, 0.8, 0.2, -4], [0, 0, 3, 9], [0, 0, 0, 1.0]]),
}
VOLUME = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.uint8)


def save_nifti(path, array, affine=None, dtype=np.float32):
  affine = np.eye(4) if affine is None else affine
  nib.save(nib.Nifti1Image(array.T.astype(dtype), affine), path)


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_labels_come_back_on_the_same_grid(tmp_path, affine, suffix):
  source = tmp_path / "image.nii.gz"
  save_nifti(source, VOLUME, AFFINES[affine])
  _, geometry = read_image(source)
  write_label(tmp_path / f"label{suffix}", VOLUME * 7, geometry)
  label, back = read_label(tmp_path / f"label{suffix}")
  np.testing.assert_array_equal(label, VOLUME * 7)
  assert label.dtype == np.uint8
  np.testing.assert_allclose(back.affine, AFFINES[affine], atol=1e-5)


def test_nifti_keeps_the_header_of_the_input(tmp_path):
  image = nib.Nifti1Image(VOLUME.T.astype(np.int16), AFFINES["sheared"])
  image.header["descrip"] = b"scanner 7"
  image.header.set_sform(AFFINES["sheared"], code=1)
  image.header.set_xyzt_units("mm", "sec")
  nib.save(image, tmp_path / "image.nii.gz")
  write_label(tmp_path / "out.nii.gz", VOLUME, read_image(tmp_path / "image.nii.gz")[1])
  back = nib.load(tmp_path / "out.nii.gz")
  assert bytes(back.header["descrip"].item()).startswith(b"scanner 7")
  assert back.header["sform_code"] == 1
  assert back.get_data_dtype() == np.uint8
  np.testing.assert_array_equal(np.asarray(back.dataobj), VOLUME.T)


@pytest.mark.parametrize("qform", [0, 1])
def test_nifti_of_no_spacing_is_refused_not_taken_for_a_millimetre(tmp_path, qform):
  image = nib.Nifti1Image(VOLUME.T.astype(np.float32), np.eye(4))
  image.header.set_sform(None, 0)
  image.header.set_qform(np.eye(4), qform)
  stored = bytearray(nib.Nifti1Image(image.dataobj, None, image.header).to_bytes())
  stored[80:84] = bytes(4)  # pixdim[1]
  (tmp_path / "a.nii").write_bytes(stored)
  with pytest.raises(ValueError, match=r"a\.nii: .*spacing of \(1, 1, 0\) in array order"):
    read_image(tmp_path / "a.nii")


def test_nifti_axes_agree_with_simpleitk(tmp_path):
  save_nifti(tmp_path / "a.nii.gz", VOLUME, np.diag([-1.0, -2, 3, 1]))
  image, geometry = read_image(tmp_path / "a.nii.gz")
  itk = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
  np.testing.assert_array_equal(image[..., 0], sitk.GetArrayFromImage(itk))
  np.testing.assert_allclose(geometry.spacing, itk.GetSpacing()[::-1])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_images_have_the_affine_that_nifti_gives_them(tmp_path, suffix):
  itk = sitk.GetImageFromArray(VOLUME)
  angle = 0.3
  itk.SetDirection([np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1])
  itk.SetOrigin((3.0, -4.0, 5.5))
  itk.SetSpacing((0.5, 0.75, 2.0))
  sitk.WriteImage(itk, str(tmp_path / f"a{suffix}"))
  sitk.WriteImage(itk, str(tmp_path / "a.nii.gz"))
  image, geometry = read_image(tmp_path / f"a{suffix}")
  np.testing.assert_array_equal(image[..., 0], VOLUME)
  np.testing.assert_allclose(geometry.affine, nib.load(tmp_path / "a.nii.gz").affine, atol=1e-5)
  np.testing.assert_allclose(geometry.spacing, (2, 0.75, 0.5))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".npz", ".h5"])
def test_channels_are_last(tmp_path, suffix):
  probabilities = np.random.default_rng(1).random((4, 5, 6, 3)).astype(np.float32)
  write_image(tmp_path / f"p{suffix}", probabilities, plain_geometry((4, 5, 6), (3, 2, 1)))
  image, geometry = read_image(tmp_path / f"p{suffix}", rank=3)
  np.testing.assert_array_equal(image, probabilities)
  assert geometry.shape == (4, 5, 6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".png", ".tif", ".npy", ".npz"])
def test_two_dimensional_labels_come_back(tmp_path, suffix):
  label = VOLUME[0] * 80
  write_label(tmp_path / f"a{suffix}", label, plain_geometry((5, 6), (0.5, 0.25)))
  back, geometry = read_label(tmp_path / f"a{suffix}")
  np.testing.assert_array_equal(back, label)
  assert geometry.rank == 2
  if suffix in (".nii.gz", ".nrrd", ".mha"):
    np.testing.assert_allclose(geometry.spacing, (0.5, 0.25))


def test_pictures_are_read_in_colour_and_grey(tmp_path):
  colour = np.random.default_rng(2).integers(0, 256, (5, 6, 3)).astype(np.uint8)
  Image.fromarray(colour).save(tmp_path / "colour.png")
  Image.fromarray(colour).save(tmp_path / "lzw.tif", compression="tiff_lzw")
  Image.fromarray(colour[..., 0] > 99).save(tmp_path / "bits.png")
  Image.fromarray((colour[..., 0] > 99).astype(np.uint8) * 255).save(tmp_path / "mask.gif")
  np.testing.assert_array_equal(read_image(tmp_path / "colour.png")[0], colour)
  np.testing.assert_array_equal(read_image(tmp_path / "lzw.tif")[0], colour)
  np.testing.assert_array_equal(read_label(tmp_path / "bits.png")[0], colour[..., 0] > 99)
  np.testing.assert_array_equal(
    read_label(tmp_path / "mask.gif")[0], np.where(colour[..., 0] > 99, 255, 0)
  )


def test_palette_of_a_label_is_not_its_value(tmp_path):
  picture = Image.fromarray(VOLUME[0]).convert("P")
  picture.putdata(VOLUME[0].ravel().tolist())
  picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
  picture.save(tmp_path / "a.png")
  np.testing.assert_array_equal(read_label(tmp_path / "a.png")[0], VOLUME[0])
  assert read_image(tmp_path / "a.png")[0].shape == (5, 6, 3)


def test_tif_of_several_pages_is_a_volume_with_the_spacing_beside_it(tmp_path):
  tifffile.imwrite(tmp_path / "a.tif", VOLUME, photometric="minisblack")
  (tmp_path / "a.json").write_text('{"spacing": [3.0, 0.5, 0.25]}')
  image, geometry = read_image(tmp_path / "a.tif")
  np.testing.assert_array_equal(image[..., 0], VOLUME)
  np.testing.assert_allclose(geometry.spacing, (3, 0.5, 0.25))
  write_label(tmp_path / "b.tif", VOLUME, geometry)
  np.testing.assert_array_equal(read_label(tmp_path / "b.tif")[0], VOLUME)


def write_dicom(folder, uid="1.2.3"):
  folder.mkdir(exist_ok=True)
  for z in range(4):
    slice_ = sitk.GetImageFromArray(VOLUME[z].astype(np.int16) * 100)
    slice_.SetSpacing((0.5, 0.75))
    tags = {
      "0008|0060": "CT",
      "0020|000e": uid,
      "0020|0032": f"-10\\-20\\{30 + 2 * z}",
      "0020|0037": "1\\0\\0\\0\\1\\0",
      "0020|0013": str(z),
      "0028|1052": "-1000",
      "0028|1053": "1",
    }
    for tag, value in tags.items():
      slice_.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / f"{uid}-{9 - z}.dcm"))
    writer.Execute(slice_)


def test_dicom_series_is_read_in_order_with_its_position(tmp_path):
  write_dicom(tmp_path / "scan")
  image, geometry = read_image(tmp_path / "scan")
  assert image.shape == (4, 5, 6, 1)
  np.testing.assert_array_equal(np.diff(image[..., 0]), np.diff(VOLUME.astype(np.int32)) * 100)
  np.testing.assert_allclose(geometry.spacing, (2, 0.75, 0.5))
  np.testing.assert_allclose(geometry.affine[:3, 3], (10, 20, 30))
  write_label(tmp_path / "label.nii.gz", VOLUME, geometry)
  np.testing.assert_allclose(nib.load(tmp_path / "label.nii.gz").affine, geometry.affine)


def test_folder_of_two_dicom_series_is_refused(tmp_path):
  write_dicom(tmp_path / "scan", "1.2.3")
  write_dicom(tmp_path / "scan", "1.2.4")
  with pytest.raises(ValueError, match=r"scan: holds 2 DICOM series .*expected one"):
    read_image(tmp_path / "scan")


def test_folder_without_dicom_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no DICOM series found in this folder"):
    read_image(tmp_path)


PICTURES = (".png", ".tif", ".bmp", ".gif")


@pytest.mark.parametrize(
  "suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".h5", ".npy", ".npz", *PICTURES]
)
def test_truncated_file_is_named(tmp_path, suffix):
  path = tmp_path / f"scan{suffix}"
  shape = (50, 60) if suffix in PICTURES else (20, 30, 40)
  noise = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
  write_image(path, noise, plain_geometry(shape))
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.raises(ValueError, match=rf"scan{suffix}: cannot be read.*damaged, cut off") as error:
    read_image(path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".nii", ".h5", ".npy", ".npz", *PICTURES])
def test_damaged_header_is_one_sentence(tmp_path, suffix):
  path, random = tmp_path / f"scan{suffix}", np.random.default_rng(4)
  write_image(path, np.zeros((50, 60), np.uint8), plain_geometry((50, 60)))
  whole, told = path.read_bytes(), []
  for _ in range(40):
    damaged = bytearray(whole)
    for place in random.integers(0, min(len(whole), 300), 5):
      damaged[place] = random.integers(0, 256)
    path.write_bytes(damaged)
    try:
      read_image(path)
    except ValueError as error:
      told.append(str(error))
  assert all(str(path) in text and "\n" not in text for text in told)


def test_numbers_of_the_other_byte_order_are_turned(tmp_path):
  for kind in (">u2", ">i4", ">f4"):
    np.save(tmp_path / "a.npy", VOLUME.astype(kind))
    image = read_image(tmp_path / "a.npy")[0]
    assert image.dtype.isnative
    np.testing.assert_array_equal(image[..., 0], VOLUME)


def test_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz: no such file"):
    read_image(tmp_path / "gone.nii.gz")


def test_unknown_ending_lists_the_known_ones(tmp_path):
  (tmp_path / "a.docx").write_text("x")
  with pytest.raises(ValueError, match=r"a\.docx: images with this ending.*\.nii\.gz.*\.png"):
    read_image(tmp_path / "a.docx")


def test_label_with_fractions_is_refused(tmp_path):
  save_nifti(tmp_path / "a.nii.gz", VOLUME + 0.5)
  with pytest.raises(ValueError, match=r"a\.nii\.gz: label values must be whole numbers"):
    read_label(tmp_path / "a.nii.gz")


def test_label_in_colours_is_refused(tmp_path):
  Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / "a.png")
  with pytest.raises(ValueError, match=r"a\.png: a label needs one channel, this file has 3"):
    read_label(tmp_path / "a.png")


def test_label_stored_as_float_is_taken_as_whole_numbers(tmp_path):
  save_nifti(tmp_path / "a.nii.gz", VOLUME, dtype=np.float32)
  label, _ = read_label(tmp_path / "a.nii.gz")
  assert np.issubdtype(label.dtype, np.integer)
  np.testing.assert_array_equal(label, VOLUME)


def test_nothing_is_left_when_writing_fails(tmp_path):
  with pytest.raises(ValueError, match="a volume cannot be written as"):
    write_label(tmp_path / "a.png", VOLUME, plain_geometry(VOLUME.shape))
  assert list(tmp_path.iterdir()) == []


def test_array_off_the_grid_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"grid \(4, 5, 6\) differs from the geometry's \(6, 5, 4\)"):
    write_label(tmp_path / "a.nii.gz", VOLUME, Geometry(np.eye(4), (6, 5, 4)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_that_is_not_writable_is_named(tmp_path):
  folder = tmp_path / "locked"
  folder.mkdir(mode=0o500)
  with pytest.raises(ValueError, match=r"locked/a.nii.gz: cannot be written .*choose a folder"):
    write_label(folder / "a.nii.gz", VOLUME, plain_geometry(VOLUME.shape))


def test_output_folder_under_a_file_is_named(tmp_path):
  (tmp_path / "file").write_text("x")
  with pytest.raises(ValueError, match=r"file/a.nii.gz: cannot be written .*choose a folder"):
    write_label(tmp_path / "file" / "a.nii.gz", VOLUME, plain_geometry(VOLUME.shape))


@pytest.mark.parametrize("top", [255, 256, 70000])
def test_labels_are_written_in_the_smallest_type(tmp_path, top):
  label = VOLUME.astype(np.int64)
  label[0, 0, 0] = top
  write_label(tmp_path / "a.nii.gz", label, plain_geometry(label.shape))
  kind = {255: np.uint8, 256: np.uint16, 70000: np.int32}[top]
  assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == kind
  np.testing.assert_array_equal(read_label(tmp_path / "a.nii.gz")[0], label)


def test_ending_and_stem_take_nii_gz_as_one():
  assert ending("x/Case.1.NII.gz") == ".nii.gz"
  assert stem("x/Case.1.nii.gz") == "Case.1"
