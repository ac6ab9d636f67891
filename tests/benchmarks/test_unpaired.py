"""The table of unpaired CT and MR: its rows, and gains of equal seeds."""

import pathlib

import pytest

from jaxseg.config.file import load_config


@pytest.fixture
def unpaired(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import unpaired

  return unpaired


def row(ct, mr, own=10, **of_case):
  return {
    "dice": 0.0,
    "dice_of_stream": {"main": ct, "mr": mr},
    "dice_of_case": of_case,
    "shared": 90,
    "own": own,
    "cpu_seconds": 60.0,
  }


def test_every_row_is_there_once_and_has_a_config(unpaired):
  rows = unpaired.rows("cpu")
  assert len({of.key for of in rows}) == len(rows) == 6 + 2 * 2
  assert [of.seed for of in rows] == [0] * 6 + [1, 1, 2, 2]
  assert {of.variant for of in rows[6:]} == {"individual", "unpaired"}
  for of in rows[:6]:
    assert load_config(str(unpaired.ROOT / of.config)).method.name == "unpaired"


def test_gains_are_of_equal_seeds_and_the_mean_over_domains(unpaired):
  done = {
    "cpu/individual/seed0": row(0.5, 0.7, a=0.5, b=0.7),
    "cpu/individual/seed1": row(0.6, 0.6, a=0.6, b=0.6),
    "cpu/unpaired/seed0": row(0.6, 0.8, a=0.6, b=0.8),
    "cpu/unpaired/seed1": row(0.7, 0.9, a=0.7, b=0.9),
    "cpu/joint/seed0": row(0.4, 0.4, own=0, a=0.4, b=0.4),
    "cpu/x/seed0": {"failed": "no memory"},
  }
  text = unpaired.text(done, "cpu")
  lines = {of.split("|")[1].strip(" `"): of for of in text.splitlines() if of.startswith("| `")}
  assert set(lines) == {"individual", "joint", "unpaired"}
  # 0.7 - 0.6 and 0.8 - 0.6, their mean 0.15
  assert "| +0.150 ±" in lines["unpaired"]
  assert "| 10 (10 %) | 2 | 0.650 ±" in lines["unpaired"]
  assert "| 0 (0 %) | 1 | 0.400 | 0.400 | 0.400 | -0.200 |" in lines["joint"]
  assert "- `cpu/x/seed0`: no memory" in text
  assert "5 of 10 runs were made yet." in text
