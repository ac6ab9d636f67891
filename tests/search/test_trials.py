"""Trials that failed and run again, and what warned a trial: rows, strategy and report agree."""

import threading

import pytest
import searched
from searched import MADE, fake, rows, run

from jaxseg import files
from jaxseg.packages import installed
from jaxseg.runs import lock
from jaxseg.search import report
from jaxseg.verbs import train

pytestmark = pytest.mark.skipif(
  not installed("optuna"), reason="Optuna is not installed: pip install 'jaxseg[search]'"
)


def retried(folder, config, monkeypatch):
  """Runs a search whose second trial fails, then tries that one again: what is then said."""
  fake(monkeypatch, code=lambda number: -9 if number == 1 else 0)
  run(folder, config)
  fake(monkeypatch)
  return run(folder, config, retry=True)


def test_trials_that_failed_run_again_where_that_is_asked_for(tmp_path, monkeypatch):
  config = searched.config(tmp_path, strategy=dict(name="random", trials=4))
  after, lines = retried(tmp_path / "s", config, monkeypatch)
  assert "1 trial(s) failed before and run again." in lines
  assert MADE == ["1@6"]
  stored = rows(tmp_path / "s")
  assert "failed" not in stored["0001@6"]
  assert stored["0001@6"]["failures"] == ["killed, probably out of memory."]
  # what the first try took counts, too
  assert stored["0001@6"]["cpu_seconds"] == 60.0
  assert after["score"] == max(row["score"] for row in stored.values())
  page = files.read_text(tmp_path / "s" / report.PAGE, what="page", advice="none")
  assert "(failed before: killed, probably out of memory.)" in page
  # the same as if it had not failed
  fake(monkeypatch)
  run(tmp_path / "whole", config)
  whole = rows(tmp_path / "whole")
  assert {n: row["score"] for n, row in stored.items()} == {n: r["score"] for n, r in whole.items()}
  MADE.clear()
  assert run(tmp_path / "s", config, retry=True)[1][0] == "0 trial(s) failed before."
  assert MADE == []


def test_a_trial_that_fails_again_stays_failed_and_refused_ones_are_not_tried(
  tmp_path, monkeypatch
):
  config = searched.config(tmp_path, strategy=dict(name="random", trials=3))
  config.search.space = dict(network=dict(widths=dict(choices=((4, 8), (4, 0), (8, 8)))))
  score = {"score": lambda config: sum(config["network"]["widths"])}
  fake(monkeypatch, code=lambda number: 0, **score)
  run(tmp_path / "whole", config)
  good = next(row["number"] for row in rows(tmp_path / "whole").values() if "score" in row)
  for _ in range(2):
    fake(monkeypatch, code=lambda number: 1 if number == good else 0, **score)
    run(tmp_path / "s", config, retry=True)
  assert [f"{good}@6"] == MADE
  row = rows(tmp_path / "s")[f"{good:04d}@6"]
  assert row["failed"] == row["failures"][0] == "ended with status 1: ValueError: the loss is NaN"


def test_a_search_whose_first_trials_all_fail_ends(tmp_path, monkeypatch):
  config = searched.config(tmp_path, strategy=dict(name="random", trials=9))
  for least in (5, 1):  # given again, it tries another one
    fake(monkeypatch, code=lambda number: 1)
    with pytest.raises(ValueError, match=r"first \d trials failed, .*loss is NaN.*--retry"):
      run(tmp_path / "s", config)
    # the next one may have been begun when that is found
    assert least <= len(MADE) <= least + 1
  fake(monkeypatch)
  assert run(tmp_path / "s", config, retry=True)[0]
  assert len(rows(tmp_path / "s")) == len(MADE) == 9


def test_a_strategy_that_went_on_without_a_score_proposes_as_it_did(tmp_path, monkeypatch):
  config = searched.config(
    tmp_path, strategy=dict(name="evolution", trials=8, population=3, tournament=2)
  )
  retried(tmp_path / "s", config, monkeypatch)
  stored = rows(tmp_path / "s")
  assert MADE == ["1@6"]
  assert stored["0001@6"]["late"]
  assert len(stored) == 8
  MADE.clear()
  again, _ = run(tmp_path / "s", config)
  assert MADE == []
  assert again["score"] == max(row["score"] for row in stored.values())
  # one that nothing followed on is sent
  fake(monkeypatch, code=lambda number: -9 if number == 7 else 0)
  run(tmp_path / "t", config)
  fake(monkeypatch)
  run(tmp_path / "t", config, retry=True)
  assert "late" not in rows(tmp_path / "t")["0007@6"]


