"""A session: undo and redo to the bit, frozen labels, several objects, marks that are kept."""

import re

import numpy as np
import pytest
from made_session import SPACE, made_scan

from jaxseg.interaction import session


def point(*at, of="organ"):
  return {"class": of, "point": at}


def played(scan, count=12, seed=0):
  """A state after clicks at different voxels, and all states on the way."""
  rng = np.random.default_rng(seed)
  voxels = rng.permutation(np.prod(scan.space))[:count]
  states = [session.start(scan)]
  for at in voxels:
    where = np.unravel_index(at, scan.space)
    of = scan.names[rng.integers(len(scan.names))]
    states.append(session.add(scan, states[-1], point(*map(int, where), of=of)))
  return states


def test_undo_and_redo_to_any_depth_give_the_same_bits():
  states = played(made_scan())
  bits = [state.logits["object 1"].tobytes() for state in states]
  assert len(set(bits)) == len(bits)
  last = states[-1]
  for depth in range(1, 13):
    back = session.undo(last, depth)
    assert back.logits["object 1"].tobytes() == bits[-1 - depth]
    assert back.objects == states[-1 - depth].objects
    assert session.redo(back, depth).logits["object 1"].tobytes() == bits[-1]
  step_by_step = last
  for expected in bits[-2::-1]:
    step_by_step = session.undo(step_by_step)
    assert step_by_step.logits["object 1"].tobytes() == expected
  assert session.reset(last).logits["object 1"].tobytes() == bits[0]
  # no state was written to
  assert [state.logits["object 1"].tobytes() for state in states] == bits


def test_a_new_step_takes_the_place_of_what_was_undone():
  scan = made_scan()
  states = played(scan, 4)
  other = session.add(scan, session.undo(states[-1], 2), point(0, 0))
  assert other.at == len(other.steps) == 3
  assert not session.can_redo(other)
  assert session.undo(other).logits["object 1"].tobytes() == (
    states[2].logits["object 1"].tobytes()
  )


@pytest.mark.parametrize("act", [session.undo, session.redo])
def test_more_steps_than_there_are_cannot_be_taken_back(act):
  state = session.start(made_scan())
  with pytest.raises(ValueError, match="there is none to"):
    act(state)
  for count in (0, -1, True, 1.0):
    with pytest.raises(ValueError, match="whole number of steps from 1"):
      act(state, count)


@pytest.mark.parametrize("names", [("background", "organ"), ("background", "a", "b")])
def test_a_negative_click_never_raises_the_foreground_within_its_radius(names):
  # a network that answers at random is the worst that there is
  rng = np.random.default_rng(3)
  scan = made_scan(names, space=(12, 14))
  for trial in range(500):
    state = session.start(scan)
    at = tuple(int(rng.integers(n)) for n in scan.space)
    after = session.add(scan, state, point(*at, of="background"))
    old, new = (of.logits["object 1"] for of in (state, after))
    near = sum((axis - i) ** 2 for axis, i in zip(np.indices(scan.space), at, strict=True)) <= 16
    assert near[at], trial
    was, now = old.argmax(-1) > 0, new.argmax(-1) > 0
    assert not (now & ~was)[near].any()
    old, new = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (old, new))
    assert (new[..., 0] >= old[..., 0] - 1e-6)[near].all()
    # a click of a class does not lose it there, either
    positive = session.add(scan, state, point(*at, of=names[-1])).logits["object 1"].argmax(-1)
    lost = (state.logits["object 1"].argmax(-1) == len(names) - 1) & (positive != len(names) - 1)
    assert not lost[near].any()


def test_clicks_of_both_kinds_in_one_turn_keep_the_background():
  scan = made_scan()
  state = session.start(scan)
  both = [point(10, 10), point(10, 11, of="background")]
  after = session.add(scan, state, both)
  rows, columns = np.indices(SPACE)
  near = (rows - 10) ** 2 + (columns - 11) ** 2 <= 16
  was, now = (of.logits["object 1"].argmax(-1) > 0 for of in (state, after))
  assert not (now & ~was)[near].any()


def test_a_stroke_of_the_background_raises_nothing_under_it():
  scan = made_scan()
  state = session.start(scan)
  stroke = {"class": 0, "stroke": ((2, 2), (2, 9), (9, 9))}
  after = session.add(scan, state, stroke)
  line = np.zeros(SPACE, bool)
  line[2, 2:10] = line[2:10, 9] = True
  was, now = (of.logits["object 1"].argmax(-1) > 0 for of in (state, after))
  assert not (now & ~was)[line].any()


