"""A folder for each case, in which the files of its channels and its label lie: BraTS's layout."""

import functools
import glob
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import ENDINGS, read_image, read_label
from jaxseg.data.sources import dataset_json
from jaxseg.data.sources.case_files import CaseFiles, Search
from jaxseg.data.sources.picture_folder import named_labels
from jaxseg.data.sources.source import (
  ALL,
  NONE,
  RawCase,
  Source,
  check_image,
  check_labelled,
  existing_folder,
  fingerprint,
  label_file,
  natural,
  on_image_grid,
)

# the files of a case: of each channel, None of one that it lacks; and of its label
_Files = dict[str, tuple[tuple[pathlib.Path | None, ...], pathlib.Path | None]]


def case_folders(
  path: str,
  *,
  channels: Sequence[str],
  files: Sequence[str],
  label: str | None = None,
  names: Sequence[str] = ("background", "foreground"),
  values: Sequence[Any] | None = None,
  ignore: int | None = None,
  cases: str = "*",
  incomplete: bool = False,
  labelled: bool | str = True,
  check_affine: bool = True,
) -> Source:
  """A folder per case, with a file per channel: what MRI of several sequences mostly comes as.

  Args:
    path: the folder of the cases' folders.
    channels: names of the channels, as ("flair", "t1c").
    files: for each a pattern of its file in a case's folder, as ("*_flair.nii.gz", ...); {case}
      stands for the folder's name.
    label: likewise of the label's file; left out with labelled=False.
    names, values: of the classes, background first, and the value of each in the files (0, 1, 2,
      ... by default). Where a value is a list, these are regions that may overlap, without the
      background: each unites the values of its list, the first of which is written for it, later
      regions on top.
    ignore: stored value of voxels that are not annotated.
    cases: a pattern of the folders that are cases.
    incomplete: cases may lack channels: those that no file matches.
    labelled: True: every case has a label; False: none has; "partly": those without its file have
      none.
    check_affine: refuse labels and channels whose affine differs from the first one's by a tenth
      of a voxel.

  Raises:
    FileNotFoundError: the folder is missing.
    ValueError: a case without a channel, or with several files for one; and, when a case is read,
      grids or label values that don't fit.
  """
  check_labelled(labelled)
  channels, patterns = tuple(channels), tuple(files)
  if len(patterns) != len(channels) or not channels or len(set(channels)) < len(channels):
    raise ValueError(
      f"config.data.source.files: {len(patterns)} patterns for the channels {', '.join(channels)}; "
      "expected one for each, and a name of its own for each channel."
    )
  if label is None and labelled is not NONE:
    raise ValueError(
      "config.data.source.label: is missing; expected a pattern of the label's file in a case's "
      "folder, or labelled=False."
    )
  root = existing_folder(path, "the folder of cases")
  found: _Files = {}
  for home in sorted((f for f in root.glob(cases) if f.is_dir() and f.name[0] != "."), key=str):
    own = tuple(_file(home, pattern, optional=incomplete) for pattern in patterns)
    if not any(own):
      raise ValueError(
        f"{home}: holds no image of {', '.join(channels)} ({', '.join(patterns)}); remove the "
        "folder, correct config.data.source.files, or let `cases` choose the folders."
      )
    mask = None if labelled is NONE else _file(home, label, optional=labelled is not ALL)
    found[home.name] = own, mask
  if not found:
    raise ValueError(f"{root}: no folder matches '{cases}'; expected one for each case.")
  labels = _labels(names, values, ignore)
  ordered = tuple(sorted(found, key=natural))
  first = next(file for file in found[ordered[0]][0] if file)
  rank = read_image(first)[1].rank
  read = functools.partial(
    _read_case, files=found, labels=labels, rank=rank, check_affine=check_affine
  )
  every = [file for of, mask in found.values() for file in (*of, mask) if file]
  told = (channels, patterns, label, labels.to_json(), cases, incomplete, labelled, check_affine)
  lacking = {
    case: tuple(name for name, file in zip(channels, of, strict=True) if file is None)
    for case, (of, _) in found.items()
  }
  return Source(
    root.name,
    ordered,
    channels,
    labels,
    rank,
    read,
    fingerprint(every, {"source": "case_folders", "options": told}),
    frozenset(case for case, (_, mask) in found.items() if mask is None),
    {case: of for case, of in lacking.items() if of},
  )


