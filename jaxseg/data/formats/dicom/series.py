"""Which DICOM files make one series, and whether its frames make a volume."""

import collections
import filecmp
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data.formats.dicom.headers import Frame, Header, is_localizer, read_header
from jaxseg.data.sources.source import natural

# direction cosines and pixel sizes are rounded; so much over 512 voxels is half a voxel
_ROUNDING = 1e-3
# positions are rounded to tenths of a millimetre by some scanners
_MILLIMETRES = 0.1


class Series(NamedTuple):
  """The files of one series, or one image that lies nowhere.

  Attributes:
    folder: where the files lie.
    description: number and description of the series.
    headers: of its files.
  """

  folder: pathlib.Path
  description: str
  headers: tuple[Header, ...]

  @property
  def files(self) -> tuple[pathlib.Path, ...]:
    return tuple(header.file for header in self.headers)

  @property
  def positioned(self) -> bool:
    return any(frame.position for header in self.headers for frame in header.frames)


class Contents(NamedTuple):
  """What DICOM files hold: series, why other files are none, why some cannot be read."""

  series: tuple[Series, ...]
  skipped: dict[pathlib.Path, str]
  damaged: dict[pathlib.Path, str]

  @property
  def files(self) -> set[pathlib.Path]:
    return {*self.skipped, *self.damaged}.union(*(one.files for one in self.series))


class Stack(NamedTuple):
  """Frames in the order of the volume's slices.

  Attributes:
    frames: sorted along the slices' normal.
    affine: (4, 4), voxel index (x, y, z) -> millimetres in LPS.
  """

  frames: tuple[Frame, ...]
  affine: np.ndarray


def find_series(files: Iterable[pathlib.Path], *, rank: int | None = None) -> Contents:
  """The series among the DICOM files of one folder.

  Args:
    files: DICOM files.
    rank: number of axes of the images that are looked for; 2 takes localizers for images too.
  """
  groups: dict[tuple, list[Header]] = {}
  skipped, damaged = {}, {}
  for file in sorted(files, key=lambda path: natural(path.name)):
    try:
      header = read_header(file)
    except (ValueError, OSError) as error:
      damaged[file] = str(error)
      continue
    if header.skip:
      skipped[file] = header.skip
    else:
      groups.setdefault((header.series, header.modality), []).append(header)
  series = []
  for headers in groups.values():
    if rank != 2 and all(map(is_localizer, headers)):
      skipped |= {header.file: "is a localizer, to plan the scan on" for header in headers}
    else:
      series += _apart(headers, rank)
  if rank == 3 or (rank is None and any(one.positioned for one in series)):
    for one in [one for one in series if not one.positioned]:
      if all("Secondary Capture" in header.kind for header in one.headers):
        skipped |= dict.fromkeys(one.files, "is a picture of a screen, not a scan")
        series.remove(one)
  return Contents(tuple(series), skipped, damaged)


def _apart(headers: list[Header], rank: int | None) -> list[Series]:
  """Files without positions are images of their own, unless volumes are looked for."""
  one = Series(headers[0].file.parent, headers[0].description, tuple(headers))
  if one.positioned or rank == 3:
    return [one]
  return [one._replace(headers=(header,)) for header in headers]


def joined(series: Sequence[Series]) -> tuple[list[Series], list[str]]:
  """Series whose files lie in several folders become one where they make one volume only so.

  Returns the series, and the notes about those that share a UID and were left apart.
  """
  groups = collections.defaultdict(list)
  for one in series:
    # without a UID nothing says that they belong together
    groups[one.headers[0].series or id(one)].append(one)
  result, notes = [], []
  for parts in groups.values():
    headers = tuple(header for part in parts for header in part.headers)
    if len(parts) == 1 or not parts[0].positioned:
      result += parts
      continue
    instances = [header.instance for header in headers]
    home = pathlib.Path(os.path.commonpath([part.folder for part in parts]))
    whole = parts[0]._replace(headers=headers, folder=home)
    try:
      if len(set(instances)) < len(instances):
        raise ValueError
      stack(whole)
      result.append(whole)
    except ValueError:
      result += parts
      folders = ", ".join(str(part.folder) for part in parts[:4])
      notes.append(f"{folders}: bear one series UID and are taken for {len(parts)} scans")
  return result, notes


