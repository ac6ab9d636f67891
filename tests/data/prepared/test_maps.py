"""Maps of labels: their values, and that they are made once and travel with the samples."""

import pickle

import distances
import numpy as np
import pytest
import tiny
from closeness import assert_close

from jaxseg import data
from jaxseg.data import sampling
from jaxseg.data.prepared import blocks, maps
from jaxseg.data.prepared.fields import Field, Maker, with_fields
from jaxseg.data.prepared.maps import border_weight, signed_distance, with_maps

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "spacing"), [((7, 9), (1.0, 1.0)), ((4, 6, 5), (3.0, 0.5, 0.8))])
def test_signed_distances_equal_brute_force(shape, spacing):
  label = RNG.choice(4, shape, p=(0.6, 0.2, 0.2, 0.0))
  found = signed_distance(label, spacing, 4)
  assert found.dtype == np.float32
  assert_close(found, distances.signed(label, 4, spacing), atol=1e-6)
  np.testing.assert_array_equal(found[..., 3], 0)  # absent
  regions = np.stack([label > 0, label == 2], -1).astype(np.float32)
  overlapping = signed_distance(regions, spacing, 2)
  assert_close(
    overlapping[..., 0], distances.signed(regions[..., 0], 2, spacing)[..., 1], atol=1e-6
  )


def test_a_square_has_the_known_signed_distances():
  label = np.zeros((5, 5), int)
  label[1:4, 1:4] = 1
  phi = signed_distance(label, (1, 1), 2)[..., 1]
  assert phi[2, 2] == -1
  np.testing.assert_array_equal(phi[1, 1:4], 0)
  assert_close(phi[0], [2**0.5, 1, 1, 1, 2**0.5])
  # a class that is everywhere has no border
  np.testing.assert_array_equal(signed_distance(np.ones((3, 3), int), (1, 1), 2), 0)


def two_squares():
  label = np.zeros((5, 9), int)
  label[1:4, 1:4] = label[1:4, 5:8] = 1
  return label


def test_the_gap_of_two_squares_has_the_known_weights():
  weight = border_weight(two_squares(), (1, 1))
  # at (0, 4) both squares are a diagonal away: 10 exp(-0.16)
  for place, term in (
    ((2, 4), 9.231163),
    ((0, 4), 8.521438),
    ((0, 0), 4.280805),
    ((2, 0), 4.867523),
  ):
    assert_close(weight[place], 1 + term, atol=1e-5)
  np.testing.assert_array_equal(weight[two_squares() > 0], 1)
  # in the unit of the spacing
  assert_close(border_weight(two_squares(), (2, 2), sigma=10), weight)
  assert_close(border_weight(two_squares(), (1, 1), w0=5) - 1, (weight - 1) / 2)


def test_objects_are_components_of_classes_or_instances():
  label, one = two_squares(), two_squares()
  one[:, 5:] = 0
  np.testing.assert_array_equal(border_weight(one, (1, 1)), 1)
  np.testing.assert_array_equal(border_weight(0 * one, (1, 1)), 1)
  expected = border_weight(label, (1, 1))
  names = np.where(np.arange(9) < 4, label * 700, label * 13)
  assert_close(border_weight(names, (1, 1), instances=True), expected)
  joined = np.where(label, 3, 0)
  np.testing.assert_array_equal(border_weight(joined, (1, 1), instances=True), 1)
  # membranes are the class between the cells
  assert_close(border_weight(1 - label, (1, 1), background=1), expected)
  regions = np.stack([label, label * (np.arange(9) < 3)], -1).astype(np.float32)
  assert_close(border_weight(regions, (1, 1)), expected)
  touching = np.zeros((4, 4), int)
  touching[:2, :2] = touching[2:, 2:] = 1
  assert border_weight(touching, (1, 1))[0, 2] > 1
  assert border_weight(touching, (1, 1), connectivity=2)[0, 2] == 1


def test_many_objects_at_a_distance_equal_brute_force():
  label = np.zeros((70, 80), int)
  for place in RNG.integers(0, 66, (25, 2)):
    label[place[0] : place[0] + 3, place[1] : place[1] + 4] = 1
  # numbered by columns of three: some objects touch, some are split by others
  names = label * (1 + np.arange(80) // 3)
  spacing = (0.5, 1.5)
  each = np.sort([distances.to_nearest(names == k, spacing) for k in np.unique(names)[1:]], 0)
  term = 4 * np.exp(-((each[0] + each[1]) ** 2) / (2 * 2.0**2))
  expected = 1 + np.where(names == 0, term, 0)
  found = border_weight(names, spacing, w0=4.0, sigma=2.0, instances=True)
  assert_close(found, expected, atol=1e-6)


def test_balancing_gives_every_class_the_same_sum():
  label = np.zeros((6, 10), int)
  label[:2, :3], label[5, 9] = 1, 2
  base = border_weight(label, (1, 1), w0=0.0, balance=True)
  assert_close([base[label == k].sum() for k in range(3)], 20)


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="sigma is 0; expected millimetres"):
    border_weight(two_squares(), (1, 1), sigma=0)
  with pytest.raises(ValueError, match=r"shape \(5, 9\) and the spacing \(1.0, 1.0, 1.0\)"):
    signed_distance(two_squares(), (1, 1, 1), 2)


@pytest.fixture
def dataset(tmp_path):
  return tiny.dataset()._replace(folder=tmp_path)


