"""The command line starts quickly: what takes long to import is imported where it is used."""

import os
import subprocess
import sys

HELP = """
import sys, contextlib, io
from jaxseg.__main__ import VERBS, main
for words in {words}:
  sys.argv = ["jaxseg", *words, "--help"]
  with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
    main()
  assert "usage: jaxseg" in told.getvalue(), words
print(*sorted(name for name in {names} if name in sys.modules))
"""


def imported(words: str, names: tuple[str, ...]) -> list[str]:
  """Which of the modules a fresh process has imported when it has told the help of the verbs."""
  program = HELP.format(words=words, names=names)
  told = subprocess.run(
    [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True
  )
  return told.stdout.split()


def test_help_needs_no_jax():
  assert imported("[[]]", ("jax", "flax", "orbax", "orbax.checkpoint", "nibabel", "scipy")) == []


def test_the_help_of_a_verb_needs_nothing_that_only_its_work_does():
  # train has absl's help
  verbs = '[[verb] for verb in VERBS if verb != "train"]'
  heavy = ("orbax.checkpoint", "grain", "SimpleITK", "h5py", "scipy.stats", "matplotlib")
  assert imported(verbs, (*heavy, "tensorflow_datasets")) == []
