"""How often each label occurs in a prepared data set."""

from collections.abc import Sequence

import numpy as np

from jaxseg.data.prepared.dataset import Dataset


def label_counts(dataset: Dataset, cases: Sequence[int]) -> np.ndarray:
  """Voxels of each class, or region, in each case: (cases, k) int64; ignored ones don't count.

  Args:
    dataset: the prepared set.
    cases: indices into it; each case is loaded once.
  """
  counts = []
  for i in cases:
    sample = dataset.load(i)
    regions = "soft_label" in sample
    label = sample["soft_label"] > 0.5 if regions else sample["label"]
    if "weight" in sample:
      label = label[sample["weight"] > 0]
    if regions:
      counts.append(label.sum(tuple(range(label.ndim - 1)), dtype=np.int64))
    else:
      counts.append(np.bincount(label.reshape(-1), minlength=dataset.labels.channels))
  return np.stack(counts)
