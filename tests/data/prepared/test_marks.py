"""Where the fields of training cases come from: HDF5 files, full labels, files of boxes."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import scribbled

from jaxseg.augment import MIXTURES
from jaxseg.config import annotation
from jaxseg.data import FIELDS, RawCase
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared.fields import with_fields
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources.hdf5 import h5
from jaxseg.experiment import experiment

WHERE = "config.data.fields.x"


@pytest.fixture
def source(tmp_path):
  return h5(str(scribbled.write(tmp_path / "raw")), names=scribbled.NAMES)


@pytest.fixture
def dataset(source, tmp_path):
  return prepare(source, cache_dir=tmp_path / "sets", normalise="none", workers=1)


def field(name, dataset, source, field="scribble", **options):
  maker = FIELDS[name](dataset, source.cases, source.read, WHERE, **options)
  return with_fields(dataset, {field: maker}, workers=1).load(0)[field]


def test_a_data_set_within_hdf5_files_is_read_with_their_axes(dataset, source, tmp_path):
  _, _, scribble = scribbled.volume(0)
  expected = (scribble[..., None] == np.arange(3)).astype(np.float32)
  found = field("h5", dataset, source, path=str(tmp_path / "raw"), unknown=4)
  np.testing.assert_array_equal(found, expected)

  def turned(number, held):
    return {**held, "scribble": held["scribble"].transpose(2, 1, 0)}

  folder = scribbled.write(tmp_path / "turned", turned)
  again = field("h5", dataset, source, path=str(folder), unknown=4, axes="xyz")
  np.testing.assert_array_equal(again, expected)


def test_strokes_and_slices_are_the_full_labels_where_they_are_drawn(dataset, source):
  _, label, _ = scribbled.volume(0)
  full = label[..., None] == np.arange(3)
  for name, options in (("strokes", {}), ("slices", {"every": 2})):
    found = field(name, dataset, source, **options)
    drawn = found.any(-1)
    np.testing.assert_array_equal(found[drawn], full[drawn])
    assert 0 < drawn.mean() < 0.8
  np.testing.assert_array_equal(drawn.all((1, 2)), [True, False, True])


def test_boxes_of_labels_are_those_of_a_file(dataset, source, tmp_path):
  found = field("label_boxes", dataset, source, "box", axis=0)
  _, label, _ = scribbled.volume(0)
  # the classes are boxes
  np.testing.assert_array_equal(found[..., 1], label == 1)
  assert not found[..., 0].any()
  each = {
    "a": [[n, 3, 3, n + 1, 12, 16] for n in range(3)],
    "b": [[n, 14, 5, n + 1, 21, 15] for n in range(3)],
  }
  path = tmp_path / "boxes.json"
  path.write_text(json.dumps(dict.fromkeys(source.cases, each)))
  again = field("box_file", dataset, source, "box", path=str(path), axis=0)
  np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize(
  ("box", "words"),
  [
    (
      {"c": [[0, 0, 0, 1, 1, 1]]},
      "case 'case_0' has a box of 'c', which is no class; expected one",
    ),
    ({"background": []}, "has a box of 'background', which is no class"),
    ({"a": [[0, 0, 0, 1, 1]]}, r"'a': \[0, 0, 0, 1, 1\] is no box; expected whole numbers"),
    ({"a": [[0, 5, 0, 1, 4, 1]]}, "is no box; expected whole numbers"),
    ({"a": [0, 0, 0, 1, 1, 1]}, "'a': 0 is no box"),
    ({"a": [[0, 0, 0, 1, 99, 1]]}, r"the box .* of 'a' leaves the image \(3, 24, 20\)"),
    ({"a": [[0, 0, 0, 2, 9, 9]]}, "is 2 slices thick; expected one of each slice across axis 0"),
    ({"a": [[0, 0, 1, 1]]}, "leaves the image"),
  ],
)
def test_a_box_that_is_none_is_told(dataset, source, tmp_path, box, words):
  path = tmp_path / "boxes.json"
  path.write_text(json.dumps({**{case: {} for case in source.cases}, "case_0": box}))
  with pytest.raises(ValueError, match=words):
    field("box_file", dataset, source, "box", path=str(path), axis=0)


def test_what_has_no_weight_is_not_drawn_on(dataset, source):
  def read(name):
    raw = source.read(name)
    weight = np.ones(scribbled.SHAPE, np.float32)
    weight[:, :8] = 0
    return raw._replace(weight=weight)

  masked = source._replace(read=read)
  for name, options in (("slices", {"every": 1}), ("strokes", {}), ("label_boxes", {"axis": 0})):
    kind = "box" if name == "label_boxes" else "scribble"
    found = field(name, dataset, masked, kind, **options)
    assert not found[:, :8].any()
    assert found[:, 8:].any()


def test_other_boxes_are_another_content(dataset, source, tmp_path):
  path, contents = tmp_path / "boxes.json", []
  for last in (3, 4):
    boxes = {case: {} for case in source.cases} | {"case_0": {"a": [[0, 0, 0, 1, 3, last]]}}
    path.write_text(json.dumps(boxes))
    maker = FIELDS["box_file"](dataset, source.cases, source.read, WHERE, path=str(path), axis=0)
    found = with_fields(dataset, {"box": maker}, workers=1)
    contents.append([found.content(i) for i in (0, 1)])
  assert contents[0][0] != contents[1][0]
  assert contents[0][1] == contents[1][1]


def test_a_case_without_boxes_is_told(dataset, source, tmp_path):
  path = tmp_path / "boxes.json"
  path.write_text("{}")
  with pytest.raises(ValueError, match="has no boxes of case 'case_0'; expected those of each"):
    field("box_file", dataset, source, "box", path=str(path))


def test_what_is_made_of_labels_needs_them(dataset, source):
  def bare(name):
    return RawCase(source.read(name).image, None, None, plain_geometry(scribbled.SHAPE))

  with pytest.raises(ValueError, match=f"{WHERE}: is made of full labels, and case 'case_0' has"):
    field("strokes", dataset, source._replace(read=bare))


def test_the_mixtures_that_boxes_are_kept_from_are_all():
  assert set(annotation._MIXED) == set(MIXTURES)


def test_makers_go_to_other_processes(dataset, source, tmp_path):
  path = tmp_path / "boxes.json"
  path.write_text(json.dumps({case: {} for case in source.cases}))
  options = {"h5": {"path": str(tmp_path / "raw"), "unknown": 4}, "slices": {"every": 2}}
  options |= {"box_file": {"path": str(path)}, "strokes": {}, "label_boxes": {}}
  for name, given in options.items():
    maker = FIELDS[name](dataset, source.cases, source.read, WHERE, **given)
    again = pickle.loads(pickle.dumps(maker))
    np.testing.assert_array_equal(again.make(0), maker.make(0))
    assert again.key == maker.key


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    (
      {"data.source": dict(name="phantom"), "data.slices": None, "data.split": dict(name="kfold")},
      "^config.data.fields.scribble.path: is missing; expected the folder of HDF5 files",
    ),
    (
      {"data.fields": dict(scribble=dict(name="slices", every=2, chosen=dict(case_0=(1,))))},
      "^config.data.fields.scribble: slices: expected either `every`",
    ),
    (
      {"data.fields": dict(scribble=dict(name="slices", chosen=dict(case_0=(1,))))},
      "^config.data.fields.scribble.chosen: has no slices of case 'case_1'; expected those of each",
    ),
    (
      {"data.fields": dict(scribble=dict(name="strokes", way="zigzag"))},
      "^config.data.fields.scribble: strokes: way 'zigzag' is unknown; choices: stroke, skeleton",
    ),
    (
      {"data.fields": dict(scribble=dict(name="strokes", inset=-1))},
      "^config.data.fields.scribble.inset: -1; expected a whole number from 0",
    ),
    (
      {"data.fields": dict(box=dict(name="label_boxes")), "data.annotation": "box"},
      "^config.data.fields.box.axis: None, but config.data.slices is 0; expected 0: boxes of each",
    ),
    (
      {
        "data.fields": dict(box=dict(name="label_boxes", axis=0)),
        "data.annotation": "box",
        "data.transpose": (2, 0, 1),
      },
      r"^config.data.fields.box.axis: 0, but config.data.slices is 0 of axes \(2, 0, 1\); exp",
    ),
    (
      {
        "data.fields": dict(box=dict(name="label_boxes", axis=0)),
        "data.annotation": "box",
        "augment": dict(spatial=dict()),
      },
      "^config.augment.spatial: turns or bends the boxes of config.data.fields.box",
    ),
    (
      {
        "data.fields": dict(box=dict(name="label_boxes", axis=0)),
        "data.annotation": "box",
        "augment": dict(cutmix=dict()),
      },
      "^config.augment.cutmix: cuts the boxes of config.data.fields.box where it mixes",
    ),
  ],
)
def test_fields_that_cannot_be_are_told_before_data_are_prepared(tmp_path, changes, words):
  folder = scribbled.write(tmp_path / "raw")
  with pytest.raises(ValueError, match=words):
    experiment(scribbled.config(folder, tmp_path / "sets", **changes))
  assert not (tmp_path / "sets").exists()


def test_a_class_that_has_a_box_in_no_case_is_told_before_data_are_prepared(tmp_path):
  folder, boxes = scribbled.write(tmp_path / "raw"), tmp_path / "boxes.json"
  each = {"a": [[0, 3, 3, 1, 12, 16]], "b": []}
  boxes.write_text(json.dumps({f"case_{i}": each for i in range(scribbled.CASES)}))
  changes = {
    "data.fields": dict(box=dict(name="box_file", path=str(boxes), axis=0)),
    "data.annotation": "box",
  }
  with pytest.raises(ValueError, match=r"^config.data.fields.box: 'b' drawn in none of the 4"):
    experiment(scribbled.config(folder, tmp_path / "sets", **changes))
  assert not (tmp_path / "sets").exists()


def test_boxes_of_slices_that_the_network_does_not_see_are_told(dataset, source):
  """Stored in sagittal slices, seen in axial ones."""
  sagittal = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)

  def read(name):
    raw = source.read(name)
    return raw._replace(geometry=Geometry(sagittal, raw.geometry.shape, "nifti"))

  def turned(orientation, transpose=()):
    changed = {"orientation": orientation, "transpose": transpose}
    return dataset._replace(preparation=dataclasses.replace(dataset.preparation, **changed))

  stored = source._replace(read=read)
  for orientation, transpose, axis, good in (
    ("stored", (), 0, True),
    ("RAS", (), 0, False),
    ("RAS", (), 1, True),
  ):
    maker = FIELDS["label_boxes"](
      turned(orientation, transpose), source.cases, stored.read, WHERE, axis=axis
    )
    if good:
      assert maker.make(0).any()
      continue
    with pytest.raises(ValueError, match=rf"^{WHERE}.axis: 0, but turned to .*'RAS' the slices of"):
      maker.make(0)
