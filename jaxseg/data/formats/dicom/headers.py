"""What a DICOM file tells before its pixels are read: where each frame lies, and what it is of."""

import contextlib
import functools
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxseg.packages import OnDemand

# what matters of a header or of compressed pixels is checked here
_quiet = functools.partial(logging.getLogger("pydicom").setLevel, logging.CRITICAL)
pydicom = OnDemand("pydicom", after=_quiet)
# files without the 128 bytes and "DICM" of the standard start with one of the first groups
_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x00\x02")
ENDINGS = (".dcm", ".ima", ".dicom")

# what tells images at one place apart: time, echo, diffusion, phase
APART = (
  "TemporalPositionIdentifier",
  "TemporalPositionIndex",
  "AcquisitionNumber",
  "EchoNumbers",
  "EchoTime",
  "EffectiveEchoTime",
  "DiffusionBValue",
  "InversionTime",
  "TriggerTime",
  "NominalCardiacTriggerDelayTime",
  "FlipAngle",
  "FrameType",
  "ImageType",
  "ConvolutionKernel",
  "StackID",
  "AcquisitionTime",
  "AcquisitionDateTime",
  "FrameReferenceDateTime",
  "ContentTime",
)
_READ = (
  *APART,
  "SOPClassUID",
  "SOPInstanceUID",
  "SeriesInstanceUID",
  "SeriesNumber",
  "SeriesDescription",
  "Modality",
  "PatientID",
  "PatientName",
  "FrameOfReferenceUID",
  "ImagePositionPatient",
  "ImageOrientationPatient",
  "PixelSpacing",
  "ImagerPixelSpacing",
  "NominalScannedPixelSpacing",
  "SequenceOfUltrasoundRegions",
  "Rows",
  "Columns",
  "NumberOfFrames",
  "SamplesPerPixel",
  "PhotometricInterpretation",
  "RescaleSlope",
  "RescaleIntercept",
  "SharedFunctionalGroupsSequence",
  "PerFrameFunctionalGroupsSequence",
)


class Frame(NamedTuple):
  """One image of a file, all lengths in millimetres of DICOM's patient space (LPS).

  Attributes:
    file: the file.
    number: which of the file's frames, from 0.
    position: centre of the first voxel, or None.
    orientation: direction cosines of growing column, then of growing row, or None.
    spacing: between rows, between columns, or None.
    rescale: slope and intercept, stored number -> unit.
    apart: tags that tell images at one place apart.
    several: whether the file holds more frames.
    scaled: whether slope or intercept are told.
  """

  file: pathlib.Path
  number: int
  position: tuple[float, ...] | None
  orientation: tuple[float, ...] | None
  spacing: tuple[float, ...] | None
  rescale: tuple[float, float]
  apart: dict[str, str]
  several: bool = False
  scaled: bool = True

  @property
  def name(self) -> str:
    """For messages: the file's name, and the frame, counted from 1 as viewers do."""
    return f"{self.file.name}, frame {self.number + 1}" if self.several else self.file.name


class Header(NamedTuple):
  """One DICOM file.

  Attributes:
    file: the file.
    series, instance: UIDs, "" where they are missing.
    description: the series' number and description, for names.
    kind: name of the SOP class, for example "CT Image Storage".
    modality: "CT", "MR", ...
    patient, reference: what positions refer to: the patient and the frame of reference.
    shape: (rows, columns).
    samples: per pixel, 3 for colours.
    photometric: photometric interpretation.
    frames: the images in the file.
    skip: why the file is no scan, "" for scans.
  """

  file: pathlib.Path
  series: str
  instance: str
  description: str
  kind: str
  modality: str
  patient: str
  reference: str
  shape: tuple[int, int]
  samples: int
  photometric: str
  frames: tuple[Frame, ...]
  skip: str = ""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
  """Real headers break many of the standard's rules; what matters here is checked by us."""
  with warnings.catch_warnings(), pydicom.config.disable_value_validation():
    warnings.simplefilter("ignore")
    yield


def is_dicom(path: pathlib.Path) -> bool:
  """Whether a file's ending or its first bytes say that it is DICOM."""
  if path.name.lower().endswith(ENDINGS):
    return True
  with path.open("rb") as file:
    start = file.read(132)
  # the group is followed by an element's number and its type or length
  return start[128:] == b"DICM" or (len(start) == 132 and start[:2] in _STARTS and b"\0" in start)


def damaged(path, reason) -> ValueError:
  words = " ".join(str(reason).split())[:200]
  return ValueError(
    f"{path}: cannot be read as DICOM ({words}); the file is damaged, cut off or of another "
    "format: copy it again, or remove it."
  )


def read_header(path: pathlib.Path) -> Header:
  """Reads a file's header.

  Raises ValueError in words where the file is no DICOM, damaged, or has no image though its kind
  has one; OSError where it cannot be opened.
  """
  try:
    with quietly():
      # files of old software have neither preamble nor file meta information
      data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_READ), force=True)
      return _header(path, data)
  except OSError:
    raise
  except Exception as error:  # whatever a parser meets in a damaged file
    raise damaged(path, error or type(error).__name__) from error


