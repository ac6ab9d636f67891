"""A source of cases: what every reader of a data set returns, and the checks that all share."""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats import picture_spacing
from jaxseg.data.formats.geometry import Geometry, displacement, orient, oriented

# kinds of files that tell where they lie
_POSITIONED = ("nifti", "itk", "dicom")
# labels are often written by other tools that round the affine; a tenth of a voxel is harmless
_TOLERANCE = 0.1
_SAME_SPACING = 0.01


class RawCase(NamedTuple):
  """One case as the user's files have it.

  Attributes:
    image: (*space, channels), any numeric type.
    label: (*space) stored values, or None where there is none.
    weight: (*space) float32, 0 = ignored, or None.
    geometry: the grid of the image.
    missing: positions of the channels that the case lacks; the image is 0 there.
  """

  image: np.ndarray
  label: np.ndarray | None
  weight: np.ndarray | None
  geometry: Geometry
  missing: tuple[int, ...] = ()

  def without(self, channels: Iterable[int]) -> "RawCase":
    """The case as if it had never had these channels."""
    missing = tuple(sorted({*self.missing, *channels}))
    image = np.array(self.image)
    image[..., list(missing)] = 0
    return self._replace(image=image, missing=missing)

  @property
  def modalities(self) -> np.ndarray:
    """(channels,) float32: 1 of channels that it has, 0 of those it lacks."""
    there = np.ones(self.image.shape[-1], np.float32)
    there[list(self.missing)] = 0
    return there


class Source(NamedTuple):
  """A data set that can be read case by case.

  Attributes:
    name: short name, used for folders.
    cases: names of the cases in natural order (case_2 before case_10).
    channels: names of the image channels.
    labels: the label specification.
    rank: number of spatial axes.
    read: case name -> RawCase, validated.
    fingerprint: hash of the files (path, size, time) and of all options.
    unlabelled: the cases of which `read` gives no label.
    incomplete: the cases that lack channels, and the names of these.
  """

  name: str
  cases: tuple[str, ...]
  channels: tuple[str, ...]
  labels: LabelSpec
  rank: int
  read: Callable[[str], RawCase]
  fingerprint: str
  unlabelled: frozenset[str] = frozenset()
  incomplete: Mapping[str, tuple[str, ...]] = {}


# how a source's option `labelled` may be: all cases, none (labels are not looked for), some
ALL, NONE, PARTLY = True, False, "partly"


def check_labelled(labelled: bool | str) -> None:
  """Raises ValueError unless it is one of the choices."""
  if labelled not in (ALL, NONE, PARTLY) or isinstance(labelled, int | float) is not isinstance(
    labelled, bool
  ):
    raise ValueError(
      f"config.data.source.labelled: {labelled!r}; expected True (every case has a label), False "
      "(none has, and none is looked for) or 'partly' (cases without a label's file have none)."
    )


def annotated(source: Source) -> Source:
  """The part of a source that has labels; raises ValueError where there is none."""
  cases = tuple(case for case in source.cases if case not in source.unlabelled)
  if not cases:
    raise ValueError(
      f"config.data.source: none of the {len(source.cases)} case(s) of '{source.name}' has a "
      "label, which training, validation and planning need; give a set with labels, and feed this "
      "one as a further stream (config.streams)."
    )
  return source._replace(cases=cases, unlabelled=frozenset())


def check_complete(source: Source, what: str) -> None:
  """Raises ValueError where a case lacks channels, which `what` cannot do without."""
  for case, lacking in sorted(source.incomplete.items()):
    raise ValueError(
      f"{what}: case '{case}' of '{source.name}' has no {', '.join(lacking)}, and every case needs "
      "all channels here; leave such cases out (config.data.source.incomplete=False names them), "
      "or choose channels that all have (config.data.source.channels)."
    )


def natural(name: str) -> tuple:
  """Sorting key that counts as people do: section_2 before section_10."""
  parts = re.split(r"(\d+)", name)
  return tuple((0, int(p), p) if p.isdigit() else (1, 0, p) for p in parts if p)


def fingerprint(files: Iterable[pathlib.Path], options: dict[str, Any]) -> str:
  """Hash of a listing (path, size, modification time) and of the options, 16 hex digits."""
  digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
  every = set(files)
  # their spacing is part of them
  every |= {beside for file in every for beside in picture_spacing.companions(file)}
  for file in sorted(every):
    status = file.stat()
    digest.update(f"{file}|{status.st_size}|{status.st_mtime_ns}\n".encode())
  return digest.hexdigest()[:16]


def content(raw: RawCase) -> str:
  """Hash of a case's voxels, label, weights and spacing, 16 hex digits.

  It is the same wherever the files lie and whichever type they store, on every machine.
  """
  digest = hashlib.sha256()
  stored = ((raw.image, np.float32), (raw.label, np.int32), (raw.weight, np.float32))
  for array, kind in (*stored, (raw.geometry.spacing, np.float32)):
    if array is not None:
      digest.update(f"{np.shape(array)}".encode())
      digest.update(np.ascontiguousarray(array, kind))
  return digest.hexdigest()[:16]


