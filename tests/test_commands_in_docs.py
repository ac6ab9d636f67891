"""Commands that pages show: programs, verbs and options that there are, configs that load."""

import importlib
import pathlib
import re
import runpy
import shlex
import sys

import pytest

from jaxseg.__main__ import VERBS
from jaxseg.config.file import load_config

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("domains", "synthesis", "search", "search_cells")
# configs of the reader's own, and of runs
OTHERS = ("my_config.py", "runs/")


def commands(page: str) -> list[list[str]]:
  """The words of every command, of blocks and within the text."""
  text = (ROOT / "docs" / f"{page}.md").read_text().replace("\\\n", " ")
  blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
  lines = [line for kind, of in blocks if kind in ("", "sh", "bash") for line in of.splitlines()]
  # a span may go on in the next line
  spans = re.findall(r"`([^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
  every = [" ".join(one.split()) for one in (*lines, *spans)]
  return [shlex.split(one, comments=True) for one in every if re.match(r"(python|jaxseg) ", one)]


def told(capsys, call) -> str:
  """What --help says."""
  with pytest.raises(SystemExit) as ended:
    call()
  assert ended.value.code in (0, None)
  return capsys.readouterr().out


def options(words: list[str]) -> set[str]:
  flags = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
  return {flag for flag in flags if flag.split(".")[0] != "--config"}


def check_config(words: list[str]) -> None:
  for word in words:
    if (file := word.removeprefix("--config=")) != word and not file.startswith(OTHERS):
      load_config(str(ROOT / file))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one(page, capsys, monkeypatch):
  shown = commands(page)
  assert len(shown) > 3
  monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
  for words in shown:
    check_config(words)
    rest = (
      words[1:] if words[0] == "jaxseg" else words[3:] if words[1:3] == ["-m", "jaxseg"] else ()
    )
    if rest:
      assert rest[0] in VERBS, words
      verb = importlib.import_module(f"jaxseg.verbs.{rest[0].replace('-', '_')}")
      known = told(capsys, lambda verb=verb: verb.main(["--help"])) if rest[0] != "train" else ""
      missing = [flag for flag in options(rest) if flag not in known]
      assert not missing or rest[0] == "train", words
    elif words[1] != "train.py":
      file = ROOT / words[1]
      monkeypatch.setattr(sys, "argv", [words[1], "--help"])
      known = told(capsys, lambda file=file: runpy.run_path(str(file), run_name="__main__"))
      assert all(flag in known for flag in options(words)), words
