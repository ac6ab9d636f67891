"""Cases made by two runs: what comes out, what they depend on, and what is refused."""

import functools

import numpy as np
import pytest
import run_folders
from made_cases import PATCH, SOURCE, config, trained, untrained

from jaxseg import data
from jaxseg.data.sources.phantom import phantom
from jaxseg.data.sources.synthetic import TurnedMasks, draw
from jaxseg.experiment import experiment
from jaxseg.runs import folder as run_folder
from jaxseg.runs import makers
from jaxseg.runs.folder import read_dataset

synthetic = data.SOURCES["synthetic"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, prepared):
  home = tmp_path_factory.mktemp("runs")
  return {part: untrained(prepared, home / part, part) for part in ("masks", "images", "segment")}


def of(runs, **options):
  return synthetic(**{"masks": str(runs["masks"]), "images": str(runs["images"])} | options)


def test_cases_hold_labels_of_the_data_set_alone_and_images_in_its_intensities(runs):
  source = of(runs, cases=4)
  assert source.cases == ("synthetic_0000", "synthetic_0001", "synthetic_0002", "synthetic_0003")
  assert (source.channels, source.rank) == (("portal",), 2)
  real = phantom(**{k: v for k, v in SOURCE.items() if k != "name"})
  assert source.labels == real.labels
  for case in source.cases:
    raw = source.read(case)
    assert raw.label.shape == PATCH
    assert raw.image.shape == (*PATCH, 1)
    assert set(np.unique(raw.label)) <= set(real.labels.stored_values)
    assert raw.image.min() >= -1000
    assert raw.image.max() <= 500
    assert np.isfinite(raw.image).all()


def test_a_case_is_a_function_of_seed_and_number(runs):
  first, again, other = of(runs, cases=2), of(runs, cases=3), of(runs, cases=2, seed=1)
  for case in first.cases:
    np.testing.assert_array_equal(first.read(case).image, again.read(case).image)
    np.testing.assert_array_equal(first.read(case).label, again.read(case).label)
  images = [first.read(case).image for case in first.cases]
  assert not np.array_equal(*images)
  assert not np.array_equal(images[0], other.read(other.cases[0]).image)
  with pytest.raises(ValueError, match="is not in this data set"):
    first.read("synthetic_0009")


def test_the_key_of_prepared_data_knows_runs_and_seed(runs, prepared, tmp_path):
  keys = {of(runs).fingerprint, of(runs, seed=1).fingerprint, of(runs, cases=3).fingerprint}
  keys.add(of(runs, masks="training").fingerprint)
  longer = untrained(prepared, tmp_path / "longer", "images", steps=3)
  keys.add(of(runs, images=str(longer)).fingerprint)
  assert len(keys) == 5
  assert of(runs).fingerprint == of(runs).fingerprint


def test_masks_of_training_are_those_of_the_cases_that_train(runs):
  told = read_dataset(runs["images"], {"training": list, "validation": list})
  source, cases = makers.training_cases(runs["images"])
  assert list(cases) == told["training"]
  assert not set(cases) & set(told["validation"])
  made = of(runs, masks="training", cases=3)
  labels = [made.read(case).label for case in made.cases]
  assert {label.shape for label in labels} == {PATCH}
  assert set(np.unique(labels)) <= set(source.labels.stored_values)


def test_turned_masks_are_windows_of_a_label_map_with_as_much_of_each_class_around():
  whole = np.zeros((40, 40), np.int32)
  whole[10:30, 10:30] = 7
  labels = data.SOURCES["phantom"](cases=1).labels
  of_whole = TurnedMasks(lambda case: whole, ("a",), labels, (8, 8))
  cuts = np.stack([of_whole(n) for n in range(20)])
  assert cuts.shape == (20, 8, 8)
  # each is centred inside of the square, whatever the angle
  assert (cuts[:, 3:5, 3:5] == 7).any((1, 2)).all()
  assert set(np.unique(cuts)) <= {0, 7}
  np.testing.assert_array_equal(of_whole(3), of_whole(3))
  # a label that is smaller than the patch is padded by the background
  small = TurnedMasks(lambda case: whole[:4, :4] + 7, ("a",), labels, (8, 8))(0)
  assert small.shape == (8, 8)


def test_a_label_map_as_large_as_the_patch_is_turned_about_its_middle():
  labels = data.SOURCES["phantom"](cases=1).labels
  rows, columns = np.mgrid[:32, :40]
  disc = np.where(np.hypot(rows - 15.5, columns - 19.5) < 12, 3, labels.background)
  of_whole = TurnedMasks(lambda case: disc, ("a",), labels, disc.shape)
  for number in range(8):
    place = np.argwhere(of_whole(number) == 3)
    assert len(place) > 0.97 * (disc == 3).sum()
    np.testing.assert_allclose(place.mean(0), (15.5, 19.5), atol=1.0)
  # one that is smaller lies in the middle of its patch
  small = TurnedMasks(lambda case: np.full((4, 4), 3), ("a",), labels, (9, 9))
  inside = np.argwhere(small(0) == 3)
  np.testing.assert_allclose(inside.mean(0), (4.0, 4.0), atol=1.0)


def test_draws_are_apart_for_seed_case_and_part_and_fit_int32():
  numbers = {draw(s, c, w) for s in range(5) for c in range(20) for w in range(3)}
  assert len(numbers) == 300
  assert max(numbers) < 2**31


