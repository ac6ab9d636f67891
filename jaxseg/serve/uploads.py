"""What becomes of uploaded files: names and sizes are checked before anything is decoded."""

import math
import pathlib
import re
import shutil
import zipfile
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

from jaxseg import files
from jaxseg.data.formats import dicom
from jaxseg.data.sources.case_files import CaseFiles, find_cases
from jaxseg.packages import OnDemand

nib, sitk, tifffile = (OnDemand(name) for name in ("nibabel", "SimpleITK", "tifffile"))
pillow = OnDemand("PIL.Image")
# formats whose voxels lie in the file itself; .mhd and .nhdr name another file, of this machine
_SCANS = (".nii.gz", ".nii", ".nrrd", ".mha", *dicom.ENDINGS)
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ZIP = ".zip"
_BLOCK = 2**20
# of an archive: what a series of slices needs
_MEMBERS = 20_000
_LONGEST = 100
_EXPECTED = "expected NIfTI, NRRD, DICOM (slices, or a zip of them), PNG, JPEG or TIFF"


class Limits(NamedTuple):
  """How large an upload may be: its bytes, those of what is packed in it, and its voxels."""

  most_bytes: int
  most_voxels: int


def plain_name(name: str) -> str:
  """A file's own name without folders, of harmless characters; raises ValueError where none is.

  What would leave a folder ("../x", "C:\\x", "/x") or hide in it (".x") is refused, not mended.
  """
  if not name or re.search(r"[/\\\0]|^\.|^[A-Za-z]:", name) or not name.isprintable():
    raise ValueError(
      f"'{name[:_LONGEST]}': is no plain file name; send the file's own name, without a folder."
    )
  return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-_LONGEST:].lstrip(".") or "scan"


def save(stream: BinaryIO, path: pathlib.Path, most: int) -> int:
  """Copies a stream to a new file; raises ValueError beyond `most` bytes. Gives how many."""
  written = 0
  with files.full_disk_told(path), path.open("xb") as target:
    while block := stream.read(_BLOCK):
      written += len(block)
      if written > most:
        raise ValueError(f"{path.name}: holds more than {most / 2**20:g} MiB when it is unpacked.")
      target.write(block)
  return written


def receive(
  uploads: Iterable[tuple[str, BinaryIO]], folder: pathlib.Path, limits: Limits
) -> pathlib.Path:
  """Writes uploaded files into a new folder, archives unpacked.

  Args:
    uploads: name and content of each.
    folder: is made; what is in it when this fails is the caller's to remove.
    limits: of all together.

  Raises ValueError in one sentence for a name with a folder in it, another format, an archive that
  is damaged, encrypted or larger than it may be, and for nothing at all.
  """
  folder.mkdir(parents=True)
  left = limits.most_bytes
  for name, stream in uploads:
    plain = plain_name(name)
    if plain.lower().endswith(ZIP):
      left -= _unpack(stream, plain, folder, left)
      continue
    path = _free(folder, plain)
    left -= save(stream, path, left)
    _check_kind(path)
  if not any(path.is_file() for path in folder.rglob("*")):
    raise ValueError(f"the upload holds no image; {_EXPECTED}.")
  return folder


def _free(folder: pathlib.Path, name: str) -> pathlib.Path:
  """A name that no file has: viewers send slices of several folders under one name."""
  path, number = folder / name, 1
  while path.exists():
    number += 1
    path = folder / f"{number}_{name}"
  return path


def _check_kind(path: pathlib.Path) -> None:
  """Raises ValueError for a file that is no image of a known format, by name and first bytes."""
  name = path.name.lower()
  if not name.endswith((*_SCANS, *_PICTURES)) and not dicom.is_dicom(path):
    raise ValueError(f"{path.name}: is no image that can be read; {_EXPECTED}.")
  if name.endswith((".nrrd", ".mha")):
    _check_whole(path)


def _check_whole(path: pathlib.Path) -> None:
  """Raises ValueError for a header that takes its voxels from another file of this machine."""
  with path.open("rb") as file:
    head = re.split(rb"\r?\n\r?\n", file.read(2**16))[0].lower()
  detached = re.search(rb"^\s*(data ?file\s*:|elementdatafile\s*=(?!\s*local\s*$))", head, re.M)
  if detached:
    raise ValueError(
      f"{path.name}: its voxels lie in another file; send them in one file, as NIfTI."
    )


