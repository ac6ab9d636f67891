"""Whose labels lie in the server's folder: a name alone does not tell, for scans come and go."""

import pathlib
import re
from collections.abc import Callable, Collection

from jaxseg import files

# a folder beside those of the tags: what lies there has names of its own
REPLACED = "replaced"
_FILE = "labels.json"
_ENDING = ".nii.gz"
_ADVICE = "remove the file; the labels are then taken for those of the scans that are called so"


class Labelled:
  """Which scan the labels of each name are of: by its files as they were, or else by its voxels."""

  def __init__(self, home: pathlib.Path):
    self._file, self._labels = home / _FILE, home / "labels"
    self._told: dict[str, dict[str, str]] = {}
    if self._file.is_file():
      told = files.read_json(self._file, what="whose labels these are", advice=_ADVICE)
      fields = {"stamp": str, "content": str}
      for name, of in told.items():
        files.check_fields(of, f"{self._file}: '{name}'", advice=_ADVICE, fields=fields)
      self._told = told

  def path(self, name: str, tag: str) -> pathlib.Path:
    return self._labels / tag / f"{name}{_ENDING}"

  def tags(self, name: str) -> list[str]:
    """The tags that labels of that name have."""
    own = f"{name}{_ENDING}"
    return sorted(
      path.parent.name
      for path in self._labels.glob("*/*")
      if path.name == own and path.parent.name != REPLACED
    )

  def name_of(
    self,
    name: str,
    taken: Callable[[str], bool],
    stamp: str,
    content: Callable[[], str],
    others: Collection[str],
  ) -> str:
    """What a scan is called that its files call `name`: as its labels are, and no other scan's.

    Args:
      name: the files'.
      taken: whether another scan has a name already.
      stamp: of its files.
      content: () -> the hash of its voxels, which is asked for where files were changed or moved.
      others: what files of other scans beside it call these.
    """
    alike = re.compile(rf"{re.escape(name)}(-\d+)?")
    known = [own for own in self._told if alike.fullmatch(own) and not taken(own)]
    known = sorted((own for own in known if self.tags(own)), key=len)
    for own in known:
      if self._told[own]["stamp"] == stamp:
        return own
    for own in known:
      if own not in others and self._told[own]["content"] == content():
        self.put(own, stamp, content())
        return own
    unique, number = name, 1
    while taken(unique) or (unique in self._told and self.tags(unique)):
      number += 1
      unique = f"{name}-{number}"
    return unique

  def fits(self, name: str, stamp: str, content: Callable[[], str]) -> bool:
    """Whether labels of a name, if there are any, are of the scan with that stamp or content."""
    told = self._told.get(name)
    if told is None or not self.tags(name):
      return True
    return told["stamp"] == stamp or told["content"] == content()

  def put(self, name: str, stamp: str, content: str) -> None:
    """Keeps whose labels those of a name are."""
    told = {"stamp": stamp, "content": content}
    if self._told.get(name) != told:
      self._told = {**self._told, name: told}
      files.write_json(self._file, self._told)

  def remove(self, name: str) -> None:
    """Removes the labels of a name."""
    for tag in self.tags(name):
      self.path(name, tag).unlink(missing_ok=True)
    if self._told.pop(name, None) is not None:
      files.write_json(self._file, self._told)
