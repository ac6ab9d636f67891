"""Reading a config file: quick, without traces on the disk, and its mistakes with their lines."""

import pathlib
import time

import pytest

from jaxseg.config.file import ConfigError, load_config

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_reading_a_config_needs_no_data_and_leaves_no_trace(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  before = set((ROOT / "configs").rglob("*"))
  began = time.process_time()
  assert load_config(str(path)).steps > 0
  assert time.process_time() - began < 1
  assert not list(tmp_path.iterdir())
  assert set((ROOT / "configs").rglob("*")) == before


def written(folder, *lines) -> str:
  path = folder / "mine.py"
  path.write_text("\n".join(lines) + "\n")
  return str(path)


@pytest.mark.parametrize(
  ("lines", "words"),
  [
    (
      ["def get_config():", "  return 1 / 0"],
      r"line 2: division by zero \(ZeroDiv.*1 / 0",
    ),
    (["def get_config(:"], r"mine\.py, line 1: .*def get_config\(:"),
    (["import no_such_module"], r"mine\.py, line 1: No module named 'no_such_module'"),
    (["", "x = stepz"], r"mine\.py, line 2: name 'stepz' is not defined"),
    (["Dear reader, this is a letter."], r"mine\.py, line 1: "),
    (["steps = 3"], r"mine\.py: has no function get_config\(\)"),
    (["def get_config():", "  pass"], r"get_config\(\) returned None.*`return config`"),
    (["def get_config():", "  return {}"], r"get_config\(\) returned a dict"),
    (["def get_config(size):", "  pass"], r"its get_config takes size, but no argument"),
    (
      ["def get_config():", "  raise ValueError('volumes alone.')"],
      r"mine\.py, line 2: volumes alone\.$",
    ),
  ],
)
def test_what_is_wrong_in_a_config_file_is_told_with_its_line(lines, words, tmp_path):
  with pytest.raises(ConfigError, match=words):
    load_config(written(tmp_path, *lines))


def test_an_argument_that_get_config_does_not_take_and_a_missing_file_are_told(tmp_path):
  name = written(tmp_path, "def get_config():", "  pass")
  with pytest.raises(ConfigError, match=r"takes nothing, but ':big' was given"):
    load_config(f"{name}:big")
  with pytest.raises(FileNotFoundError, match=r"no such file \(did you mean '.*mine\.py'\?\)"):
    load_config(str(tmp_path / "mines.py"))
  with pytest.raises(ConfigError, match="is a folder"):
    load_config(str(tmp_path))


def test_a_config_made_from_another_tells_the_place_in_that_one(tmp_path):
  inner = written(tmp_path, "def get_config():", "  return 1 / 0")
  outer = tmp_path / "outer.py"
  lines = ("from jaxseg.config.file import load_config", "def get_config():")
  outer.write_text("\n".join([*lines, f"  return load_config({inner!r})"]))
  with pytest.raises(ConfigError, match=r"mine\.py, line 2"):
    load_config(str(outer))