def _unpack(stream: BinaryIO, name: str, folder: pathlib.Path, most: int) -> int:
  """Unpacks the images of an archive; gives how many bytes they have."""
  try:
    archive = zipfile.ZipFile(stream)
    members = [member for member in archive.infolist() if not member.is_dir()]
  except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
    raise ValueError(f"{name}: is damaged or no zip archive ({error}); pack it again.") from error
  if len(members) > _MEMBERS:
    raise ValueError(f"{name}: holds {len(members)} files, at most {_MEMBERS} are unpacked.")
  total, homes = 0, {}
  for member in members:
    own = pathlib.PurePosixPath(member.filename.replace("\\", "/"))
    if own.is_absolute() or ".." in own.parts or re.match(r"[A-Za-z]:", member.filename):
      raise ValueError(
        f"{name}: its file '{member.filename[:_LONGEST]}' would lie outside of the archive's own "
        "folder; pack it again."
      )
    if member.flag_bits & 1:
      raise ValueError(f"{name}: is encrypted; send it without a password.")
    if own.name.startswith(".") or "__MACOSX" in own.parts:
      continue
    # a folder of the archive stays a folder, under a number
    home = homes.setdefault(own.parent, folder / f"{len(homes) + 1:03}")
    home.mkdir(exist_ok=True)
    path = _free(home, plain_name(own.name))
    try:
      with archive.open(member) as content:
        total += save(content, path, most - total)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
      if isinstance(error, OSError) and error.errno is not None:
        raise
      raise ValueError(f"{name}: is damaged ({error}); pack it again.") from error
    try:
      _check_kind(path)
    except ValueError:
      if path.name.lower().endswith((".nrrd", ".mha")):
        raise
      path.unlink()  # notes and indices that lie beside slices
  return total


def one_case(folder: pathlib.Path, channels, rank: int, limits: Limits) -> CaseFiles:
  """The one case in a folder of uploaded files; raises ValueError for none, several, or too large.

  `channels` and `rank` are what the runs take.
  """
  try:
    cases, _ = find_cases(folder, channels=channels, rank=rank)
  except (ValueError, OSError) as error:
    raise ValueError(f"the upload holds no scan: {inside(error, folder)}") from error
  if len(cases) > 1:
    raise ValueError(
      f"the upload holds {len(cases)} scans ({', '.join(list(cases)[:4])}); send one at a time."
    )
  (case,) = cases.values()
  if case.problem:
    raise ValueError(inside(case.problem, folder))
  voxels = declared_voxels(case)
  if voxels > limits.most_voxels:
    raise ValueError(
      f"{case.files[0].name}: has {voxels:,} voxels, at most {limits.most_voxels:,} are read; crop "
      "it, or start the server with a larger --most-voxels."
    )
  return case


def inside(error, folder: pathlib.Path) -> str:
  """A message without the server's own folders."""
  return str(error).replace(f"{folder}/", "").replace(str(folder), "the upload")


def declared_voxels(case: CaseFiles) -> int:
  """How many voxels the headers of a case's files tell of, before any is decoded.

  A small file can tell of more than fits into memory. Raises ValueError for a damaged header.
  """
  if case.series is not None:
    return sum(math.prod(h.shape) * h.samples * len(h.frames) for h in case.series.headers)
  return sum(_declared(path) for path in case.files)


def _declared(path: pathlib.Path) -> int:
  name = path.name.lower()
  try:
    if name.endswith((".nii", ".nii.gz")):
      return math.prod(map(int, nib.load(path).shape))
    if name.endswith((".tif", ".tiff")):
      with tifffile.TiffFile(path) as file:
        _check_alone(file)
        return sum(math.prod(page.shape) for page in file.pages)
    if name.endswith(_PICTURES):
      with pillow.open(path) as file:
        return math.prod(file.size) * len(file.getbands())
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
  except Exception as error:  # damaged files make the libraries fail in every way
    words = " ".join(str(error).replace(f"{path.parent}/", "").split())[:160]
    raise ValueError(
      f"{path.name}: is no image, or damaged ({words}); send the file again, or another."
    ) from error


def _check_alone(file: "tifffile.TiffFile") -> None:
  """Raises ValueError for an OME-TIFF that names files in other folders of this machine."""
  names = re.findall(r'FileName="([^"]*)"', file.ome_metadata or "") if file.is_ome else ()
  if any("/" in name or "\\" in name for name in names):
    raise ValueError("it names files of other folders; save it as one file")


def remove(folder: pathlib.Path) -> None:
  """Removes a folder of uploaded files; one that is gone is no fault."""
  shutil.rmtree(folder, ignore_errors=True)
