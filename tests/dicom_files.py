"""Synthetic DICOM files, written with pydicom: slices, multi-frame files, pictures."""

import copy
import pathlib

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)
SORTS = {
  "CT": "1.2.840.10008.5.1.4.1.1.2",
  "MR": "1.2.840.10008.5.1.4.1.1.4",
  "PT": "1.2.840.10008.5.1.4.1.1.128",
  "DX": "1.2.840.10008.5.1.4.1.1.1.1",
  "OT": "1.2.840.10008.5.1.4.1.1.7",
  "US": "1.2.840.10008.5.1.4.1.1.3.1",
  "enhanced": "1.2.840.10008.5.1.4.1.1.2.1",
}


def dataset(pixels, *, series="1.2.3", sort="CT", **tags):
  """A data set of one image (y, x), of frames (n, y, x), or in colours; tags by keyword."""
  pixels = np.asarray(pixels)
  colour = pixels.ndim > 2 and pixels.shape[-1] == 3
  data = Dataset()
  data.file_meta = FileMetaDataset()
  data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
  data.SOPClassUID = SORTS.get(sort, sort)
  data.SOPInstanceUID = generate_uid()
  data.SeriesInstanceUID = series
  data.StudyInstanceUID = "1.2"
  data.Modality = sort if len(sort) == 2 else "CT"
  data.PatientID = "nobody"
  data.SamplesPerPixel = 3 if colour else 1
  data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
  if colour:
    data.PlanarConfiguration = 0
  space = pixels.shape[:-1] if colour else pixels.shape
  data.Rows, data.Columns = space[-2:]
  if len(space) == 3:
    data.NumberOfFrames = space[0]
  bits = 8 * pixels.dtype.itemsize
  data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
  data.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
  data.PixelData = pixels.tobytes()
  for name, value in tags.items():
    if value is None and name in data:
      del data[name]
    elif value is not None:
      setattr(data, name, value)
  return data


def save(path, data):
  """Writes a data set as a DICOM file."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  data = copy.deepcopy(data)
  data.save_as(path, enforce_file_format=True)
  return path


def rounded(numbers, digits=16):
  """Decimal strings as scanners write them, with at most 16 letters."""
  return [f"{float(number):.{digits}g}"[:16] for number in numbers]


def position(i, *, start=(0, 0, 0), step=(0, 0, 2)):
  return np.array(start, float) + i * np.array(step, float)


def write_series(
  folder,
  volume,
  *,
  orientation=AXIAL,
  spacing=(1, 1),
  positions=None,
  start=(0, 0, 0),
  step=(0, 0, 2),
  names="{:03d}.dcm",
  each=None,
  **tags,
):
  """A folder of slices (z, y, x); `each` gives further tags of slice i. Returns the files."""
  if positions is None:
    positions = [position(i, start=start, step=step) for i in range(len(volume))]
  files = []
  for i, (pixels, place) in enumerate(zip(volume, positions, strict=True)):
    own = {
      "ImagePositionPatient": rounded(place),
      "ImageOrientationPatient": rounded(orientation),
      "PixelSpacing": rounded(spacing),
      "InstanceNumber": i + 1,
      **tags,
      **(each(i) if each else {}),
    }
    data = dataset(pixels, **own)
    files.append(save(pathlib.Path(folder) / names.format(i), data))
  return files


def enhanced(volume, *, positions, orientation=AXIAL, spacing=(1, 1), rescale=None, **tags):
  """A data set of many frames with functional groups; `rescale`: (slope, intercept) of each."""
  data = dataset(volume, sort="enhanced", **tags)
  shared, plane, measures = Dataset(), Dataset(), Dataset()
  plane.ImageOrientationPatient = rounded(orientation)
  measures.PixelSpacing = rounded(spacing)
  shared.PlaneOrientationSequence = [plane]
  shared.PixelMeasuresSequence = [measures]
  data.SharedFunctionalGroupsSequence = [shared]
  frames = []
  for i, place in enumerate(positions):
    frame, where = Dataset(), Dataset()
    where.ImagePositionPatient = rounded(place)
    frame.PlanePositionSequence = [where]
    if rescale:
      values = Dataset()
      values.RescaleSlope, values.RescaleIntercept = rounded(rescale[i])
      frame.PixelValueTransformationSequence = [values]
    frames.append(frame)
  data.PerFrameFunctionalGroupsSequence = frames
  return data


def volume(shape=(6, 5, 4), seed=0):
  """(z, y, x) int16 that differs in each voxel, so that no turn or swap goes unseen."""
  order = np.random.default_rng(seed).permutation(int(np.prod(shape)))
  return order.reshape(shape).astype(np.int16)


def standards_affine(file):
  """Voxel (column, row, 0) of one file -> LPS millimetres, by equation C.7.6.2.1-1 of PS3.3."""
  data = pydicom.dcmread(file)
  x, y = np.reshape([float(v) for v in data.ImageOrientationPatient], (2, 3))
  between_rows, between_columns = (float(v) for v in data.PixelSpacing)
  where = [float(v) for v in data.ImagePositionPatient]
  return np.stack([x * between_columns, y * between_rows, where], 1)
