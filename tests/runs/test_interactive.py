"""A run that answers prompts: where in the scan, and what is refused."""

import functools
import json

import numpy as np
import pointer
import pytest
import run_folders
import tiny
from pointer import pointer_tables  # noqa: F401

from jaxseg import inference
from jaxseg.data.formats.geometry import Geometry
from jaxseg.interaction import record, session
from jaxseg.runs.interactive import open_run

pytestmark = pytest.mark.usefixtures("pointer_tables")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pointer_tables):  # noqa: F811
  return open_run(pointer.write(tmp_path_factory.mktemp("run") / "run"))


def disk(space, at, radius=2):
  return sum((axis - i) ** 2 for axis, i in zip(np.indices(space), at, strict=True)) <= radius**2


def test_a_click_is_answered_at_its_place(run):
  raw = pointer.scan((40, 50))
  scan = run.scan(raw)
  state = session.start(scan)
  assert not session.classes(scan, state).any()
  for at, name, value in (((3, 4), "dim", 5), ((30, 41), "bright", 9), ((39, 0), "dim", 5)):
    before = session.labels(scan, state)
    state = session.add(scan, state, {"class": name, "point": at})
    expected = np.where(disk((40, 50), at), value, before)
    np.testing.assert_array_equal(session.labels(scan, state), expected)
  # and taken away again by a click of the background
  state = session.add(scan, state, {"class": 0, "point": (31, 41)})
  assert not session.labels(scan, state)[disk((40, 50), (31, 41))].any()
  assert state.steps[-1].seconds > 0