def label_file(path: pathlib.Path) -> str:
  """A label's file for the message about its values; says so where the format changes them."""
  if path.suffix.lower() not in (".jpg", ".jpeg"):
    return str(path)
  return f"{path} (JPG changes values: write masks as PNG, or set a threshold between two classes)"


def existing_folder(path, what: str) -> pathlib.Path:
  """The folder as an absolute path; raises FileNotFoundError that says what was looked for."""
  folder = pathlib.Path(path).expanduser().resolve()
  if not folder.is_dir():
    raise FileNotFoundError(f"{folder}: {what} not found; give an existing folder.")
  return folder


def check_image(image: np.ndarray, where: str, *, channels: int, rank: int) -> None:
  """Raises ValueError unless image is (*space, channels) of that rank, with finite voxels."""
  if image.ndim - 1 != rank:
    raise ValueError(
      f"{where}: the image has {image.ndim - 1} spatial axes {image.shape[:-1]}, expected {rank}; "
      "all cases of a set must be 2D, or all 3D."
    )
  if image.shape[-1] != channels:
    raise ValueError(
      f"{where}: the image has {image.shape[-1]} channel(s), expected {channels}; check the data "
      "set's channels (a 4D NIfTI's last axis is the channels'; split a series over time)."
    )
  if 0 in image.shape:
    raise ValueError(f"{where}: the image is empty, its shape is {image.shape[:-1]}.")
  if image.dtype.kind not in "biuf":
    raise ValueError(
      f"{where}: the image's numbers are of the type {image.dtype}, expected real ones; of complex "
      "ones save the magnitude, or the real and imaginary parts as two channels."
    )
  if image.dtype.kind == "f":
    bad = int(image.size - np.count_nonzero(np.isfinite(image)))
    if bad:
      raise ValueError(
        f"{where}: {bad} voxel(s) of the image are NaN or infinite; repair or remove the file."
      )


def check_spacing(geometry: Geometry, where: str) -> None:
  """Raises ValueError unless the voxels have a positive, finite size."""
  if not (np.isfinite(geometry.spacing).all() and (geometry.spacing > 0).all()):
    spacing = ", ".join(f"{s:g}" for s in geometry.spacing)
    raise ValueError(
      f"{where}: the spacing is ({spacing}) mm in array order, expected positive numbers; correct "
      "the file's header."
    )


def on_image_grid(
  array: np.ndarray,
  geometry: Geometry,
  image: Geometry,
  where: str,
  *,
  what: str = "label",
  affine: bool = True,
  unless: str = "check_affine=False",
) -> np.ndarray:
  """(*space[, channels]) of a label or channel -> the same voxels in the order of its image.

  What is the same grid stored along other axes is turned; anything else raises ValueError.

  Args:
    array, geometry: what lies beside the image.
    image: the grid of the image.
    where, what: the file and what it is, for messages.
    affine: whether positions count; else voxels are taken as they are stored.
    unless: the option that sets `affine` to False, "" where there is none.
  """
  check_spacing(image, f"the image of {where}")
  positioned = affine and image.kind in _POSITIONED and geometry.kind in _POSITIONED
  if positioned and image.axcodes and geometry.axcodes:
    turned = oriented(geometry, image.axcodes)
    if turned.shape == image.shape and displacement(image, turned) <= _TOLERANCE:
      return orient(array, geometry, image.axcodes)
  if image.shape != geometry.shape:
    raise ValueError(
      f"{where}: the image has shape {image.shape} but the {what} {geometry.shape} (z, y, x); they "
      "must lie on the same grid."
    )
  if positioned:
    moved = displacement(image, geometry)
    if not moved <= _TOLERANCE:
      option = f", or set {unless}" if unless else ", or give it the image's header"
      raise ValueError(
        f"{where}: the affines of image and {what} differ by {moved:.2f} voxels at a corner; "
        f"resample the {what} to the image's grid{option} if only the header is wrong."
      )
  # pictures and plain arrays carry no position to compare, some a spacing
  elif (
    affine
    and tells_spacing(geometry)
    and not np.allclose(image.spacing, geometry.spacing, rtol=_SAME_SPACING)
  ):
    ours, theirs = (", ".join(f"{s:g}" for s in of.spacing) for of in (image, geometry))
    raise ValueError(
      f"{where}: the image has a spacing of ({ours}) mm in array order, the {what} of ({theirs}); "
      "correct the one that is wrong (a picture's is told by a JSON file beside it or by its tags)."
    )
  return array


def tells_spacing(geometry: Geometry) -> bool:
  """Whether a file says how large its voxels are; else they count as 1 mm."""
  return geometry.kind in _POSITIONED or geometry.header is not None
