"""Counting labels."""

import numpy as np
import tiny

from jaxseg.data import label_counts


def test_voxels_are_counted_by_case_and_class():
  dataset = tiny.dataset(cases=3)
  counts = label_counts(dataset, (2, 0))
  for row, i in zip(counts, (2, 0), strict=True):
    label = dataset.load(i)["label"]
    np.testing.assert_array_equal(row, [(label == k).sum() for k in range(3)])


def test_ignored_voxels_are_not_counted():
  label, weight = np.array([[0, 1], [1, 2]]), np.array([[1, 1], [0, 2]], np.float32)
  regions = np.stack([label > 0, label > 1], -1).astype(np.float32)
  samples = ({"label": label, "weight": weight}, {"soft_label": regions, "weight": weight})
  dataset = tiny.dataset(cases=1)._replace(load=lambda i: samples[i])
  np.testing.assert_array_equal(label_counts(dataset, (0,)), [[1, 1, 1]])
  np.testing.assert_array_equal(label_counts(dataset, (1,)), [[2, 1]])
