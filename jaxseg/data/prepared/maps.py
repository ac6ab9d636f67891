"""Maps of a case's labels that a loss needs: made once on the host, kept beside the prepared set.

A map is a function of the labels and a row of `MAPS`, named as its field in `batch.FIELDS`. What
it is told is positional; its keywords are the options of `config.data.maps`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg import build
from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import Maker, with_fields

# part of every map's folder: raise it when a map's values change
_VERSION = 4
# objects farther away weigh less than 2e-8 of those that touch
_REACH = 6.0


def signed_distance(
  label: np.ndarray,
  spacing: Sequence[float],
  classes: int,
  ignored: np.ndarray | None = None,
  /,
) -> np.ndarray:
  """Distance of every voxel to the border of each class, negative inside.

  Outside it is the distance to the nearest voxel of the class; inside, minus the distance to the
  nearest voxel of no such class, plus the shortest edge of a voxel, so that the outermost voxels
  across that edge are 0 (all, where voxels are cubes). A class that is absent, or everywhere, has
  no border and is 0 throughout.

  Args:
    label: (*space) int classes, or (*space, classes) regions.
    spacing: (rank,) millimetres.
    classes: number of classes, background counted, or of regions.
    ignored: unused; ignored voxels are measured as the class that stands in for them, 0.

  Returns:
    (*space, classes) float32, millimetres. Source: Kervadec et al. 2019, 1812.07032.
  """
  del ignored
  label, spacing = _checked(label, spacing, "signed_distance")
  if label.ndim > len(spacing):
    masks = np.moveaxis(label > 0.5, -1, 0)
  else:
    masks = (label == k for k in range(classes))
  out = np.zeros((*label.shape[: len(spacing)], classes), np.float32)
  for k, mask in enumerate(masks):
    if mask.any() and not mask.all():
      outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
      inside = ndimage.distance_transform_edt(mask, sampling=spacing)
      out[..., k] = np.where(mask, min(spacing) - inside, outside)
  return out


def border_weight(
  label: np.ndarray,
  spacing: Sequence[float],
  classes: int | None = None,
  ignored: np.ndarray | None = None,
  /,
  *,
  w0: float = 10.0,
  sigma: float = 5.0,
  background: int = 0,
  instances: bool = False,
  connectivity: int = 1,
  balance: bool = False,
) -> np.ndarray:
  """U-Net's weight map: w_c, plus w0 exp(-(d1 + d2)^2 / (2 sigma^2)) in the background.

  d1 and d2 are the distances to the two nearest objects; without a second one the term is 0.

  Args:
    label: (*space) int classes, of which every connected component is an object, or (*space, k)
      regions, which together make the objects.
    spacing: (rank,) millimetres.
    classes: unused; every map is told the number of classes.
    ignored: (*space) bool, voxels that are of no object, whatever their label.
    w0: weight of a gap of no width.
    sigma: millimetres (voxels, of pictures): a gap of 2 sigma weighs w0 / 7.
    background: the class between the objects (of membranes: theirs).
    instances: `label` holds a number for each object, not a class.
    connectivity: of components: 1 by faces, up to the rank, by corners.
    balance: w_c makes every class of the case weigh the same in sum, with mean 1; else w_c is 1.

  Returns:
    (*space) float32. Source: Ronneberger et al. 2015, 1505.04597.
  """
  del classes
  label, spacing = _checked(label, spacing, "border_weight")
  if sigma <= 0:
    raise ValueError(f"border_weight: sigma is {sigma}; expected millimetres, more than 0.")
  if label.ndim > len(spacing):
    label, background = (label > 0.5).any(-1).astype(np.int32), 0
  if ignored is not None:
    label = np.where(ignored, background, label)
  gap = label == background
  if instances:
    objects = np.where(gap, 0, np.unique(label, return_inverse=True)[1].reshape(label.shape) + 1)
  else:
    objects = _components(label, background, connectivity)
  nearest, second = _two_nearest(objects, spacing, _REACH * sigma)
  term = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
  base = _balanced(gap if instances else label) if balance else 1.0
  return (base + np.where(gap, term, 0)).astype(np.float32)


MAPS: dict[str, Callable[..., np.ndarray]] = {
  "distance": signed_distance,
  "border": border_weight,
}


def _checked(label, spacing, name: str) -> tuple[np.ndarray, tuple[float, ...]]:
  label, spacing = np.asarray(label), tuple(float(s) for s in spacing)
  if label.ndim - len(spacing) not in (0, 1) or min(spacing) <= 0:
    raise ValueError(
      f"{name}: a label of shape {label.shape} and the spacing {spacing} don't fit; expected one "
      "positive number of millimetres for each spatial axis."
    )
  return label, spacing


def _components(label: np.ndarray, background: int, connectivity: int) -> np.ndarray:
  """Connected components of every class but the background, numbered from 1."""
  structure = ndimage.generate_binary_structure(label.ndim, connectivity)
  objects, count = np.zeros(label.shape, np.int32), 0
  for k in np.unique(label[label != background]):
    found, more = ndimage.label(label == k, structure)
    objects[found > 0] = found[found > 0] + count
    count += more
  return objects


def _two_nearest(objects: np.ndarray, spacing, reach: float) -> tuple[np.ndarray, np.ndarray]:
  """Distances to the nearest and to the second object, infinite where none is within `reach`."""
  nearest, second = (np.full(objects.shape, np.inf) for _ in range(2))
  margin = [int(np.ceil(reach / s)) for s in spacing]
  for number, box in enumerate(ndimage.find_objects(objects), 1):
    if box is None:
      continue
    # what is farther away is of no weight: a thousand objects cost little more than one
    wide = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
    distance = ndimage.distance_transform_edt(objects[wide] != number, sampling=spacing)
    second[wide] = np.minimum(second[wide], np.maximum(nearest[wide], distance))
    nearest[wide] = np.minimum(nearest[wide], distance)
  return nearest, second


def _balanced(label: np.ndarray) -> np.ndarray:
  """Of each voxel, the voxels per class over those of its class."""
  _, index, counts = np.unique(label, return_inverse=True, return_counts=True)
  return (label.size / (len(counts) * counts))[index].reshape(label.shape)


class _OfLabels(NamedTuple):
  """`make` of a map: of a case's labels, its spacing and what of it is ignored."""

  load: Callable[[int], dict[str, np.ndarray]]
  labels: LabelSpec
  function: Callable[..., np.ndarray]

  def make(self, case: int) -> np.ndarray:
    sample = self.load(case)
    ignored = sample["weight"] <= 0 if "weight" in sample else None
    label = sample[self.labels.field]
    return self.function(label, sample["spacing"], self.labels.channels, ignored)


