"""NRRD and MetaImage: spaces, units, kinds of axes, and damage that ITK does not tell."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from jaxseg.data import read_image, read_label

VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
HEADER = {
  "type": "int16",
  "dimension": "3",
  "space": "left-posterior-superior",
  "sizes": "6 5 4",
  "space directions": "(0.5,0,0) (0,0.75,0) (0,0,2)",
  "kinds": "domain domain domain",
  "endian": "little",
  "space origin": "(1,2,3)",
}
TWO = "(0.5,0,0) (0,0.75,0) (0,0,2)"


def nrrd(path, array=VOLUME, encoding="raw", **fields):
  """An NRRD file with the header's fields replaced; those that are None are left out."""
  fields = {name.replace("_", " "): value for name, value in fields.items()}
  head = {name: value for name, value in (HEADER | fields).items() if value is not None}
  text = "\n".join(["NRRD0005", *(f"{name}: {value}" for name, value in head.items())])
  body = array.tobytes()
  body = gzip.compress(body, mtime=0) if encoding == "gzip" else body
  path.write_bytes(f"{text}\nencoding: {encoding}\n\n".encode() + body)
  return path


def meta(path, compress=False, **fields):
  """A MetaImage of the same volume, with lines of its header replaced."""
  image = sitk.GetImageFromArray(VOLUME)
  image.SetSpacing((0.5, 0.75, 2))
  image.SetOrigin((1, 2, 3))
  sitk.WriteImage(image, str(path), compress)
  content = path.read_bytes()
  for name, value in fields.items():
    content = content.replace(b"ElementSpacing", f"{name} = {value}\nElementSpacing".encode())
  path.write_bytes(content)
  return path


@pytest.mark.parametrize(
  ("space", "signs"),
  [
    ("left-posterior-superior", (-1, -1, 1)),
    ("right-anterior-superior", (1, 1, 1)),
    ("LAS", (-1, 1, 1)),
  ],
)
def test_the_space_of_a_nrrd_says_what_its_axes_mean(tmp_path, space, signs):
  image, geometry = read_image(nrrd(tmp_path / "a.nrrd", space=space))
  np.testing.assert_array_equal(image[..., 0], VOLUME)
  expected = np.diag([*signs, 1]) @ np.array(
    [[0.5, 0, 0, 1], [0, 0.75, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1]]
  )
  np.testing.assert_allclose(geometry.affine, expected)


def test_headers_that_tell_no_direction_are_taken_for_none(tmp_path):
  plain = {"space": None, "space_directions": None, "space_origin": None, "spacings": "0.5 0.75 2"}
  _, geometry = read_image(nrrd(tmp_path / "a.nrrd", **plain))
  assert (geometry.axcodes, geometry.spacing.tolist()) == ("", [2, 0.75, 0.5])
  assert read_image(nrrd(tmp_path / "b.nrrd"))[1].axcodes == "LPS"
  path = meta(tmp_path / "c.mha")
  assert read_image(path)[1].axcodes == "LPS"
  told = b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
  assert told in path.read_bytes()
  path.write_bytes(path.read_bytes().replace(told, b""))
  assert read_image(path)[1].axcodes == ""


def test_a_detached_header_finds_its_voxels(tmp_path):
  path = nrrd(tmp_path / "a.nhdr", data_file="a.raw")
  path.write_bytes(path.read_bytes().split(b"\n\n")[0] + b"\n")
  (tmp_path / "a.raw").write_bytes(VOLUME.tobytes())
  np.testing.assert_array_equal(read_image(path)[0][..., 0], VOLUME)
  (tmp_path / "a.raw").unlink()
  with pytest.raises(ValueError, match=r"a.nhdr: cannot be read"):
    read_image(path)


@pytest.mark.parametrize(
  "fields",
  [
    {"space_units": '"um" "um" "um"', "space_directions": "(500,0,0) (0,750,0) (0,0,2000)"},
    {"space_units": '"cm" "cm" "cm"', "space_directions": "(0.05,0,0) (0,0.075,0) (0,0,0.2)"},
    {
      "units": '"um" "um" "um"',
      "spacings": "500 750 2000",
      "space": None,
      "space_directions": None,
      "space_origin": None,
    },
  ],
)
def test_units_of_a_nrrd_are_honoured(tmp_path, fields):
  geometry = read_image(nrrd(tmp_path / "a.nrrd", **fields))[1]
  np.testing.assert_allclose(geometry.spacing, (2, 0.75, 0.5), rtol=1e-6)


