"""Training on what was drawn: what a run sees of it, and that it sees nothing of full labels."""

import pickle
from typing import NamedTuple

import chex
import jax
import numpy as np
import pytest
import scribbled

from jaxseg import feeding
from jaxseg.batch import LabelSpec
from jaxseg.compose import complete
from jaxseg.data.prepared import annotation
from jaxseg.data.prepared.annotation import annotated_by, labels_of
from jaxseg.data.prepared.fields import Maker
from jaxseg.data.prepared.marks import check_drawn
from jaxseg.data.stream import Feeder
from jaxseg.experiment import experiment
from jaxseg.step import compile_step


def trained(run, steps=3):
  """All that the step is fed, and the weights after some steps."""
  feeder = Feeder(run.streams, cache="host")
  elements = [feeder.element(step) for step in range(steps)]
  step = compile_step(run, elements[0], feeder.store())
  state = step.init(np.uint32(0))
  for element in elements:
    state, metrics = step.train(state, feeder.store(), element, np.uint32(0))
  return elements, state, metrics


def test_training_cases_have_what_was_drawn_and_validation_cases_their_full_labels(tmp_path):
  run = experiment(scribbled.config(scribbled.write(tmp_path / "raw"), tmp_path / "sets"))
  dataset, last = run.main.dataset, scribbled.CASES - 1
  _, label, scribble = scribbled.volume(0)
  sample = dataset.load(0)
  drawn = scribble != scribbled.UNKNOWN
  np.testing.assert_array_equal(sample["weight"], drawn.astype(np.float32))
  np.testing.assert_array_equal(sample["label"], np.where(drawn, scribble, 0))
  assert set(sample) == {"image", "label", "weight", "spacing"}
  assert set(dataset.load(last)) == {"image", "label", "spacing"}
  np.testing.assert_array_equal(dataset.load(last)["label"], label)
  part = dataset.crop(0, (1, 2, 3), (1, 10, 12))
  np.testing.assert_array_equal(part["weight"], drawn[1:2, 2:12, 3:15].astype(np.float32))


def test_patches_are_centred_on_what_was_drawn(tmp_path):
  run = experiment(scribbled.config(scribbled.write(tmp_path / "raw"), tmp_path / "sets"))
  found = run.main.dataset.locations(0)
  _, _, scribble = scribbled.volume(0)
  for k in (1, 2):
    np.testing.assert_array_equal(found[k], np.argwhere(scribble == k))
  np.testing.assert_array_equal(found[0], np.argwhere(scribble != scribbled.UNKNOWN))
  assert run.main.sampling.annotated


@pytest.mark.parametrize("field", ["scribble", "box"])
def test_other_full_labels_change_nothing_of_what_is_learnt(tmp_path, field):
  """Those of the training cases; class weights are counted, and batches chosen, without them."""

  def shuffled(number, held):
    if number < scribbled.CASES - 1:
      held["label"] = np.random.default_rng(number).integers(0, 3, scribbled.SHAPE).astype(np.uint8)
    return held

  changes = {"loss.cross_entropy.class_weights": "inverse"}
  if field == "box":
    boxes = tmp_path / "boxes.json"
    each = '{"a": [[0,3,3,1,12,16],[1,3,3,2,12,16]], "b": [[0,14,5,1,21,15]]}'
    cases = ",".join(f'"case_{i}": {each}' for i in range(scribbled.CASES))
    boxes.write_text(f"{{{cases}}}")
    changes = {
      "data.fields": dict(box=dict(name="box_file", path=str(boxes), axis=0)),
      "data.annotation": "box",
      "loss": dict(cross_entropy=dict(), box_tightness=dict(), box_size=dict()),
    }
  out = []
  for name, change in (("full", None), ("other", shuffled)):
    folder = scribbled.write(tmp_path / name, change)
    out.append(trained(experiment(scribbled.config(folder, tmp_path / f"sets_{name}", **changes))))
  (elements, state, metrics), (others, other_state, other_metrics) = out
  chex.assert_trees_all_equal(elements, others)
  chex.assert_trees_all_equal(state, other_state)
  chex.assert_trees_all_equal(metrics, other_metrics)
  assert jax.tree.leaves(state.learners["network"].params)