def test_a_trial_that_was_begun_when_the_search_was_killed_stays_of_its_candidate(
  tmp_path, monkeypatch
):
  config = searched.config(
    tmp_path, strategy=dict(name="evolution", trials=5, population=3, tournament=2)
  )
  fake(monkeypatch, code=lambda number: -9 if number == 2 else 0)
  run(tmp_path / "s", config)
  request = tmp_path / "s" / "trials" / "0003.request.json"
  before = files.read_json(request, what="a request", advice="none")["config"]
  # as a kill leaves it in the first training of the fourth
  kept = {name: row for name, row in rows(tmp_path / "s").items() if row["number"] < 3}
  files.write_json(tmp_path / "s" / "trials.json", kept)
  (tmp_path / "s" / "trials" / "0004.request.json").unlink()
  fake(monkeypatch)
  run(tmp_path / "s", config, retry=True)
  assert rows(tmp_path / "s")["0002@6"]["late"]
  assert files.read_json(request, what="a request", advice="none")["config"] == before


def test_a_trial_waits_for_the_process_of_a_search_that_was_killed(tmp_path, monkeypatch):
  fake(monkeypatch, code=lambda number: 0 if ended else 1)
  folder, ended = tmp_path / "s" / "trials" / "0000", []
  folder.mkdir(parents=True)
  held = lock.Lock(folder)

  def leave():
    ended.append(True)
    held.release()

  timer = threading.Timer(0.5, leave)
  timer.start()
  run(tmp_path / "s", searched.config(tmp_path, strategy=dict(name="random", trials=1)))
  timer.join()
  assert MADE == ["0@6"]
  assert "score" in rows(tmp_path / "s")["0000@6"]


def test_what_a_retry_trains_in_anothers_place_is_within_the_budget(tmp_path, monkeypatch):
  strategy = dict(name="successive_halving", trials=4, eta=2, levels=1)
  config = searched.config(tmp_path, strategy=strategy, budget=dict(steps=4 * 3 + 2 * 3))
  fake(monkeypatch)
  whole, _ = run(tmp_path / "whole", config)
  fake(monkeypatch, code=lambda number: 1 if number == whole["number"] else 0)
  run(tmp_path / "s", config)
  fake(monkeypatch)
  _, lines = run(tmp_path / "s", config, retry=True)
  # two others have climbed: for its six steps there is no room
  assert [f"{whole['number']}@3"] == MADE
  assert "The budget is spent." in lines


def test_a_trial_that_failed_needs_the_minutes_of_a_new_one(tmp_path, monkeypatch):
  fake(monkeypatch, seconds=60.0, code=lambda number: 1 if number == 1 else 0)
  config = searched.config(
    tmp_path, strategy=dict(name="random", trials=9), budget=dict(minutes=3.5)
  )
  run(tmp_path / "s", config)
  fake(monkeypatch, seconds=60.0)
  _, lines = run(tmp_path / "s", config, retry=True)
  assert MADE == []
  assert lines == ["1 trial(s) failed before and run again.", "The budget is spent."]


def test_a_trial_that_failed_climbs_once_it_has_a_score(tmp_path, monkeypatch):
  config = searched.config(tmp_path, strategy=dict(name="successive_halving", trials=4, eta=2))
  fake(monkeypatch)
  whole, _ = run(tmp_path / "whole", config)
  best = whole["number"]
  fake(monkeypatch, code=lambda number: 1 if number == best else 0)
  run(tmp_path / "s", config)
  fake(monkeypatch)
  after, _ = run(tmp_path / "s", config, retry=True)
  assert MADE[0] == f"{best}@2"
  assert (after["number"], after["score"]) == (whole["number"], whole["score"])


def test_a_retry_that_a_signal_stops_goes_on(tmp_path, monkeypatch):
  config = searched.config(
    tmp_path, strategy=dict(name="evolution", trials=6, population=3, tournament=2)
  )
  fake(monkeypatch, code=lambda number: 1 if number == 1 else 0)
  run(tmp_path / "s", config)
  fake(monkeypatch, code=lambda number: train.LEFT)
  assert run(tmp_path / "s", config, retry=True)[0] is None
  fake(monkeypatch)
  run(tmp_path / "s", config)
  assert MADE == ["1@6"]
  row = rows(tmp_path / "s")["0001@6"]
  assert row["late"]
  assert row["failures"]
  assert "score" in row


def test_what_warns_a_trial_is_said_and_reported_with_its_name(tmp_path, monkeypatch):
  words = "Warning: config.initialise.network: runs/a: has learnt from 2 of its cases."
  said = {0: "step 1\n", 1: f"{words}\nstep 1\n", 2: f"  {words}\nWarning: one more\n"}
  fake(monkeypatch, says=lambda number: said[number])
  config = searched.config(tmp_path, strategy=dict(name="random", trials=3))
  best, lines = run(tmp_path / "s", config)
  assert f"trial 0001@6: {words}" in lines
  assert "trial 0002@6: warned as trial 0001@6." in lines
  assert "trial 0002@6: Warning: one more" in lines
  stored = rows(tmp_path / "s")
  assert "warnings" not in stored["0000@6"]
  assert stored["0002@6"]["warnings"] == [words, "Warning: one more"]
  page = files.read_text(tmp_path / "s" / report.PAGE, what="page", advice="none")
  assert f"- {words} (trial 0001@6, 0002@6)\n" in page
  assert best is not None