def makers(dataset: Dataset, maps: Mapping[str, Mapping]) -> dict[str, Maker]:
  """Maps as fields of a set's cases, for `with_fields`; volumes are measured as volumes.

  Args:
    dataset: a prepared set.
    maps: name in MAPS -> options of its function.

  Raises ValueError that lists the maps or the options if one is unknown.
  """
  bound = {name: bind_map(name, options) for name, options in maps.items()}
  return {
    name: Maker(_key(name, function), _OfLabels(dataset.load, dataset.labels, function).make)
    for name, function in bound.items()
  }


def with_maps(
  dataset: Dataset, maps: Mapping[str, Mapping], cases: Sequence[int] | None = None, **options
) -> Dataset:
  """The data set with maps among its samples' fields; see `makers` and `with_fields`."""
  return with_fields(dataset, makers(dataset, maps), cases, **options)


def bind_map(name: str, options: Mapping) -> Callable[..., np.ndarray]:
  """The map's function with a config's options; raises ValueError in words."""
  if name not in MAPS:
    raise ValueError(
      f"map '{name}' is unknown{build.suggestion(name, MAPS)}; choices of config.data.maps and of "
      f"a loss's weight_map: {', '.join(MAPS)}."
    )
  if not isinstance(options, Mapping):
    raise ValueError(
      f"config.data.maps.{name}: expected a dict of the map's options, got {options!r}."
    )
  bound = build.bind(MAPS, {"name": name, **options}, f"data.maps.{name}")
  # two voxels show whether the options are in range, before a case is read
  bound(np.array([0, 1]), (1.0,), 2)
  return bound


def _key(name: str, function) -> str:
  """Of the map and of all its options, those left at their defaults too."""
  defaults = {
    option: p.default
    for option, p in build.options_of(function.func).items()
    if p.default is not p.empty
  }
  text = json.dumps([_VERSION, name, {**defaults, **function.keywords}], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]
