"""The slices of a case that a report shows: image, reference and prediction, small enough to keep.

Volumes with a position are turned as clinicians look at them: the patient's right on the left of
the picture, front or head at the top.
"""

import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import Geometry, orient, oriented
from jaxseg.inference import pictures

# longer sides are thinned out; a page shows no more pixels
_SIDE = 448
# of a case with many classes; those beyond share the nearest slice
_SLICES = 16
_GAP = 6
_PLANES = ("axial", "coronal", "sagittal")


class Views(NamedTuple):
  """Slices of a case.

  Attributes:
    image: (n, h, w, 1 or 3) uint8.
    label, prediction: (n, h, w) class indices; a region is its position from 1, later ones on top;
      of images that are made, uint8 grey.
    slice_of: (classes,) which of the n slices shows a class best, background left out.
    names: (n,) what each slice is called, "" for a picture.
    spacing: (2,) mm of the pixels.
    classes: () bool, whether label and prediction are classes.
  """

  image: np.ndarray
  label: np.ndarray
  prediction: np.ndarray
  slice_of: np.ndarray
  names: np.ndarray
  spacing: np.ndarray
  classes: np.ndarray = np.array(True)

  def picture(self, i: int, *, height: int = 240) -> np.ndarray:
    """image | reference | prediction of slice i, with square pixels, (height, w, 3) uint8."""
    masks = (self.label[i], self.prediction[i])
    image = np.repeat(self.image[i], 3, -1) if self.image.shape[-1] == 1 else self.image[i]
    h, w = image.shape[:2]
    width = max(1, round(height * w * self.spacing[1] / (h * self.spacing[0])))
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    tiles = [resized]
    for mask in masks if self.classes else ():
      near = Image.fromarray(mask.astype(np.int32)).resize(
        (width, height), Image.Resampling.NEAREST
      )
      tiles.append(_laid_over(resized, np.asarray(near)))
    for grey in () if self.classes else masks:
      shown = Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC)
      tiles.append(np.repeat(np.asarray(shown)[..., None], 3, -1))
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    return np.concatenate([tiles[0], gap, tiles[1], gap, tiles[2]], 1)

  def panel(self) -> np.ndarray:
    """The picture of the slice with the most foreground of the reference."""
    return self.picture(int((self.label > 0).sum((1, 2)).argmax()))


