"""Looks for images in a folder and the folders in it: which files make which case."""

import collections
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxseg.data.formats import dicom
from jaxseg.data.formats.images import ENDINGS, ending
from jaxseg.data.sources.channel_files import by_case, check_files, numbers_of
from jaxseg.data.sources.source import natural

# files that lie beside images and say nothing to a user
_BESIDE = (".raw", ".zraw", ".json", ".txt", ".csv", ".tsv", ".md", ".bval", ".bvec", ".xml")
_PLAIN = tuple(known for known in ENDINGS if known not in dicom.ENDINGS)
_SYSTEM = ("dicomdir", "thumbs.db", "desktop.ini")
# images of other programs
_FOREIGN = (".hdr", ".img", ".img.gz", ".mgz", ".mgh", ".mnc", ".par", ".rec", ".vtk", ".webp")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
# what `predict` writes beside its segmentations
LEGEND = "labels.json"
# bytes of a case's name: file systems take 255, endings included
_LONGEST = 180
# files named in one note
_NAMED = 4


class CaseFiles(NamedTuple):
  """What a case is read from.

  Attributes:
    files: one file with all channels, one per channel, or those of a DICOM series.
    series: the DICOM series, if it is one.
    problem: why it cannot be read, "" if nothing is known to be wrong.
    numbers: of the channel that each file holds; None where their names tell, or one holds all.
    shared: the name that it has in common with an earlier case, "" of one that is alone with its.
  """

  files: tuple[pathlib.Path, ...]
  series: dicom.Series | None = None
  problem: str = ""
  numbers: tuple[int, ...] | None = None
  shared: str = ""


class Search(NamedTuple):
  """Cases by name, in natural order, and notes about what was left out."""

  cases: dict[str, CaseFiles]
  notes: tuple[str, ...]


class _Candidate(NamedTuple):
  """A case in a folder below the input; `name` is its own there, "" if it is the folder's."""

  folder: pathlib.Path
  name: str
  case: CaseFiles


def find_cases(
  path,
  *,
  channels: Sequence[str] | None = None,
  rank: int | None = None,
  output=None,
  missing: Collection[int] = (),
) -> Search:
  """Finds the cases in a file or, at any depth, in a folder.

  Args:
    path: an image file; a folder of images, of DICOM slices, or of folders with these. Channels in
      files of their own are told by nnU-Net's endings _0000, _0001, ...
    channels: names of the channels that are expected.
    rank: number of axes of the images that are expected.
    output: a folder below that is left out if segmentations were written there before.
    missing: numbers of channels that the cases need not have.

  Raises:
    FileNotFoundError: the path is missing.
    ValueError: there is no image.
  """
  path = pathlib.Path(path)
  first = min(set(range(len(channels or (0,)))) - set(missing), default=0)
  if path.is_file():
    candidates, notes = _of_file(path, first), []
  elif path.is_dir():
    candidates, notes = _of_folders(path, rank, output, first)
  else:
    raise FileNotFoundError(f"{path}: no such file or folder; check --input.")
  cases: dict[str, CaseFiles] = {}
  used: set[str] = set()
  names: set[str] = set()
  for name, one in sorted(((_name(path, one), one) for one in candidates), key=_order):
    unique = _unique(name, used)
    if unique != name:
      notes.append(f"{one.case.files[0]}: its segmentation is called '{unique}'")
    shared = name if name.casefold() in names else ""
    names.add(name.casefold())
    cases[unique] = _check(one, channels, missing)._replace(shared=shared)
  if not cases:
    held = f" ({'; '.join(notes[:4])})" if notes else ""
    raise ValueError(
      f"{path}: holds no image{held}; expected files ending in {', '.join(ENDINGS)}, or DICOM "
      "slices, there or in folders below."
    )
  return Search(cases, tuple(notes))


def _order(named: tuple[str, _Candidate]) -> tuple:
  return natural(named[0]), named[1].case.files


def _name(path: pathlib.Path, candidate: _Candidate) -> str:
  """Folders below the input and the case's own name: sub-1_anat_t1."""
  if path.is_file():
    return candidate.name
  parts = [*candidate.folder.relative_to(path).parts, *([candidate.name] if candidate.name else [])]
  return "_".join(parts) or path.resolve().name or "case"


def _unique(name: str, used: set[str]) -> str:
  """A name that no other case has, nor a file that is written beside another's segmentation."""
  encoded = name.encode()
  if len(encoded) > _LONGEST:
    name = encoded[-_LONGEST:].decode(errors="ignore")
  unique, number = name, 1
  while unique.casefold() in used:
    number += 1
    unique = f"{name}-{number}"
  used |= {f"{unique}{end}".casefold() for end in ("", "_overlay", "_probabilities")}
  return unique


def _check(
  candidate: _Candidate, channels: Sequence[str] | None, missing: Collection[int]
) -> CaseFiles:
  if channels is None or candidate.case.problem or candidate.case.series:
    return candidate.case
  try:
    files = candidate.case.files
    check_files(candidate.name, files, channels, candidate.folder, optional=missing)
  except ValueError as error:
    return candidate.case._replace(problem=str(error))
  return candidate.case._replace(numbers=numbers_of(files, candidate.name))


def _of_file(path: pathlib.Path, first: int) -> list[_Candidate]:
  if dicom.is_dicom(path):
    contents = dicom.find_series([path], rank=2)
    candidates = [_of_series(one, set()) for one in contents.series] + _damaged(contents)
    if not candidates:
      raise ValueError(f"{path}: {contents.skipped[path]}; give the scan itself.")
    return candidates
  if path.name.lower().endswith(_ARCHIVES):
    raise ValueError(f"{path}: is an archive; unpack it and give the folder.")
  ending(path)  # raises for an unknown one
  return _of_images(path.parent, [path], first)


