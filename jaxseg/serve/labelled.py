"""Whose labels lie in the server's folder: a name alone does not tell, for scans come and go."""

import contextlib
import os
import pathlib
import re
from collections.abc import Callable, Collection

from jaxseg import files
from jaxseg.serve import shared_file

# a folder beside those of the tags: what lies there has names of its own
REPLACED = "replaced"
_FILE = "labels.json"
_ENDING = ".nii.gz"
_ADVICE = "remove the file; the labels are then taken for those of the scans that are called so"


class Labelled:
  """Which scan the labels of each name are of: by its files as they were, or else by its voxels."""

  def __init__(self, home: pathlib.Path):
    self._home, self._file, self._labels = home, home / _FILE, home / "labels"
    # the file when it was read last
    self._seen: os.stat_result | None = None
    self._last: dict[str, dict[str, str]] = {}
    self._read()

  def _read(self) -> dict[str, dict[str, str]]:
    """Name -> whose its labels are: as the file says it now, for other servers write it, too."""
    try:
      seen = self._file.stat()
    except FileNotFoundError:
      self._seen, self._last = None, {}
      return {}
    last = self._seen
    if last is None or (seen.st_ino, seen.st_mtime_ns) != (last.st_ino, last.st_mtime_ns):
      told = files.read_json(self._file, what="whose labels these are", advice=_ADVICE)
      fields = {"stamp": str, "content": str}
      for name, of in told.items():
        known = fields | ({"by": str} if "by" in of else {})
        files.check_fields(of, f"{self._file}: '{name}'", advice=_ADVICE, fields=known)
      self._seen, self._last = seen, told
    return self._last

  def _changed(self) -> contextlib.AbstractContextManager[dict[str, dict[str, str]]]:
    return shared_file.changed(self._file, self._read)

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
    alike, told = re.compile(rf"{re.escape(name)}(-\d+)?"), self._read()
    known = [own for own in told if alike.fullmatch(own) and not taken(own)]
    known = sorted((own for own in known if self.tags(own)), key=len)
    for own in known:
      if told[own]["stamp"] == stamp:
        return own
    for own in known:
      if own not in others and told[own]["content"] == content():
        self.put(own, stamp, content())
        return own
    if not taken(name) and not (name in told and self.tags(name)):
      return name
    # labels of which nothing is told are not of a scan that is called otherwise
    unique, number = name, 1
    while unique == name or taken(unique) or unique in others or self.tags(unique):
      number += 1
      unique = f"{name}-{number}"
    return unique

  def fits(self, name: str, stamp: str, content: Callable[[], str]) -> bool:
    """Whether labels of a name, if there are any, are of the scan with that stamp or content."""
    told = self._read().get(name)
    if told is None or not self.tags(name):
      return True
    return told["stamp"] == stamp or told["content"] == content()

  def put(self, name: str, stamp: str, content: str, by: str | None = None) -> None:
    """Keeps whose labels those of a name are, and which session saved the final one, if one did."""
    with self._changed() as told:
      by = told.get(name, {}).get("by", "") if by is None else by
      told[name] = {"stamp": stamp, "content": content, "by": by}

  def saver(self, name: str) -> str:
    """The session that saved the final label of a name; "" of a client without, or of nobody."""
    return self._read().get(name, {}).get("by", "")

  def remove(self, name: str) -> None:
    """Removes the labels of a name."""
    for tag in self.tags(name):
      self.path(name, tag).unlink(missing_ok=True)
    with self._changed() as told:
      told.pop(name, None)
