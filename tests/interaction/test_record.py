"""Files of prompts: what is read, in which coordinates, and what is refused."""

import json

import numpy as np
import pytest
from made_session import made_scan

from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.interaction import places, record, session


def raw_of(shape, seed=0, geometry=None):
  values = np.random.default_rng(seed).normal(size=(*shape, 1)).astype(np.float32)
  return RawCase(values, None, None, geometry or plain_geometry(shape))


RAW = raw_of((24, 20))


def told_of(*steps, **more):
  return {"scan": {"shape": [24, 20]}, "steps": list(steps), **more}


def played(*steps, geometry=RAW.geometry, scan=None, **more):
  scan = scan or made_scan()
  return list(record.replay(scan, told_of(*steps, **more), geometry, "p.json"))


POINT = {"class": "organ", "point": [3, 4]}


def test_every_kind_of_step_is_played():
  states = played(
    POINT,
    {"prompts": [{"class": 0, "point": [20, 3]}, {"class": 10, "stroke": [[9, 9], [9, 12]]}]},
    {"undo": 2},
    {"redo": 1},
    {"freeze": "organ"},
    {"freeze_box": [[0, 0], [4, 4]]},
    {"thaw": "organ"},
    {"thaw": True},
    {"object": "second"},
    POINT,
    {"reset": True},
  )
  assert len(states) == 12
  assert [state.at for state in states] == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 0]
  assert states[3].logits["object 1"].tobytes() == states[0].logits["object 1"].tobytes()
  held = states[6].objects["object 1"].held
  assert held.own[:5, :5].all()
  # the rest of the box stays frozen
  left = states[7].objects["object 1"].held
  assert left.classes == ()
  assert left.own.any()
  assert states[10].current == "second"


def test_what_was_recorded_is_a_file_that_is_read_and_played(tmp_path):
  scan = made_scan(automatic=lambda: np.ones((24, 20, 2), np.float32))
  state = session.add(scan, session.start(scan), POINT)
  state = session.add(scan, state, {"class": 0, "stroke": np.array([[9, 9], [9, 12]])})
  file = tmp_path / "p.json"
  file.write_text(json.dumps(record.record(state, record.identity(RAW))))
  told = record.read(file)
  record.check_scan(told, record.identity(RAW), file, "the scan")
  scan = made_scan(automatic=scan.automatic)
  *_, last = record.replay(scan, told, RAW.geometry)
  assert last.logits["object 1"].tobytes() == state.logits["object 1"].tobytes()


def test_prompts_that_other_networks_would_answer_otherwise_are_refused():
  scan, own = made_scan(), {"steps": 20, "rate": 0.01, "layers": ("head*",)}
  told = record.record(session.start(scan), record.identity(RAW), fine_tuning=own)
  told = json.loads(json.dumps(told))
  record.check_tuned(told, own, "p.json", "")
  for other in (None, own | {"rate": 0.1}, own | {"layers": ("up*",)}):
    with pytest.raises(
      ValueError, match=r"^p\.json: .* fine-tuned with --fine-tune 20 --fine-.*; A"
    ):
      record.check_tuned(told, other, "p.json", "Advice")
  with pytest.raises(ValueError, match=r"answered by trained networks, which networks fine-tuned"):
    record.check_tuned(told_of(POINT), own, "p.json", "Advice")


def test_millimetres_are_the_files_own():
  affine = np.array([[-2.0, 0, 0, 5], [0, 1.5, 0, 7], [0, 0, 3.0, -3], [0, 0, 0, 1]])
  geometry = Geometry(affine, (6, 8, 10), "nifti")
  seen = []
  scan = made_scan(space=(6, 8, 10))
  scan = scan._replace(place=lambda prompt, where: seen.append(prompt) or prompt)
  # voxel z 2, y 3, x 4, by the affine written out; a box's corners are ordered anew
  point = [-2 * 4 + 5, 1.5 * 3 + 7, 3 * 2 - 3]
  other = [-2 * 1 + 5, 1.5 * 5 + 7, 3 * 4 - 3]
  steps = {"class": 0, "point": point}, {"class": 0, "box": [point, other]}
  list(record.replay(scan, told_of(*steps, coordinates="mm"), geometry))
  np.testing.assert_allclose(seen[0]["point"], [[2, 3, 4]])
  np.testing.assert_allclose(seen[1]["box"], [[2, 3, 1], [4, 5, 4]])
  # NumPy would take these for numbers
  for wrong in (["1", "2", "3"], [True, False, True]):
    step = {"class": 0, "point": wrong}
    with pytest.raises(ValueError, match="expected one position of 3 numbers"):
      list(record.replay(scan, told_of(step, coordinates="mm"), geometry))
  with pytest.raises(ValueError, match="does not tell where it lies"):
    played(POINT, coordinates="mm")


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"shape": [20, 24]}, "has the size \\[20, 24\\], this one \\[24, 20\\]"),
    ({"content": "0" * 16}, "other voxels of the same size"),
    ({"spacing": [2.0, 1.0]}, "a spacing of \\[2.0, 1.0\\] mm"),
    ({"spacing": "wide"}, "a spacing of wide mm"),
  ],
)
def test_prompts_of_another_scan_are_refused(change, words):
  told = told_of(POINT)
  told["scan"] |= change
  with pytest.raises(ValueError, match=f"^p.json: is of another scan than a.nii: .*{words}"):
    record.check_scan(told, record.identity(RAW), "p.json", "a.nii")
  record.check_scan(told_of(POINT), record.identity(RAW), "p.json", "a.nii")


