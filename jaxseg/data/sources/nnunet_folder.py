"""Folders in nnU-Net's raw format (version 2) and in that of the Medical Segmentation Decathlon."""

import functools
import glob
import os.path
import pathlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import ENDINGS, ending, read_image, read_label, stem
from jaxseg.data.sources import dataset_json
from jaxseg.data.sources.channel_files import by_case, check_files, lacking, placed, split_channel
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

# case -> the files of its channels, and its label, None where it has none
Files = dict[str, tuple[tuple[pathlib.Path, ...], pathlib.Path | None]]


def _visible_files(folder: pathlib.Path) -> list[pathlib.Path]:
  # the Decathlon's archives hold macOS's ._files beside the images
  return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def _located(root: pathlib.Path, name, where) -> pathlib.Path:
  """A file that dataset.json names: absolute, or seen from its folder."""
  if not isinstance(name, str) or not name:
    raise ValueError(f"{where}: names {name!r} as a file, expected a path in quotes.")
  try:
    ending(name)
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from None
  path = root / os.path.expandvars(name)
  # written on Windows
  return root / name.replace("\\", "/") if "\\" in name and not path.is_file() else path


def _from_list(root: pathlib.Path, entries, channels: int, where, labelled) -> Files:
  """The Decathlon's key "training"; "image" may list a file per channel, as MONAI's data lists do.

  A file name that a set of the first nnU-Net lacks is the stem of its channels' names.
  """
  if not isinstance(entries, list):
    raise ValueError(
      f'{where}: "training" must be a list of images and labels, got {entries!r:.80}.'
    )
  pairs = []
  for entry in entries:
    if not isinstance(entry, dict) or "image" not in entry or _lacks_label(entry, labelled):
      raise ValueError(f'{where}: each entry of "training" needs "image" and "label", got {entry}.')
    images = entry["image"]
    label = _located(root, entry["label"], where) if entry.get("label") else None
    if isinstance(images, list) and len(images) not in (1, channels):
      raise ValueError(
        f'{where}: "training": "image" lists {len(images)} file(s) in {entry}; expected '
        f"{channels}, one per channel."
      )
    images = images if isinstance(images, list) else [images]
    pairs.append((tuple(_located(root, image, where) for image in images), label))
  _check_listed_once(pairs, entries, where)
  files: Files = {}
  for name, (images, label) in zip(_names(root, pairs), pairs, strict=True):
    alone = len(images) == 1 and not images[0].is_file()
    files[name] = (alone and _numbered(images[0])) or images, label
  return files


def _check_listed_once(pairs, entries, where) -> None:
  first: dict[pathlib.Path, int] = {}
  for i, ((image, *_), _) in enumerate(pairs):
    before = first.setdefault(pathlib.Path(os.path.normpath(image)), i)
    if before != i:
      raise ValueError(
        f'{where}: two entries of "training" have one image, {entries[before]} and {entries[i]}; '
        "list each image once, or it may train and validate at once."
      )


def _names(root: pathlib.Path, pairs) -> list[str]:
  """A name for each entry: the label's file name, the image's, or what differs of the path."""
  for files in ([label for _, label in pairs], [images[0] for images, _ in pairs]):
    if None in files:
      continue
    names = [stem(file) for file in files]
    if len(set(names)) == len(names):
      return names
  paths = [os.path.relpath(images[0], root) for images, _ in pairs]
  paths = [[*pathlib.PurePath(path).parts[:-1], stem(path)] for path in paths]
  if len({len(parts) for parts in paths}) == 1:
    differs = [len(set(column)) > 1 for column in zip(*paths, strict=True)]
    paths = [
      [part for part, of in zip(parts, differs, strict=True) if of and part != ".."]
      for parts in paths
    ]
  names = ["_".join(part for part in parts if part not in ("..", "/")) for parts in paths]
  twice = {name for name in names if names.count(name) > 1}
  # a/b_c and a_b/c
  return ["+".join(p) if n in twice else n for n, p in zip(names, paths, strict=True)]