def test_units_that_are_unknown_or_differ_are_told(tmp_path):
  with pytest.raises(ValueError, match=r"lengths are in 'inch', expected mm, um or cm"):
    read_image(nrrd(tmp_path / "a.nrrd", space_units='"inch" "inch" "inch"'))
  with pytest.raises(ValueError, match=r"different units \(mm, mm, um\)"):
    read_image(nrrd(tmp_path / "a.nrrd", space_units='"mm" "mm" "um"'))


def test_units_of_a_metaimage_are_honoured(tmp_path):
  geometry = read_image(meta(tmp_path / "a.mha", DistanceUnits="um"))[1]
  np.testing.assert_allclose(geometry.spacing, (0.002, 0.00075, 0.0005), rtol=1e-6)
  np.testing.assert_allclose(geometry.affine[:3, 3], (-0.001, -0.002, 0.003))


@pytest.mark.parametrize("kind", ["vector", "list"])
@pytest.mark.parametrize("first", [True, False])
def test_an_axis_of_another_kind_is_the_channels(tmp_path, kind, first):
  axes, sizes, directions = ["domain"] * 3, ["6", "5", "4"], TWO.split()
  at = 0 if first else 3
  for rows, more in ((axes, kind), (sizes, "2"), (directions, "none")):
    rows.insert(at, more)
  array = np.stack([VOLUME, -VOLUME], -1 if first else 0)
  path = nrrd(
    tmp_path / "a.nrrd",
    array,
    dimension=4,
    kinds=" ".join(axes),
    sizes=" ".join(sizes),
    space_directions=" ".join(directions),
  )
  image, geometry = read_image(path)
  np.testing.assert_array_equal(image, np.stack([VOLUME, -VOLUME], -1))
  np.testing.assert_allclose(geometry.spacing, (2, 0.75, 0.5))
  with pytest.raises(ValueError, match=r"a.nrrd: a label needs one channel, this file has 2"):
    read_label(path)


def test_a_series_over_time_is_told(tmp_path):
  more = {"kinds": "domain domain domain time", "space_directions": f"{TWO} none"}
  path = nrrd(tmp_path / "a.nrrd", np.stack([VOLUME] * 2), dimension=4, sizes="6 5 4 2", **more)
  with pytest.raises(ValueError, match=r"a.nrrd: .*a series over time: split it"):
    read_image(path)


def test_complex_voxels_are_told(tmp_path):
  sitk.WriteImage(sitk.GetImageFromArray(VOLUME.astype(np.complex64)), str(tmp_path / "a.nrrd"))
  with pytest.raises(ValueError, match=r"a.nrrd: .*complex numbers: write their magnitude"):
    read_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize("where", [-40, -20, -3])
def test_a_flipped_bit_in_compressed_voxels_is_told(tmp_path, where, capfd):
  """ITK prints "Uncompress failed" and returns other voxels."""
  files = [meta(tmp_path / "a.mha", compress=True), nrrd(tmp_path / "a.nrrd", encoding="gzip")]
  for path in files:
    content = bytearray(path.read_bytes())
    content[where - 4 * (path.suffix == ".nrrd")] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read"):
      read_image(path)
  assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compress", [False, True])
def test_voxels_that_are_cut_off_or_missing_are_told_in_words_alone(tmp_path, compress, capfd):
  for name in ("a.mha", "a.mhd", "a.nrrd"):
    nrrd(tmp_path / name, encoding="gzip" if compress else "raw")
    if not name.endswith("nrrd"):
      meta(tmp_path / name, compress)
    voxels = tmp_path / ("a.zraw" if compress else "a.raw") if name == "a.mhd" else tmp_path / name
    voxels.write_bytes(voxels.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f"{name}: cannot be read"):
      read_image(tmp_path / name)
  voxels.unlink()
  (tmp_path / ("a.zraw" if compress else "a.raw")).unlink()
  with pytest.raises(ValueError, match=r"a.mhd: .* a.z?raw, is missing beside it"):
    read_image(tmp_path / "a.mhd")
  assert capfd.readouterr().err == ""