def test_maps_stand_among_the_fields_of_the_cases_that_train(dataset):
  found = with_maps(dataset, {"distance": {}, "border": {"w0": 3.0}}, (0, 2))
  sample = found.load(2)
  label = dataset.load(2)["label"]
  assert_close(sample["distance"], distances.signed(label, 3), atol=1e-5)
  np.testing.assert_array_equal(sample["border"], border_weight(label, (1, 1), w0=3.0))
  assert set(found.load(1)) == {"image", "label", "spacing"}
  assert with_maps(dataset, {}, (0,)) is dataset
  folders = sorted(path.name.split("-")[0] for path in (dataset.folder / "fields").iterdir())
  assert folders == ["border", "distance"]


def test_maps_are_made_once_per_case_and_options(dataset, monkeypatch):
  made = []

  def spy(label, spacing, classes, ignored=None, /, *, w0=1.0):
    # the options are tried on two voxels first
    if label.ndim == 2:
      made.append(w0)
    return np.full(label.shape, w0, np.float32)

  monkeypatch.setitem(maps.MAPS, "border", spy)
  with_maps(dataset, {"border": {}}, (0, 1))
  with_maps(dataset, {"border": {}}, (0, 1))
  assert made == [1.0, 1.0]
  # only what is missing, and a default that is written out is no change
  with_maps(dataset, {"border": {"w0": 1.0}}, (0, 1, 2))
  assert made == [1.0] * 3
  changed = with_maps(dataset, {"border": {"w0": 2.0}}, (0,))
  assert made == [1.0, 1.0, 1.0, 2.0]
  assert changed.load(0)["border"].max() == 2.0


def test_what_was_interrupted_is_never_read(dataset, monkeypatch):
  def broken(folder, array, block):
    folder.mkdir()
    (folder / "half").write_bytes(b"half")
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(blocks, "write", broken)
    with pytest.raises(KeyboardInterrupt):
      with_maps(dataset, {"border": {}}, (0, 1))
  assert not [path for path in (dataset.folder / "fields").rglob("*") if path.is_file()]
  found = with_maps(dataset, {"border": {}}, (0, 1))
  np.testing.assert_array_equal(
    found.load(0)["border"], border_weight(dataset.load(0)["label"], (1, 1))
  )


def test_an_unknown_map_or_option_is_told_with_the_choices(dataset):
  with pytest.raises(ValueError, match=r"'bordr' is unknown.*'border'.*distance, border"):
    with_maps(dataset, {"bordr": {}})
  with pytest.raises(
    ValueError, match=r"config.data.maps.border.sigm: 'border' has no such option"
  ):
    with_maps(dataset, {"border": {"sigm": 3}})
  with pytest.raises(ValueError, match=r"config.data.maps.border: expected a dict .*, got 3"):
    with_maps(dataset, {"border": 3})
  with pytest.raises(ValueError, match=r"border.classes: 'border' has no such option"):
    with_maps(dataset, {"border": {"classes": 3}})
  with pytest.raises(ValueError, match=r"maps\.border\.sigma: -1; expected"):
    with_maps(dataset, {"border": {"sigma": -1}}, ())


def test_ignored_voxels_are_no_objects(dataset):
  label, weight, membranes = 1 - two_squares(), np.ones((5, 9), np.float32), {"background": 1}
  label[4, 8], weight[4, 8] = 0, 0.0
  seen = border_weight(label, (1, 1), None, weight <= 0, **membranes)
  np.testing.assert_array_equal(seen, border_weight(two_squares(), (1, 1)))
  assert (seen != border_weight(label, (1, 1), **membranes)).any()
  sample = {**dataset.load(0), "label": label, "weight": weight}
  ignoring = dataset._replace(load=lambda i: sample)
  found = with_maps(ignoring, {"border": membranes}, (0,)).load(0)["border"]
  np.testing.assert_array_equal(found, seen)


def _nothing(case):
  return {}


def test_a_loader_with_maps_can_be_sent_to_another_process(tmp_path):
  field = Field(tmp_path / "fields" / "border-key")
  field.write(3, np.full((2, 2), 9.0, np.float32), (1, 1))
  one = tiny.dataset(4)._replace(load=_nothing, crop=_nothing, folder=tmp_path)
  wide = with_fields(one, {"border": Maker("key", _nothing, np.sqrt)}, (3,))
  copy = pickle.loads(pickle.dumps(wide.load))
  assert copy(1) == {}
  np.testing.assert_array_equal(copy(3)["border"], np.full((2, 2), 3.0))


def test_both_caches_cut_the_same_maps_and_repeat_their_edges(dataset):
  found = with_maps(dataset, {"distance": {}, "border": {}}, (1, 3))
  store = sampling.device_store(found, (1, 3))
  how = sampling.sampling(2, patch=(30, 8), batch=1)
  sample = found.load(3)
  for start in ((-9, 2), (7, -9), (40, 0), (-35, -50)):
    host = sampling.cut(sampling.compact(sample), how, sampling.Choice(1, start))
    device = sampling.gather(store, 1, np.array(start, np.int32), how=how)
    index = np.ix_(
      *(
        np.clip(np.arange(s, s + n), 0, m - 1)
        for s, n, m in zip(start, (30, 8), sample["border"].shape, strict=True)
      )
    )
    for field in ("distance", "border"):
      np.testing.assert_array_equal(host[field], sample[field][index])
      np.testing.assert_array_equal(device[field], host[field])
    np.testing.assert_array_equal(device["image"], host["image"])


def test_the_table_names_fields_of_a_batch():
  assert data.MAPS is maps.MAPS
  from jaxseg import batch

  made_of_labels = set(maps.MAPS)
  # boxes come from files or from a field of config.data.fields
  assert {*made_of_labels, "box"} == {name for name, row in batch.FIELDS.items() if row.map}
