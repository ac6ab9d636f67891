"""The table of domains: its rows and their order, what waits for what, shares of the gap."""

import math
import pathlib

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.config.file import load_config


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import domains
  import domains_table

  return domains, domains_table


def row(dice):
  return {
    "dice": dice,
    "dice_of": {"liver": dice, "spleen": dice},
    "hd95": None,
    "missing": 2,
    "cpu_seconds": 120.0,
  }


def test_ends_come_before_the_methods_between_them_and_every_row_has_a_config(scripts):
  domains, _ = scripts
  rows, module = domains.rows("cpu"), domains.module()
  assert len({row.key for row in rows}) == len(rows)
  per_pair = len(module["METHODS"])
  assert [r.method for r in rows[:2]] == ["source", module["CEILING"]]
  assert {r.seed for r in rows[: per_pair * len(module["PAIRS"])]} == {0}
  later = {r.method for r in rows if r.seed}
  assert later == set(module["COMPARED"])
  for planned in domains.planned(domains.ROOT / "runs" / "domains", "published"):
    method, pair = planned.key.split("/")[1], planned.key.split("/")[0]
    if planned.sources:
      continue
    assert planned.config == f"configs/domains.py:{method},pair={pair},protocol=published"
  config = load_config(str(domains.ROOT / "configs/domains.py:adabn,pair=ct_to_mr,protocol=cpu"))
  assert config.method.name == "adabn"


def test_what_learns_from_translated_images_names_its_translator(scripts):
  domains, _ = scripts
  module, runs = domains.module(), domains.ROOT / "runs" / "domains"
  if not module["TRANSLATED"]:
    pytest.skip("no method of the table learns from translated images")
  wanted = {f"mr_to_ct/{name}/seed0" for name in module["TRANSLATED"]}
  planned, translator = {r.key: r for r in domains.planned(runs, "cpu")}, module["TRANSLATOR"]
  for key in wanted:
    assert planned[key].sources == (f"mr_to_ct/{translator}/seed0",)
    assert planned[key].config.endswith(f",run=runs/domains/mr_to_ct/{translator}/seed0")
  assert not any(planned[f"mr_to_ct/{name}/seed0"].sources for name in (translator, "source"))


def test_the_share_of_the_gap_is_taken_seed_by_seed(scripts):
  _, table = scripts
  floor, ceiling = {0: row(0.4), 1: row(0.5)}, {0: row(0.8), 1: row(0.7), 2: row(0.9)}
  runs = {0: row(0.6), 1: row(0.64), 2: row(0.7)}
  assert_close(table.closed(runs, floor, ceiling), [50.0, 70.0])
  # the source's own labels may do better than few of the target's
  assert table.closed(runs, {0: row(0.9)}, ceiling) == []
  half = 12.706205 * np.std([50, 70], ddof=1) / math.sqrt(2)
  text = table.line("synseg", runs, floor, ceiling)
  assert f"| 60 ± {half:.0f} % | 2.0 |" in text
  assert "| - (6 missing) |" in text
  assert "| 0.450 ± 0.635 | 0.450 | 0.450 | - (4 missing) |  | 2.0 |" in table.line(
    "source", floor, floor, ceiling
  )


def test_a_page_tells_what_is_missing_and_what_failed(scripts):
  domains, table = scripts
  module = domains.module()
  done = {"mr_to_ct/source/seed0": row(0.4), "mr_to_ct/target/seed0": row(0.8)}
  done["mr_to_ct/adabn/seed0"] = {"failed": "ValueError: no"}
  text = table.tables(done, domains.rows("cpu"), module)
  assert "#### mr to ct" in text
  assert "#### ct to mr" not in text
  assert "run(s) are not made yet" in text
  assert "`mr_to_ct/adabn/seed0` failed: ValueError: no" in text
