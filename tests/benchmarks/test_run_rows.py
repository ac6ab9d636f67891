"""Rows of a table: in which order they run, which wait for others, what is made again."""

import pathlib
import threading
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run_rows(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
  import run_rows

  return run_rows


class Runs:
  """Instead of trainings: each row leaves a folder, unless it is to fail."""

  def __init__(self, run_rows, home, failing=()):
    self.home, self.failing, self.begun = home, failing, []
    self.table = run_rows.Table(home / "rows.json")
    self.places = types.SimpleNamespace(
      runs=home / "runs", cores=[0, 1], further=[], only=["*"], retry=False
    )
    made = self

    class Runner:
      def __init__(self, *_):
        self.stopped = threading.Event()
        self.stop = self.stopped.set

      def run(self, row):
        made.begun.append(row.key)
        if row.key in made.failing:
          made.table.keep(row.key, {"failed": "no"})
        else:
          (made.places.runs / row.key).mkdir(parents=True, exist_ok=True)
          made.table.keep(row.key, {"steps": 1})

    self.runner = Runner


def rows_of(run_rows):
  def of(key, *sources):
    return run_rows.Planned(key, "configs/none.py", 0, tuple(sources))

  return [of("a/used", "a/made"), of("a/made"), of("b/used", "b/made"), of("b/made"), of("c")]


@pytest.fixture
def train(run_rows, monkeypatch):
  monkeypatch.setattr(run_rows, "outdated", lambda *_: "")
  monkeypatch.setattr(run_rows.signal, "signal", lambda *_: None)

  def act(of, **changes):
    of.begun.clear()
    monkeypatch.setattr(run_rows, "Runner", of.runner)
    wanted = types.SimpleNamespace(**{**vars(of.places), **changes})
    assert run_rows.train(wanted, of.table, lambda _: rows_of(run_rows))
    return list(of.begun)

  return act


def test_a_row_comes_once_what_it_is_made_with_is_there(run_rows, train, tmp_path):
  of = Runs(run_rows, tmp_path)
  order = train(of)
  assert sorted(order) == sorted(row.key for row in rows_of(run_rows))
  for name in "ab":
    assert order.index(f"{name}/made") < order.index(f"{name}/used")
  assert train(of) == []


def test_one_that_waits_for_what_failed_does_not_come(run_rows, train, tmp_path):
  of = Runs(run_rows, tmp_path, failing=("b/made",))
  assert "b/used" not in train(of)
  assert train(of) == []
  of.failing = ()
  assert train(of, retry=True) == ["b/made", "b/used"]


def test_what_is_gone_is_made_again_where_something_needs_it(run_rows, train, tmp_path):
  of = Runs(run_rows, tmp_path)
  # another machine did these
  for key in ("a/made", "a/used", "b/made", "c"):
    of.table.keep(key, {"steps": 1})
  assert train(of) == ["b/made", "b/used"]
  assert train(of) == []


def test_what_is_asked_for_alone_brings_what_it_needs(run_rows, train, tmp_path):
  assert train(Runs(run_rows, tmp_path), only=["a/used"]) == ["a/made", "a/used"]


def test_of_a_row_whose_sources_are_gone_nothing_tells(run_rows, tmp_path):
  row = rows_of(run_rows)[0]
  assert run_rows.outdated(row, tmp_path / row.key, [], {"config": "0"}) == ""


def test_what_was_made_with_an_older_run_is_made_again_after_it(run_rows, train, tmp_path):
  of = Runs(run_rows, tmp_path)
  train(of)
  of.table.keep("a/made", {"steps": 1, "config": "new"})
  of.table.keep("a/used", {"steps": 1, "made_with": {"a/made": "old"}})
  of.table.keep("b/used", {"steps": 1, "made_with": {"b/made": "old"}})
  left = run_rows.current(of.places, of.table.read(), lambda _: rows_of(run_rows))
  assert set(left) == {"a/made", "b/used", "b/made", "c"}
  assert train(of) == ["a/used"]


def test_where_a_run_has_another_config_what_it_was_used_for_waits(
  run_rows, train, tmp_path, monkeypatch
):
  of = Runs(run_rows, tmp_path)
  train(of)

  def outdated(row, folder, further, known):
    return "another" if row.key == "b/made" and known.get("steps") == 1 else ""

  monkeypatch.setattr(run_rows, "outdated", outdated)
  left = run_rows.current(of.places, of.table.read(), lambda _: rows_of(run_rows))
  assert set(left) == {"a/made", "a/used", "c"}
  assert train(of, only=["b/used"]) == ["b/made", "b/used"]


def test_what_was_stopped_begins_again_where_what_it_is_made_with_has_changed(
  run_rows, tmp_path, monkeypatch
):
  # leaves its folder and stops half way, as a training that was told to
  leaves = (
    "import pathlib, sys\n"
    "home = pathlib.Path(next(w[10:] for w in sys.argv if w.startswith('--workdir=')))\n"
    "home.mkdir(exist_ok=True)\n"
    "(home / str(len(list(home.iterdir())))).touch()\n"
    f"sys.exit({run_rows.LEFT})\n"
  )
  monkeypatch.setattr(run_rows, "outdated", lambda *_: "")
  row = run_rows.Planned("a/used", "configs/none.py", 0, ("a/made",), ("-c", leaves))
  table = run_rows.Table(tmp_path / "rows.json")
  runner = run_rows.Runner(table, tmp_path / "runs", [0], [])

  def begin(config):
    table.keep("a/made", {"steps": 1, "config": config})
    runner.run(row)
    assert table.read()["a/used"]["stopped"]
    return len(list((tmp_path / "runs" / "a" / "used").iterdir()))

  assert [begin("first"), begin("first"), begin("second"), begin("second")] == [1, 2, 1, 2]
  assert len(list((tmp_path / "runs" / "a").glob("used.before.*"))) == 1


def test_a_killed_run_leaves_no_figures_of_the_one_before(run_rows, tmp_path, monkeypatch):
  row = run_rows.Planned("a", "configs/none.py", 0, (), ("-c", ""))
  table = run_rows.Table(tmp_path / "rows.json")
  runner = run_rows.Runner(table, tmp_path / "runs", [0], [])
  (tmp_path / "runs" / "a").mkdir(parents=True)
  table.keep("a", {"steps": 1, "dice": 0.5})
  monkeypatch.setattr(run_rows, "outdated", lambda *_: "config.steps was 200, is 1000")

  def killed(*_, **options):
    raise KeyboardInterrupt

  monkeypatch.setattr(runner._processes, "run", killed)
  with pytest.raises(KeyboardInterrupt):
    runner.run(row)
  assert table.read() == {}


def test_a_cold_row_compiles_its_own_programs(run_rows, tmp_path, monkeypatch):
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "of all")
  table, caches = run_rows.Table(tmp_path / "rows.json"), []
  runner = run_rows.Runner(table, tmp_path / "runs", [0], ["--made"], lambda _: {"steps": 1})

  def run(command, log, *, environment, **_):
    caches.append(environment["JAX_COMPILATION_CACHE_DIR"])
    return 0, 1.0

  monkeypatch.setattr(runner._processes, "run", run)
  for key, cold in (("a/one", True), ("a/two", True), ("a/three", False)):
    runner.run(run_rows.Planned(key, "configs/none.py", 0, cold=cold))
  # the same where it goes on
  runner.run(run_rows.Planned("a/one", "configs/none.py", 0, cold=True))
  first, second, third, again = caches
  assert first == again == str(tmp_path / "runs" / "a" / "one.programs")
  assert len({first, second, third}) == 3
  assert third == "of all"
