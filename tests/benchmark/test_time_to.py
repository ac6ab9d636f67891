"""Time to a score: what is asked for, when it is reached, and what several runs say together."""

import json

import pytest
import tiny

from jaxseg.benchmark import program, time_to
from jaxseg.benchmark.time_to import Target, Watch, summary, target, training_seconds, trimmed

METRICS = ("dice", "iou", "hd95")


def test_a_target_is_a_metric_and_a_number():
  assert target("dice=0.85", METRICS, "dice") == Target("dice", 0.85, False)
  assert target("hd95=4", METRICS, "hd95") == Target("hd95", 4.0, True)


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("dice", "expected METRIC=VALUE"),
    ("=0.8", "expected METRIC=VALUE"),
    ("dcie=0.8", "did you mean 'dice'"),
    ("assd=0.8", "add it to config.evaluate.metrics"),
    ("iou=0.8", "config.evaluate.best is 'dice'"),
    ("dice=much", "'much' is no score"),
    ("dice=nan", "is no score"),
    ("dice=85", "up to 1"),
  ],
)
def test_what_is_no_target_is_refused_in_words(text, words):
  with pytest.raises(ValueError, match=words):
    target(text, METRICS, "dice")


def test_a_score_reaches_a_target_from_its_better_side():
  assert Target("dice", 0.8, False).reached(0.8)
  assert not Target("dice", 0.8, False).reached(0.79)
  assert Target("hd95", 3.0, True).reached(2.0)
  # of a class that is absent there is none, and a distance to nothing is infinite
  assert not Target("hd95", 3.0, True).reached("nan")
  assert not Target("dice", 0.8, False).reached(float("inf"))


def test_training_seconds_are_those_of_the_steps_but_the_first():
  rows = [
    {"step": 10, "images_per_second": 4.0},
    {"step": 20, "images_per_second": 8.0},
    {"step": 20, "validation/dice": 0.5},
    {"step": 30, "images_per_second": 2.0},
  ]
  # batches of 2: 9 steps at 2 a second, 10 at 4, and what is asked of the third row
  assert training_seconds(rows, 20, 2) == pytest.approx(9 / 2 + 10 / 4)
  assert training_seconds(rows, 25, 2) == pytest.approx(9 / 2 + 10 / 4 + 5 / 1)
  # a run that was stopped between two rows
  assert training_seconds(rows[:3], 22, 2) == pytest.approx(9 / 2 + 10 / 4 + 2 / 4)


def test_from_five_runs_on_the_fastest_and_the_slowest_are_dropped():
  assert trimmed([9, 1, 2, 3, 4]) == pytest.approx(3)
  assert trimmed([9, 1, 2]) == pytest.approx(4)


def one(seconds: float, reached: bool = True) -> dict:
  return {
    "reached": reached,
    "seconds": seconds,
    "seconds_with_evaluation": 2 * seconds,
    "steps": 10,
    "last_score": 0.5,
  }


def test_runs_that_reach_nothing_make_no_mean():
  told = summary([one(1.0), one(3.0)])
  assert told["mean_seconds"] == pytest.approx(2)
  assert told["mean_seconds_with_evaluation"] == pytest.approx(4)
  told = summary([one(1.0), one(3.0, reached=False), one(2.0)])
  assert told["result"] == "not reached in 1 of 3"
  assert not [name for name in told if name.startswith("mean")]
  assert "0.5" in time_to.lines({**told, "metric": "dice", "target": 0.9})[0][1]


def test_a_run_is_asked_to_leave_at_the_first_score_that_is_good_enough(tmp_path):
  file = tmp_path / "metrics.jsonl"

  def log(**row):
    with file.open("a") as opened:
      opened.write(json.dumps(row) + "\n")

  with Watch(tmp_path, Target("dice", 0.5, False), last=100) as watch:
    assert not watch.everywhere()
    log(step=10, loss=1.0)
    log(**{"step": 10, "validation/dice": 0.4, "validation/dice/a": 0.9})
    assert not watch.asked
    log(**{"step": 20, "validation/dice": 0.5})
    assert watch.everywhere()
  assert watch.farewell("runs/a") == "dice 0.5 at step 20: 0.5 reached."
  assert [step for step, _, _ in watch.evaluations] == [10, 20]
  assert not watch.interrupted


def test_a_run_leaves_after_its_last_step_without_scoring_every_case(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 30, "loss": 1.0}\n')
  assert Watch(tmp_path, Target("dice", 0.5, False), last=30).everywhere()


def test_training_stops_at_the_target_or_tells_that_it_never_came(capfd):
  run = program.of_experiment(tiny.experiment(steps=9))
  told = time_to.measure(run, options={"time_to": "dice=1e-9", "seeds": 2})
  assert [of["seed"] for of in told["runs"]] == [0, 1]
  for of in told["runs"]:
    if of["reached"]:
      assert of["steps"] in (3, 6)
      assert of["seconds"] < of["seconds_with_evaluation"]
  told = time_to.measure(run, options={"time_to": "dice=1", "seeds": 1})
  assert told["result"] == "not reached in 1 of 1"
  assert told["runs"][0]["steps"] == 9
  assert told["runs"][0]["last_score"] < 1
  # no signal came, and nothing is kept that could go on
  shown = "".join(capfd.readouterr())
  assert ": 1 not reached." in shown
  assert "Interrupted" not in shown


def test_evaluations_that_never_come_are_refused():
  run = program.of_experiment(tiny.experiment(**{"evaluate.every": 6}))
  with pytest.raises(ValueError, match=r"evaluate\.every=6 of config\.steps=6"):
    time_to.measure(run, options={"time_to": "dice=0.5"})
  with pytest.raises(ValueError, match="expected METRIC=VALUE"):
    time_to.measure(run, options={"time_to": None})