def _header(path: pathlib.Path, data: "pydicom.Dataset") -> Header:
  kind = pydicom.uid.UID(
    data.get("SOPClassUID") or getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID", "")
  )
  if not kind and "Rows" not in data:
    raise pydicom.errors.InvalidDicomError("it has neither an SOP class nor an image")
  number = data.get("SeriesNumber")
  described = (number, str(data.get("SeriesDescription") or "").strip())
  header = Header(
    file=path,
    series=str(data.get("SeriesInstanceUID") or ""),
    instance=str(data.get("SOPInstanceUID") or ""),
    description=" ".join(str(part) for part in described if part not in (None, "")),
    kind=kind.name,
    modality=str(data.get("Modality") or ""),
    patient=str(data.get("PatientID") or data.get("PatientName") or ""),
    reference=str(data.get("FrameOfReferenceUID") or ""),
    shape=(0, 0),
    samples=1,
    photometric="",
    frames=(),
  )
  if skip := _no_scan(header, data):
    return header._replace(skip=skip)
  if not data.get("Rows") or not data.get("Columns"):
    raise pydicom.errors.InvalidDicomError(f"a {header.kind} without an image")
  return header._replace(
    shape=(int(data.Rows), int(data.Columns)),
    samples=int(data.get("SamplesPerPixel") or 1),
    photometric=str(data.get("PhotometricInterpretation") or ""),
    frames=_frames(path, data),
  )


def _no_scan(header: Header, data: "pydicom.Dataset") -> str:
  """Why a file of its kind is no scan: segmentations, contours, reports, plans, indices."""
  kind = header.kind
  named = kind != "" and not kind[0].isdigit()
  scan = any(word in kind for word in ("Image", "Volume Storage", "Parametric Map"))
  if named and not scan:
    return f"is a {kind.removesuffix(' Storage')}, not a scan"
  if header.modality in ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"):
    return f"is of modality {header.modality}, not a scan"
  if not named and "Rows" not in data:
    return "holds no image"
  return ""


def is_localizer(header: Header) -> bool:
  """Whether all images of a file are made to plan a scan on."""
  kinds = [frame.apart.get("ImageType", "").upper() for frame in header.frames]
  return bool(kinds) and all("LOCALIZER" in kind or "SCOUT" in kind for kind in kinds)


def _frames(path: pathlib.Path, data: "pydicom.Dataset") -> tuple[Frame, ...]:
  count = int(data.get("NumberOfFrames") or 1)
  each = data.get("PerFrameFunctionalGroupsSequence")
  if each is None:
    alone = _frame(path, 0, data, data)
    if count == 1:
      return (alone,)
    # one position cannot be that of several frames
    return tuple(alone._replace(number=i, position=None) for i in range(count))
  if len(each) != count:
    raise pydicom.errors.InvalidDicomError(f"it has {count} frames but describes {len(each)}")
  shared = next(iter(data.get("SharedFunctionalGroupsSequence") or ()), pydicom.Dataset())
  merged = []
  for i, own in enumerate(each):
    groups = _merged(shared) | _merged(own)
    merged.append(_frame(path, i, groups, data))
  return tuple(merged)


def _merged(groups: "pydicom.Dataset") -> dict[str, Any]:
  """The elements of all functional groups, by keyword: their names are unique."""
  found = {}
  for group in groups:
    if group.VR == "SQ":
      for item in group.value[:1]:
        found |= {element.keyword: element.value for element in item if element.keyword}
  return found


def _frame(path: pathlib.Path, number: int, own, data: "pydicom.Dataset") -> Frame:
  def floats(source, name, count):
    value = source.get(name)
    if value is None or value == "":
      return None
    value = tuple(float(v) for v in value)
    if len(value) != count:
      raise pydicom.errors.InvalidDicomError(f"{name} has {len(value)} numbers, expected {count}")
    return value

  def number_of(name, default):
    value = own.get(name, data.get(name))
    return default if value in (None, "") else float(value)

  apart = {name: own.get(name, data.get(name)) for name in APART}
  apart = {name: _text(value) for name, value in apart.items() if value not in (None, "")}
  spacing = floats(own, "PixelSpacing", 2)
  for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
    spacing = spacing or floats(data, name, 2)
  return Frame(
    path,
    number,
    floats(own, "ImagePositionPatient", 3),
    floats(own, "ImageOrientationPatient", 6),
    spacing or _of_ultrasound(data),
    (number_of("RescaleSlope", 1.0), number_of("RescaleIntercept", 0.0)),
    apart,
    int(data.get("NumberOfFrames") or 1) > 1,
    any(number_of(name, None) is not None for name in ("RescaleSlope", "RescaleIntercept")),
  )


def _text(value) -> str:
  return (
    str(value)
    if isinstance(value, str) or not hasattr(value, "__iter__")
    else ", ".join(map(str, value))
  )


def _of_ultrasound(data: "pydicom.Dataset") -> tuple[float, float] | None:
  """Millimetres of an ultrasound picture whose regions agree; they tell centimetres."""
  found = set()
  for region in data.get("SequenceOfUltrasoundRegions") or ():
    if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == 3:
      found.add((10 * abs(region.PhysicalDeltaY), 10 * abs(region.PhysicalDeltaX)))
  return found.pop() if len(found) == 1 else None
