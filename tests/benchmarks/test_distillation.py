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
