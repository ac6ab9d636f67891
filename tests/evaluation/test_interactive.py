"""Clicks of a simulated user, scored; counts and intervals over cases."""

import numpy as np
import pytest
from made_session import made_scan

from jaxseg.evaluation.interactive import Played, mean_of, simulate, summarise
from jaxseg.interaction import session
from jaxseg.interaction.threshold import at_threshold

TRUTH = np.zeros((24, 20), np.int32)
TRUTH[4:12, 5:15] = 1


def obedient(names=("background", "organ")):
  """A run that gives a click's class to all voxels nearer than 4.5."""

  def answer(turns, before):
    logits = np.zeros((24, 20, len(names)), np.float32) if before is None else before.copy()
    for prompt in turns[-1]:
      at = np.asarray(prompt["point"])[0]
      near = sum((a - i) ** 2 for a, i in zip(np.indices((24, 20)), at, strict=True)) <= 4.5**2
      logits[near] = 20 * np.eye(len(names))[prompt["class"]]
    return (slice(0, 24), slice(0, 20)), logits

  empty = np.zeros((24, 20, len(names)), np.float32)
  return made_scan(names, answer=answer, automatic=lambda: empty)


def test_clicks_go_on_until_there_are_enough_or_the_user_is_content():
  played = simulate(obedient(), TRUTH, clicks=5)
  assert [click["class"] for click in played.clicks[:2]] == ["organ", "organ"]
  curve = played.curves["iou"]["organ"]
  assert len(curve) == len(played.seconds) == 6
  assert curve[0] == 0 < curve[1]
  first = sum(
    (a - i) ** 2 for a, i in zip(np.indices((24, 20)), played.clicks[0]["point"], strict=True)
  )
  disk, truth = first <= 4.5**2, TRUTH > 0
  np.testing.assert_allclose(curve[1], (disk & truth).sum() / (disk | truth).sum())
  content = simulate(obedient(), TRUTH, clicks=5, enough=curve[1])
  assert len(content.clicks) == 1
  # nothing is wrong from the beginning
  right = 9 * np.eye(2, dtype=np.float32)[TRUTH]
  done = simulate(obedient()._replace(automatic=lambda: right), TRUTH, clicks=50)
  assert (done.clicks, done.curves["iou"]["organ"]) == ([], [1.0])


def test_another_threshold_is_another_cut_of_the_same_logits():
  logits = np.zeros((24, 20, 2), np.float32)
  logits[..., 0] = 1 - TRUTH
  logits[TRUTH > 0, 1] = np.log(0.495 / 0.505)
  scan = obedient()._replace(automatic=lambda: logits)
  assert simulate(scan, TRUTH, clicks=1).curves["iou"]["organ"][0] == 0
  lower = at_threshold(scan, 0.49)
  played = simulate(lower, TRUTH, clicks=1)
  assert played.curves["iou"]["organ"][0] == 1
  # what is written is what the user saw
  np.testing.assert_array_equal(session.labels(lower, played.state), 10 * TRUTH)
  assert not session.labels(scan, played.state).any()
  with pytest.raises(ValueError, match="3 classes, not two"):
    at_threshold(obedient(("a", "b", "c")), 0.49)
  for wrong in (0, 1.0, True, "0.5", float("nan")):
    with pytest.raises(ValueError, match=r"threshold: .* above 0 and below 1"):
      at_threshold(scan, wrong)


def test_of_one_class_alone_what_is_taken_for_it_is_clicked_as_what_it_is():
  """Of a run of several classes "background" would be wrong where another one truly is."""
  truth = np.zeros((24, 20), np.int32)
  truth[2:9, 2:9], truth[12:21, 4:15] = 1, 2
  # all of it is called the first class, as large an error on the second as there is
  logits = 5 * np.eye(3, dtype=np.float32)[(truth > 0).astype(int)]
  scan = obedient(("background", "organ", "b"))._replace(automatic=lambda: logits)
  played = simulate(scan, truth, clicks=2, label="organ")
  assert played.clicks[0] == {"class": "b", "point": [16, 8]}
  assert all(
    truth[tuple(c["point"])] == ("background", "organ", "b").index(c["class"])
    for c in played.clicks
  )
  assert set(played.curves["iou"]) == {"organ"}
  # where other classes are confused with each other nobody looks
  other = 5 * np.eye(3, dtype=np.float32)[np.where(truth == 2, 0, truth)]
  done = simulate(scan._replace(automatic=lambda: other), truth, clicks=2, label="organ")
  assert done.clicks == []


@pytest.mark.parametrize(
  ("truth", "label", "words"),
  [
    (TRUTH, "b", "class 'b' is absent from it, which has organ alone"),
    (TRUTH, "c", "no class 'c' to be clicked; choices: organ, b"),
    (0 * TRUTH, None, "background everywhere"),
  ],
)
def test_what_is_not_there_cannot_be_clicked(truth, label, words):
  with pytest.raises(ValueError, match=words):
    simulate(obedient(("background", "organ", "b")), truth, clicks=1, label=label)


def of(ious):
  return Played(
    {"iou": {"organ": ious}, "dice": {"organ": [2 * x / (1 + x) for x in ious]}},
    [0.5] + [0.1] * (len(ious) - 1),
    [],
    None,
  )


def test_clicks_are_counted_by_ritms_rules_and_without_their_quirk():
  cases = {
    "a": of([0.1, 0.5, 0.7, 0.86, 0.91]),
    "b": of([0.9, 0.95]),
    "c": of([0, 0.2, 0.3, 0.4, 0.5]),
  }
  report = summarise(cases, most=4)
  # a is there at the 3rd click, b without one, which RITM's users do not look at; c never
  at_85 = report["noc"]["0.85"]
  assert at_85["exact"] == {
    "mean": (3 + 0 + 4) / 3,
    "interval": at_85["exact"]["interval"],
    "failed": 1,
  }
  assert at_85["ritm"]["mean"] == (3 + 1 + 4) / 3
  # solved by the last click: RITM counts it among those that failed
  at_90 = report["noc"]["0.9"]
  assert (at_90["exact"]["failed"], at_90["ritm"]["failed"]) == (1, 2)
  low, high = at_85["exact"]["interval"]
  assert 0 <= low < (3 + 0 + 4) / 3 < high <= 4
  assert list(report["dice"]) == ["0", "1", "3"]
  np.testing.assert_allclose(report["iou"]["3"]["mean"], (0.86 + 0.95 + 0.4) / 3)
  assert report["seconds"]["median"] == 0.1
  assert report["seconds"]["answers"] == 9


def test_the_area_is_that_of_trapezoids_over_five_clicks():
  # the Dice of CVPR 2025's example
  dice = [0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
  report = summarise({"a": of([d / (2 - d) for d in dice])}, most=5)
  np.testing.assert_allclose(report["area_under"]["mean"], 3.85)


def test_the_mean_over_classes_leaves_out_those_that_are_nowhere():
  nan = float("nan")
  assert mean_of({"a": [0.5, 1.0, nan], "b": [nan, 0.5, nan]}) == [0.5, 0.75, 1.0]