def test_a_frozen_region_stays_to_the_bit():
  scan = made_scan()
  state = session.start(scan)
  region = np.zeros(SPACE, bool)
  region[5:15, 5:15] = True
  frozen = session.freeze(scan, state, region=region)
  after = session.add(scan, frozen, point(10, 10))
  before = state.logits["object 1"]
  np.testing.assert_array_equal(after.logits["object 1"][region], before[region])
  assert (after.logits["object 1"] != before).any()
  thawed = session.add(scan, session.thaw(scan, after), point(10, 10))
  assert (thawed.logits["object 1"][region] != before[region]).any()
  with pytest.raises(ValueError, match="nothing is frozen"):
    session.thaw(scan, state)


def test_of_two_frozen_labels_one_is_thawed_in_one_step():
  scan = made_scan(("background", "a", "b"))
  state = session.add(scan, session.start(scan), {"class": "a", "point": (4, 4)})
  state = session.add(scan, state, {"class": "b", "point": (15, 14)})
  alone = session.freeze(scan, state, label="b")
  both = session.freeze(scan, session.freeze(scan, state, label="a"), label="b")
  one = session.thaw(scan, both, "a")
  assert one.steps[-1].what == {"thaw": "a"}
  held, expected = one.objects["object 1"].held, alone.objects["object 1"].held
  assert held.classes == expected.classes
  np.testing.assert_array_equal(held.mask, expected.mask)
  np.testing.assert_array_equal(held.own_classes * held.own, expected.own_classes * expected.own)
  assert session.undo(one).objects["object 1"].held is both.objects["object 1"].held
  assert session.thaw(scan, one, "b").objects["object 1"].held is None
  with pytest.raises(ValueError, match="'a' is not frozen; what is: b"):
    session.thaw(scan, one, "a")


def test_a_frozen_label_neither_loses_voxels_nor_gets_any():
  scan = made_scan(("background", "a", "b"))
  state = session.start(scan)
  frozen = session.freeze(scan, state, label="a")
  was = session.classes(scan, state) == 1
  later = frozen
  for at in ((5, 5), (10, 12), (20, 3)):
    later = session.add(scan, later, point(*at, of="b"))
    later = session.add(scan, later, point(at[0] + 1, at[1], of="a"))
  np.testing.assert_array_equal(session.classes(scan, later) == 1, was)
  assert (session.classes(scan, later) != session.classes(scan, state)).any()
  # undone it is frozen no more
  assert session.undo(frozen).objects["object 1"].held is None


def test_what_is_frozen_is_a_label_that_is_there_or_some_of_the_scan():
  scan = made_scan()
  state = session.start(scan, automatic=False)
  with pytest.raises(ValueError, match="no voxel is 'organ' yet"):
    session.freeze(scan, state, label="organ")
  with pytest.raises(ValueError, match="did you mean 'organ'"):
    session.freeze(scan, state, label="organs")
  for region in (np.zeros(SPACE, bool), np.ones((3, 3), bool)):
    with pytest.raises(ValueError, match="the scan's"):
      session.freeze(scan, state, region=region)
  with pytest.raises(ValueError, match="one of them"):
    session.freeze(scan, state)


def test_objects_have_prompts_of_their_own_and_the_first_keeps_its_voxels():
  scan = made_scan()
  state = session.start(scan)
  first = session.classes(scan, state) > 0
  state = session.select(scan, state, "right")
  assert not (session.classes(scan, state) > 0).any()
  # what another object says of a voxel is no contradiction
  state = session.add(scan, state, point(10, 10))
  state = session.add(scan, session.select(scan, state, "object 1"), point(10, 10, of=0))
  second = session.classes(scan, state, "right") > 0
  assert second.any()
  written = session.labels(scan, state)
  assert session.legend(scan, state) == {"background": 0, "object 1": 1, "right": 2}
  own = session.classes(scan, state) > 0
  np.testing.assert_array_equal(written == 1, own)
  np.testing.assert_array_equal(written == 2, second & ~own)
  back = session.undo(state, 4)
  assert list(back.logits) == list(back.objects) == ["object 1"]
  np.testing.assert_array_equal(session.classes(scan, back) > 0, first)
  assert session.redo(back, 4).logits["right"].tobytes() == state.logits["right"].tobytes()


