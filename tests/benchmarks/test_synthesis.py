"""The table of synthesis: its rows, what waits for what, and the means that it shows."""

import json
import pathlib

import pytest

from jaxseg.config.file import load_config


@pytest.fixture
def scripts(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import synthesis
  import synthesis_table

  return synthesis, synthesis_table


def row(dice):
  return {"dice": dice, "steps": 1, "cpu_seconds": 60.0}


def test_every_row_is_there_once(scripts):
  synthesis, _ = scripts
  rows = synthesis.rows()
  assert len({of.key for of in rows}) == len(rows) == 2 * (5 * 2 + 3 * 5 * 4)
  assert [of.part for of in rows[:4]] == ["masks", "images", "masks", "images"]


def test_what_is_made_needs_both_runs_of_its_own_fold(scripts):
  synthesis, _ = scripts
  runs = synthesis.ROOT / "runs" / "synthesis"
  wanted = "drive/fold2/both/seed1"
  every = {of.key: of for of in synthesis.planned(runs)}
  masks, images = "drive/fold2/masks/seed0", "drive/fold2/images/seed0"
  assert every["drive/fold2/real/seed1"].sources == ()
  assert every[wanted].sources == (masks, images)
  config = load_config(str(synthesis.ROOT / every[wanted].config))
  assert config.data.split.fold == 2
  source = config.streams.synthetic["source"]
  assert source["masks"] == f"runs/synthesis/{masks}"
  assert source["images"] == f"runs/synthesis/{images}"


def test_real_label_maps_turned_wait_for_the_run_of_images_alone(scripts):
  synthesis, _ = scripts
  images = synthesis.Row("drive", 1, "images").key
  row = synthesis.Row("drive", 1, "turned", 2)
  assert row.sources == (images,)
  config = load_config(str(synthesis.ROOT / row.with_config(synthesis.ROOT / "runs").config))
  source = config.streams.synthetic["source"]
  assert (source["masks"], source["images"]) == ("training", f"runs/{images}")
  assert config.streams.synthetic["joins"] == "instead"


def test_scores_of_generators_are_what_their_report_has(scripts, tmp_path):
  synthesis, _ = scripts
  folder = tmp_path / "masks" / "seed0"
  folder.mkdir(parents=True)
  told = {"step": 7, "validation": {"mean": {"volume_similarity": 0.5}}}
  (folder / "report.json").write_text(json.dumps(told))
  assert synthesis.score(folder) == {"steps": 7, "means": {"volume_similarity": 0.5}}


def judged(value, passed=0.5):
  return {
    "verdict": {"new_critic": {"pairs": value}, "own_critic": {"pairs": 0.75}},
    "diversity": {"pairwise_dice_made": 0.25, "pairwise_dice_training": 0.3},
    "areas": {"vessel": {"made": 0.1, "training": 0.12}},
    "features": {"made_to_training": 2.0, "held_out_to_training": 1.0},
    "copies": {"largest_dice": passed},
  }


def test_the_table_has_means_of_folds_by_seed_and_differences_of_equal_runs(scripts):
  synthesis, table = scripts
  done = {}
  for fold in range(5):
    for seed in range(3):
      done[f"drive/fold{fold}/real/seed{seed}"] = row(0.7 + 0.01 * seed)
      done[f"drive/fold{fold}/both/seed{seed}"] = row(0.72 + 0.01 * seed)
  done["drive/fold0/synthetic/seed0"] = row(0.6)
  done["drive/fold0/judged"] = judged(0.5)
  done["drive/fold1/judged"] = judged(0.7, 0.9)
  done["chase_db1/fold0/real/seed0"] = {"failed": "no room"}
  text = table.tables(done, synthesis.rows())
  assert "| drive | real | 15 | 0.710 ± 0.025 |" in text
  assert "| drive | both | 15 | 0.730 ± 0.025 | +0.020 ± 0.000 |" in text
  assert "| drive | synthetic | 1 | 0.600 | -0.100 |  | 1.0 |" in text
  assert "| drive | 2 | 60 % | 75 % | 0.250 (0.300) | 10.0 % (12.0 %) | 2 (1) | 0.900 |" in text
  assert "- `chase_db1/fold0/real/seed0`: no room" in text


def test_an_empty_table_says_so(scripts, tmp_path):
  synthesis, table = scripts
  page = tmp_path / "synthesis.md"
  page.write_text("a\n<!-- synthesis: begin -->\n<!-- synthesis: end -->\nb\n")
  table.write({}, synthesis.rows(), page)
  assert "(no rows yet)" in page.read_text()
