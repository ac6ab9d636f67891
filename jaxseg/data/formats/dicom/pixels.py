"""The stored numbers of DICOM files, and the units that they stand for."""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from jaxseg.data.formats.dicom.headers import Header, damaged, quietly
from jaxseg.packages import OnDemand

lookup = OnDemand("pydicom.pixels")
pydicom = OnDemand("pydicom")
sitk = OnDemand("SimpleITK")
# numbers in these are quantities, whatever the screen shows
_QUANTITIES = ("CT", "MR", "PT", "NM")
_PIXELS = (
  "SamplesPerPixel",
  "PhotometricInterpretation",
  "PlanarConfiguration",
  "NumberOfFrames",
  "Rows",
  "Columns",
  "BitsAllocated",
  "BitsStored",
  "HighBit",
  "PixelRepresentation",
  "PixelData",
)


def read_pixels(header: Header) -> np.ndarray:
  """(frames, y, x, samples) of the header's frames in rescaled units, each by its own slope.

  Colours come as RGB. Pictures whose large numbers are dark (MONOCHROME1) are turned to the usual
  sense, as screens and exported PNGs show them; CT, MR, PET and NM hold quantities and stay.
  Raises ValueError in words where the pixels are damaged or of an unknown compression.
  """
  try:
    with quietly():
      data = pydicom.dcmread(header.file, force=True)
      if "TransferSyntaxUID" not in data.file_meta:
        data.file_meta.TransferSyntaxUID = _plain_syntax(data)
      stored = _stored(data)
      if header.photometric == "PALETTE COLOR":
        stored = lookup.apply_color_lut(stored, data)
        # the palette's colours are those of a screen, with 8 bits in the upper half
        stored = (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored
      colour = header.samples > 1 or header.photometric == "PALETTE COLOR"
      count = int(data.get("NumberOfFrames") or 1)
      frames = stored.reshape(count, *header.shape, -1)[..., :3]
      if len(header.frames) < count:
        frames = frames[[frame.number for frame in header.frames]]
      if "ModalityLUTSequence" in data and not colour:
        frames = lookup.apply_modality_lut(frames, data)
      elif not colour:
        frames = _rescaled(frames, header)
      if header.photometric == "MONOCHROME1" and header.modality not in _QUANTITIES:
        frames = _turned(frames, header, data)
      return frames
  except OSError:
    raise
  except Exception as error:  # whatever a decoder meets in a damaged file
    raise damaged(header.file, error or type(error).__name__) from error


def _plain_syntax(data: "pydicom.Dataset") -> str:
  """That of files without meta information, as their header was found to be encoded."""
  implicit, little = data.original_encoding
  if not little:
    return pydicom.uid.ExplicitVRBigEndian
  uid = pydicom.uid
  return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


def _stored(data: "pydicom.Dataset") -> np.ndarray:
  try:
    return _native(data)
  except (RuntimeError, NotImplementedError) as error:
    # of the compressions pydicom knows some with further packages alone; GDCM knows them all
    try:
      return _by_gdcm(data)
    except RuntimeError as other:
      syntax = data.file_meta.TransferSyntaxUID.name
      raise ValueError(f"pixels stored as {syntax}: {error}") from other


def _native(data: "pydicom.Dataset") -> np.ndarray:
  """Stored numbers in the machine's byte order, without what old files keep beside their bits."""
  bits, high = int(data.get("BitsStored") or 0), int(data.get("HighBit") or 0)
  shifted = high >= bits > 1  # the numbers don't start at the lowest bit
  data.pixel_array_options(correct_unused_bits=not shifted)
  stored = data.pixel_array
  stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
  if not shifted:
    return stored
  size = 8 * stored.dtype.itemsize
  return (stored << (size - 1 - high)) >> (size - bits)


def _by_gdcm(data: "pydicom.Dataset") -> np.ndarray:
  """Stored numbers: GDCM sees the pixels alone, since it leaves out some slopes and not others."""
  alone = pydicom.Dataset()
  for name in _PIXELS:
    if name in data:
      alone[name] = data[name]
  alone.SOPClassUID, alone.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
  alone.file_meta = pydicom.dataset.FileMetaDataset()
  alone.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "pixels.dcm"
    alone.save_as(file, enforce_file_format=True)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    with _without_noise():
      return sitk.GetArrayFromImage(reader.Execute())


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
  """Decoders in C write what they try to the standard error; what fails is told by us."""
  sys.stderr.flush()
  kept = os.dup(2)
  try:
    with open(os.devnull, "wb") as nowhere:
      os.dup2(nowhere.fileno(), 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)


def _rescaled(frames: np.ndarray, header: Header) -> np.ndarray:
  slopes, intercepts = np.array([frame.rescale for frame in header.frames]).T
  if not (np.isfinite(slopes).all() and np.isfinite(intercepts).all() and slopes.all()):
    raise ValueError(f"rescale slope {slopes[0]:g} and intercept {intercepts[0]:g} give no units")
  if (slopes == 1).all() and not intercepts.any():
    return frames
  whole = not ((slopes % 1).any() or (intercepts % 1).any())
  kind = np.result_type(frames.dtype, np.int32) if whole else np.float32
  each, units = (-1, 1, 1, 1), frames.astype(kind)
  if (slopes != 1).any():
    units *= slopes.astype(kind).reshape(each)
  units += intercepts.astype(kind).reshape(each)
  return units


def _turned(frames: np.ndarray, header: Header, data: "pydicom.Dataset") -> np.ndarray:
  bits, signed = int(data.BitsStored), int(data.get("PixelRepresentation") or 0)
  ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
  total = _rescaled(np.broadcast_to(ends.reshape(1, 1, 1, 2), (len(frames), 1, 1, 2)), header)
  total = total.sum(-1, keepdims=True)
  return (total - frames).astype(frames.dtype)