def test_an_object_is_not_called_as_the_background():
  scan = made_scan()
  with pytest.raises(ValueError, match="is what the background is called"):
    session.select(scan, session.start(scan), "background")


def test_one_object_is_written_in_the_values_of_the_labels():
  scan = made_scan(("background", "a", "b"))
  state = session.start(scan)
  assert session.legend(scan, state) == {"background": 0, "a": 10, "b": 20}
  assert set(np.unique(session.labels(scan, state))) == {0, 10, 20}
  with pytest.raises(ValueError, match="several objects are of runs with one class"):
    session.select(scan, state, "another")
  with pytest.raises(ValueError, match="expected a name"):
    session.select(scan, state, " ")


def test_objects_are_at_most_as_many_as_a_page_can_paint():
  scan = made_scan()
  state = session.start(scan)
  for number in range(2, session.MOST + 1):
    state = session.select(scan, state, f"object {number}")
  with pytest.raises(ValueError, match="there are 255 already"):
    session.select(scan, state, "one more")
  # an earlier one can be gone back to
  assert session.select(scan, state, "object 2").current == "object 2"


@pytest.mark.parametrize(
  ("prompts", "words"),
  [
    (point(24, 3), "prompt.point: (24.0, 3.0) is outside of the image"),
    (point(-1, 3), "outside of the image"),
    (point(float("nan"), 3), "outside of the image"),
    (point(3, 3, 3), "one position of 2 numbers"),
    (point(3, 3, of="liver"), "no class 'liver'; choices: background (0), organ (10)"),
    (point(3, 3, of=1), "no class 1"),
    (point(3, 3, of=True), "no class True"),
    ({"class": 0, "pont": (1, 1)}, "expected 'class' and one of"),
    ({"class": 0, "point": (1, 1), "box": ((1, 1), (2, 2))}, "expected 'class' and one of"),
    ({"class": 0, "box": ((3, 3), (2, 2))}, "the last comes before the first"),
    ({"class": 0, "lasso": ((3, 3), (2, 2))}, "three or more"),
    ({"class": 0, "stroke": ()}, "one or more positions"),
    ({"class": 0, "voxels": ((3, 3), (2, 40))}, "prompt.voxels: (2.0, 40.0) is outside"),
    ("here", "expected an object"),
    ([], "there are none"),
    ([point(3, 3), point(3.2, 3, of=0)], "class 0 at voxel (3, 3), of which prompts[0] says class"),
    ([{"class": 1, "stroke": ((3, 0), (3, 9))}, point(3, 4, of=0)], "at voxel (3, 4)"),
  ],
)
def test_what_is_no_prompt_of_the_scan_is_refused_and_changes_nothing(prompts, words):
  scan = made_scan()
  state = session.start(scan)
  if isinstance(prompts, list):
    prompts = [{**p, "class": 10 if p["class"] == 1 else p["class"]} for p in prompts]
  with pytest.raises(ValueError, match=re.escape(words)) as error:
    session.add(scan, state, prompts)
  assert "\n" not in str(error.value)


def test_a_prompt_contradicts_one_of_an_earlier_turn_until_that_is_undone():
  scan = made_scan()
  state = session.add(scan, session.start(scan), point(3, 3))
  with pytest.raises(ValueError, match="undo it"):
    session.add(scan, state, point(3, 3, of=0))
  session.add(scan, session.undo(state), point(3, 3, of=0))
  # the same once more, as a user whom it does not heed says it
  session.add(scan, state, point(3, 3))


def test_a_kind_that_the_run_was_not_trained_with_is_refused():
  scan = made_scan(kinds=("point",))
  with pytest.raises(
    ValueError, match="is a stroke, but the run was trained without; it takes point"
  ):
    session.add(scan, session.start(scan), {"class": 0, "stroke": ((1, 1),)})


def test_without_the_automatic_start_a_network_is_shown_no_segmentation_before():
  seen = []
  scan = made_scan()

  def answer(turns, before):
    seen.append(before)
    return scan.answer(turns, before)

  listening = scan._replace(answer=answer)
  state = session.start(listening, automatic=False)
  assert not session.classes(listening, state).any()
  state = session.add(listening, state, point(10, 10))
  state = session.add(listening, state, point(12, 10))
  assert seen[0] is None
  assert seen[1] is not None
  session.add(listening, session.undo(state, 2), point(1, 1))
  assert seen[2] is None
  session.add(listening, session.start(listening), point(1, 1))
  assert seen[3] is not None