def stack(series: Series) -> Stack:
  """The frames of a series in order, and the grid that they lie on.

  Raises:
    ValueError: the frames make no volume: other size, orientation, pixel size or kind (the file is
      named), two at one place, gaps (with positions), no position.
  """
  headers = without_copies(series)
  _check_alike(series, headers)
  frames = [frame for header in headers for frame in header.frames]
  for frame in frames:
    if "MOSAIC" in frame.apart.get("ImageType", "").upper():
      raise ValueError(
        f"{frame.file}: is a mosaic of slices in one picture; convert it to NIfTI with dcm2niix."
      )
  _check_frames(series, frames)
  if any(frame.rescale != (1.0, 0.0) for frame in frames):
    # the numbers of an image without them would be of another unit
    told = [(frame.file, "told" if frame.scaled else "") for frame in frames]
    _check_same(series, "rescale slope and intercept", told)
  across, down = np.reshape(frames[0].orientation, (2, 3))
  normal = np.cross(across, down)
  frames.sort(key=lambda frame: float(np.dot(frame.position, normal)))
  positions = np.array([frame.position for frame in frames])
  step = _step(series, frames, positions, normal)
  rows, columns = frames[0].spacing
  affine = np.eye(4)
  affine[:3] = np.stack([across * columns, down * rows, step, positions[0]], 1)
  return Stack(tuple(frames), affine)


def without_copies(series: Series) -> list[Header]:
  """Leaves out files that equal another one byte by byte."""
  first: dict[str, Header] = {}
  kept = []
  for header in series.headers:
    twin = first.setdefault(header.instance, header) if header.instance else header
    if twin is header or not filecmp.cmp(twin.file, header.file, shallow=False):
      kept.append(header)
  return kept


def _check_alike(series: Series, headers: Sequence[Header]) -> None:
  kinds = {
    "matrix (rows, columns)": lambda header: header.shape,
    "kind": lambda header: header.kind,
    "patient": lambda header: header.patient,
    "frame of reference": lambda header: header.reference,
    "photometric interpretation": lambda header: (header.photometric, header.samples),
  }
  if len({header.reference for header in headers}) == len(headers):
    del kinds["frame of reference"]  # converters that make one up for each file
  for what, of in kinds.items():
    _check_same(series, what, [(header.file, of(header)) for header in headers])


def _check_same(series: Series, what: str, values: Sequence[tuple[pathlib.Path, object]]) -> None:
  """Raises ValueError that names the files which differ from most of the series."""
  usual, _ = collections.Counter(value for _, value in values).most_common(1)[0]
  odd = [(file, value) for file, value in values if value != usual]
  if odd:
    file, value = odd[0]
    more = f" (and {len(odd) - 1} more like it)" if len(odd) > 1 else ""
    raise ValueError(
      f"{file}{more}: has the {what} {_words(value)}, the rest of the series in {series.folder} "
      f"{_words(usual)}; it does not belong to the volume: move it to a folder of its own."
    )


def _words(value) -> str:
  if isinstance(value, tuple):
    return f"({', '.join(_words(part) for part in value)})"
  return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _check_frames(series: Series, frames: Sequence[Frame]) -> None:
  for what, of in (
    ("position (ImagePositionPatient)", lambda frame: frame.position),
    ("orientation (ImageOrientationPatient)", lambda frame: frame.orientation),
    ("pixel size (PixelSpacing)", lambda frame: frame.spacing),
  ):
    lost = [frame for frame in frames if of(frame) is None]
    film = [frame for frame in lost if frame.number and frame.position is None]
    if film:
      count = sum(frame.file == film[0].file for frame in frames)
      raise ValueError(
        f"{film[0].file}: holds {count} frames without positions of their own, a film or slices "
        "that this format does not place; export single slices, or convert it to NIfTI."
      )
    if lost:
      many = f" in {len(lost)} of {len(frames)} images" if len(frames) > 1 else ""
      raise ValueError(
        f"{lost[0].file}: has no {what}{many}, which slices of a volume need; take the original "
        "series, or convert it to NIfTI."
      )
    bad = [frame for frame in frames if not np.isfinite(of(frame)).all()]
    if bad:
      raise ValueError(f"{bad[0].file}: its {what} is no number; correct the file's header.")
  for what, of in (
    ("orientation", lambda frame: frame.orientation),
    ("pixel size", lambda frame: frame.spacing),
  ):
    values = np.array([of(frame) for frame in frames])
    usual = np.median(values, 0)
    size = 1 if what == "orientation" else np.abs(usual).max()
    far = np.abs(values - usual).max(1) > _ROUNDING * size
    rounded = [
      tuple(float(v) for v in (value if odd else usual))
      for value, odd in zip(values, far, strict=True)
    ]
    _check_same(
      series, what, [(frame.file, value) for frame, value in zip(frames, rounded, strict=True)]
    )
  across, down = np.reshape(frames[0].orientation, (2, 3))
  lengths = np.linalg.norm([across, down], axis=1)
  if np.abs(lengths - 1).max() > _ROUNDING or abs(across @ down) > _ROUNDING:
    raise ValueError(
      f"{frames[0].file}: its orientation {_words(frames[0].orientation)} is not two directions at "
      "right angles; correct the file's header."
    )
  if min(frames[0].spacing) <= 0:
    raise ValueError(
      f"{frames[0].file}: its pixel size is {_words(frames[0].spacing)} mm, expected positive "
      "numbers; correct the file's header."
    )


