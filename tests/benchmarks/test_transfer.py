"""The table of transfer: its rows and their order, what waits for what, tests by pairs."""

import math
import pathlib

import pytest
from closeness import assert_close
from scipy import stats

from jaxseg.config.file import load_config


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import transfer
  import transfer_table

  return transfer, transfer_table


def row(dice, **of_case):
  return {"dice": dice, "dice_of_case": of_case, "cpu_seconds": 120.0}


def test_every_row_is_there_once_and_has_a_config(scripts):
  transfer, _ = scripts
  rows = transfer.rows()
  assert len({row.key for row in rows}) == len(rows)
  # four sets, two shares (four of one), three starts; three sources, and two starts of two shares
  once = (4 * 2 + 2) * 3 + 3 + 3 * 2 * 2
  assert {row.seed for row in rows[:once]} == {0}
  # the other network comes last
  beside = rows[3 * once :]
  assert {row.start for row in beside} == {"unet"}
  assert len(beside) == 3 * (4 * 2 + 2)
  for name, start, labelled in (("drive", "imagenet_frozen", 0.1), ("mr", "ct", 1.0)):
    (wanted,) = [
      row
      for row in rows
      if (row.name, row.start, row.labelled, row.seed) == (name, start, labelled, 2)
    ]
    config = load_config(str(transfer.ROOT / wanted.with_config("runs/x").config))
    assert config.data.split.get("labelled", 1.0) == labelled
    assert config.data.split.get("labelled_seed", 2) == 2


def test_a_row_of_another_domain_needs_that_ones_run(scripts):
  transfer, _ = scripts
  runs = transfer.ROOT / "runs" / "transfer"
  every = {row.key: row for row in transfer.planned(runs)}
  source, wanted = "ct/scratch/labelled1/seed1", "mr/ct/labelled0.1/seed1"
  assert every[source].sources == ()
  planned = every[wanted]
  assert planned.sources == (source,)
  assert planned.config.endswith(f",source=runs/transfer/{source}")
  assert load_config(planned.config).initialise.network == f"runs/transfer/{source}"


def test_gains_are_of_equal_seeds_and_cases(scripts):
  _, table = scripts
  floor = {0: row(0.5, a=0.4, b=0.6), 1: row(0.6, a=0.5, b=0.7), 2: row(0.4, a=0.4, b=0.4)}
  runs = {0: row(0.7, a=0.5, b=0.9), 1: row(0.7, a=0.7, b=0.7), 2: row(0.7, a=0.6, b=0.8)}
  by_case = table.by_case(runs, floor)
  assert_close(by_case, [(0.1 + 0.2 + 0.2) / 3, (0.3 + 0.0 + 0.4) / 3])
  seeds = stats.ttest_rel([0.7, 0.7, 0.7], [0.5, 0.6, 0.4]).pvalue
  cases = stats.ttest_1samp(by_case, 0.0).pvalue
  text = table.line("busi", 0.1, "imagenet", runs, floor)
  # 4.302653 is the 97.5 % quantile of Student's t with two degrees of freedom
  assert f"+0.200 ± {4.302653 * 0.1 / 3**0.5:.3f} | {seeds:.3f} | {cases:.3f} | 2.0 |" in text
  assert "| 0.500 ± 0.248 |  |  |  | 2.0 |" in table.line("busi", 0.1, "scratch", floor, floor)


def test_slices_of_one_patient_are_one_case_of_the_test(scripts):
  transfer, table = scripts
  names = ("SC-HF-I-01-IM-0001-0048", "SC-HF-I-01-IM-0001-0059", "SC-N-02-IM-0898-0020")
  floor = {0: row(0.5, **dict.fromkeys(names, 0.5))}
  runs = {0: row(0.6, **dict(zip(names, (0.6, 0.8, 0.9), strict=True)))}
  assert_close(table.by_case(runs, floor, transfer.patients()["sunnybrook"]), [0.2, 0.4])
  assert_close(table.by_case(runs, floor), [0.1, 0.3, 0.4])


def test_a_test_of_pairs_is_students(scripts):
  import table_text

  of = [0.1, -0.05, 0.2, 0.02]
  assert table_text.paired_p(of) == pytest.approx(stats.ttest_1samp(of, 0.0).pvalue)
  assert math.isnan(table_text.paired_p([0.1]))
  assert math.isnan(table_text.paired_p([]))
  assert table_text.paired_p([0.0, 0.0]) == 1.0
  assert table_text.paired_p([0.1, 0.1]) == 0.0


def test_the_page_is_filled_between_its_marks_and_tells_what_is_missing(scripts, tmp_path):
  transfer, table = scripts
  page = tmp_path / "transfer.md"
  page.write_text("before\n<!-- transfer: begin -->\nold\n<!-- transfer: end -->\nafter\n")
  done = {
    "busi/scratch/labelled0.1/seed0": row(0.5),
    "busi/imagenet/labelled0.1/seed0": row(0.75),
    "mr/ct/labelled1/seed0": row(0.25),
    "mr/scratch/labelled1/seed0": {"failed": "loss is nan", "cpu_seconds": 1.0},
  }
  table.write(done, transfer.rows(), transfer.patients(), page)
  text = page.read_text()
  assert text.startswith("before\n")
  assert text.endswith("after\n")
  assert "old" not in text
  assert "| busi | 10 % | `imagenet` | 1 | 0.750 | +0.250 |  |  | 2.0 |" in text
  assert "| mr | 100 % | `ct` | 1 | 0.250 |  |  |  | 2.0 |" in text
  assert "loss is nan" in text
  assert "busi 2 of 24" in text
