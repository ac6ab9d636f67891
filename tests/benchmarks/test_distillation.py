"""The table of distillation: a finished run is a row of today's config alone."""

import pathlib

import pytest

from jaxseg import files
from jaxseg.compose import complete
from jaxseg.config.file import load_config


@pytest.fixture
def script(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import distillation

  return distillation


def test_a_row_is_measured_again_where_the_run_was_trained_otherwise(script, tmp_path, monkeypatch):
  from jaxseg.runs import folder

  run, measured = tmp_path / "run", []
  run.mkdir()
  config = complete(load_config(f"{script.ROOT / script.CONFIG}:size=small"))
  monkeypatch.setattr(folder, "steps_done", lambda run: config["steps"])
  monkeypatch.setattr(script, "score", lambda runs: measured.append(runs) or {"mean": 0.5})
  monkeypatch.setattr(script, "parameters", lambda run: 7)
  for changes, times in (({}, 1), ({}, 1), ({"log_every": 9}, 1), ({"seed": 9}, 2)):
    files.write_json(run / "config.json", config | changes)
    script.measure(tmp_path / "rows.json", "alone/small/0", [run])
    assert len(measured) == times
  monkeypatch.setattr(folder, "steps_done", lambda run: 1)
  with pytest.raises(SystemExit, match="alone/small/0: is not trained to its end"):
    script.measure(tmp_path / "rows.json", "alone/small/0", [run])


def test_a_finished_run_of_another_config_is_no_row(script, tmp_path, monkeypatch):
  flags = ("--config.steps=20", "--config.seed=1")
  config = load_config(f"{script.ROOT / script.CONFIG}:size=small")
  config.steps, config.seed = 20, 1
  files.write_json(tmp_path / "config.json", complete(config))
  assert script.outdated("size=small", tmp_path, flags) == ""
  assert script.outdated("size=small", tmp_path, flags[1:]) == "config.steps was 20, is 300"
  assert "config.network.widths" in script.outdated("", tmp_path, flags)
  monkeypatch.setattr(script, "finished", lambda workdir: True)
  with pytest.raises(SystemExit, match=r"config\.seed was 1, is 2; give another"):
    script.train("size=small", tmp_path, "--config.steps=20", "--config.seed=2")
