"""Scribbles and pseudo-labels: files that lie beside a set and are drawn as its labels are."""

import numpy as np
import pytest
import tiny

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, write_label
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.fields import Maker, with_fields, without_labels
from jaxseg.data.prepared.label_files import decoded, folder, on_grid
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources.source import Source

LABELS = LabelSpec(("background", "a", "b"), (0, 3, 7))
SHAPE = (6, 8, 4)


def scribble():
  drawn = np.full(SHAPE, 4, np.int32)
  drawn[0, :, 0], drawn[2, 3, 1], drawn[4, 4:, 2] = 0, 3, 7
  return drawn


def read(name):
  random = np.random.default_rng(int(name[-1]))
  label = random.choice(LABELS.stored_values, SHAPE)
  return RawCase(random.random((*SHAPE, 1), np.float32), label, None, plain_geometry(SHAPE))


@pytest.fixture
def dataset(tmp_path):
  names = ("case_0", "case_1", "case_2")
  source = Source("set", names, ("x",), LABELS, 3, read, "f")
  return prepare(source, cache_dir=tmp_path / "sets", normalise="none", workers=1)


@pytest.fixture
def drawn(tmp_path):
  home = tmp_path / "drawn"
  home.mkdir()
  for i in (0, 2):
    write_label(home / f"case_{i}.nii.gz", scribble(), plain_geometry(SHAPE))
  return home


def made(dataset, drawn, cases=("case_0", "case_2"), **options):
  options = {"path": str(drawn), "unknown": 4} | options
  return folder(dataset, cases, read, "config.data.fields.scribble", **options)


def test_what_is_marked_is_1_in_its_class_and_the_rest_is_0_everywhere(dataset, drawn):
  found = with_fields(dataset, {"scribble": made(dataset, drawn)}, (0, 2))
  field = found.load(2)["scribble"]
  expected = np.stack([scribble() == value for value in (0, 3, 7)], -1).astype(np.float32)
  np.testing.assert_array_equal(field, expected)
  assert field.dtype == np.float32
  assert "scribble" not in found.load(1)
  np.testing.assert_array_equal(
    found.crop(0, (1, 2, 0), (3, 2, 2))["scribble"], expected[1:4, 2:4, :2]
  )


def test_cases_without_labels_may_have_marks(dataset, drawn):
  bare = without_labels(dataset)
  found = with_fields(bare, {"scribble": made(bare, drawn)}, (0,))
  assert set(found.load(0)) == {"image", "spacing", "scribble"}


def test_marks_are_resampled_as_labels_are(tmp_path):
  """Every second plane doubled: nearest neighbours of what is known and of what is not."""
  source = Source("set", ("case_0",), ("x",), LABELS, 3, read, "f")
  options = {"normalise": "none", "spacing": (0.5, 1.0, 1.0), "workers": 1}
  options["resampling"] = {"label_order": 0}
  dataset = prepare(source, cache_dir=tmp_path / "sets", **options)
  write_label(tmp_path / "case_0.nii.gz", scribble(), plain_geometry(SHAPE))
  field = with_fields(dataset, {"scribble": made(dataset, tmp_path, ("case_0",))}).load(0)
  doubled = np.repeat(scribble(), 2, 0)
  np.testing.assert_array_equal(field["scribble"].any(-1), doubled != 4)
  np.testing.assert_array_equal(field["scribble"][..., 2] == 1, doubled == 7)


def test_an_ignored_value_is_unknown_as_well():
  labels = LabelSpec(("background", "a"), (0, 3), ignore=9)
  grid = tiny.dataset(rank=3).preparation.grid(plain_geometry((1, 1, 4)))
  numbers = on_grid(np.array([[[0, 3, 9, 5]]]), grid, labels, "it", unknown=5)
  assert numbers.tolist() == [[[1, 2, 0, 0]]]
  assert decoded(numbers, labels).tolist() == [[[[1, 0], [0, 1], [0, 0], [0, 0]]]]


def test_other_files_make_another_field_and_another_content(dataset, drawn):
  first = with_fields(dataset, {"scribble": made(dataset, drawn)}, (0, 2))
  assert first.content(0) != dataset.content(0)
  assert first.content(1) == dataset.content(1)
  write_label(
    drawn / "case_0.nii.gz", np.where(scribble() == 3, 7, scribble()), plain_geometry(SHAPE)
  )
  again = with_fields(dataset, {"scribble": made(dataset, drawn)}, (0, 2))
  assert again.content(0) != first.content(0)
  assert again.content(2) == first.content(2)
  assert again.load(0)["scribble"][..., 1].sum() == 0


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda d: (d / "case_2.nii.gz").unlink(), r"scribble: .*drawn has no file of case 'case_2';"),
    (
      lambda d: write_label(d / "case_0.mha", scribble(), plain_geometry(SHAPE)),
      r"two files of case 'case_0', case_0.mha and case_0.nii.gz; keep one",
    ),
    (
      lambda d: write_label(d / "case_0.nii.gz", scribble()[1:], plain_geometry((5, 8, 4))),
      r"case_0.nii.gz: the image has shape \(6, 8, 4\) but the config.data.fields.scribble \(5, 8",
    ),
    (
      lambda d: write_label(d / "case_0.nii.gz", scribble() + 1, plain_geometry(SHAPE)),
      r"case_0.nii.gz: label value\(s\) \[1, 5, 8\] are not among",
    ),
  ],
)
def test_what_is_no_file_of_marks_is_told(dataset, drawn, change, words):
  change(drawn)
  with pytest.raises(ValueError, match=words):
    with_fields(dataset, {"scribble": made(dataset, drawn)}, (0, 2))


def test_a_field_is_made_once_for_a_key(dataset):
  calls = []

  def make(i):
    calls.append(i)
    return np.full(SHAPE, i, np.float32)

  for cases in ((0,), (0, 2)):
    found = with_fields(dataset, {"border": Maker("key", make)}, cases)
  assert calls == [0, 2]
  assert found.load(2)["border"].max() == 2
  with_fields(dataset, {"border": Maker("other", make)}, (2,))
  assert calls == [0, 2, 2]