@pytest.mark.parametrize(
  ("masks", "images", "words"),
  [
    ("masks", "segment", "segments; expected a run that makes images of labels"),
    ("masks", "masks", "makes label maps of noise; expected a run that makes images of labels"),
    ("segment", "images", "segments; expected a run that makes label maps of noise"),
    ("images", "images", "makes images of images; expected a run that makes label maps"),
  ],
)
def test_a_run_of_another_kind_is_refused(runs, masks, images, words):
  with pytest.raises(ValueError, match=words):
    synthetic(str(runs[masks]), str(runs[images]))


def test_what_is_no_run_and_other_options_are_refused(runs, tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no run"):
    of(runs, masks=str(tmp_path))
  with pytest.raises(FileNotFoundError, match="holds no run"):
    of(runs, images="")
  with pytest.raises(ValueError, match="expected at least one"):
    of(runs, cases=0)
  with pytest.raises(ValueError, match="'newest' is unknown"):
    of(runs, checkpoint="newest")


def test_masks_with_values_that_the_generator_never_saw_are_refused(
  runs, prepared, tmp_path, monkeypatch
):
  made = data.SOURCES["phantom"]

  @functools.wraps(made)
  def other(**options):
    source = made(**options)
    labels = source.labels.__class__(("background", "lung"), (0, 3))

    def read(case):
      raw = source.read(case)
      return raw._replace(label=3 * (raw.label > 0))

    return source._replace(labels=labels, read=read, fingerprint="other")

  monkeypatch.setitem(data.SOURCES, "phantom", other)
  folder = untrained(prepared, tmp_path / "other", "masks")
  monkeypatch.undo()
  with pytest.raises(ValueError, match="are not those that the run of images has seen"):
    of(runs, masks=str(folder))


def test_label_maps_of_another_size_are_refused(runs, prepared, tmp_path):
  folder = untrained(prepared, tmp_path / "small", "masks", data__patch=(8, 8))
  with pytest.raises(ValueError, match=r"makes label maps of \(8, 8\)"):
    of(runs, masks=str(folder))


def test_label_maps_that_lie_the_other_way_round_are_refused(runs, monkeypatch):
  told, other = (run_folder.describe(runs[part]) for part in ("images", "masks"))
  turned = {**other.config, "data": {**other.config["data"], "orientation": "RAS"}}
  monkeypatch.setattr(makers, "_described", lambda *_: other._replace(config=turned))
  with pytest.raises(ValueError, match=r"prepared by .*'RAS'.*expected voxels of one size, turned"):
    makers._check_masks(runs["masks"], told, PATCH)


def joining(prepared, runs, joins, **source):
  made = dict(name="synthetic", masks=str(runs["masks"]), images=str(runs["images"]), cases=3)
  stream = dict(source=made | source, joins=joins, batch=2)
  return config(prepared, "segment", streams=dict(synthetic=stream))


@pytest.mark.parametrize("joins", ["beside", "instead"])
def test_what_is_made_joins_what_is_real_in_training_and_never_validates(
  runs, prepared, tmp_path, joins
):
  folder = trained(prepared, tmp_path / "run", "segment", streams=_streams(runs, joins))
  told = read_dataset(folder, {"training": list, "validation": list, "streams": dict})
  assert not any("synthetic" in case for case in (*told["training"], *told["validation"]))
  assert told["streams"]["synthetic"]["cases"] == [f"synthetic_{i:04d}" for i in range(3)]


def _streams(runs, joins, **changes):
  made = dict(name="synthetic", masks=str(runs["masks"]), images=str(runs["images"]), cases=3)
  return dict(synthetic=dict(source=made | changes, joins=joins, batch=2))


def test_runs_that_have_learnt_from_what_validates_are_refused(runs, prepared):
  other = config(prepared, "segment", streams=_streams(runs, "beside"))
  other.data.split = dict(name="kfold", fold=1, folds=5, seed=12345)
  with pytest.raises(ValueError, match=r"streams.synthetic.source.masks.*has learnt from 2 of"):
    experiment(other)


def test_a_stream_that_joins_has_labels_and_a_known_way(runs, prepared):
  for changes, words in (
    (dict(joins="behind"), "expected 'beside'"),
    (dict(joins="beside", cases="unlabelled"), "has labels"),
  ):
    streams = _streams(runs, "beside")
    streams["synthetic"] |= changes
    with pytest.raises(ValueError, match=words):
      experiment(config(prepared, "segment", streams=streams))


def test_masks_of_training_have_the_classes_of_their_run_alone(prepared, tmp_path):
  classes = ("liver", "lesion")
  run = trained(prepared, tmp_path / "images", "images", data__classes=classes)
  source, _ = makers.training_cases(run)
  assert source.labels.names == ("background", *classes)
  made = synthetic("training", str(run), cases=3)
  values = np.unique([made.read(case).label for case in made.cases])
  assert set(values) <= set(source.labels.stored_values)


def test_a_run_that_is_not_trained_to_its_end_makes_nothing(runs, prepared, tmp_path):
  run = experiment(config(prepared, "images", steps=3))
  early = run_folders.leave(tmp_path / "early", run, step=1)
  with pytest.raises(ValueError, match=r"source.images: .*early: stands at step 1 of 3; train it"):
    of(runs, images=str(early))