def test_patches_of_volumes_reach_the_slices_that_are_labelled(tmp_path):
  """Of three slices the last alone, of patches of one slice: whichever way cases are kept."""
  changes = {
    "data.fields": dict(scribble=dict(name="slices", every=3, first=2)),
    "data.slices": None,
    "data.patch": (1, 16, 16),
    "data.foreground": 0.5,
    "network": dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1, strides=((1, 2, 2),)),
    "predictor": dict(name="sliding_window", overlap=0.0),
  }
  run = experiment(
    scribbled.config(scribbled.write(tmp_path / "raw"), tmp_path / "sets", **changes)
  )
  for cache in ("host", "disk"):
    feeder = Feeder(run.streams, cache=cache)
    for step in range(4):
      part = feeder.element(step)[""]
      assert (part["weight"] == 1).all()
      assert part["label"].shape == (2, 1, 16, 16)
  _, _, metrics = trained(run, 1)
  assert np.isfinite(metrics["loss"])


def test_a_stream_of_the_same_cases_learns_from_the_same_marks(tmp_path):
  config = scribbled.config(scribbled.write(tmp_path / "raw"), tmp_path / "sets")
  config.data.split.labelled = 2
  config.streams = dict(rest=dict(cases="unlabelled"), again=dict())
  feeds = feeding.feeds(complete(config))
  assert [feeds[name].drawn for name in ("", "again", "rest")] == [True, True, False]
  streams = {
    name: feeding.stream(feed, name, feeding.prepared(feed, feeds[""]), {}, (0, 0))
    for name, feed in feeds.items()
  }
  for name in ("", "again"):
    stream = streams[name]
    assert stream.dataset.load(stream.cases[0])["weight"].mean() < 0.2
  bare = streams["rest"]
  assert set(bare.dataset.load(bare.cases[0])) == {"image", "spacing"}


def test_cases_without_full_labels_train_and_do_not_validate(tmp_path):
  def bare(number, held):
    return (
      held if number == scribbled.CASES - 1 else {k: v for k, v in held.items() if k != "label"}
    )

  folder = scribbled.write(tmp_path / "raw", bare)
  changes = {
    "data.source": dict(name="h5", path=str(folder), names=scribbled.NAMES, labelled="partly")
  }
  run = experiment(scribbled.config(folder, tmp_path / "sets", **changes))
  assert len(run.main.cases) == scribbled.CASES - 1
  elements, _, metrics = trained(run, 1)
  assert set(elements[0][""]) == {"image", "label", "weight", "spacing"}
  assert np.isfinite(metrics["loss"])
  changes["data.split"] = dict(name="explicit", validation=("case_0",))
  with pytest.raises(ValueError, match="case 'case_0' validates and has no full label; name the"):
    experiment(scribbled.config(folder, tmp_path / "sets", **changes))


def test_labels_of_marks_of_regions_and_of_boxes():
  regions = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  numbers = np.array([[0, 0], [1, 1], [2, 1], [2, 2]], np.uint8)
  label, weight = labels_of(numbers, "scribble", regions)
  assert label.tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]
  assert weight.tolist() == [0, 1, 1, 1]
  # known of one region and not of the other: nothing is said
  assert labels_of(np.array([[0, 2]], np.uint8), "scribble", regions)[1].tolist() == [0]
  label, weight = labels_of(numbers > 1, "box", regions)
  np.testing.assert_array_equal(label, np.zeros((4, 2)))
  assert weight.tolist() == [1, 1, 0, 0]
  plain = LabelSpec(("background", "a"), (0, 1))
  label, weight = labels_of(numbers > 1, "box", plain)
  assert label.tolist() == [0] * 4
  assert label.dtype == np.int32


def never_b(number, held):
  held["scribble"] = np.where(held["scribble"] == 2, scribbled.UNKNOWN, held["scribble"])
  return held


def strange(number, held):
  held["scribble"] = np.where(held["scribble"] == 2, 9, held["scribble"])
  return held


def lacking(number, held):
  return {key: array for key, array in held.items() if key != "scribble" or number != 1}


