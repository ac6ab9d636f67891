"""The table of interactive segmentation: its rows, scribbles as prompts, text, answer times."""

import pathlib

import numpy as np
import pytest

from jaxseg.config.file import load_config


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import interactive
  import interactive_medscribble
  import interactive_table

  return interactive, interactive_medscribble, interactive_table


def told(mean):
  return {"mean": mean, "interval": [mean - 0.1, mean + 0.1]}


def clicked(start):
  """A row as `score` makes it."""
  curve = [min(start + 0.05 * n, 1.0) for n in range(11)]
  case = {metric: {"a": curve, "mean": curve} for metric in ("dice", "iou")}
  return {
    "cases": {"one": case, "two": case},
    "dice": {n: told(curve[int(n)]) for n in ("0", "1", "3", "5", "10")},
    "noc": {q: {rule: told(4.0) for rule in ("ritm", "exact")} for q in ("0.8", "0.85", "0.9")},
    "area_under": told(3.5),
    "seconds": {"median": 0.25},
  }


def test_every_row_has_a_config_and_seed_0_of_everything_comes_first(scripts):
  interactive, medscribble, _ = scripts
  rows = interactive.rows("cpu", {})
  assert len({row.key for row in rows}) == len(rows)
  seeds = [row.seed for row in rows]
  assert seeds == sorted(seeds)
  of = [row for row in rows if row.table == "medscribble" and not row.seed]
  assert len(of) == len(medscribble.TASKS) * len(medscribble.methods())
  for row in [r for r in rows if not r.seed]:
    config = load_config(str(interactive.ROOT / row.config))
    assert config.method.name
  for row in of:
    held = load_config(str(interactive.ROOT / row.config)).data.split.validation
    assert row.method.endswith(f"_without_{held[0].split('_')[0]}")
  published = interactive.rows("published", {})
  assert all("published" in row.config for row in published)


def test_scribbles_are_painted_prompts_without_what_contradicts_itself(
  scripts, tmp_path, monkeypatch
):
  _, medscribble, _ = scripts
  drawn = np.zeros((3, 2, 6, 6), bool)
  drawn[:, 0, 2, 1:4] = drawn[1, 1, 2, 3] = drawn[1, 1, 5, 5] = True
  np.savez(tmp_path / "acdc_x.npz", scribbles=drawn, image=np.ones((6, 6)), mask=drawn[0, 0])
  monkeypatch.setattr(medscribble, "STORED", tmp_path)
  first, second, _ = medscribble.scribbles("acdc_x")
  drawn_first = [{"class": 1, "voxels": [[2, 1], [2, 2], [2, 3]]}]
  assert medscribble.prompts(first, ("point", "stroke")) == drawn_first
  clicks = [{"class": 1, "point": [2, x]} for x in (1, 2, 3)]
  assert medscribble.prompts(first, ("point",)) == clicks
  assert medscribble.prompts(second, ("stroke",)) == [
    {"class": 1, "voxels": [[2, 1], [2, 2]]},
    {"class": 0, "voxels": [[5, 5]]},
  ]


def test_a_page_tells_clicks_annotators_times_and_what_is_missing(scripts, tmp_path):
  interactive, _, table = scripts
  row = interactive.Row
  rows = [row("busi", "ritm", seed, "") for seed in (0, 1)] + [row("busi", "deepedit", 0, "")]
  rows.append(row("busi", "supervised", 0, ""))
  rows.append(row("medscribble", "scribbleprompt_without_acdc", 0, ""))
  annotators = {"x": {"none": 0.2, "annotators": [0.5, 0.6, 0.7]}}
  time = {"answer": 0.55, "longest": 0.7, "forward": 0.5, "overhead": 0.1}
  done = {
    "busi/ritm/seed0": {"clicks": clicked(0.5)},
    "busi/ritm/seed1": {"clicks": clicked(0.4)},
    "busi/deepedit/seed0": {"failed": "no room"},
    "busi/supervised/seed0": {"dice_of_case": {"one": 0.2, "two": 0.4, "not clicked": 0.9}},
    "medscribble/scribbleprompt_without_acdc/seed0": {"annotators": annotators},
    "time/256x256": time,
  }
  text = table.tables(done, rows)
  assert "#### busi" in text
  assert "| `ritm` | 2 | 0.450 ± 0.635 |" in text
  (automatic,) = [of for of in text.splitlines() if of.startswith("| `supervised`")]
  assert automatic.startswith("| `supervised` | 1 | 0.300 (0.200-0.400) | |")
  assert automatic.count("|") == 14
  assert (
    "| acdc | `scribbleprompt` | 0 | 1 | 0.200 | 0.500 | 0.600 | 0.700 | 0.600 | 0.100 | +0.400 |"
    in text
  )
  assert "| 256x256 | 0.550 | 0.700 | 0.500 | 10 % |" in text
  assert "1 run(s) are not made yet" in text
  assert "`busi/deepedit/seed0` failed: no room" in text
  one = table.tables({"busi/ritm/seed0": {"clicks": clicked(0.5)}}, rows[:1])
  assert "| 0.500 (0.400-0.600) |" in one
  assert table.picture(done, rows, tmp_path / "x.png")
  assert (tmp_path / "x.png").stat().st_size > 1000
  assert not table.picture({}, rows, tmp_path / "y.png")


def test_an_answer_is_timed_beside_its_forward_pass(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import interactive_time
  import pointer

  from jaxseg import defaults, methods, networks
  from jaxseg.build import plain

  monkeypatch.setitem(methods.METHODS, "pointed", pointer.pointed)
  monkeypatch.setitem(networks.NETWORKS, "pointer", pointer.Pointer)
  config = defaults.config()
  config.method = dict(name="pointed")
  config.network = dict(name="pointer")
  (row,) = interactive_time.rows({"tiny": ((16, 16), plain(config))}, answers=2).values()
  assert row["forward"] > 0
  assert row["answer"] <= row["longest"]
  np.testing.assert_allclose(row["overhead"], row["answer"] / row["forward"] - 1)
