"""Paths for libraries that take some characters of a folder's name for something else."""

import os
import pathlib
import re
import tempfile

# Orbax globs below the path it is given; TensorStore turns \\ into / and refuses its lock's name
_PLAIN = re.compile(r"(?!.*__lock)[\w./+=, -]*", re.ASCII)
_links: dict[pathlib.Path, tuple[tempfile.TemporaryDirectory, pathlib.Path]] = {}


def plain_path(path) -> pathlib.Path:
  """The same place by a path of plain letters: itself, or by way of a link kept by this process.

  Raises ValueError where the folder for temporary files has no plain name either.
  """
  path = pathlib.Path(os.path.abspath(path))
  odd = path
  while _PLAIN.fullmatch(odd.name) and odd != odd.parent:
    odd = odd.parent
  if odd == odd.parent:
    return path
  return _link(odd) / path.relative_to(odd)


def _link(folder: pathlib.Path) -> pathlib.Path:
  # who clears old temporary files away may have taken it
  if folder in _links and _links[folder][1].is_symlink():
    return _links[folder][1]
  temporary = tempfile.TemporaryDirectory(prefix="jaxseg-", ignore_cleanup_errors=True)
  link = pathlib.Path(os.path.realpath(temporary.name)) / "folder"
  if not _PLAIN.fullmatch(str(link)):
    raise ValueError(
      f"TMPDIR: the folder {temporary.name} for temporary files has characters in its name that "
      "Orbax and TensorStore cannot take; set TMPDIR to a folder of plain letters."
    )
  link.symlink_to(folder, target_is_directory=True)
  _links[folder] = temporary, link
  return link