def test_a_click_is_where_the_scan_has_it_though_the_network_sees_it_turned_and_finer(
  tmp_path_factory,
  pointer_tables,  # noqa: F811
):
  folder = tmp_path_factory.mktemp("turned") / "run"
  pointer.write(folder, rank=3, seen=("RAS",), **{"data.patch": (8, 8, 8)})
  run = open_run(folder)
  affine = np.array([[0, 0, 2.0, 5], [-1.5, 0, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])
  raw = pointer.scan((11, 12, 13), geometry=Geometry(affine, (11, 12, 13), "nifti"))
  scan = run.scan(raw)
  assert scan.space != scan.own_space
  for at in ((2, 3, 9), (10, 0, 0), (5, 11, 12)):
    state = session.add(scan, session.start(scan), {"class": "dim", "point": at})
    np.testing.assert_array_equal(session.classes(scan, state) == 1, disk((11, 12, 13), at))


@pytest.mark.parametrize(
  ("kind", "prompts"),
  [
    ("point", {"points": {"name": "disk", "radius": 0.0}, "previous": "probabilities"}),
    (
      "stroke",
      {"points": "disk", "strokes": "points", "thickness": 0.5, "previous": "probabilities"},
    ),
  ],
)
def test_on_a_coarser_grid_a_mark_of_one_voxel_is_seen(
  kind,
  prompts,
  tmp_path,
  pointer_tables,  # noqa: F811
):
  folder = pointer.write(tmp_path / "run", prompts=prompts)
  described = json.loads((folder / "dataset.json").read_text())
  del described["digests"]
  described["preparation"]["resampling"] = {"size": [16, 16]}
  (folder / "dataset.json").write_text(json.dumps(described))
  scan = open_run(folder).scan(pointer.scan((64, 64)))
  assert scan.space == (16, 16)
  for at in ((20, 30), (23, 31), (0, 63)):
    place = at if kind == "point" else (at,)
    state = session.add(scan, session.start(scan), {"class": "dim", kind: place})
    marked = np.argwhere(state.logits["object 1"].argmax(-1) == 1)
    np.testing.assert_array_equal(marked, [(at[0] // 4, at[1] // 4)])


def test_a_large_object_is_seen_by_a_wider_window(tmp_path_factory, pointer_tables):  # noqa: F811
  # a click's disk is larger than the patch of 16 voxels
  of = {"points": {"name": "disk", "radius": 14.0}, "previous": "probabilities"}
  run = open_run(pointer.write(tmp_path_factory.mktemp("wide") / "run", prompts=of))
  scan = run.scan(pointer.scan((100, 90)))
  state = session.add(scan, session.start(scan), {"class": "dim", "point": (50, 40)})
  made = session.classes(scan, state) == 1
  expected = disk((100, 90), (50, 40), 14)
  # zoomed out a disk of so many voxels of the window is larger in the scan
  assert made[expected].all()
  assert made.sum() > expected.sum()
  # undone it is as before
  back = session.undo(state)
  assert back.logits["object 1"].tobytes() == session.start(scan).logits["object 1"].tobytes()


def test_what_an_empty_start_has_not_been_asked_for_stays_as_sure_as_it_was(run, monkeypatch):
  """Else a lower threshold would find foreground all around a first mark."""
  befores, interactive = [], inference.interactive

  @functools.wraps(interactive)
  def watched(apply, case, *, focus, **options):
    befores.append(focus.before)
    return interactive(apply, case, focus=focus, **options)

  scan = run.scan(pointer.scan((30, 30)))
  monkeypatch.setattr(inference, "interactive", watched)
  empty = session.start(scan, automatic=False)
  session.add(scan, empty, {"class": "dim", "point": (3, 4)})
  np.testing.assert_array_equal(befores[0], empty.logits["object 1"])


SCRIBBLES = {
  "points": {"name": "disk", "radius": 0.0},
  "boxes": "foreground",
  "strokes": "points",
  "previous": "logits",
}


def test_a_place_that_nothing_answered_yet_has_no_logits_before(tmp_path, pointer_tables):  # noqa: F811
  run = open_run(pointer.write(tmp_path / "run", prompts=SCRIBBLES, **{"data.patch": (8, 8)}))
  seen = []

  def apply(batch, states=None):
    seen.append(np.asarray(batch["previous"]))
    return run.apply(batch)

  scan = run._replace(apply=apply).scan(pointer.scan((40, 44)))
  state = session.start(scan, automatic=False)
  for at in ((5, 5), (30, 30), (30, 33)):
    state = session.add(scan, state, {"class": "dim", "point": at})
  first, elsewhere, near = seen
  assert not first.any()
  assert not elsewhere.any()
  # where there is an answer it is seen, and nothing beside it
  answered = state.steps[1].region
  assert answered == (slice(26, 34), slice(26, 34))
  assert near[0, :, :5, 1:].any(-1).all()
  assert not near[0, :, 5:].any()


def test_a_box_that_the_network_does_not_see_is_refused(tmp_path, pointer_tables):  # noqa: F811
  scan = open_run(pointer.write(tmp_path / "run", prompts=SCRIBBLES)).scan(pointer.scan((20, 20)))
  state = session.start(scan)
  for kind, places in (("box", ((2, 2), (6, 6))), ("lasso", ((2, 2), (6, 6), (2, 6)))):
    with pytest.raises(ValueError, match=rf"prompt\.{kind}: is of 'background'"):
      session.add(scan, state, {"class": 0, kind: places})
    session.add(scan, state, {"class": "dim", kind: places})


def test_a_session_is_played_again_to_the_same_bits(run):
  raw = pointer.scan((30, 30))
  scan = run.scan(raw)
  state = session.start(scan)
  state = session.add(scan, state, {"class": "dim", "point": (3, 4)})
  state = session.add(
    scan, state, [{"class": "bright", "point": (20, 9)}, {"class": 0, "point": (9, 9)}]
  )
  state = session.freeze(scan, state, label="dim")
  region = np.zeros((30, 30), bool)
  region[2:9, 20:] = True
  state = session.freeze(scan, state, region=region)
  state = session.add(scan, state, {"class": "dim", "point": (5, 6)})
  state = session.undo(session.add(scan, state, {"class": "dim", "point": (25, 25)}))
  told = record.record(state, identity := record.identity(raw))
  record.check_scan(told, identity, "it", "the scan")
  *_, last = record.replay(scan, told, raw.geometry)
  assert last.logits["object 1"].tobytes() == state.logits["object 1"].tobytes()
  np.testing.assert_array_equal(session.labels(scan, last), session.labels(scan, state))


def test_a_run_without_prompts_is_refused(tmp_path):
  with pytest.raises(ValueError, match="'supervised', whose network is shown no prompts") as error:
    open_run(run_folders.write(tmp_path / "run"))
  assert "\n" not in str(error.value)


def test_kinds_that_the_run_does_not_know_are_refused(run):
  scan = run.scan(pointer.scan((20, 20)))
  with pytest.raises(ValueError, match="is a box, but the run was trained without; it takes point"):
    session.add(scan, session.start(scan), {"class": "dim", "box": ((1, 1), (3, 3))})


def test_a_checkpoint_of_the_first_stage_answers_no_prompts(tmp_path):
  net = {"name": "pnet", "features": 2, "depth": 1, "dilations": (1,)}
  method = {"name": "deepigeos", "proposal_steps": 4}
  made = tiny.experiment(network=net, networks={"proposal": net}, method=method, steps=10)
  for step in (4, 5):
    run_folders.leave(tmp_path / str(step), made, step=step)
  with pytest.raises(ValueError, match=r"4/checkpoints: is of step 4, .* learns from step 4 on"):
    open_run(tmp_path / "4")
  open_run(tmp_path / "5")
