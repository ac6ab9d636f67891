"""Segmentations as files, on the grid of the image that they belong to."""

import pathlib

import imageio.v3 as imageio
import numpy as np

from jaxseg import data, files
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase
from jaxseg.inference import pictures
from jaxseg.inference.segmentation import Segmentation


def write(
  folder: pathlib.Path,
  name: str,
  raw: RawCase,
  found: Segmentation,
  labels: LabelSpec,
  *,
  overlay: bool = False,
) -> pathlib.Path:
  """Writes a segmentation, and its probabilities if it has them; returns the label's path.

  What lies beside an earlier segmentation of the case goes: it would be taken for this one's.
  """
  picture, shares = folder / f"{name}_overlay.png", folder / f"{name}_probabilities.npz"
  for beside in (picture, shares):
    beside.unlink(missing_ok=True)
  flat = raw.geometry.kind == "picture" and raw.geometry.rank == 2
  ending = ".png" if flat and _fits_pictures(labels) else ".nii.gz"
  data.write_label(folder / f"{name}{ending}", found.labels, raw.geometry)
  if overlay:
    values = labels.written[labels.first :]
    shown = sum((found.labels == value) * (i + 1) for i, value in enumerate(values))
    panel = pictures.panel(raw.image.astype(np.float32), shown)
    with files.replacing(picture) as temporary:
      imageio.imwrite(temporary, panel)
  if found.probabilities is not None:
    with files.replacing(shares) as temporary:
      np.savez_compressed(temporary, probabilities=found.probabilities)
  return folder / f"{name}{ending}"


def _fits_pictures(labels: LabelSpec) -> bool:
  """Whether a picture's 16 bits hold every value that may be written."""
  return min(labels.stored_values) >= 0 and max(labels.stored_values) < 2**16
