"""The table of searches: its rows in order, what each runs, and what the page says of them."""

import pathlib

import pytest

from jaxseg import files


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import search
  import search_table

  return search, search_table


CELLS = dict(
  space="nas_unet", down=[[["avg", 0], ["max", 1]]], up=[[["identity", 0], ["up_conv", 1]]]
)


def final(dice, cases=("a", "b"), **changes):
  of_case = {case: dice + 0.01 * i for i, case in enumerate(cases)}
  row = {"steps": 400, "dice": dice, "hd95": 4.0, "missing": 0, "cpu_seconds": 60.0}
  return row | {"of_case": {"dice": of_case, "boundary_iou": of_case}} | changes


def searched(trials, **changes):
  curve = [
    {"number": i, "steps": 200, "score": score, "cpu_seconds": 60.0}
    for i, score in enumerate(trials)
  ]
  row = {"steps": 200, "trials": len(trials), "cpu_seconds": 600.0, "curve": curve}
  return row | {"metric": "dice"} | changes


def test_seed_0_of_everything_comes_first_and_winners_after_their_search(scripts):
  search, _ = scripts
  rows = search.rows()
  keys = [row.key for row in rows]
  assert len(set(keys)) == len(keys)
  first = next(i for i, row in enumerate(rows) if row.seed)
  assert {row.seed for row in rows[:first]} == {0}
  assert {row.method for row in rows[first:]} == set(search.SEVERAL)
  for i, row in enumerate(rows):
    assert not row.before or row.before in keys[:i]


def test_a_row_runs_a_search_or_trains_its_winner(scripts, tmp_path):
  search, _ = scripts
  of = {row.key: search.planned(row, tmp_path, 20) for row in search.rows()}
  one = of["sunnybrook_lv/random/seed1/search"]
  assert one.config == "configs/search.py:random,set=sunnybrook_lv,budget=20"
  assert one.program == ("-m", "jaxseg", "search")
  assert one.seed == 1
  winner = of["sunnybrook_lv/random/seed1/final"]
  assert winner.config == str(tmp_path / "sunnybrook_lv/random/seed1/search/best.py")
  assert winner.program == ("train.py",)
  supernet = of["msd_hippocampus/darts/seed0/search"]
  assert supernet.program == ("train.py",)
  derived = of["msd_hippocampus/darts/seed0/final"].config
  assert derived.endswith("darts/seed0/search/genotype.json")
  assert of["sunnybrook_lv/synflow/seed0/agreement"].config.endswith("evaluation=synflow")
  # what one has compiled would make the next one cheaper
  assert all(row.cold for row in of.values())
  # winners wait for their search, and come right after it
  assert winner.sources == ("sunnybrook_lv/random/seed1/search",)
  keys = list(of)
  assert keys.index(winner.key) == keys.index(winner.sources[0]) + 1


def test_a_line_tells_the_gain_over_the_bar_case_by_case(scripts):
  _, table = scripts
  bar = {0: final(0.80), 1: final(0.82), 2: final(0.7)}
  finals = {0: final(0.85), 1: final(0.83)}
  # of case b the first seed gains 0.02 more
  finals[0]["of_case"] = {"dice": {"a": 0.85, "b": 0.88}, "boundary_iou": {"a": 0.85, "b": None}}
  searches = {0: searched([0.5, 0.6]), 1: searched([0.5, 0.6, 0.7, 0.7])}
  text = table.line("evolution", finals, searches, bar)
  # means over seeds of 0.03 and 0.04, not four values: 12.7062 * 0.0070711 / sqrt(2)
  assert "| +0.035 ± 0.064 (p 0.09) | - |" in text
  assert text.startswith("| `evolution` | 2 | 0.840 ± 0.127 |")
  assert text.endswith("| 10.0 | 3 | 1.0 |\n")
  assert "| - | - |" in table.line("random", bar, searches, bar)


def test_slices_of_one_patient_are_one_case_of_the_comparison(scripts):
  search, table = scripts
  names = ("SC-HF-I-01-IM-0001-0048", "SC-HF-I-01-IM-0001-0059", "SC-N-02-IM-0898-0020")
  bar, finals = ({0: final(dice, names)} for dice in (0.5, 0.5))
  finals[0]["of_case"]["dice"] = dict(zip(names, (0.6, 0.71, 0.82), strict=True))
  patients = search.patients()
  assert list(patients) == ["sunnybrook_lv"]
  text = table.line("darts", finals, {}, bar, patients["sunnybrook_lv"])
  # 0.15 of the first patient, 0.3 of the second one
  assert "+0.225 ± 0.953" in text
  assert "+0.200 ± 0.248" in table.line("darts", finals, {}, bar)


def test_the_page_tells_what_is_there_and_what_is_left(scripts, tmp_path):
  search, table = scripts
  (tmp_path / "docs").mkdir()
  page = tmp_path / "docs" / "search.md"
  marks = [*table.MARKS.values(), table.AGREEMENT, table.SPACES]
  text = "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in marks)
  files.write_text(page, text)
  done = {
    "sunnybrook_lv/random/seed0/search": searched([0.6, 0.7], fields={"network.genotype": CELLS}),
    "sunnybrook_lv/random/seed0/final": final(0.8),
    "sunnybrook_lv/hand/seed0/search": {"failed": "out of memory", "cpu_seconds": 3.0},
    "sunnybrook_lv/full/seed0/agreement": searched([0.1, 0.2, 0.3, 0.4]),
    "sunnybrook_lv/synflow/seed0/agreement": searched([1.0, 3.0, 2.0, 4.0]),
  }
  table.write(done, search.rows(), search.module(), search.patients(), tmp_path)
  text = files.read_text(page, what="page", advice="none")
  assert "old" not in text
  assert "| `random` | 1 | 0.800 |" in text
  # of six pairs one is the other way round
  assert "| `synflow` | +0.67 | 0.33 | 4 | 60 |" in text
  assert "out of memory" in text
  assert "row(s) are not made yet" in text
  for name in ("architectures_sunnybrook_lv", "cells_sunnybrook_lv_random", "nas_unet_v2"):
    assert (tmp_path / "docs" / f"search_{name}.png").is_file()
    assert f"(search_{name}.png)" in text


def test_the_docs_have_a_place_for_every_table(scripts):
  _, table = scripts
  docs = pathlib.Path(__file__).parents[2] / "docs" / "search.md"
  text = docs.read_text(encoding="utf-8")
  for name in (*table.MARKS.values(), table.AGREEMENT, table.SPACES):
    assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1
