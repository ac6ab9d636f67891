"""Fields, targets, labels."""

import numpy as np
import pytest
from closeness import assert_close

from jaxseg import batch
from jaxseg.batch import LabelSpec
from jaxseg.losses import cross_entropy


def test_stored_values_survive_encoding_and_decoding():
  spec = LabelSpec(("background", "a", "b"), (0, 205, 17))
  stored = np.array([[0, 17], [205, 17]])
  encoded, weight = spec.encode(stored)
  np.testing.assert_array_equal(encoded, [[0, 2], [1, 2]])
  assert weight is None
  np.testing.assert_array_equal(spec.decode(np.eye(3)[encoded]), stored)


def test_unknown_label_value_is_named_with_its_place():
  spec = LabelSpec(("background", "a"), (0, 1))
  with pytest.raises(ValueError, match=r"case_7: label value\(s\) \[4\].*declared values \[0, 1\]"):
    spec.encode(np.array([0, 4]), "case_7")


def test_ignored_voxels_have_no_weight():
  spec = LabelSpec(("background", "a"), (0, 1), ignore=255)
  encoded, weight = spec.encode(np.array([1, 255, 0]))
  np.testing.assert_array_equal(weight, [1, 0, 1])
  np.testing.assert_array_equal(encoded, [1, 0, 0])


def test_regions_overlap_and_are_written_smallest_last():
  spec = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  encoded, _ = spec.encode(np.array([0, 1, 2]))
  np.testing.assert_array_equal(encoded, [[0, 0], [1, 0], [1, 1]])
  np.testing.assert_array_equal(spec.decode(encoded * 2 - 1.0), [0, 1, 2])


def test_label_spec_survives_json():
  spec = LabelSpec(("a", "b"), (0, 3), regions=((0,), (3, 4)), ignore=9, mirror_pairs=((0, 1),))
  assert LabelSpec.from_json(spec.to_json()) == spec


def test_unknown_field_lists_the_known_ones():
  with pytest.raises(ValueError, match="'imge' has no kind; known fields: image, label"):
    batch.kind("imge")


def test_target_prefers_soft_labels_and_carries_maps():
  fields = {"label": 1, "soft_label": 2, "weight": 3, "distance": 4}
  target = batch.target(fields, 7)
  assert target == batch.Target(2, 3, {"distance": 4}, 7)


def test_a_scribble_is_a_target_where_there_are_no_labels():
  """The fact sheet's partial cross entropy on B with its first voxel unmarked."""
  logits = np.stack([[[1, 0], [-1, 2]], [[0.5, 2], [0, -1]], [[-0.5, 0], [1.5, 0]]], -1)
  marks = np.eye(3, dtype=np.float32)[np.array([[0, 1], [2, 1]])][None]
  marks[0, 0, 0] = 0
  target = batch.target({"image": np.zeros((1, 2, 2, 1)), "scribble": marks})
  np.testing.assert_array_equal(target.weight, [[[0, 1], [1, 1]]])
  assert_close(cross_entropy(logits[None].astype(np.float32), target), 1.225253, atol=2e-6)
  weighed = batch.target({"scribble": marks, "weight": np.full((1, 2, 2), 0.5, np.float32)})
  np.testing.assert_array_equal(weighed.weight, [[[0, 0.5], [0.5, 0.5]]])
