"""The scans that the server knows: those of a folder, and those that were uploaded; their labels.

What a client names is looked up in a table and never made a part of a path.
"""

import collections
import contextlib
import functools
import pathlib
import re
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxseg import data, files
from jaxseg.data import RawCase
from jaxseg.data.formats.images import ENDINGS, read_label
from jaxseg.data.sources.case_files import CaseFiles, find_cases
from jaxseg.data.sources.source import fingerprint, on_image_grid
from jaxseg.interaction import record
from jaxseg.runs.folder import Described
from jaxseg.serve import uploads
from jaxseg.serve.guard import Refusal
from jaxseg.serve.labelled import REPLACED, Labelled
from jaxseg.verbs.predict import read

FINAL, ORIGINAL = "final", "original"
# scans that stay in memory
_KEPT = 3
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}")


class Scan(NamedTuple):
  """A scan: its name for clients, its files, whether it was uploaded, and when it came."""

  name: str
  case: CaseFiles
  own: bool
  since: float

  @property
  def series(self) -> str:
    """The DICOM series' UID, by which OHIF names it; "" of other files."""
    return self.case.series.headers[0].series if self.case.series else ""


class Scans:
  """Scans and labels on disk. Methods may be called from several threads."""

  def __init__(self, home, given, told: Described, limits: uploads.Limits):
    """
    Args:
      home: the server's own folder: uploads, labels and sessions lie in it.
      given: a folder of scans that is only read, or None.
      told: what the runs take: channels, rank.
      limits: of uploads.
    """
    self.home = files.writable_folder(home, "--folder").resolve()
    self._told, self._limits = told, limits
    self._lock, self._writing = threading.RLock(), threading.Lock()
    self._scans: dict[str, Scan] = {}
    # with the stamp of the files that they were read from
    self._images: collections.OrderedDict[str, tuple[str, RawCase]] = collections.OrderedDict()
    self._identities: dict[str, tuple[str, dict[str, Any]]] = {}
    self._labelled = Labelled(self.home)
    self.notes: list[str] = []
    if given is not None:
      self._find(pathlib.Path(given).expanduser().resolve())
    self._find_uploads()

  @property
  def _uploads(self) -> pathlib.Path:
    return self.home / "scans"

  def _find(self, folder: pathlib.Path) -> None:
    cases, notes = find_cases(folder, channels=self._told.channels, rank=self._told.rank)
    self.notes += notes
    for name, case in cases.items():
      if any(not file.resolve().is_relative_to(folder) for file in case.files):
        self.notes.append(f"{case.files[0]}: is a link out of {folder}; left out")
      elif case.problem:
        self.notes.append(case.problem)
      else:
        own = self._name_of(name, case, cases.keys() - {name})
        self._scans[own] = Scan(own, case, False, case.files[0].stat().st_mtime)

  def _name_of(self, name: str, case: CaseFiles, others: Collection[str]) -> str:
    """A name whose labels, if there are any, are of this scan, and which no other scan has."""

    def content() -> str:
      try:
        return record.identity(read(case, self._told))["content"]
      except (ValueError, OSError):  # told when it is opened
        return ""

    content = functools.cache(content)
    own = self._labelled.name_of(name, self._taken, _stamp(case), content, others)
    if own != name:
      what = "a scan is" if self._taken(name) else f"the labels in {self.home} are of a scan"
      self.notes.append(
        f"{case.files[0]}: is called '{own}' here: {what} called '{name}', which is another one"
      )
    return own

  def _find_uploads(self) -> None:
    folders = sorted(self._uploads.glob("*/files"))
    names = {folder.parent.name for folder in folders}
    for folder in folders:
      try:
        case = self._case(folder)
      except (ValueError, OSError) as error:
        self.notes.append(f"{folder}: {error}")
        continue
      name = self._name_of(folder.parent.name, case, names - {folder.parent.name})
      self._scans[name] = Scan(name, case, True, folder.stat().st_mtime)

  def _case(self, folder: pathlib.Path) -> CaseFiles:
    return uploads.one_case(folder, self._told.channels, self._told.rank, self._limits)

  def _taken(self, name: str) -> bool:
    return name.casefold() in {known.casefold() for known in self._scans}

  def _unused(self, name: str) -> str:
    """A name that no scan, upload or label has."""
    unique, number = name, 1
    while self._taken(unique) or (self._uploads / unique).exists() or self._labelled.tags(unique):
      number += 1
      unique = f"{name}-{number}"
    return unique

  def names(self) -> list[str]:
    with self._lock:
      return list(self._scans)

  def get(self, name: str) -> Scan:
    """The scan of that name, or the DICOM series of that UID; Refusal (404) for another.

    A client goes on calling an upload by the name that it gave: that finds it, too.
    """
    with self._lock:
      if name in self._scans:
        return self._scans[name]
      for scan in self._scans.values():
        if name and scan.series == name:
          return scan
      with contextlib.suppress(ValueError):
        if (own := stem(uploads.plain_name(name))) in self._scans:
          return self._scans[own]
    raise Refusal(404, f"there is no scan '{name[:80]}' here; open or upload it first.")

  def stamp(self, name: str) -> str:
    """What changes when a file of the scan does: of their names, sizes and times."""
    scan = self.get(name)
    try:
      return _stamp(scan.case)
    except OSError as error:
      raise ValueError(
        f"the files of '{scan.name}' cannot be read ({error.strerror}); they were moved or removed."
      ) from error

  def image(self, name: str) -> RawCase:
    """The scan as read; the last few stay in memory. ValueError for one that cannot be read."""
    scan, stamp = self.get(name), self.stamp(name)
    with self._lock:
      known = self._images.get(scan.name)
      if known is not None and known[0] == stamp:
        self._images.move_to_end(scan.name)
        return known[1]
    try:
      raw = read(scan.case, self._told)
    except (ValueError, OSError) as error:
      raise ValueError(uploads.inside(error, scan.case.files[0].parent)) from error
    with self._lock:
      self._images[scan.name] = stamp, raw
      while len(self._images) > _KEPT:
        self._images.popitem(last=False)
    return raw

  def identity(self, name: str) -> dict[str, Any]:
    """`record.identity` of a scan: its voxels are summed up again only if a file was changed."""
    own, stamp = self.get(name).name, self.stamp(name)
    with self._lock:
      known = self._identities.get(own)
    if known is None or known[0] != stamp:
      known = stamp, record.identity(self.image(name))
      with self._lock:
        self._identities[own] = known
    return known[1]

  def check_same(self, name: str, identity: Mapping[str, Any]) -> None:
    """Refusal (409) where the scan is not that of an identity any more."""
    if self.identity(name) != identity:
      raise Refusal(
        409,
        f"the files of '{name}' were changed since this session began, and its marks are of the "
        "scan as it was; open the scan again.",
      )

  def add(self, sent: Iterable[tuple[str, BinaryIO]], name: str = "") -> Scan:
    """Takes an upload in; ValueError in one sentence, and nothing stays, for what is no scan.

    It is called `name`, which must be free, or after its first file.
    """
    sent = list(sent)
    if not sent:
      raise ValueError("the upload holds no file; choose a scan.")
    wanted = stem(uploads.plain_name(name or sent[0][0]))
    if name and wanted in self.names():
      raise Refusal(409, f"there is a scan '{wanted}' already; give this one another name.")
    self._uploads.mkdir(exist_ok=True)
    arrived = pathlib.Path(tempfile.mkdtemp(prefix=".arriving-", dir=self._uploads))
    try:
      folder = uploads.receive(sent, arrived / "files", self._limits)
      raw = self._readable(folder)
      with self._lock:
        own = self._unused(wanted)
        home = self._uploads / own
        files.rename(arrived, home)
        case = self._case(home / "files")
        self._scans[own] = Scan(own, case, True, time.time())
        self._images[own] = _stamp(case), raw
      return self._scans[own]
    finally:
      uploads.remove(arrived)

  def _readable(self, folder: pathlib.Path) -> RawCase:
    case = self._case(folder)
    try:
      return read(case, self._told)
    except (ValueError, OSError) as error:
      raise ValueError(uploads.inside(error, case.files[0].parent)) from error

  def remove(self, name: str) -> None:
    """Removes an uploaded scan with its labels; Refusal (403) for one of the folder given."""
    scan = self.get(name)
    if not scan.own:
      raise Refusal(403, f"'{scan.name}' lies in the folder of scans, which is only read.")
    with self._lock:
      self._labelled.remove(scan.name)
      del self._scans[scan.name]
      self._images.pop(scan.name, None)
      self._identities.pop(scan.name, None)
    uploads.remove(
      scan.case.files[0].parents[1 if scan.case.files[0].parent.name == "files" else 2]
    )

  # labels

  def label(self, name: str, tag: str) -> pathlib.Path:
    """Where a label of a scan lies, or would; Refusal for a tag that is no plain word."""
    if not _TAG.fullmatch(tag) or tag.lower() == REPLACED:
      raise Refusal(400, f"tag '{tag[:40]}': expected a word of letters and digits, as final.")
    return self._labelled.path(self.get(name).name, tag)

  def tags(self, name: str) -> list[str]:
    """The tags that a scan has labels of."""
    return self._labelled.tags(self.get(name).name)

  def write_label(
    self, name: str, stored: np.ndarray, tag: str = FINAL, by: str = ""
  ) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Writes (*space) stored values as NIfTI in the scan's own geometry.

    Labels of the scan as it was before its files were changed are put aside, and so is a final one
    that another session than `by` saved ("": a client without one).

    Returns:
      The file, and where the final label that it takes the place of lies now.
    """
    path, kept, own = self.label(name, tag), None, self.get(name).name
    with self._writing:
      if not self._fits(name):
        aside = {old: self.put_aside(name, old) for old in self.tags(name)}
        kept = aside.get(tag)
      elif tag == FINAL and self._labelled.saver(own) != by:
        kept = self.put_aside(name)
      data.write_label(path, stored, self.image(name).geometry)
      saver = by if tag == FINAL else None
      self._labelled.put(own, self.stamp(name), self.identity(name)["content"], saver)
    return path, kept

  def _fits(self, name: str) -> bool:
    content = lambda: self.identity(name)["content"]  # noqa: E731
    return self._labelled.fits(self.get(name).name, self.stamp(name), content)

  def check_label(self, name: str) -> None:
    """Raises ValueError where a scan's labels are of what it was before its files were changed."""
    if not self._fits(name):
      raise ValueError(
        f"the labels of '{name}' are of the scan as it was before its files were changed; bring "
        "these back, or label the changed scan."
      )

  def put_aside(self, name: str, tag: str = FINAL) -> pathlib.Path | None:
    """Keeps the label that another user saved under another name; None where there is none."""
    path = self.label(name, tag)
    if not path.is_file():
      return None
    folder, number = self.home / "labels" / REPLACED, 1
    folder.mkdir(exist_ok=True)
    while (kept := folder / f"{path.name.removesuffix('.nii.gz')}_{number}.nii.gz").exists():
      number += 1
    files.rename(path, kept)
    return kept

  def receive_label(self, name: str, filename: str, stream: BinaryIO, tag: str = FINAL):
    """Takes a label that a client drew; ValueError where it does not lie on the scan's grid."""
    raw = self.image(name)
    with tempfile.TemporaryDirectory(dir=self.home, prefix=".arriving-") as folder:
      place = uploads.receive([(filename, stream)], pathlib.Path(folder) / "files", self._limits)
      (file, *more) = [of for of in place.rglob("*") if of.is_file()]
      if more:
        raise ValueError("the label holds several files; send one.")
      try:
        values, geometry = read_label(file)
        stored = on_image_grid(values, geometry, raw.geometry, file.name, unless="")
      except (ValueError, OSError) as error:
        raise ValueError(uploads.inside(error, place)) from error
    return self.write_label(name, stored, tag)[0]

  def unlabelled(self) -> list[str]:
    """Scans without a final label, in the order of their names."""
    return [name for name in self.names() if FINAL not in self.tags(name)]

  def status(self) -> dict[str, Any]:
    """How many scans there are, and how many are labelled."""
    counts: dict[str, int] = {}
    for name in self.names():
      for tag in self.tags(name):
        counts[tag] = counts.get(tag, 0) + 1
    return {"total": len(self.names()), "completed": counts.get(FINAL, 0), "label_tags": counts}


def _stamp(case: CaseFiles) -> str:
  return fingerprint(case.files, {})


def stem(name: str) -> str:
  """A file's name without the ending of its format: scan.nii.gz -> scan, patient.001 as it is."""
  known = next((of for of in (*ENDINGS, uploads.ZIP) if name.lower().endswith(of)), "")
  return name[: len(name) - len(known)] or "scan"
