"""Small folders of label volumes, for the tests of what compares them."""

import nibabel as nib
import numpy as np

# M1 of the fact sheet's Appendix G
LABEL = np.zeros((8, 8), np.uint8)
LABEL[2:6, 2:6] = 1
PREDICTION = np.zeros((8, 8), np.uint8)
PREDICTION[2:6, 3:8] = 1
EMPTY = np.zeros((8, 8), np.uint8)


def volume(plane, depth=3):
  """The same plane at each depth, (z, y, x)."""
  return np.stack([plane] * depth)


def write_nifti(path, array, affine=None):
  path.parent.mkdir(parents=True, exist_ok=True)
  affine = np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine
  nib.save(nib.Nifti1Image(array.T, affine), path)
