"""Images without labels, as a user hands them to `predict`."""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from jaxseg.data.images import ENDINGS, read_image, stem
from jaxseg.data.source import RawCase, check_pair, natural

# nnU-Net's names of a case's channels: case_0000.nii.gz, case_0001.nii.gz, ...
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def _is_image(path: pathlib.Path) -> bool:
  name = path.name.lower()
  return path.is_file() and not name.startswith(".") and name.endswith(ENDINGS)


def find_cases(path) -> dict[str, tuple[pathlib.Path, ...]]:
  """Case name -> the files of its channels, in natural order.

  Args:
    path: an image file; a folder of images; the folder of a DICOM series, or a folder of such
      folders. Channels in files of their own are told by nnU-Net's endings _0000, _0001, ...

  Raises:
    FileNotFoundError: the path is missing.
    ValueError: there is no image.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f"{path}: no such file or folder; check --input.")
  if path.is_file():
    return _grouped([path])
  images = [file for file in path.iterdir() if _is_image(file)]
  if images:
    return _grouped(images)
  series = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
  folders = series or [path]
  found = {
    folder.name: (folder,) for folder in folders if any(f.is_file() for f in folder.iterdir())
  }
  if not found:
    raise ValueError(
      f"{path}: holds no image; expected files ending in {', '.join(ENDINGS)}, or DICOM."
    )
  return found


def _grouped(files: Sequence[pathlib.Path]) -> dict[str, tuple[pathlib.Path, ...]]:
  stems = {stem(file) for file in files}
  cases: dict[str, list[pathlib.Path]] = {}
  for file in sorted(files, key=lambda f: natural(f.name)):
    name = stem(file)
    numbered = _CHANNEL.fullmatch(name)
    # _1998 is a channel only beside _0000
    if numbered and (numbered[2] == "0000" or f"{numbered[1]}_0000" in stems):
      name = numbered[1]
    cases.setdefault(name, []).append(file)
  return {name: tuple(paths) for name, paths in cases.items()}


def read_case(paths: Sequence[pathlib.Path], *, rank: int | None = None) -> RawCase:
  """Reads the channels of a case as one image; raises ValueError if their grids differ.

  Args:
    paths: one file with all channels, or one file per channel.
    rank: number of spatial axes, for formats that don't tell it.
  """
  images, grids = zip(*(read_image(path, rank=rank) for path in paths), strict=True)
  for path, grid in zip(paths[1:], grids[1:], strict=True):
    check_pair(grids[0], grid, str(path), what="other channel")
  return RawCase(np.concatenate(images, -1), None, None, grids[0])