@pytest.mark.parametrize(
  ("told", "words"),
  [
    ({"steps": []}, "lacks 'scan'"),
    ({"scan": {}, "steps": []}, "lacks 'scan.shape'"),
    ({"scan": {"shape": [1, 2]}}, "lacks 'steps'"),
    (told_of(prompts=[]), "'prompts' is no field"),
    (told_of(coordinates="inches"), "expected 'voxel' or 'mm'"),
    (told_of(automatic="no"), "expected true or false"),
    (told_of(threshold=1), "threshold: 1; expected a number above 0 and below 1"),
    (told_of(fine_tuning=20), "'fine_tuning' is a number, expected an object"),
    (told_of(fine_tuning={"steps": 20, "rate": "low"}), "'fine_tuning.rate' is a text"),
    (told_of(fine_tuning={"steps": 2, "rate": 1, "layers": [3]}), r"layers: \[3\]; expected patt"),
    (told_of(threshold="0.5"), "threshold: '0.5'; expected a number"),
    ([], "holds a list"),
  ],
)
def test_a_file_that_is_none_of_prompts_is_refused(tmp_path, told, words):
  file = tmp_path / "p.json"
  file.write_text(json.dumps(told))
  with pytest.raises(ValueError, match=words) as error:
    record.read(file)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("step", "words"),
  [
    ({"class": "organ", "point": [99, 4]}, "steps\\[1\\]: prompt.point: .* is outside"),
    ({"class": 0, "point": [3, 4]}, "steps\\[1\\]: .* leave one of them out"),
    ({"undo": 5}, "only 1 to undo"),
    ({"undo": "all"}, "whole number of steps"),
    ({"reset": 1}, "expected true"),
    ({"frieze": "organ"}, "expected 'class' and one of"),
    ({"prompts": POINT}, "expected a list"),
    ({"freeze_region": [[470, 20]]}, "outside of the scan"),
    ({"freeze_region": [[1.5, 2]]}, "expected pairs"),
    ({"freeze_box": [[0, 0], [40, 4]]}, "freeze_box.box: .* is outside"),
    ("undo", "expected an object"),
  ],
)
def test_the_step_that_is_wrong_is_named(step, words):
  with pytest.raises(ValueError, match=f"^p.json: .*{words}"):
    played(POINT, step)


def test_a_prompt_that_is_wrong_is_told_before_anything_is_answered():
  def never():
    raise AssertionError("answered")

  scan = made_scan(automatic=never)
  wrong = {"class": "organ", "point": [99, 4]}
  for steps in ((POINT, {"undo": 1}, wrong), (POINT, {"prompts": [POINT, wrong]}), (POINT, {})):
    number = len(steps) - 1
    with pytest.raises(ValueError, match=rf"^p.json: steps\[{number}\]"):
      next(record.replay(scan, told_of(*steps), RAW.geometry, "p.json"))


def test_a_region_is_told_by_its_runs():
  region = np.random.default_rng(0).random((7, 9)) > 0.5
  told = places.runs_of(region)
  np.testing.assert_array_equal(places.from_runs(told, (7, 9)), region)
  assert places.runs_of(np.zeros((3, 3))) == []
  assert places.runs_of(np.ones((3, 3))) == [[0, 9]]


def test_a_lasso_holds_what_it_encircles():
  voxels = places.filled(np.array([[2.0, 2], [2, 6], [6, 6], [6, 2]]))
  assert len(voxels) == 25
  volume = places.filled(np.array([[3.0, 2, 2], [3, 2, 6], [3, 6, 4]]))
  assert set(volume[:, 0]) == {3}
  inside = {(2, 4), (3, 4), (4, 4), (5, 4), (4, 3), (4, 5)}
  assert inside <= {tuple(v) for v in volume[:, 1:].tolist()}
  with pytest.raises(ValueError, match="in no plane"):
    places.filled(np.array([[3.0, 2, 2], [4, 2, 6], [5, 6, 4]]))