@pytest.mark.parametrize(
  ("change", "changes", "words"),
  [
    (
      never_b,
      {},
      r"^config.data.fields.scribble: 'b' drawn in none of the 4 training case\(s\), so that it",
    ),
    (
      strange,
      {},
      "^config.data.fields.scribble: case 'case_0' has the value 9, and the classes are 0, 1, 2",
    ),
    (
      None,
      {"data.fields": dict(scribble=dict(name="h5"))},
      r"has the value 4, .* expected config.data.fields.scribble.unknown=4, if that stands where",
    ),
    (
      lacking,
      {},
      r"^config.data.fields.scribble: .*case_1.h5 has no data set 'scribble', it holds: image, lab",
    ),
    (
      None,
      {"data.fields": dict()},
      "^config.data.annotation: 'scribble', but config.data.fields doesn't say where it comes from",
    ),
    (
      None,
      {"data.annotation": "scribbles"},
      r"^config.data.annotation: 'scribbles' is unknown \(did you mean 'scribble'\?\); choices",
    ),
    (
      None,
      {"data.normalise": "ct"},
      "^config.data.normalise: 'ct' takes its numbers from the foreground of full labels",
    ),
    (
      None,
      {"loss": dict(boundary=dict())},
      "^config.data.annotation: 'scribble', but a loss needs the map 'distance', which is made of",
    ),
    (
      None,
      {"loss": dict(box_size=dict())},
      "^config.loss.box_size: looks at 'box', which no case has; expected",
    ),
    (
      None,
      {"data.fields": dict(scribble=dict(name="label_boxes")), "data.annotation": "scribble"},
      "^config.data.fields.scribble.name: 'label_boxes' is unknown",
    ),
  ],
)
def test_what_contradicts_training_on_marks_is_told(tmp_path, change, changes, words):
  folder = scribbled.write(tmp_path / "raw", change)
  with pytest.raises(ValueError, match=words):
    experiment(scribbled.config(folder, tmp_path / "sets", **changes))


def test_a_class_never_drawn_is_told_before_data_are_prepared(tmp_path):
  folder = scribbled.write(tmp_path / "raw", never_b)
  with pytest.raises(ValueError, match="'b' drawn in none"):
    experiment(scribbled.config(folder, tmp_path / "sets"))
  assert not (tmp_path / "sets").exists()


def test_what_nobody_labelled_is_no_background_of_boxes(tmp_path):
  def ignored(number, held):
    label = held["label"].copy()
    label[:, 22:] = 3
    return {**held, "label": label}

  folder = scribbled.write(tmp_path / "raw", ignored)
  changes = {
    "data.source": dict(name="h5", path=str(folder), names=scribbled.NAMES, ignore=3),
    "data.fields": dict(box=dict(name="label_boxes", axis=0)),
    "data.annotation": "box",
    "loss": dict(cross_entropy=dict()),
  }
  run = experiment(scribbled.config(folder, tmp_path / "sets", **changes))
  sample = run.main.dataset.load(0)
  known = (sample["box"].max(-1) == 0) & (np.arange(24)[None, :, None] < 22)
  np.testing.assert_array_equal(sample["weight"], known.astype(np.float32))


class Drawn(NamedTuple):
  """What `annotated_by` asks of a data set of one case."""

  labels: LabelSpec
  stored: np.ndarray

  def load(self, case):
    return {"scribble": self.stored}


def test_a_region_that_nothing_is_drawn_outside_of_is_told(monkeypatch):
  regions = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  monkeypatch.setattr(annotation, "with_fields", lambda dataset, *_, **__: dataset)
  maker = Maker("", lambda case: None)
  words = r"^config: 'outside of whole' drawn in none of the 1 training"
  for stored in ((1, 2), (1, 2, 4)):
    reads = {"a": lambda stored=stored: np.array(stored)}
    with pytest.raises(ValueError, match=words):
      check_drawn(reads, regions, 4, "config")
  check_drawn({"a": lambda: np.array((0, 1)), "b": lambda: np.array((2, 4))}, regions, 4, "config")
  numbers = np.array([[2, 1], [2, 2], [0, 0]], np.uint8)
  with pytest.raises(ValueError, match=words):
    annotated_by(Drawn(regions, numbers), "scribble", maker, (0,), where="config")


def test_an_annotated_set_goes_to_other_processes(tmp_path):
  run = experiment(scribbled.config(scribbled.write(tmp_path / "raw"), tmp_path / "sets"))
  load = pickle.loads(pickle.dumps(run.main.dataset.load))
  chex.assert_trees_all_equal(load(0), run.main.dataset.load(0))