def _step(series: Series, frames, positions: np.ndarray, normal: np.ndarray) -> np.ndarray:
  """The way from one slice to the next, (3,) in millimetres."""
  if len(frames) == 1:
    raise ValueError(
      f"{frames[0].file}: is one slice alone, expected a volume; give the folder of the series, or "
      "remove it if it is no part of a scan."
    )
  depths = positions @ normal
  steps = np.diff(depths)
  # time points may lie a little apart: what is far less than the larger steps is no step
  apart = steps[steps > max(1e-3, 0.05 * float(np.quantile(steps, 0.9)))]
  usual = float(np.median(apart)) if len(apart) else 0.0
  _check_places(series, frames, steps, usual)
  # positions that are rounded to tenths pass, also of thin slices; so does one percent
  slack = max(0.01 * usual, min(_MILLIMETRES, 0.25 * usual)) * (1 + 1e-6)
  uneven = np.flatnonzero(np.abs(steps - usual) > slack)
  if len(uneven):
    at = uneven[np.abs(steps[uneven] - usual).argmax()]
    others = f" and {len(uneven) - 1} more" if len(uneven) > 1 else ""
    raise ValueError(
      f"{series.folder}: its slices are unevenly spaced: {steps[at]:.4g} mm between "
      f"{depths[at]:.4g} and {depths[at + 1]:.4g} mm along the normal ({frames[at].name}, "
      f"{frames[at + 1].name}){others}, but {usual:.4g} mm elsewhere; slices are missing "
      "there or are from another scan: complete the series, or resample it to even steps."
    )
  step = (positions[-1] - positions[0]) / (len(frames) - 1)
  straight = normal * (depths[-1] - depths[0]) / (len(frames) - 1)
  if np.linalg.norm(step - straight) * (len(frames) - 1) <= _MILLIMETRES:
    step = straight  # rounding is no tilt
  even = positions[0] + np.arange(len(frames))[:, None] * step
  off = np.linalg.norm(positions - even, axis=1)
  worst = int(off.argmax())
  if off[worst] > min(max(0.05 * usual, 2 * slack), 0.25 * usual):
    raise ValueError(
      f"{frames[worst].file}: lies {off[worst]:.3g} mm off the even grid of its series' slices "
      f"({usual:.4g} mm apart); it is from another scan, or the steps change: resample the series "
      "to even steps."
    )
  return step


def _check_places(series: Series, frames, steps: np.ndarray, usual: float) -> None:
  """Raises ValueError where two slices share a place, with the tags that tell them apart."""
  shared = np.flatnonzero(steps <= max(1e-3, 0.05 * usual))
  if not len(shared):
    return
  one, other = frames[shared[0]], frames[shared[0] + 1]
  names = one.apart.keys() | other.apart.keys()
  tags = [name for name in one.apart if name in names and one.apart[name] != other.apart.get(name)]
  told = ", ".join(f"{n} {one.apart[n]} and {other.apart.get(n, 'none')}" for n in tags[:4])
  why = f"they differ in {told}" if told else "no tag of time, echo or diffusion tells them apart"
  raise ValueError(
    f"{series.folder}: {len({*shared, *(shared + 1)})} of its {len(frames)} slices share a place "
    f"with another, for example {one.name} and {other.name}; {why}: move each "
    "volume (time point, echo, ...) to a folder of its own."
  )
