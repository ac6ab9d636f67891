"""Mistakes in configs and commands: each must be one clear sentence before anything is done.

Run: python benchmarks/trust_mistakes.py (about four minutes of two cores; --kind WORD for a part).
A mistake is told right if the verb ends with exit code 1 or 2, prints one line that names the field
or option, the value and what was expected, no traceback, and nothing was written: no prepared set,
no plan, no run folder. Right commands stand among them, which a check that refuses everything
fails. Prints a table by kind; exits with 1 if one is wrong.
"""

import argparse
import collections
import contextlib
import io
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["TQDM_DISABLE"] = "1"

from trust_mistakes_list import CONTROLS, FILES, MISTAKES

from jaxseg import __main__ as command
from jaxseg import loop
from jaxseg.planning import planned_config  # noqa: F401  (imported once, before the forks)
from jaxseg.verbs import augment, convert, describe, evaluate, plan, predict, train  # noqa: F401

ROOT = pathlib.Path(__file__).parents[1]
PATIENCE = 120


def workplace(folder: pathlib.Path) -> None:
  """What the mistakes are made with: configs, a file, folders of masks, and a trained run."""
  for name, text in FILES.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
  shutil.copytree(ROOT / "configs", folder / "configs")
  words = ["convert", "--config=tiny.py", "--output=set", "--cases=all"]
  code, said, _ = call(folder, words, stub=False)
  assert code == 0, said
  shutil.copytree(folder / "set/labelsTr", folder / "masks")
  code, said, _ = call(folder, ["train", "--config=tiny.py", "--workdir=run"], stub=False)
  assert code == 0, said


def listing(folder: pathlib.Path) -> set[str]:
  return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def call(folder, arguments, *, stub: bool = True) -> tuple[int, str, bool]:
  """(exit code, what was said, whether the end was reached) of a verb in a process of its own.

  With `stub` a training ends where it would begin, its experiment built.
  """
  out = folder.parent / f"{folder.name}.{os.getpid()}.out"
  with warnings.catch_warnings():
    # no backend of JAX has started in this process
    warnings.simplefilter("ignore")
    child = os.fork()
  if child == 0:
    _child(folder, arguments, out, stub)
  began = time.monotonic()
  while True:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
      break
    if time.monotonic() - began > PATIENCE:
      os.kill(child, signal.SIGKILL)
    time.sleep(0.01)
  text = out.read_text(encoding="utf-8", errors="replace")
  out.unlink()
  return os.waitstatus_to_exitcode(status), text, "TRAINING BEGINS" in text


def _child(folder, arguments, out, stub: bool) -> None:
  code = 99
  os.chdir(folder)
  with open(out, "w", encoding="utf-8") as stream:
    for number in (1, 2):
      os.dup2(stream.fileno(), number)
  sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding="utf-8", write_through=True)
  sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), encoding="utf-8", write_through=True)
  if stub:
    loop.train = lambda run, workdir: print("TRAINING BEGINS") or {"step": 0}
  try:
    sys.argv = ["jaxseg", *arguments]
    command.main()
    code = 0
  except SystemExit as end:
    code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
  except BaseException:
    traceback.print_exc()
  os._exit(code)


def wrong(code: int, said: str, words, new: set[str]) -> str | None:
  """What is wrong in how a mistake was told; None where nothing is."""
  lines = [line for line in said.splitlines() if line.strip()]
  if "Traceback" in said:
    return "a traceback"
  if code not in (1, 2):
    return f"exit code {code}"
  if len(lines) != 1:
    return f"{len(lines)} lines"
  if len(said) > 900 or not said.rstrip().endswith("."):
    return "no sentence"
  missing = [word for word in words if word.lower() not in said.lower()]
  if missing:
    return f"without {missing}"
  return f"wrote {sorted(new)[:3]}" if new else None


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--kind", default="", help="only kinds with this word in their names")
  parser.add_argument("--say", action="store_true", help="print every sentence")
  wanted = parser.parse_args()
  began = time.monotonic()
  with tempfile.TemporaryDirectory() as temporary, contextlib.suppress(KeyboardInterrupt):
    folder = pathlib.Path(temporary) / "work"
    folder.mkdir()
    workplace(folder)
    before = listing(folder)
    tally = collections.defaultdict(collections.Counter)
    for kind, text, *words in MISTAKES:
      if wanted.kind not in kind:
        continue
      code, said, _ = call(folder, _words(text))
      new = listing(folder) - before
      fault = wrong(code, said, words, new)
      tally[kind]["tried"] += 1
      tally[kind]["right"] += fault is None
      if fault or wanted.say:
        print(f"{'WRONG: ' + fault if fault else 'right'}: {text}\n    {said.strip()[-1200:]}")
      before |= new
    for text in CONTROLS if wanted.kind in "right commands" else ():
      code, said, reached = call(folder, _words(text))
      good = code == 0 and (reached or not text.startswith("train"))
      tally["right commands"]["tried"] += 1
      tally["right commands"]["right"] += good
      if not good:
        print(f"WRONG: refused (exit code {code}): {text}\n    {said.strip()[-1200:]}")
  print(f"\n{'kind':<44}{'tried':>7}{'right':>7}")
  for kind, row in tally.items():
    print(f"{kind:<44}{row['tried']:>7}{row['right']:>7}")
  told = [row for kind, row in tally.items() if kind != "right commands"]
  tried, right = (sum(row[of] for row in told) for of in ("tried", "right"))
  print(f"{'all mistakes':<44}{tried:>7}{right:>7}")
  print(f"{time.monotonic() - began:.0f} s")
  if any(row["tried"] != row["right"] for row in tally.values()):
    sys.exit(1)


def _words(text) -> list[str]:
  """A command's words; those with spaces are written with a bar in place of each."""
  return [word.replace("|", " ") for word in text.split()]


if __name__ == "__main__":
  main()