def _numbered(image: pathlib.Path) -> tuple[pathlib.Path, ...]:
  name = stem(image)
  suffix = image.name[len(name) :]
  return tuple(sorted(image.parent.glob(f"{glob.escape(name)}_[0-9][0-9][0-9][0-9]{suffix}")))


def _lacks_label(entry: Mapping, labelled) -> bool:
  return labelled is ALL and "label" not in entry


def _from_table(root: pathlib.Path, table, channels: int, where, labelled) -> Files:
  """nnU-Net's key "dataset": case -> {"images": [...], "label": ...}, anywhere on the disk."""
  if not isinstance(table, dict):
    raise ValueError(f'{where}: "dataset" must be an object, {{case: {{"images": ..., "label"}}}}.')
  files: Files = {}
  for case, entry in table.items():
    if not case or case.startswith(".") or set("/\\") & set(case):
      raise ValueError(f"{where}: \"dataset\": the case '{case}' cannot be the name of a file.")
    images = entry.get("images") if isinstance(entry, dict) else None
    if (
      not isinstance(images, list)
      or len(images) not in (1, channels)
      or _lacks_label(entry, labelled)
    ):
      raise ValueError(
        f'{where}: "dataset": case \'{case}\' needs "images", a list of {channels} file(s), '
        f'one per channel, and "label", got {entry!r:.200}.'
      )
    label = _located(root, entry["label"], where) if entry.get("label") else None
    files[case] = tuple(_located(root, image, where) for image in images), label
  return files


def _from_folders(root: pathlib.Path, description: Mapping, where, labelled) -> Files:
  images = existing_folder(root / "imagesTr", "the folder of training images")
  labels = root / "labelsTr"
  if labelled is not NONE:
    labels = existing_folder(labels, "the folder of training labels")
  suffix = dataset_json.file_ending(description, where)
  every = _images(images)
  strange = [f for f in every if ending(f) != suffix or split_channel(stem(f))[1] is None]
  found = by_case((file for file in every if file not in strange), numbered=True)
  if not found:
    raise ValueError(f"{images}: no image named like case_0000{suffix}; check the file_ending.")
  masks: dict[str, pathlib.Path] = {}
  for file in _images(labels) if labelled is not NONE else ():
    if ending(file) != suffix or stem(file) in masks:
      strange.append(file)
    masks.setdefault(stem(file), file)
  if strange:
    raise ValueError(
      f"{strange[0]}: belongs to no case (of {len(strange)} such file(s)); expected images named "
      f"like case_0000{suffix} and labels like case{suffix}, one of each name: rename it, move it "
      'away, or correct "file_ending" in dataset.json.'
    )
  return {
    case: (found.get(case, ()), masks.get(case, labels / f"{case}{suffix}"))
    for case in found.keys() | masks.keys()
  }


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
  return [file for file in _visible_files(folder) if file.name.lower().endswith(ENDINGS)]


def _check_files(
  root, cases: Files, channels: Sequence[str], where, *, numbered: bool, incomplete: bool = False
) -> None:
  # where one case has a file per channel, all have; a lone file may hold all channels
  apart = any(len(images) > 1 for images, _ in cases.values())
  for case in sorted(cases, key=natural):
    images, label = cases[case]
    absent = [image for image in images if not image.is_file()]
    if absent or not images:
      missing = absent[0] if absent else root / "imagesTr" / f"{case}_0000"
      raise ValueError(
        f"{where}: case '{case}' has a label but no image ({missing} is missing); add the image or "
        "remove the label."
      )
    if label is not None and not label.is_file():
      raise ValueError(
        f"{where}: case '{case}' has an image but no label ({label} is missing); add the label, "
        "move the image to imagesTs, or say config.data.source.labelled='partly' where the case is "
        "meant to have none."
      )
    if numbered:
      optional = range(len(channels)) if incomplete else ()
      lone = not (apart or incomplete)
      check_files(case, images, channels, where, lone=lone, optional=optional)