def _of_images(
  folder: pathlib.Path, images: Sequence[pathlib.Path], first: int
) -> list[_Candidate]:
  cases = by_case(images, first=first)
  return [_Candidate(folder, name, CaseFiles(files)) for name, files in cases.items()]


def _of_series(
  series: dicom.Series, shared: set[pathlib.Path], problem: str = "", of: str = ""
) -> _Candidate:
  """A series is called after its folder, in `shared` ones after itself; a lone file as it is."""
  if len(series.files) == 1:
    file = series.files[0]
    name = file.stem if file.name.lower().endswith(dicom.ENDINGS) else file.name
  else:
    name = _file_name(series.description) if series.folder in shared else ""
  name = "_".join(part for part in (name, of) if part)
  return _Candidate(series.folder, name, CaseFiles(series.files, series, problem))


def _file_name(description: str) -> str:
  return re.sub(r"[^\w.+-]+", "_", description).strip("_.") or "series"


def _damaged(contents: dicom.Contents) -> list[_Candidate]:
  return [
    _Candidate(file.parent, file.stem, CaseFiles((file,), problem=why))
    for file, why in contents.damaged.items()
  ]


def _of_folders(
  path: pathlib.Path, rank: int | None, output, first: int
) -> tuple[list[_Candidate], list[str]]:
  if (path / "dataset.json").is_file() and (path / "imagesTr").is_dir():
    raise ValueError(
      f"{path}: is a training set, with labels beside its images; give the folder of the images, "
      f"for example {path / 'imagesTs'}."
    )
  candidates: list[_Candidate] = []
  series: list[dicom.Series] = []
  problems: dict[pathlib.Path, str] = {}
  skipped: dict[pathlib.Path, str] = {}
  for folder in _folders(path, output, skipped):
    entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    files = [entry for entry in entries if _is_seen(entry)]
    images = [file for file in files if file.name.lower().endswith(_PLAIN)]
    contents = dicom.find_series([file for file in files if _is_dicom(file)], rank=rank)
    if any(one.positioned for one in contents.series):
      # previews, or conversions and segmentations of the series
      skipped |= dict.fromkeys(images, "lies beside a DICOM series, is not the scan")
    else:
      candidates += _of_images(folder, images, first)
    if contents.series:
      # the file is one of their slices: without it a volume is short, and nobody would know
      problems[folder] = next(iter(contents.damaged.values()), "")
    else:
      candidates += _damaged(contents)
    series += contents.series
    skipped |= contents.skipped
    skipped |= _strange(files, {*images, *contents.files})
    skipped |= {
      link: "leads nowhere" for link in entries if link.is_symlink() and not link.exists()
    }
    if not files and not any(entry.is_dir() for entry in entries):
      skipped[folder] = "holds no image"
  series, apart = dicom.joined(series)
  several = collections.Counter(one.folder for one in series if len(one.files) > 1)
  shared = {folder for folder, count in several.items() if count > 1}
  for one in series:
    problem = next((problems[f.parent] for f in one.files if problems[f.parent]), "")
    parts, tag = dicom.split(one) if one.positioned and not problem else ({"": one}, "")
    candidates += [_of_series(part, shared, problem, of=name) for name, part in parts.items()]
    if tag:
      apart.append(f"{one.folder}: holds {len(parts)} volumes at one place, told apart by {tag}")
  return candidates, _group(skipped) + apart


def _folders(
  path: pathlib.Path, output, skipped: dict[pathlib.Path, str]
) -> Iterator[pathlib.Path]:
  """The folder and all below it, each once, but for hidden ones and earlier segmentations.

  Those that cannot be opened are added to `skipped`.
  """

  def closed(error: OSError) -> None:
    skipped[pathlib.Path(error.filename)] = f"cannot be opened ({error.strerror})"

  output = None if output is None else pathlib.Path(output).resolve()
  seen = set()
  for name, below, _ in os.walk(path, onerror=closed, followlinks=True):
    folder = pathlib.Path(name)
    place = folder.resolve()
    if place in seen or (folder != path and place == output and (folder / LEGEND).is_file()):
      below.clear()
      continue
    seen.add(place)
    below[:] = sorted((n for n in below if n[0] != "." and n != "__MACOSX"), key=natural)
    yield folder


def _is_seen(path: pathlib.Path) -> bool:
  hidden = path.name[0] == "." or path.name.lower() in _SYSTEM
  return path.is_file() and not hidden


def _is_dicom(path: pathlib.Path) -> bool:
  if path.name.lower().endswith((*_PLAIN, *_BESIDE)):
    return False
  try:
    return dicom.is_dicom(path)
  except OSError:
    return True  # it may be a slice: reading its header says why not


def _strange(
  files: Sequence[pathlib.Path], known: Collection[pathlib.Path]
) -> dict[pathlib.Path, str]:
  """Why files are left out that neither are images nor usually lie beside them."""
  others = [f for f in files if f not in known and not f.name.lower().endswith(_BESIDE)]
  return {file: _what(file.name.lower()) for file in others}


def _what(name: str) -> str:
  if name.endswith(_ARCHIVES):
    return "is an archive: unpack it"
  if name.endswith(_FOREIGN):
    return "is of a format that is not read: convert it, a volume to NIfTI (.nii.gz)"
  return "is no image"


def _group(skipped: Mapping[pathlib.Path, str]) -> list[str]:
  """One note for all files and folders that are left out for one reason."""
  kinds: dict[str, list[str]] = {}
  for file, why in skipped.items():
    kinds.setdefault(why, []).append(str(file))
  return [f"{', '.join(files[:_NAMED])}{_more(files)}: {why}" for why, files in kinds.items()]


def _more(files: Sequence[str]) -> str:
  return f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
