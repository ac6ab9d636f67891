"""Folders in nnU-Net's raw format (version 2) and in that of the Medical Segmentation Decathlon."""

import functools
import glob
import json
import pathlib

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.images import read_image, read_label, stem
from jaxseg.data.source import (
  RawCase,
  Source,
  check_image,
  check_pair,
  existing_folder,
  fingerprint,
  natural,
)


def _load_json(path: pathlib.Path) -> dict:
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: not found; a data set in nnU-Net's or the Decathlon's format describes itself in "
      "this file."
    )
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{path}: is not valid JSON ({error}); correct the file.") from error


def _channel_names(description: dict, where) -> tuple[str, ...]:
  channels = description.get("channel_names", description.get("modality"))
  if not isinstance(channels, dict) or not channels:
    raise ValueError(
      f'{where}: needs "channel_names" (or the Decathlon\'s "modality"), for example {{"0": "CT"}}.'
    )
  if not all(key.isdecimal() for key in channels):
    raise ValueError(
      f'{where}: the keys of "channel_names" (or "modality") are {", ".join(channels)}; expected '
      'the channels\' numbers, as in {"0": "CT"}.'
    )
  return tuple(str(channels[key]) for key in sorted(channels, key=int))


def _mirror_pairs(description: dict, names: tuple[str, ...], where) -> tuple:
  """Our own optional key "mirror_pairs": names of labels that swap when left becomes right."""
  pairs = description.get("mirror_pairs", [])
  for pair in pairs:
    if len(pair) != 2 or not set(pair) <= set(names):
      raise ValueError(
        f'{where}: "mirror_pairs" holds {pair}; expected two of the labels {", ".join(names)}.'
      )
  return tuple((names.index(left), names.index(right)) for left, right in pairs)


def label_spec(description: dict, where) -> LabelSpec:
  """The labels of a dataset.json: {name: value}, {name: [values]} or, as in the MSD, {value: name}.

  A region's first value is the one that is written for it (nnU-Net's regions_class_order).
  """
  labels = description.get("labels")
  if not isinstance(labels, dict) or not labels:
    raise ValueError(f'{where}: needs "labels", for example {{"background": 0, "tumour": 1}}.')
  if all(key.lstrip("-").isdigit() for key in labels):
    labels = {name: int(value) for value, name in labels.items()}
  labels = dict(labels)
  ignore = labels.pop("ignore", None)
  if not any(isinstance(value, list) for value in labels.values()):
    try:
      pairs = sorted((int(value), name) for name, value in labels.items())
    except (TypeError, ValueError) as error:
      raise ValueError(f'{where}: "labels" holds a value that is no number ({error}).') from error
    pairs.sort(key=lambda pair: pair[1] != "background")
    names, values = tuple(name for _, name in pairs), tuple(value for value, _ in pairs)
    twice = [value for i, value in enumerate(values) if value in (*values[:i], ignore)]
    if twice:
      raise ValueError(
        f'{where}: "labels" gives the value {twice[0]} to two names; give each its own, or unite '
        "values in a region, as a list."
      )
    pairs = _mirror_pairs(description, names, where)
    return LabelSpec(names, values, ignore=ignore, mirror_pairs=pairs)
  labels.pop("background", None)
  pairs = _mirror_pairs(description, tuple(labels), where)
  regions = [tuple(np.atleast_1d(value).astype(int).tolist()) for value in labels.values()]
  order = description.get("regions_class_order")
  if order is None or len(order) != len(regions):
    raise ValueError(
      f'{where}: labels with regions need "regions_class_order", the value to write for each of '
      f"the {len(regions)} regions ({', '.join(labels)})."
    )
  for name, region, value in zip(labels, regions, order, strict=True):
    if value not in region:
      raise ValueError(
        f'{where}: "regions_class_order" writes {value} for the region "{name}", which unites only '
        f"{list(region)}."
      )
  regions = tuple(
    (int(value), *(v for v in region if v != value))
    for region, value in zip(regions, order, strict=True)
  )
  stored = (0, *sorted({value for region in regions for value in region} - {0}))
  return LabelSpec(tuple(labels), stored, regions, ignore, pairs)


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
  # the Decathlon's archives hold macOS's ._files beside the images
  return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def _from_list(root, entries, where) -> dict[str, tuple[tuple, pathlib.Path]]:
  cases = {}
  for entry in entries:
    if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
      raise ValueError(f'{where}: each entry of "training" needs "image" and "label", got {entry}.')
    image, label = root / entry["image"], root / entry["label"]
    if not image.is_file() and (images := _numbered(image)):
      cases[stem(label)] = images, label
    else:
      cases[stem(label)] = (image,), label
  return cases


def _numbered(image: pathlib.Path) -> tuple[pathlib.Path, ...]:
  name = stem(image)
  suffix = image.name[len(name) :]
  return tuple(sorted(image.parent.glob(f"{glob.escape(name)}_[0-9][0-9][0-9][0-9]{suffix}")))