def _laid_over(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
  """The image with the classes tinted and outlined."""
  grey = np.repeat(image.mean(-1, keepdims=True), 3, -1)
  edge = np.zeros(classes.shape, bool)
  for axis in (0, 1):
    for step in (1, -1):
      edge |= np.roll(classes, step, axis) != classes
  share = np.where(edge, 1.0, 0.35) * (classes > 0)
  mixed = grey * (1 - share[..., None]) + pictures.colour(classes) * share[..., None]
  return mixed.astype(np.uint8)


def of_case(raw: RawCase, prediction: np.ndarray, labels: LabelSpec) -> Views:
  """The slices of a case where each class of its reference is largest.

  Args:
    raw: the case as read, with its label.
    prediction: (*space) stored values, on the same grid.
    labels: the label specification.
  """
  arrays, names, spacing = planes(raw.geometry, (raw.image, raw.label, prediction))
  image, label, predicted = arrays
  masks = [_masks(array, labels) for array in (label, predicted)]
  area = [np.stack([mask.sum((1, 2)) for mask in of], 1) for of in masks]  # (slices, classes)
  # a class that the reference lacks is shown where it was predicted; one in neither, anywhere
  chosen = area[0] + (area[0].sum(0) == 0) * area[1]
  best = np.where(chosen.any(0), chosen.argmax(0), area[0].sum(1).argmax())
  kept = np.unique(best)
  kept = kept[np.linspace(0, len(kept) - 1, min(len(kept), _SLICES)).round().astype(int)]
  thin = max(1, -(-max(image.shape[1:3]) // _SIDE))
  cut = (kept, slice(None, None, thin), slice(None, None, thin))
  shown = np.stack([_grey(plane) for plane in image[cut].astype(np.float32)])
  return Views(
    image=shown,
    label=_flat([mask[cut] for mask in masks[0]]),
    prediction=_flat([mask[cut] for mask in masks[1]]),
    slice_of=np.abs(best[:, None] - kept).argmin(1),
    names=np.array([names[i] for i in kept]),
    spacing=np.asarray(spacing, np.float32),
  )


def of_images(
  raw: RawCase,
  truth: np.ndarray,
  image: np.ndarray,
  names: Sequence[str],
  *,
  own_window: bool = False,
) -> Views:
  """The middle slice of a case for each channel that is made.

  Args:
    raw: the case as it is given.
    truth, image: (*space, k) intensities, on the same grid.
    names: (k,) of the channels.
    own_window: of grey values for each, where the two are of different units; else the true one's
      for both, so that they can be compared.
  """
  arrays, titles, spacing = planes(raw.geometry, (raw.image, truth, image))
  given, truth, image = (plane[len(plane) // 2] for plane in arrays)
  thin = max(1, -(-max(given.shape[:2]) // _SIDE))
  given, truth, image = (plane[::thin, ::thin] for plane in (given, truth, image))
  grey = []
  for of in (truth, image):
    ends = of if own_window else truth
    window = [np.percentile(ends[..., k], (0.5, 99.5)) for k in range(len(names))]
    grey.append(np.stack([pictures.windowed(of[..., k], *window[k]) for k in range(len(names))]))
  middle = titles[len(titles) // 2]
  return Views(
    image=np.repeat(_grey(given.astype(np.float32))[None], len(names), 0),
    label=grey[0],
    prediction=grey[1],
    slice_of=np.arange(len(names)),
    names=np.array([" ".join(filter(None, (name, middle))) for name in names]),
    spacing=np.asarray(spacing, np.float32),
    classes=np.array(False),
  )


def planes(geometry: Geometry, arrays: Sequence[np.ndarray]):
  """The arrays with the axis of the thickest slices first; names of the slices; pixel size."""
  if geometry.rank == 2:
    return tuple(array[None] for array in arrays), ("",), geometry.spacing
  positioned = geometry.kind in ("nifti", "itk", "dicom")
  if positioned:
    arrays = tuple(orient(array, geometry, "RAS")[::-1, ::-1, ::-1] for array in arrays)
    geometry = oriented(geometry, "RAS")
  spacing = geometry.spacing
  axis = int(spacing.argmax()) if spacing.max() > 1.01 * spacing[0] else 0
  arrays = tuple(np.moveaxis(array, axis, 0) for array in arrays)
  plane = f"{_PLANES[axis]} " if positioned else ""
  count = len(arrays[0])
  names = [f"{plane}slice {i + 1} of {count}" for i in range(count)]
  return arrays, names, np.delete(spacing, axis)


def _masks(stored: np.ndarray, labels: LabelSpec) -> list[np.ndarray]:
  """One mask for each class but the background, or for each region."""
  return [np.isin(stored, of) for of in labels.members]


def _flat(masks: list[np.ndarray]) -> np.ndarray:
  out = np.zeros(masks[0].shape, np.uint8 if len(masks) < 256 else np.uint16)
  for k, mask in enumerate(masks, 1):
    out[mask] = k
  return out


def _grey(plane: np.ndarray) -> np.ndarray:
  """(h, w, c) float -> (h, w, 1 or 3) uint8."""
  shown = pictures.grey(plane)
  return shown if plane.shape[-1] >= 3 else shown[..., :1]


def exists(folder: pathlib.Path, case: str) -> bool:
  return (pathlib.Path(folder) / f"{case}.npz").is_file()


def save(folder: pathlib.Path, case: str, views: Views) -> None:
  """Writes CASE.npz."""
  with files.replacing(pathlib.Path(folder) / f"{case}.npz") as temporary:
    np.savez_compressed(temporary, **views._asdict())


def load(folder: pathlib.Path, case: str) -> Views:
  """Reads CASE.npz; raises FileNotFoundError or ValueError that says what writes it."""
  path = pathlib.Path(folder) / f"{case}.npz"
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: not found; it is written at the end of training, with the case's segmentation."
    )
  try:
    with np.load(path, allow_pickle=False) as stored:
      views = Views(**{name: stored[name] for name in Views._fields if name in stored})
    _check(views)
  except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(
      f"{path}: is damaged ({error}); give the train command again, it makes the picture anew."
    ) from error
  return views


def _check(views: Views) -> None:
  """Raises ValueError unless the arrays belong together."""
  grid = views.image.shape[:3]
  good = views.image.ndim == 4 and views.label.shape == views.prediction.shape == grid
  good = good and views.names.shape == grid[:1] and views.spacing.shape == (2,)
  if not good or not all(0 <= i < grid[0] for i in views.slice_of):
    raise ValueError("its arrays don't fit each other")
