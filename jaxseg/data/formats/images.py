"""Reads and writes images and labels; the format follows from the file's ending."""

import pathlib

import numpy as np

from jaxseg import files
from jaxseg.data.formats import array_files, dicom, itk, nifti, picture_spacing, pictures
from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.formats.unsuitable import Unsuitable

_NIFTI = (".nii.gz", ".nii")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_PICTURES = picture_spacing.ENDINGS
_PLAIN = (".npy", ".npz", ".h5", ".hdf5")
ENDINGS = (*_NIFTI, *_ITK, *_PICTURES, *_PLAIN, *dicom.ENDINGS)
# numbers that went through float32, as a scale in a header does
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


def ending(path) -> str:
  """The known ending of a file name, ".nii.gz" taken as one; raises ValueError that lists all."""
  name = pathlib.Path(path).name.lower()
  for known in ENDINGS:
    if name.endswith(known):
      return known
  raise ValueError(
    f"{path}: images with this ending cannot be read or written; known: {', '.join(ENDINGS)}, and "
    "a folder of DICOM slices for reading."
  )


def stem(path) -> str:
  """The file name without folder and known ending."""
  name = pathlib.Path(path).name
  return name[: -len(ending(name))]


def _read(path, *, integer: bool, rank: int | None, key: str | None):
  array, geometry = _decoded(path, integer=integer, rank=rank, key=key)
  # of the other byte order uint16 is not np.uint16
  return array.astype(array.dtype.newbyteorder("="), copy=False), geometry


def _decoded(path, *, integer: bool, rank: int | None, key: str | None):
  path = pathlib.Path(path)
  if path.is_dir():
    return dicom.read_folder(path, rank=rank)
  kind = ending(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such file; check the path.")
  if kind in dicom.ENDINGS:
    return dicom.read_file(path, rank=rank)
  try:
    if kind in _NIFTI:
      return nifti.read(path, integer=integer)
    if kind in _ITK:
      return itk.read(path)
    if kind in _PICTURES:
      return pictures.read(path, integer=integer)
    return array_files.read(path, integer=integer, rank=rank, key=key)
  except ImportError:  # says what it lacks
    raise
  except PermissionError as error:
    raise PermissionError(f"{path}: not readable by this user; change its permissions.") from error
  except Unsuitable as error:
    raise ValueError(f"{path}: {error}.") from error
  except MemoryError as error:
    raise ValueError(
      f"{path}: needs more memory than is free, or its header is damaged ({error}); close other "
      "programs, or copy or download it again."
    ) from error
  # damaged files make the libraries fail in every way
  except Exception as error:
    reason = " ".join(str(error).split())[:200]
    raise ValueError(
      f"{path}: cannot be read as {kind} ({reason}); the file is damaged, cut off or of another "
      "format: copy or download it again."
    ) from error


def read_image(
  path, *, rank: int | None = None, key: str | None = None
) -> tuple[np.ndarray, Geometry]:
  """Reads an image.

  Args:
    path: a file with one of ENDINGS, or a folder with one DICOM series.
    rank: number of spatial axes, for .npy, .npz and HDF5 whose last axis may be the channels.
    key: name of the array in .npz and HDF5.

  Returns:
    (*space, channels) array, axes (z, y, x) or (y, x), and its geometry.

  Raises:
    FileNotFoundError: the file is missing.
    ValueError: unknown ending, or the file is damaged.
  """
  return _read(path, integer=False, rank=rank, key=key)


def read_label(path, *, key: str | None = None) -> tuple[np.ndarray, Geometry]:
  """Reads a label: (*space) integers as stored, and their geometry; errors as `read_image`."""
  array, geometry = _read(path, integer=True, rank=None, key=key)
  if array.shape[-1] > 1 and not (array == array[..., :1]).all():
    raise ValueError(
      f"{path}: a label needs one channel, this file has {array.shape[-1]} that differ; write the "
      "classes as numbers, not as colours or layers that overlap."
    )
  return integers(array[..., 0], path), geometry


def integers(array: np.ndarray, path) -> np.ndarray:
  """A label's values as whole numbers, up to float32's rounding; else ValueError names the path."""
  if np.issubdtype(array.dtype, np.integer):
    return array
  if array.dtype == bool:
    return array.astype(np.uint8)
  if np.issubdtype(array.dtype, np.complexfloating):
    raise ValueError(f"{path}: label values must be whole numbers, found complex ones.")
  rounded = np.round(array)
  with np.errstate(invalid="ignore"):  # infinite values
    near = abs(array - rounded) <= _ROUNDING * np.maximum(abs(rounded), 1)
  whole = np.isfinite(array) & near
  if not whole.all():
    raise ValueError(
      f"{path}: label values must be whole numbers, found {array[~whole][0]!s}; resample labels "
      "with nearest neighbour, or give a label where this is an image."
    )
  if array.size and abs(rounded).max() >= 2.0**63:
    raise ValueError(f"{path}: label value {rounded.flat[abs(rounded).argmax()]:g} is too large.")
  rounded = rounded.astype(np.int64)
  narrow = rounded.astype(np.int32)
  return narrow if (narrow == rounded).all() else rounded


def _smallest(array: np.ndarray) -> np.ndarray:
  low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
  for dtype in (np.uint8, np.uint16, np.int16, np.int32, np.uint32):
    if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
      return array.astype(dtype)
  return array


def _write(path, array: np.ndarray, geometry: Geometry, integer: bool) -> None:
  path = pathlib.Path(path)
  kind = ending(path)
  if array.shape[: geometry.rank] != geometry.shape:
    raise ValueError(
      f"{path}: the array's grid {array.shape[: geometry.rank]} differs from the geometry's "
      f"{geometry.shape} (z, y, x); restore it to the input's grid first."
    )
  if kind in dicom.ENDINGS:
    raise ValueError(f"{path}: DICOM is read, not written; write .nii.gz.")
  if kind in (".mhd", ".nhdr"):
    raise ValueError(f"{path}: {kind} needs a second file for its voxels; write .nrrd instead.")
  with files.replacing(path) as temporary:
    if kind in _NIFTI:
      nifti.write(temporary, array, geometry)
    elif kind in _ITK:
      itk.write(temporary, array, geometry)
    elif kind in _PICTURES:
      pictures.write(temporary, array, geometry)
    else:
      array_files.write(temporary, array, integer=integer)


def write_label(path, array: np.ndarray, geometry: Geometry) -> None:
  """Writes (*space) stored values in the smallest integer type, on the grid of `geometry`.

  The file appears whole under its name or not at all. Raises ValueError for an unknown ending or
  a grid that differs, or a folder that cannot be written.
  """
  _write(path, _smallest(integers(np.asarray(array), path)), geometry, True)


def write_image(path, array: np.ndarray, geometry: Geometry) -> None:
  """Writes (*space) or (*space, channels), for example probabilities; as `write_label`."""
  array = np.asarray(array)
  _write(path, array.astype(np.float32) if array.dtype == np.float64 else array, geometry, False)
