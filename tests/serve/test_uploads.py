"""Uploaded files: names, kinds, archives and sizes are checked before anything is decoded."""

import gzip
import io
import struct
import zipfile

import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pytest

from jaxseg.serve import uploads

LIMITS = uploads.Limits(2**20, 10**6)


def nifti(shape=(4, 5, 6)):
  voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
  return gzip.compress(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())


def png(shape=(8, 9)):
  return imageio.imwrite("<bytes>", np.zeros(shape, np.uint8), extension=".png")


def zipped(*members):
  content = io.BytesIO()
  with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members:
      archive.writestr(name, data)
  return content.getvalue()


def receive(tmp_path, *sent, limits=LIMITS):
  streams = [(name, io.BytesIO(data)) for name, data in sent]
  return uploads.receive(streams, tmp_path / "files", limits)


def case(tmp_path, *sent, rank=3, limits=LIMITS):
  folder = receive(tmp_path, *sent, limits=limits)
  return uploads.one_case(folder, ("grey",), rank, limits)


@pytest.mark.parametrize(
  "name",
  ["../scan.nii.gz", "a/b.nii", "..\\scan.nii", "/etc/passwd", "C:scan.nii", ".bashrc", "", "a\0b"],
)
def test_a_name_with_a_folder_in_it_is_refused(name, tmp_path):
  with pytest.raises(ValueError, match="plain file name"):
    receive(tmp_path, (name, nifti()))
  assert not list(tmp_path.rglob("*.nii*"))


def test_other_characters_of_names_become_harmless(tmp_path):
  assert uploads.plain_name("Müller; rm -rf $HOME.nii.gz") == "M_ller_rm_-rf_HOME.nii.gz"
  folder = receive(tmp_path, ("a b.png", png()))
  assert [path.name for path in folder.iterdir()] == ["a_b.png"]


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("notes.txt", b"hello"),
    ("page.html", b"<script>"),
    ("run.py", b"import os"),
    ("x.npz", b"PK"),
    ("scan.mhd", b"ElementDataFile = /etc/passwd"),
  ],
)
def test_what_is_no_image_is_refused_in_a_sentence(name, content, tmp_path):
  with pytest.raises(ValueError, match=r"no image.*NIfTI.*\.$"):
    receive(tmp_path, (name, content))


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "p.png", "p.jpg", "p.tif", "s.dcm"])
def test_damaged_images_are_refused_in_a_sentence_without_the_servers_folders(name, tmp_path):
  with pytest.raises(ValueError, match=r"\.$") as told:
    case(tmp_path, (name, b"\x93" * 300), rank=2)
  assert str(tmp_path) not in str(told.value)
  assert "\n" not in str(told.value)


@pytest.mark.parametrize(
  ("name", "header"),
  [
    ("scan.nrrd", "NRRD0004\ntype: short\ndimension: 2\nsizes: 2 2\ndata file: /etc/passwd\n\n"),
    ("scan.nrrd", "NRRD0004\r\nsizes: 2 2\r\ndatafile: ../x.raw\r\n\r\n"),
    ("scan.mha", "ObjectType = Image\nNDims = 2\nElementDataFile = /etc/passwd\n"),
  ],
)
def test_headers_that_name_another_file_of_the_server_are_refused(name, header, tmp_path):
  with pytest.raises(ValueError, match="another file"):
    receive(tmp_path, (name, header.encode()))


def test_a_metaimage_with_its_voxels_in_it_is_taken(tmp_path):
  header = "ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\n"
  receive(tmp_path, ("scan.mha", f"{header}ElementDataFile = LOCAL\n".encode() + bytes(4)))


def test_an_archive_of_slices_keeps_its_folders_and_drops_what_is_beside_them(tmp_path):
  archive = zipped(
    ("one/a.png", png()), ("two/a.png", png()), ("one/README.txt", b"x"), ("__MACOSX/a.png", b"")
  )
  folder = receive(tmp_path, ("study.zip", archive))
  kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
  assert kept == ["001/a.png", "002/a.png"]


@pytest.mark.parametrize("name", ["../../evil.png", "/evil.png", "a/../../evil.png", "C:/evil.png"])
def test_an_archive_cannot_write_outside_of_its_folder(name, tmp_path):
  with pytest.raises(ValueError, match=r"outside|plain"):
    receive(tmp_path, ("study.zip", zipped((name, png()))))
  assert not list(tmp_path.parent.rglob("evil.png"))


def test_an_archive_that_swells_is_refused_before_the_disk_is_full(tmp_path):
  bomb = zipped(("scan.nii", bytes(2**24)))
  assert len(bomb) < 2**15
  with pytest.raises(ValueError, match="1 MiB"):
    receive(tmp_path, ("bomb.zip", bomb))
  assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 2**20


def test_damaged_and_encrypted_archives_are_refused(tmp_path):
  with pytest.raises(ValueError, match="damaged"):
    receive(tmp_path, ("a.zip", b"PK\x03\x04 and no more"))
  sealed = bytearray(zipped(("a.png", png())))
  sealed[sealed.index(b"PK\x01\x02") + 8] |= 1
  with pytest.raises(ValueError, match="encrypted"):
    uploads.receive([("a.zip", io.BytesIO(bytes(sealed)))], tmp_path / "second", LIMITS)


def test_a_small_file_that_tells_of_a_huge_scan_is_refused_before_it_is_decoded(tmp_path):
  header = bytearray(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes())
  header[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
  with pytest.raises(ValueError, match="27,000,000,000,000 voxels, at most 1,000,000"):
    case(tmp_path, ("bomb.nii", bytes(header)))


def test_pictures_too_count_before_they_are_decoded(tmp_path):
  with pytest.raises(ValueError, match="voxels, at most 50"):
    case(tmp_path, ("p.png", png()), rank=2, limits=uploads.Limits(2**20, 50))


def test_an_upload_holds_one_scan(tmp_path):
  with pytest.raises(ValueError, match=r"2 scans \(a, b\)"):
    case(tmp_path, ("a.nii.gz", nifti()), ("b.nii.gz", nifti()))
  with pytest.raises(ValueError, match="holds no image"):
    uploads.receive([], tmp_path / "none", LIMITS)


def test_a_scan_is_taken(tmp_path):
  taken = case(tmp_path, ("brain scan.nii.gz", nifti()))
  assert [path.name for path in taken.files] == ["brain_scan.nii.gz"]
  assert uploads.declared_voxels(taken) == 120
