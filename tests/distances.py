"""Distances between voxels by trying all pairs: the oracle of every map and transform."""

import numpy as np


def to_nearest(sources, spacing=None):
  """(*space) bool -> (*space) distance to the nearest True voxel, infinite where there is none."""
  spacing = np.ones(sources.ndim) if spacing is None else np.asarray(spacing)
  places = np.argwhere(np.ones(sources.shape, bool)) * spacing
  found = np.argwhere(sources) * spacing
  if not len(found):
    return np.full(sources.shape, np.inf)
  ways = np.linalg.norm(places[:, None] - found[None], axis=-1)
  return ways.min(1).reshape(sources.shape)


def signed(label, classes, spacing=None):
  """(*space) int -> (*space, classes): outside +, inside minus all but one voxel; 0 if absent."""
  step = 1 if spacing is None else min(spacing)
  out = np.zeros((*label.shape, classes))
  for k in range(classes):
    mask = label == k
    if mask.any() and not mask.all():
      inside = step - to_nearest(~mask, spacing)
      out[..., k] = np.where(mask, inside, to_nearest(mask, spacing))
  return out
