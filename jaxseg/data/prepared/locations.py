"""Voxels of each class of a case, stored once so that patches can be centred on rare classes."""

import numpy as np

# nnU-Net's numbers: 10,000 voxels per class, or 1 % of a larger class
_VOXELS = 10_000
_SHARE = 0.01
_SEED = 1234


def locate(
  label: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  regions: bool = False,
  annotated: bool = False,
) -> dict[int, np.ndarray]:
  """A deterministic sample of every foreground class's voxels.

  Args:
    label: (*space) int classes, or (*space, k) regions.
    weight: (*space), voxels of weight 0 are left out; or None.
    regions: whether `label` holds regions; region r is class r + 1.
    annotated: whether all voxels that are not left out, background too, make up class 0.

  Returns:
    {class: (n, rank) int32}, n = min(all, max(10,000, 1 % of the class)); absent classes left out.
  """
  random = np.random.RandomState(_SEED)
  inside = None if weight is None else weight > 0
  found = {}
  classes = range(1, label.shape[-1] + 1) if regions else np.unique(label[label > 0]).tolist()
  for k in (*classes, *((0,) if annotated else ())):
    mask = _mask(label, k, regions)
    flat = np.flatnonzero(mask if inside is None else mask & inside)
    wanted = max(_VOXELS, int(np.ceil(_SHARE * len(flat))))
    if len(flat) > wanted:
      flat = np.sort(random.choice(flat, wanted, replace=False))
    if len(flat):
      found[k] = np.stack(np.unravel_index(flat, mask.shape), -1).astype(np.int32)
  return found


def _mask(label: np.ndarray, k: int, regions: bool) -> np.ndarray:
  if k == 0:
    return np.ones(label.shape[:-1] if regions else label.shape, bool)
  return label[..., k - 1] > 0 if regions else label == k


def pack(found: dict[int, np.ndarray], rank: int) -> np.ndarray:
  """{class: (n, rank)} -> (sum of n, rank) int32, in the order of the classes."""
  rows = [voxels for _, voxels in sorted(found.items())]
  return np.concatenate([np.zeros((0, rank), np.int32), *rows]).astype(np.int32)
