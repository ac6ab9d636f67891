"""Answers of networks that are fine-tuned on the scan: by marks alone, and for that scan alone."""

import jax
import numpy as np
import pointer
import pytest
import run_folders
import scribbled
from pointer import pointer_tables  # noqa: F401

from jaxseg.experiment import experiment
from jaxseg.inference.interactive import Window
from jaxseg.interaction import session
from jaxseg.paths import flatten
from jaxseg.runs import fine_tuned
from jaxseg.runs.fine_tuned import Tuning
from jaxseg.runs.interactive import as_run, open_run

SPACE = (16, 16)
AT = (5, 9)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
  """A run whose network is shown no prompts."""
  return run_folders.write(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def run(plain):
  return open_run(plain, tuning=Tuning(steps=3, rate=0.1))


def share(logits, index):
  return np.asarray(jax.nn.softmax(logits[AT]))[index]


def other_class(scan, logits):
  """The name and index of the class that is least likely at the place."""
  index = int(logits[AT].argmin())
  return scan.names[index], index


def test_a_network_that_is_shown_no_prompts_learns_what_is_marked_for_this_scan_alone(run):
  scan = run.scan(pointer.scan(SPACE))
  first = session.start(scan)
  name, index = other_class(scan, before := first.logits["object 1"])
  state = session.add(scan, first, {"class": name, "point": AT})
  after = state.logits["object 1"]
  # what is marked is what the user says, whatever the network makes of it
  assert session.classes(scan, state)[AT] == index
  # and the network learned: around it the class is likelier, too
  beside = (slice(3, 8), slice(7, 12), index)
  shares = [np.asarray(jax.nn.softmax(of))[beside].mean() for of in (before, after)]
  assert shares[1] > shares[0] + 0.02
  assert session.undo(state).logits["object 1"].tobytes() == before.tobytes()
  # by all marks so far, and from the trained weights: the same in another session, whole or not
  again = session.add(scan, session.start(scan), {"class": name, "point": AT})
  assert again.logits["object 1"].tobytes() == after.tobytes()
  # the next scan is segmented by the trained network
  other = pointer.scan(SPACE, seed=1)
  fresh = session.start(run.scan(other)).logits["object 1"]
  trained = open_run(next(iter(run.opened.states)), tuning=Tuning(steps=3, rate=0.1))
  assert fresh.tobytes() == session.start(trained.scan(other)).logits["object 1"].tobytes()


def test_the_last_layers_alone_move_and_the_trained_weights_stay(run):
  (trained,) = run.opened.states.values()
  before = jax.tree.map(np.array, trained)
  marks = np.zeros((*SPACE, 3), bool)
  marks[(*AT, 2)] = True
  image = pointer.scan(SPACE).image[None]
  (tuned,) = run.tune({"image": image, "spacing": np.ones((1, 2), np.float32)}, marks)
  jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, trained))
  old, new = (flatten(of.learners["network"].params) for of in (trained, tuned))
  moved = {path.partition("/")[0] for path in old if not np.array_equal(old[path], new[path])}
  assert moved == {"head"}


def test_weights_that_are_no_numbers_any_more_answer_nothing(run):
  (trained,) = run.opened.states.values()
  far = jax.tree.map(lambda of: np.full_like(of, np.nan), trained)
  scan = run._replace(tune=lambda batch, marks: [far]).scan(pointer.scan(SPACE), "scan.nii")
  with pytest.raises(
    ValueError, match=r"^scan\.nii: .* the rate 0\.1 left .* expected a lower one"
  ):
    session.add(scan, session.start(scan), {"class": "dim", "point": AT})


def test_strokes_are_taken_and_boxes_are_not(run):
  scan = run.scan(pointer.scan(SPACE))
  state = session.add(scan, session.start(scan), {"class": "dim", "stroke": [[2, 2], [2, 9]]})
  assert state.at == 1
  with pytest.raises(ValueError, match=r"is a box, .*; it takes point, stroke, voxels"):
    session.add(scan, state, {"class": "dim", "box": [[2, 2], [5, 9]]})


def test_an_average_of_weights_is_what_learns_where_it_predicts(tmp_path):
  run = open_run(run_folders.write(tmp_path / "run", average=0.9), tuning=Tuning(steps=2, rate=0.1))
  scan = run.scan(pointer.scan(SPACE))
  first = session.start(scan)
  name, _ = other_class(scan, before := first.logits["object 1"])
  after = session.add(scan, first, {"class": name, "point": AT}).logits["object 1"]
  assert (after != before).any(-1).mean() > 0.5


@pytest.mark.usefixtures("pointer_tables")
def test_a_network_that_is_shown_prompts_is_fine_tuned_with_them(tmp_path):
  folder = pointer.write(tmp_path / "run")
  tuned = open_run(folder, tuning=Tuning(steps=2, rate=0.1, layers=("scale",)))
  logits = []
  for run in (tuned, open_run(folder)):
    scan = run.scan(pointer.scan(SPACE))
    state = session.add(scan, session.start(scan), {"class": "dim", "point": AT})
    assert session.classes(scan, state)[AT] == 1
    logits.append(state.logits["object 1"])
  assert (logits[0] != logits[1]).any()


def test_layers_that_the_network_lacks_and_runs_without_tuning_are_refused(plain):
  with pytest.raises(ValueError, match=r"fine-tuning: the pattern 'tail\*' names no parameter"):
    open_run(plain, tuning=Tuning(layers=("tail*",)))
  with pytest.raises(ValueError, match=r"is shown no prompts; .*interact --fine-tune 20"):
    open_run(plain)


def test_runs_that_make_images_are_refused(run):
  told = run.opened.told[0]
  other = told._replace(config={**told.config, "task": {"name": "synthesis"}})
  with pytest.raises(ValueError, match="makes images; only segmentations are answered"):
    as_run(run.opened._replace(told=[other]), tuning=Tuning())


def test_a_volume_that_is_segmented_by_slices_is_refused(tmp_path):
  data = scribbled.write(tmp_path / "data")
  run = experiment(scribbled.config(data, tmp_path / "prepared"))
  folder = run_folders.leave(tmp_path / "run", run)
  with pytest.raises(ValueError, match=r"^scan\.nii: is a volume, .*fine-tuned on one image"):
    open_run(folder, tuning=Tuning(steps=1)).scan(pointer.scan((4, 16, 16)), "scan.nii")


def test_marks_are_where_a_window_shows_them():
  # it begins two voxels before the case, and shows twice as much as it has voxels
  window = Window((-2, 4), (16, 16), (8, 8))
  turns = [
    [
      {"class": 1, "point": np.array([[4.0, 10.0]])},
      {"class": 0, "point": np.array([[4.0, 40.0]])},
    ],
    [{"class": 2, "stroke": np.array([[0.0, 5.0], [0.0, 9.0]])}],
    [{"class": 1, "box": np.array([[0.0, 0.0], [9.0, 9.0]])}],
  ]
  marks = fine_tuned.marks_in(turns, window, 3)
  expected = np.zeros((8, 8, 3), bool)
  expected[3, 3, 1] = True  # (4 + 2 + 1/2) / 2 - 1/2 = 2.75, and the same along the other axis
  expected[1, 0:3, 2] = True  # 0.75, and 0.25 to 2.25
  np.testing.assert_array_equal(marks, expected)
