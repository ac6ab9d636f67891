"""Classes that count, chosen by name: sets with other labels as one problem."""

import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.chosen_classes import with_classes
from jaxseg.data.sources.source import Source

LABELS = LabelSpec(
  ("background", "spleen", "right kidney", "left kidney", "gallbladder", "liver"),
  (0, 1, 2, 3, 4, 6),
  mirror_pairs=((2, 3),),
)
STORED = np.array([[0, 1, 2], [3, 4, 6]], np.uint8)


def source(labels=LABELS, label=STORED):
  def read(case):
    geometry = plain_geometry(STORED.shape)
    return RawCase(np.zeros((*STORED.shape, 1), np.float32), label, None, geometry)

  return Source("abdomen", ("a",), ("ct",), labels, 2, read, "0123")


def test_the_rest_is_background_and_the_order_is_that_of_the_names():
  chosen = with_classes(source(), ("liver", "right kidney", "left kidney", "spleen"))
  assert chosen.labels.names == ("background", "liver", "right kidney", "left kidney", "spleen")
  assert chosen.labels.stored_values == (0, 6, 2, 3, 1)
  assert chosen.labels.mirror_pairs == ((2, 3),)
  raw = chosen.read("a")
  np.testing.assert_array_equal(raw.label, [[0, 1, 2], [3, 0, 6]])
  assert raw.label.dtype == np.uint8
  classes, _ = chosen.labels.encode(raw.label)
  np.testing.assert_array_equal(classes, [[0, 4, 2], [3, 0, 1]])


def test_other_classes_are_another_prepared_set_and_all_of_them_are_the_same():
  assert with_classes(whole := source(), ()) is whole
  prints = {with_classes(source(), names).fingerprint for names in (("liver",), ("spleen",))}
  assert len(prints | {source().fingerprint}) == 3


def test_a_pair_of_which_one_is_chosen_has_no_mirror_image():
  assert with_classes(source(), ("left kidney",)).labels.mirror_pairs == ()


def test_values_that_no_class_has_and_voxels_that_nobody_marked_stay_what_they_are():
  labels = LabelSpec(LABELS.names, LABELS.stored_values, ignore=255)
  stored = np.array([[255, 4, 9]], np.uint8)
  chosen = with_classes(source(labels, stored), ("liver",))
  np.testing.assert_array_equal(chosen.read("a").label, [[255, 0, 9]])
  with pytest.raises(ValueError, match=r"label value\(s\) \[9\]"):
    chosen.labels.encode(chosen.read("a").label)
  assert with_classes(source(label=None), ("liver",)).read("a").label is None


@pytest.mark.parametrize(
  ("names", "words"),
  [
    (("liver", "lung"), "'lung' is none of them; 'abdomen' has spleen, .* liver in common"),
    (("lung",), "'lung' is none of them; .* none in common"),
    (("background",), "'background' is none of them"),
    (("liver", "liver"), "a name comes twice"),
  ],
)
def test_classes_that_there_are_not_are_told(names, words):
  with pytest.raises(ValueError, match=rf"config.data.classes: .*{words}"):
    with_classes(source(), names)


def test_regions_are_not_chosen_by_class():
  labels = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  with pytest.raises(ValueError, match=r"config.data.classes: .* are regions"):
    with_classes(source(labels), ("core",))
