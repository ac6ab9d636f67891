"""The table of fusion: its rows, and its text from rows with subsets."""

import pathlib

import numpy as np
import pytest

from jaxseg.config.file import load_config

SUBSETS = ("flair + t1c", "flair", "t1c")
REGIONS = ("whole tumour", "tumour core")


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import fusion
  import fusion_table

  return fusion, fusion_table


def row(values):
  subsets = {
    name: {"dice": value, "dice_of": dict(zip(REGIONS, (value, None), strict=True))}
    for name, value in zip(SUBSETS, values, strict=True)
  }
  return {"dice": values[0], "subsets": subsets, "cpu_seconds": 90.0}


def test_every_row_is_there_once_and_has_a_config(scripts):
  fusion, _ = scripts
  rows = fusion.rows()
  assert len({row.key for row in rows}) == len(rows) == 4 * 2 * 3
  assert {row.fold for row in rows[:8]} == {0}
  for one in rows:
    config = load_config(str(fusion.ROOT / one.config))
    assert config.data.split.fold == one.fold
    assert ("modality_dropout" in config.augment) is (one.dropout == "independent")


def test_the_table_has_a_column_for_each_subset_and_means_over_patients(scripts):
  fusion, table = scripts
  done = {
    "decision/none/fold0": row((0.8, 0.6, 0.4)),
    "decision/none/fold1": row((0.6, 0.6, 0.2)),
    "input/independent/fold0": row((0.5, 0.5, 0.5)),
    "layer/none/fold0": {"failed": "no memory", "cpu_seconds": 1.0},
  }
  text = table.text(done, fusion.rows())
  lines = text.splitlines()
  assert lines[1].startswith("| fusion | modality dropout | patients | flair + t1c | flair | t1c |")
  # in the order of the config's kinds
  assert lines[3].startswith("| input | independent | 1 | 0.500 | 0.500 | 0.500 | 0.500 | 1.5 |")
  cells = [cell.strip() for cell in lines[4].split("|")[1:-1]]
  assert cells[:3] == ["decision", "none", "2"]
  assert [cell.split(" ")[0] for cell in cells[3:6]] == ["0.700", "0.600", "0.300"]
  assert cells[6] == "0.533"
  assert "tumour core:" in text
  assert "| decision | none | - | - | - |" in text
  assert "`layer/none/fold0`: no memory" in text
  assert "No row has been run" in table.text({}, fusion.rows())


def test_the_page_and_its_picture_are_written(scripts, tmp_path):
  fusion, table = scripts
  page = tmp_path / "domains.md"
  page.write_text("# A\n<!-- fusion: begin -->\n<!-- fusion: end -->\nB\n")
  done = {"input/none/fold0": row((0.8, 0.6, 0.4))}
  folder = tmp_path / "runs" / "input" / "none" / "fold0"
  folder.mkdir(parents=True)
  label = np.zeros((30, 40), np.int32)
  label[8:20, 10:25] = 1
  slices = {f"p: {name}": label for name in SUBSETS}
  image = np.stack([label, label + 1.0], -1).astype(np.float32)
  np.savez(folder / table.SLICES, **slices, **{"p: label": label, "p: image": image})
  table.write(done, fusion.rows(), tmp_path / "runs", page)
  text = page.read_text()
  assert "| input | none | 1 | 0.800 | 0.600 | 0.400 |" in text
  assert "(fusion.png)" in text
  assert text.endswith("<!-- fusion: end -->\nB\n")
  assert (tmp_path / "fusion.png").stat().st_size > 1000