def _check_left_over(root: pathlib.Path, cases: Files, where) -> None:
  labels = [label for _, label in cases.values() if label is not None]
  listed = {pathlib.Path(os.path.realpath(label)) for label in labels}
  folder = root / "labelsTr"
  extra = _visible_files(folder) if folder.is_dir() else []
  extra = [f for f in extra if pathlib.Path(os.path.realpath(f)) not in listed]
  extra = [f for f in extra if any(f.name.endswith(label.suffix) for label in listed)]
  if extra:
    raise ValueError(
      f"{where}: the label {extra[0]} belongs to no case of the set; add its image, list it in "
      '"training", or remove it.'
    )


def _check_number(description: Mapping, files: Files, where) -> None:
  number = description.get("numTraining")
  if number not in (None, len(files), str(len(files))):
    warnings.warn(
      f'{where}: "numTraining" is {number!r:.20}, but {len(files)} case(s) are there; if files are '
      "missing, copy the set again.",
      stacklevel=4,
    )


def _tell_unused(description: Mapping, where) -> None:
  """Labelled cases that a list keeps apart are neither trained nor validated on."""
  entries = description.get("validation")
  if isinstance(entries, list) and entries:
    warnings.warn(
      f'{where}: "validation" lists {len(entries)} case(s), which are not used; config.data.split '
      'divides those of "training".',
      stacklevel=4,
    )


def _files(
  root: pathlib.Path, description: Mapping, channels: Sequence[str], where, labelled, incomplete
) -> Files:
  """Which files make which case, by the first key that says it."""
  if description.get("dataset") is not None:
    table = description["dataset"]
    files, numbered = _from_table(root, table, len(channels), where, labelled), False
  elif description.get("training") is not None:
    entries = description["training"]
    files = _from_list(root, entries, len(channels), where, labelled)
    # what is listed by name needs no number, unless several files were found by it
    listed = all(isinstance(entry["image"], list) for entry in entries)
    numbered = not listed and any(len(images) > 1 for images, _ in files.values())
  else:
    files, numbered = _from_folders(root, description, where, labelled), True
  if not files:
    raise ValueError(f"{where}: lists no training case.")
  if labelled is not ALL:
    files = {
      case: (images, _existing_label(label, labelled)) for case, (images, label) in files.items()
    }
  if incomplete and {"dataset", "training"} & {
    k for k, of in description.items() if of is not None
  }:
    raise ValueError(
      f"{where}: lists its files, which tells no channel's number; config.data.source.incomplete "
      "needs imagesTr with a numbered file for each channel that a case has."
    )
  _check_files(root, files, channels, where, numbered=numbered, incomplete=incomplete)
  # a table may choose some of a folder
  if description.get("dataset") is None and labelled is not NONE:
    _check_left_over(root, files, where)
  _check_number(description, files, where)
  _tell_unused(description, where)
  return files


def _existing_label(label: pathlib.Path | None, labelled) -> pathlib.Path | None:
  return None if labelled is NONE or label is None or not label.is_file() else label


def _unlabelled_files(folder: pathlib.Path, channels: Sequence[str], where, incomplete) -> Files:
  """The images of another folder than imagesTr."""
  images = by_case(_images(existing_folder(folder, "the folder of images")), numbered=incomplete)
  if not images:
    raise ValueError(f"{folder}: holds no image; known endings: {', '.join(ENDINGS)}.")
  files: Files = {case: (of, None) for case, of in images.items()}
  apart = incomplete or any(len(of) > 1 for of in images.values())
  _check_files(folder.parent, files, channels, where, numbered=apart, incomplete=incomplete)
  return files


