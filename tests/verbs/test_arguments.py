"""The verbs' parser: one sentence for what it does not take, and folders looked at, not made."""

import os
import subprocess
import sys
import warnings

import pytest

from jaxseg.config.ranges import COUNT, POSITIVE
from jaxseg.verbs.arguments import Parser, add_config, check_folder, number, parse, warn_in_words


@pytest.fixture
def parser():
  made = Parser(prog="jaxseg draw")
  add_config(made)
  made.add_argument("--draws", type=number(int, COUNT))
  made.add_argument("--spacing", type=number(float, POSITIVE), nargs=2)
  return made


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["--draws=0"], "draw: --draws: 0: expected a whole number from 1;"),
    (["--draws=many"], "draw: --draws: many: expected a whole number from 1;"),
    (["--draws=1.5"], "draw: --draws: 1.5: expected a whole number from 1;"),
    (["--spacing", "0", "1"], "draw: --spacing: 0: expected a number above 0;"),
    (["--spacing", "nan", "1"], "draw: --spacing: nan: expected a number above 0;"),
    (["--draw=3"], "draw: --draw: no such option (did you mean '--draws'?);"),
    (["more"], "draw: more: unexpected argument;"),
    (["--draws=3"], "draw: --config=FILE is missing;"),
  ],
)
def test_what_is_wrong_is_one_sentence(words, sentence, parser, capsys):
  with pytest.raises(SystemExit) as ended:
    parse(parser, words)
  told = capsys.readouterr().err
  assert ended.value.code == 2
  assert told == f"{sentence} jaxseg draw --help tells the options.\n"


def test_a_config_and_the_verbs_own_options_come_apart(parser, tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from jaxseg import defaults\n\n\ndef get_config():\n  return defaults.config()\n"
  )
  words = [f"--config={file}", "--config.steps=3", "--draws", "4", "--spacing", "1e-3", "2"]
  wanted, config = parse(parser, words)
  assert (config.steps, wanted.draws, wanted.spacing) == (3, 4, [0.001, 2.0])
  with pytest.raises(SystemExit, match=r"^draw: config\.stepz: no such field"):
    parse(parser, [f"--config={file}", "--config.stepz=3"])


def test_a_folder_that_cannot_be_is_told_and_none_is_made(tmp_path):
  check_folder(tmp_path / "new" / "run", "--workdir")
  assert not list(tmp_path.iterdir())
  file = tmp_path / "note.txt"
  file.touch()
  with pytest.raises(ValueError, match=r"^--workdir .*note\.txt: is a file"):
    check_folder(file, "--workdir")
  with pytest.raises(ValueError, match=r"^--workdir .*run: lies in .*note\.txt, which is a file"):
    check_folder(file / "run", "--workdir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path):
  tmp_path.chmod(0o500)
  with pytest.raises(ValueError, match="no right to write"):
    check_folder(tmp_path / "run", "--workdir")


def test_a_warning_is_one_line_without_a_place(monkeypatch, recwarn):
  monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
  warn_in_words()
  place = ("file.py", 3)
  assert warnings.formatwarning(UserWarning("a b"), UserWarning, *place) == "Warning: a b\n"
  assert "file.py:3" in warnings.formatwarning(RuntimeWarning("a"), RuntimeWarning, *place)


@pytest.mark.parametrize("program", ["pass", "absl.logging.use_absl_handler()"])
def test_what_is_logged_is_a_sentence_too(program):
  lines = (
    "import logging, absl.logging, absl.flags",
    "from jaxseg.verbs.arguments import warn_in_words",
    "warn_in_words()",
    "absl.flags.FLAGS(['train'])",
    program,
    "logging.warning('It is %s.', 'so')",
    "logging.getLogger('a.library').error('It failed.')",
  )
  run = subprocess.run(
    (sys.executable, "-c", "\n".join(lines)), capture_output=True, text=True, check=True
  )
  assert run.stderr == "Warning: It is so.\nError: It failed.\n"
