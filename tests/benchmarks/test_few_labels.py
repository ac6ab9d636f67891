"""The table of few labels: the order of its rows, its intervals, who is best, what is missing."""

import pathlib
import types

import pytest
from closeness import assert_close

from jaxseg import files
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.runs.folder import read_config


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import few_labels
  import few_labels_table

  return few_labels, few_labels_table


def row(dice, **changes):
  classes = ("right ventricle", "myocardium", "left ventricle")
  made = {"dice": dice, "dice_of": dict.fromkeys(classes, dice), "hd95": 8.0, "missing": 0}
  return {**made, "cpu_seconds": 120.0, **changes}


def key(method, seed, labelled=3, draw=0):
  return f"labels/{method}/labelled{labelled}/draw{draw}/seed{seed}"


def test_seed_0_of_everything_comes_first_with_floor_and_ceiling(scripts):
  few_labels, _ = scripts
  rows = few_labels.rows("cpu", {})
  assert len({row.key for row in rows}) == len(rows)
  assert [row.key for row in rows[:2]] == [key("supervised", 0), key("supervised", 0, 70)]
  of = few_labels.methods()
  everything = sum(map(len, of.values())) + 1
  assert {row.seed for row in rows[:everything]} == {0}
  assert rows[everything].key == key("supervised", 1)
  assert {row.method for row in rows[:everything]} >= {*of["labels"], *of["scribbles"]}
  assert all(row.config.endswith("protocol=cpu") for row in rows if row.table == "labels")


def test_the_best_are_tried_on_another_draw_once_all_are_known(scripts):
  few_labels, table = scripts
  done = {key("supervised", seed): row(0.9) for seed in range(3)}
  for name, dice in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
    done |= {key(name, seed): row(dice) for seed in range(3)}
  assert table.best(done, 2) == ["b", "c"]
  again = [row for row in few_labels.rows("cpu", done) if row.draw == 1 and row.seed == 0]
  assert [row.method for row in again] == ["supervised", "b", "c", "a"]
  del done[key("c", 2)]
  assert table.best(done, 2) == []
  done[key("c", 2)] = {"failed": "why", "cpu_seconds": 1.0}
  assert table.best(done, 2) == ["b", "a"]
  for later in (key("b", 0, draw=1), key("b", 0, 7), "drive/b/labelled0/draw0/seed0"):
    done[later] = {"failed": "why", "cpu_seconds": 1.0}
  assert table.best(done, 2) == ["b", "a"]


def test_an_interval_is_students(scripts):
  _, table = scripts
  # 4.302653 is the 97.5 % quantile of Student's t with two degrees of freedom
  assert_close(table.interval([0.5, 0.6, 0.7]), (0.6, 4.302653 * 0.1 / 3**0.5), atol=1e-6)
  assert table._shown([0.5]) == "0.500"


def test_a_line_tells_gain_by_equal_seeds_and_what_was_not_segmented(scripts):
  _, table = scripts
  floor = {0: row(0.5), 1: row(0.6)}
  runs = {1: row(0.7, missing=2, hd95=4.0), 2: row(0.9, hd95=None, missing=60)}
  assert table.line("a", 3, runs, floor) == (
    "| `a` | 3 | 2 | 0.800 ± 1.271 | 0.800 | 0.800 | 0.800 | 4.0 (62 missing) | +0.100 | 2.0 |\n"
  )


def test_a_run_that_failed_is_told(scripts):
  _, table = scripts
  rows = {key("a", 0): {"failed": "loss is nan", "cpu_seconds": 3.0}}
  assert table.heart(rows, {"labels": ["a"], "scribbles": []}) == ""
  assert "loss is nan" in table.failures(rows)


def test_a_run_of_another_budget_or_config_is_trained_again(scripts, tmp_path):
  few_labels, _ = scripts
  run_rows = few_labels.run_rows
  wanted = few_labels.rows("cpu", {})[0]
  config = load_config(str(few_labels.ROOT / wanted.config))
  config.seed = wanted.seed

  folder = tmp_path / wanted.key
  folder.mkdir(parents=True)
  command = types.SimpleNamespace(protocol="cpu", runs=tmp_path, further=[])

  def told(change) -> str:
    made = complete(config)
    change(made)
    files.write_json(folder / "config.json", made)
    words = run_rows.outdated(wanted, folder, [], {})
    # nor is it shown
    assert (wanted.key in few_labels.current(command, {wanted.key: row(0.5)})) is (not words)
    return words

  assert told(lambda made: None) == ""
  assert told(lambda made: made.update(log_every=7)) == ""
  steps, batch = config.steps, config.data.batch
  assert told(lambda made: made.update(steps=20)) == f"config.steps was 20, is {steps}"
  assert told(lambda made: made["data"].update(batch=5)) == f"config.data.batch was 5, is {batch}"


def test_a_row_whose_run_is_gone_knows_its_config(scripts, tmp_path):
  few_labels, _ = scripts
  run_rows = few_labels.run_rows
  wanted = few_labels.rows("cpu", {})[0]
  config = run_rows.config_of(wanted)
  known = run_rows.config_sum(config)
  files.write_json(tmp_path / "config.json", config)
  assert run_rows.config_sum(read_config(tmp_path)) == known
  (tmp_path / "config.json").unlink()
  assert run_rows.config_sum({**config, "log_every": 7}) == known
  assert run_rows.config_sum({**config, "steps": 7}) != known
  for row_of, same in (({}, True), ({"config": known}, True), ({"config": "another"}, False)):
    assert (run_rows.outdated(wanted, tmp_path / wanted.key, [], row_of) == "") is same


def test_runs_with_further_flags_have_rows_of_their_own(scripts, monkeypatch, capsys):
  few_labels, _ = scripts
  monkeypatch.setattr("sys.argv", ["few_labels.py", "train", "--", "--config.steps=20"])
  with pytest.raises(SystemExit):
    few_labels.main()
  assert "name their --output and their --runs" in capsys.readouterr().err
