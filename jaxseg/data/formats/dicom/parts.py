"""Several volumes under one series UID: time points, echoes, b-values."""

import re
from collections.abc import Sequence

import numpy as np

from jaxseg.data.formats.dicom.headers import Frame
from jaxseg.data.formats.dicom.series import Series, Stack, stack, without_copies

# tag -> what a part is called by it, in the order in which tags are tried
_TAGS = {
  "TemporalPositionIdentifier": "t",
  "TemporalPositionIndex": "t",
  "EchoNumbers": "echo",
  "EchoTime": "te",
  "EffectiveEchoTime": "te",
  "DiffusionBValue": "b",
  "InversionTime": "ti",
  "TriggerTime": "trigger",
  "NominalCardiacTriggerDelayTime": "trigger",
  "AcquisitionNumber": "acquisition",
  "FlipAngle": "flip",
  "ConvolutionKernel": "kernel",
  "FrameType": "",
  "ImageType": "",
  "AcquisitionTime": "time",
  "AcquisitionDateTime": "time",
}


def split(series: Series) -> tuple[dict[str, Series], str]:
  """The volumes of a series by a short name of each, and the tag that tells them apart.

  A series is split where one tag makes of all its frames volumes of equal grids; else it comes back
  whole, under "". What is wrong with it is told when it is read.
  """
  whole = {"": series}
  try:
    stack(series)
  except ValueError:
    headers = without_copies(series)
    frames = [frame for header in headers for frame in header.frames]
    for tag, short in _TAGS.items():
      values = list(dict.fromkeys(frame.apart.get(tag) for frame in frames))
      if len(values) < 2 or None in values or len(frames) % len(values):
        continue
      parts = [_part(series, headers, tag, value) for value in values]
      if _equal_grids(parts):
        names = [_name(short, value) for value in values]
        if len(set(names)) == len(names):
          return dict(zip(names, parts, strict=True)), tag
  return whole, ""


def _part(series: Series, headers, tag: str, value: str) -> Series:
  def chosen(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    return tuple(frame for frame in frames if frame.apart.get(tag) == value)

  kept = [header._replace(frames=chosen(header.frames)) for header in headers]
  return series._replace(headers=tuple(header for header in kept if header.frames))


def _equal_grids(parts: Sequence[Series]) -> bool:
  try:
    stacks: list[Stack] = [stack(part) for part in parts]
  except ValueError:
    return False
  first = stacks[0]
  size = np.abs(first.affine[:3, :3]).max()
  return all(
    len(other.frames) == len(first.frames)
    and np.abs(other.affine - first.affine).max() < 0.1 * size
    for other in stacks
  )


def _name(short: str, value: str) -> str:
  number = re.fullmatch(r"(-?\d+)(?:\.0*)?", value)
  return short + re.sub(r"[^\w.+-]+", "_", number[1] if number else value)