def _read_case(
  case: str, *, files, channels, selected, labels: LabelSpec, rank, check_affine, incomplete
) -> RawCase:
  if case not in files:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(files)} cases.")
  paths, label_path = files[case]
  images, geometries = zip(*(read_image(path, rank=rank) for path in paths), strict=True)
  images = [
    on_image_grid(*one, geometries[0], str(path), what="channel", affine=check_affine)
    for path, *one in zip(paths, images, geometries, strict=True)
  ]
  image = images[0] if len(images) == 1 else np.concatenate(images, -1)
  image, missing = placed(image, paths, len(channels)) if incomplete else (image, ())
  where = f"{paths[0]} (case '{case}')"
  check_image(image, where, channels=len(channels), rank=rank)
  label = None
  if label_path is not None:
    label, stored = read_label(label_path)
    label = on_image_grid(label, stored, geometries[0], str(label_path), affine=check_affine)
    labels.encode(label, label_file(label_path))
  if selected != tuple(range(len(channels))):
    image = image[..., list(selected)]
  missing = tuple(i for i, channel in enumerate(selected) if channel in missing)
  return RawCase(image, label, None, geometries[0], missing)


def _selected(names: tuple[str, ...], channels: Sequence[str], where) -> tuple[int, ...]:
  """The indices of the channels to use."""
  unclear = [name for name in channels if names.count(name) != 1]
  if unclear or not channels:
    problem = "needs at least one channel"
    if unclear:
      several = f"{names.count(unclear[0])} channels" if unclear[0] in names else "no channel"
      problem = f"has {several} '{unclear[0]}'"
    raise ValueError(f"{where}: {problem}; its channels: {', '.join(names)}.")
  return tuple(names.index(name) for name in channels)


def nnunet_raw(
  path: str,
  *,
  channels=None,
  check_affine: bool = True,
  labelled: bool | str = True,
  folder: str = "imagesTr",
  incomplete: bool = False,
) -> Source:
  """A folder with dataset.json, imagesTr and labelsTr, of nnU-Net v2 or of the MSD.

  Args:
    path: the folder.
    channels: names of the channels to use, in this order; all by default.
    check_affine: refuse labels whose affine differs from their image's by a tenth of a voxel.
    labelled: True: every case has a label; False: none has, labels that are there are not read;
      "partly": cases whose label's file is missing have none.
    folder: of the images, imagesTs for example; another than imagesTr needs labelled=False.
    incomplete: cases may lack channels: those whose numbered file is not there.

  Raises:
    FileNotFoundError: the folder or its dataset.json is missing.
    ValueError: image without label or the reverse, unknown channel, and, when a case is read,
      shapes, affines, channels or label values that don't fit, NaN or infinite voxels.

  Source: nnU-Net's documentation/dataset_format.md; Simpson et al., arXiv 1902.09063 (the MSD).
  """
  check_labelled(labelled)
  root = existing_folder(path, "the data set's folder")
  where = root / "dataset.json"
  if folder != "imagesTr" and labelled is not NONE:
    raise ValueError(
      f"config.data.source.folder: '{folder}' holds images without labels; expected labelled=False "
      "beside it."
    )
  description = dataset_json.read(where)
  names = dataset_json.channel_names(description, where)
  selected = tuple(range(len(names))) if channels is None else _selected(names, channels, where)
  labels = LabelSpec(("background",), (0,))
  if labelled is not NONE or description.get("labels"):
    labels = dataset_json.label_spec(description, where)
  if folder == "imagesTr":
    files = _files(root, description, names, where, labelled, incomplete)
  else:
    files = _unlabelled_files(root / folder, names, where, incomplete)
  cases = tuple(sorted(files, key=natural))
  rank = read_image(files[cases[0]][0][0])[1].rank
  read = functools.partial(
    _read_case,
    files=files,
    channels=names,
    selected=selected,
    labels=labels,
    rank=rank,
    check_affine=check_affine,
    incomplete=incomplete,
  )
  images = {case: of for case, (of, _) in files.items()} if incomplete else {}
  every = [where, *(f for images, label in files.values() for f in (*images, label) if f)]
  wanted = tuple(names[i] for i in selected)
  options = {"source": "nnunet_raw", "channels": wanted, "check_affine": check_affine}
  if labelled is not ALL:
    options |= {"labelled": labelled, "folder": folder}
  options |= {"incomplete": True} if incomplete else {}
  without = frozenset(case for case, (_, label) in files.items() if label is None)
  of = fingerprint(every, options)
  few = lacking(images, names, selected, where)
  return Source(root.name, cases, wanted, labels, rank, read, of, without, few)