def _from_folders(root, description, where) -> dict[str, tuple[tuple, pathlib.Path]]:
  images = existing_folder(root / "imagesTr", "the folder of training images")
  labels = existing_folder(root / "labelsTr", "the folder of training labels")
  suffix = description.get("file_ending")
  if not suffix:
    raise ValueError(f'{where}: needs "file_ending", for example ".nii.gz".')
  found: dict[str, list[pathlib.Path]] = {}
  for file in _listed(images):
    name = file.name.removesuffix(suffix)
    if file.name.endswith(suffix) and name[-5:-4] == "_" and name[-4:].isdigit():
      found.setdefault(name[:-5], []).append(file)
  masks = {f.name.removesuffix(suffix): f for f in _listed(labels) if f.name.endswith(suffix)}
  if not found:
    raise ValueError(f"{images}: no image named like case_0000{suffix}; check the file_ending.")
  return {
    case: (tuple(found.get(case, ())), masks.get(case, labels / f"{case}{suffix}"))
    for case in found.keys() | masks.keys()
  }


def _check_files(root, cases, channels: int, where) -> None:
  # where one case has a file per channel, all have; a lone file may hold all channels
  apart = any(len(images) > 1 for images, _ in cases.values())
  for case in sorted(cases, key=natural):
    images, label = cases[case]
    if not images or not images[0].is_file():
      missing = images[0] if images else root / "imagesTr" / f"{case}_0000"
      raise ValueError(
        f"{where}: case '{case}' has a label but no image ({missing} is missing); add the image or "
        "remove the label."
      )
    if not label.is_file():
      raise ValueError(
        f"{where}: case '{case}' has an image but no label ({label} is missing); add the label or "
        "move the image to imagesTs."
      )
    expected = [f"{channel:04d}" for channel in range(channels)]
    if apart and [stem(image)[-4:] for image in images] != expected:
      raise ValueError(
        f"{where}: case '{case}' has the image files {', '.join(image.name for image in images)}; "
        f"expected one per channel, numbered {', '.join(expected)}: add what is missing, remove "
        "what is too many."
      )
  listed = {label for _, label in cases.values()}
  folder = root / "labelsTr"
  extra = [f for f in _listed(folder) if f not in listed] if folder.is_dir() else []
  extra = [f for f in extra if any(f.name.endswith(label.suffix) for label in listed)]
  if extra:
    raise ValueError(
      f"{where}: the label {extra[0]} belongs to no case of the set; add its image, list it in "
      '"training", or remove it.'
    )


def _read_case(
  case: str, *, files, channels, selected, labels: LabelSpec, rank: int, check_affine: bool
) -> RawCase:
  if case not in files:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(files)} cases.")
  paths, label_path = files[case]
  images, geometries = zip(*(read_image(path, rank=rank) for path in paths), strict=True)
  for path, geometry in zip(paths[1:], geometries[1:], strict=True):
    check_pair(geometries[0], geometry, str(path), what="channel", affine=check_affine)
  image = images[0] if len(images) == 1 else np.concatenate(images, -1)
  where = f"{paths[0]} (case '{case}')"
  check_image(image, where, channels=len(channels), rank=rank)
  label, label_geometry = read_label(label_path)
  check_pair(geometries[0], label_geometry, str(label_path), affine=check_affine)
  labels.encode(label, str(label_path))
  if selected != tuple(range(len(channels))):
    image = image[..., list(selected)]
  return RawCase(image, label, None, geometries[0])


def nnunet_raw(path: str, *, channels=None, check_affine: bool = True) -> Source:
  """A folder with dataset.json, imagesTr and labelsTr, of nnU-Net v2 or of the MSD.

  Args:
    path: the folder.
    channels: names of the channels to use, in this order; all by default.
    check_affine: refuse labels whose affine differs from their image's by a tenth of a voxel.

  Raises:
    FileNotFoundError: the folder or its dataset.json is missing.
    ValueError: image without label or the reverse, unknown channel, and, when a case is read,
      shapes, affines, channels or label values that don't fit, NaN or infinite voxels.

  Source: nnU-Net's documentation/dataset_format.md; Simpson et al., arXiv 1902.09063 (the MSD).
  """
  root = existing_folder(path, "the data set's folder")
  where = root / "dataset.json"
  description = _load_json(where)
  names = _channel_names(description, where)
  wanted = names if channels is None else tuple(channels)
  unknown = [name for name in wanted if name not in names]
  if unknown or not wanted:
    problem = f"has no channel '{unknown[0]}'" if unknown else "needs at least one channel"
    raise ValueError(f"{where}: {problem}; its channels: {', '.join(names)}.")
  labels = label_spec(description, where)
  if isinstance(description.get("training"), list):
    files = _from_list(root, description["training"], where)
  else:
    files = _from_folders(root, description, where)
  if not files:
    raise ValueError(f"{where}: lists no training case.")
  _check_files(root, files, len(names), where)
  cases = tuple(sorted(files, key=natural))
  rank = read_image(files[cases[0]][0][0])[1].rank
  read = functools.partial(
    _read_case,
    files=files,
    channels=names,
    selected=tuple(names.index(name) for name in wanted),
    labels=labels,
    rank=rank,
    check_affine=check_affine,
  )
  every = [where, *(f for images, label in files.values() for f in (*images, label))]
  options = {"source": "nnunet_raw", "channels": wanted, "check_affine": check_affine}
  return Source(root.name, cases, wanted, labels, rank, read, fingerprint(every, options))
