"""Annotations beside the labels, or in their place: where config.data.fields come from.

A row of `FIELDS` makes the maker of a field, a row of `READERS` gives what lies in its files before
anything is prepared.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files as json_files
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.array_files import HDF5
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.images import integers, read_label
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.drawn import MARKERS, box_masks
from jaxseg.data.prepared.fields import Maker
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.prepared.label_files import decoded, files_of, folder, from_files, on_grid
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.hdf5 import check_key, read_array
from jaxseg.data.sources.source import RawCase

# of what is made of labels: raise it when that changes
_VERSION = 1


def h5(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  path: str | None = None,
  key: str = "scribble",
  unknown: int | None = None,
  axes: str = "zyx",
) -> Maker:
  """A data set within HDF5 files, one per case and named like it: those of an `h5` source, or more.

  Args:
    dataset, cases, read, where, unknown: as of `folder`.
    path: the folder; that of the source where it is an `h5`.
    key: name of the data set within each file.
    axes: order of its axes, as of the source `h5`.
  """
  files = files_of(cases, path, f"{where}.path", HDF5)
  load = functools.partial(_read_h5, key=key, axes=axes)
  told = {"key": key, "axes": axes}
  return from_files(dataset, files, read, what=where, unknown=unknown, load=load, options=told)


def _read_h5(file: pathlib.Path, *, key: str, axes: str) -> tuple[np.ndarray, Geometry]:
  array = integers(read_array(file, key, axes.replace("c", "")), file)
  return array, plain_geometry(array.shape)


class _Drawn(NamedTuple):
  """`make` of a field that no file of labels gives, as plain values.

  Attributes:
    draw: (full label, or else the image's first channel; case) -> what is laid on the grid; of a
      full label also (..., where it counts).
    lay: (what was drawn, grid) -> what is stored.
    labelled: whether the full label is drawn on.
    axis: across which slices lie that the network must see as they are; None if it need not.
  """

  names: tuple[str, ...]
  read: Callable[[str], RawCase]
  preparation: Preparation
  where: str
  draw: Callable[..., np.ndarray]
  lay: Callable[[np.ndarray, Grid], np.ndarray]
  labelled: bool
  axis: int | None = None

  def make(self, case: int) -> np.ndarray:
    name = self.names[case]
    raw = self.read(name)
    if self.labelled and raw.label is None:
      raise ValueError(
        f"{self.where}: is made of full labels, and case '{name}' has none; give files of what was "
        "drawn (folder, h5), or another source."
      )
    grid = self.preparation.grid(raw.geometry, raw.image)
    if self.axis is not None and len(grid.transpose) == 3:
      expected, got = grid.transpose.index(self.axis), grid.axis(self.axis)
      if got != expected:
        raise ValueError(
          f"{self.where}.axis: {self.axis}, but turned to '{grid.orientation}' the slices of case "
          f"'{name}' lie across axis {got}, not {expected}: its boxes would be cut; expected "
          "images that are stored alike, or axis=None and a 3D network."
        )
    counted = () if raw.weight is None or not self.labelled else (raw.weight > 0,)
    try:
      drawn = self.draw(raw.label if self.labelled else raw.image[..., 0], name, *counted)
    except ValueError as error:
      raise ValueError(f"{self.where}: {error}") from error
    return self.lay(drawn, grid)


def _maker(
  dataset: Dataset, read, where: str, name: str, options, draw, lay, decode, on, axis=None
) -> Maker:
  text = json.dumps([_VERSION, name, options], sort_keys=True)
  key = hashlib.sha256(text.encode()).hexdigest()[:12]
  of = _Drawn(dataset.names, read, dataset.preparation, where, draw, lay, on, axis)
  return Maker(key, of.make, decode)


def strokes(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  way: str = "stroke",
  axis: int | None = 0,
  width: int = 1,
  inset: int = 1,
  seed: int = 0,
) -> Maker:
  """Scribbles drawn on the full labels of a set that has none; see `drawn.strokes`."""
  del cases
  options = {"way": way, "axis": axis, "width": width, "inset": inset, "seed": seed}
  return _marks(dataset, read, where, "strokes", options)


def slices(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  axis: int = 0,
  every: int | None = None,
  first: int = 0,
  chosen: Mapping[str, Sequence[int]] | None = None,
) -> Maker:
  """Full labels on some slices, and nothing known of the others; see `drawn.slices`."""
  del cases
  options = {"axis": axis, "every": every, "first": first, "chosen": chosen}
  return _marks(dataset, read, where, "slices", options)


def _marks(dataset: Dataset, read, where: str, name: str, options: Mapping[str, Any]) -> Maker:
  labels = dataset.labels
  each = (*labels.stored_values, *(value for of in labels.members for value in of))
  unknown = 1 + max((*each, labels.ignore or 0))
  draw = functools.partial(_marked, mark=functools.partial(MARKERS[name], **options), rest=unknown)
  lay = functools.partial(_lay_marks, labels=labels, unknown=unknown)
  decode = functools.partial(decoded, labels=labels)
  return _maker(dataset, read, where, name, options, draw, lay, decode, True)


def _marked(label: np.ndarray, name: str, counted=True, /, *, mark, rest: int) -> np.ndarray:
  return np.where(mark(label, name) & counted, label.astype(np.int64), rest)


def _lay_marks(stored: np.ndarray, grid: Grid, *, labels: LabelSpec, unknown: int) -> np.ndarray:
  return on_grid(stored, grid, labels, "what was drawn", unknown)


def label_boxes(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  axis: int | None = None,
  margin: int = 0,
) -> Maker:
  """The box around each class of the full labels, in each slice across `axis` or in each case."""
  del cases
  options = {"axis": axis, "margin": margin}
  draw = functools.partial(_boxes_of, labels=dataset.labels, **options)
  return _maker(dataset, read, where, "label_boxes", options, draw, _lay_boxes, _floats, True, axis)


def box_file(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  path: str,
  axis: int | None = None,
) -> Maker:
  """Boxes in a JSON file: {case: {class: [[first voxel of each axis, the one after the last]]}}.

  Args:
    path: the file; a box of a volume is [z, y, x, z, y, x], half-open, in voxels of the image.
    axis: across which slices lie, each with boxes of its own, one voxel thick; None for boxes of
      the case.
  """
  boxes = read_boxes(path, cases, dataset.labels, where)
  draw = functools.partial(_boxes_in, boxes=boxes, labels=dataset.labels, axis=axis)
  told = {"boxes": boxes, "axis": axis}
  maker = _maker(dataset, read, where, "box_file", told, draw, _lay_boxes, _floats, False, axis)
  # with other boxes it is another run
  return maker._replace(content=functools.partial(_content, names=dataset.names, boxes=boxes))


def read_boxes(
  path: str, cases: Sequence[str], labels: LabelSpec, where: str
) -> dict[str, dict[str, list]]:
  """The boxes in a file, of the cases that are fed; raises ValueError for what they cannot be."""
  advice = f"{where}.path must name the boxes"
  what = 'the boxes, {"case": {"class": [[z, y, x, z, y, x]]}}'
  told = json_files.read_json(pathlib.Path(path).expanduser(), what=what, advice=advice)
  if lacking := [case for case in cases if case not in told]:
    raise ValueError(
      f"{where}: {path} has no boxes of case '{lacking[0]}'; expected those of each of the "
      f"{len(cases)} cases that are fed, {{}} where there are none."
    )
  for case in cases:
    at = f"{path}: case '{case}'"
    json_files.check_fields(told[case], at, advice=advice, fields={})
    for name, boxes in told[case].items():
      if name not in labels.scored:
        raise ValueError(
          f"{where}: {at} has a box of '{name}', which is no class; expected one of "
          f"{', '.join(labels.scored)}."
        )
      for box in boxes if isinstance(boxes, list) else [boxes]:
        half = len(box) // 2 if isinstance(box, list) else 0
        whole = half and all(type(n) is int for n in box) and len(box) % 2 == 0
        if not whole or any(a >= b for a, b in zip(box[:half], box[half:], strict=True)):
          raise ValueError(
            f"{where}: {at}, '{name}': {box!r} is no box; expected whole numbers, the first voxel "
            "of each axis, then the one after the last."
          )
  return {case: told[case] for case in cases}


def _boxes_of(
  label: np.ndarray, name: str, counted=True, /, *, labels: LabelSpec, axis, margin
) -> np.ndarray:
  del name
  masks = np.stack([np.isin(label, of) & counted for of in labels.members], -1)
  boxes = box_masks(masks, axis=axis, margin=margin)
  return np.concatenate([np.zeros((*label.shape, labels.first), bool), boxes], -1)


def _boxes_in(image: np.ndarray, name: str, /, *, boxes, labels: LabelSpec, axis) -> np.ndarray:
  masks = np.zeros((*image.shape, labels.channels), bool)
  for told, of in boxes[name].items():
    for box in of:
      rank = len(box) // 2
      low, high = np.array(box[:rank]), np.array(box[rank:])
      if rank != image.ndim or (low < 0).any() or (high > image.shape).any():
        raise ValueError(
          f"case '{name}': the box {box} of '{told}' leaves the image {image.shape}."
        )
      if axis is not None and image.ndim == 3 and high[axis] - low[axis] != 1:
        raise ValueError(
          f"case '{name}': the box {box} of '{told}' is {high[axis] - low[axis]} slices thick; "
          f"expected one of each slice across axis {axis}, or axis=None."
        )
      region = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
      masks[(*region, labels.names.index(told))] = True
  return masks


def _lay_boxes(masks: np.ndarray, grid: Grid) -> np.ndarray:
  laid = [grid.label(grid.cut(mask.astype(np.uint8)), (0, 1)) for mask in np.moveaxis(masks, -1, 0)]
  return np.stack(laid, -1).astype(np.uint8)


def _content(case: int, *, names: Sequence[str], boxes: Mapping[str, Any]) -> str:
  text = json.dumps(boxes[names[case]], sort_keys=True) if names[case] in boxes else ""
  return text and hashlib.sha256(text.encode()).hexdigest()[:8]


def _floats(stored: np.ndarray) -> np.ndarray:
  return stored.astype(np.float32)


# name of what makes it -> the maker: marks of classes, and boxes
MARKS: dict[str, Callable[..., Maker]] = {
  "folder": folder,
  "h5": h5,
  "slices": slices,
  "strokes": strokes,
}
BOXES: dict[str, Callable[..., Maker]] = {"box_file": box_file, "label_boxes": label_boxes}
FIELDS: dict[str, Callable[..., Maker]] = {**MARKS, **BOXES}

Readers = dict[str, Callable[[], np.ndarray]]


def readers(
  spec: Mapping[str, Any], cases: Sequence[str], labels: LabelSpec, where: str
) -> Readers:
  """Case -> what reads its stored values, of a field that lies in files; {} of others.

  Raises FileNotFoundError or ValueError where a case has no file, or its file not the values.
  """
  if spec["name"] == "box_file":
    read_boxes(spec["path"], cases, labels, where)
  if spec["name"] in MARKERS:
    check_marker(spec, cases, where)
  if spec["name"] == "folder":
    files = files_of(cases, spec["path"], f"{where}.path")
    return {case: functools.partial(_first, read_label, file) for case, file in files.items()}
  if spec["name"] != "h5":
    return {}
  files, key = files_of(cases, spec["path"], f"{where}.path", HDF5), spec.get("key", "scribble")
  load = functools.partial(_read_h5, key=key, axes=spec.get("axes", "zyx"))
  for file in files.values():
    check_key(file, key, where)
  return {case: functools.partial(_first, load, file) for case, file in files.items()}


def check_marker(spec: Mapping[str, Any], cases: Sequence[str], where: str) -> None:
  """Raises ValueError for options that no case can be drawn on with, and cases left out."""
  options = {name: value for name, value in spec.items() if name != "name"}
  chosen = options.get("chosen")
  if chosen is not None:
    # how many slices a case has is known when it is read
    options["chosen"] = {"": (0,)}
  try:
    MARKERS[spec["name"]](np.zeros((1, 1, 1), np.int32), "", **options)
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  lacking = [case for case in cases if chosen is not None and case not in chosen]
  if lacking:
    raise ValueError(
      f"{where}.chosen: has no slices of case '{lacking[0]}'; expected those of each of the "
      f"{len(cases)} cases that are fed."
    )


def check_boxed(spec: Mapping[str, Any], cases: Sequence[str], labels: LabelSpec, where: str):
  """Raises ValueError for a class that has a box in no case, of boxes that lie in a file."""
  boxes = read_boxes(spec["path"], cases, labels, where)
  lacking = [name for name in labels.scored if not any(of.get(name) for of in boxes.values())]
  if lacking:
    raise never_drawn(lacking, len(cases), where)


def _first(load, file: pathlib.Path) -> np.ndarray:
  return load(file)[0]


def check_drawn(of: Readers, labels: LabelSpec, unknown: int | None, where: str) -> None:
  """Raises ValueError for a class that is drawn in no case; reads until all have been seen."""
  lacking = _values(labels)
  for case, read in of.items():
    values = np.unique(read())
    values = values[values != unknown] if unknown is not None else values
    present = set(values.tolist()) - {labels.ignore}
    if strange := sorted(present.difference(labels.stored_values)):
      raise ValueError(
        f"{where}: case '{case}' has the value {strange[0]}, and the classes are "
        f"{', '.join(map(str, labels.stored_values))}; expected {where}.unknown={strange[0]}, if "
        "that stands where nothing was drawn, or files of these classes."
      )
    lacking = {values: name for values, name in lacking.items() if not present.intersection(values)}
    if not lacking:
      return
  if of:
    raise never_drawn(list(lacking.values()), len(of), where)


def never_drawn(names: Sequence[str], cases: int, where: str) -> ValueError:
  """What is said of classes that no annotation shows."""
  listed = ", ".join(f"'{name}'" for name in names)
  return ValueError(
    f"{where}: {listed} drawn in none of the {cases} training case(s), so that it could not be "
    "learnt; draw every class, background too, in one case or more, or leave the class out of the "
    "labels."
  )


def _values(labels: LabelSpec) -> dict[tuple[int, ...], str]:
  """Stored values of each class -> its name; of regions those inside, and those outside of each."""
  if not labels.regions:
    return {(value,): name for value, name in zip(labels.stored_values, labels.names, strict=True)}
  named = dict(zip(labels.regions, labels.names, strict=True))
  rest = {tuple(v for v in labels.stored_values if v not in of): of for of in named}
  return {values: outside(named[of]) for values, of in rest.items()} | named


def outside(region: str) -> str:
  """What is said of the voxels that don't belong to a region."""
  return f"outside of {region}"