def folders_of_cases(path, *, source: Mapping[str, Any], missing: Collection[int] = ()) -> Search:
  """The cases of a folder that lie in it as those of a training set did; labels are not looked at.

  Args:
    path: the folder.
    source: config.data.source of that set.
    missing: numbers of channels that the cases need not have.

  Raises ValueError where there is none.
  """
  root, cases, notes = pathlib.Path(path), {}, []
  for home in sorted((f for f in root.glob("*") if f.is_dir()), key=lambda f: natural(f.name)):
    try:
      files = {
        i: _file(home, pattern, optional=source.get("incomplete", False) or i in missing)
        for i, pattern in enumerate(source["files"])
      }
      files = {i: file for i, file in files.items() if file and i not in missing}
      if files:
        cases[home.name] = CaseFiles(tuple(files.values()), numbers=tuple(files))
      else:
        notes.append(f"{home}: holds no image of {', '.join(source['channels'])}")
    except ValueError as error:
      cases[home.name] = CaseFiles((home,), problem=str(error))
  if not cases:
    raise ValueError(
      f"{root}: holds no folder of a case; expected one for each, with files "
      f"{', '.join(source['files'])} in it, as the training set's."
    )
  return Search(cases, tuple(notes))


def _labels(names, values, ignore: int | None) -> LabelSpec:
  united = [value for value in values or () if isinstance(value, Sequence)]
  if not united:
    return named_labels(names, values, ignore)
  where = "config.data.source.values"
  if len(united) != len(values) or len(values) != len(names) or not all(united):
    raise ValueError(
      f"{where}: {tuple(values)} for {', '.join(names)}; expected a number for each class, or a "
      "list of numbers for each region."
    )
  regions = {name: list(of) for name, of in zip(names, values, strict=True)}
  # one value alone is a region, too
  description = {
    "labels": {"background": 0, **regions} | ({} if ignore is None else {"ignore": ignore}),
    "regions_class_order": [of[0] for of in values],
  }
  return dataset_json.label_spec(description, where)


def _file(home: pathlib.Path, pattern: str, *, optional: bool) -> pathlib.Path | None:
  """The one file of a case that matches; None of an optional one that there is not."""
  pattern = pattern.replace("{case}", glob.escape(home.name))
  found = [f for f in sorted(home.glob(pattern)) if f.is_file() and f.name[0] != "."]
  found = [f for f in found if f.name.lower().endswith(ENDINGS)]
  if not found and optional:
    return None
  if len(found) != 1:
    problem = f"{len(found)} files match" if found else "no image matches"
    listed = f" ({', '.join(f.name for f in found[:4])})" if found else ""
    advice = "narrow the pattern" if found else "add it, or set incomplete=True if cases lack some"
    raise ValueError(f"{home}: {problem} '{pattern}'{listed}; expected one: {advice}.")
  return found[0]


def _read_case(case: str, *, files: _Files, labels: LabelSpec, rank: int, check_affine) -> RawCase:
  if case not in files:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(files)} cases.")
  paths, own = files[case]
  parts, grid = [], None
  for file in paths:
    if file is None:
      parts.append(None)
      continue
    image, geometry = read_image(file, rank=rank)
    check_image(image, f"{file} (case '{case}')", channels=1, rank=rank)
    grid = geometry if grid is None else grid
    lay = functools.partial(on_image_grid, what="channel", affine=check_affine)
    parts.append(lay(image, geometry, grid, str(file)))
  there = next(part for part in parts if part is not None)
  image = np.concatenate([np.zeros_like(there) if p is None else p for p in parts], -1)
  missing = tuple(i for i, part in enumerate(parts) if part is None)
  label = None
  if own is not None:
    label, geometry = read_label(own)
    label = on_image_grid(label, geometry, grid, str(own), affine=check_affine)
    labels.encode(label, label_file(own))
  return RawCase(image, label, None, grid, missing)
