"""Damages every kind of file of a run, its prepared set, plans and splits: who notices, and how.

A tiny 2D run is trained twice (12 steps), once whole and once stopped after step 9. Each trial
copies it, damages one file and gives one verb: resume (train again), predict, report, find-best, or
a reader of plans. Right is: named (one sentence with the file, and no success), fallback (the right
final bits, and a line about the file), or unaffected (the right bits: the file is not used by that
verb, or made again). Wrong is: silent (other bits without a word), traceback, unclear (no file).

Run: python benchmarks/trust_damage.py [--only WORDS]     (under ten minutes on two cores)
Exits with 1 if any trial is wrong; prints the wrong ones, and a table by group.
"""

import argparse
import collections
import contextlib
import io
import json
import logging
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import traceback
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from trust_damage_trials import Trial, trials

from jaxseg import defaults, loop, program, sealed
from jaxseg.build import build, plain
from jaxseg.data import SOURCES, SPLITS, write_image
from jaxseg.experiment import experiment
from jaxseg.planning import nnunet_files, nnunet_plans
from jaxseg.planning import planned_config as planned
from jaxseg.runs import checkpoint, folds
from jaxseg.runs import folder as run_folder
from jaxseg.runs.display import Display
from jaxseg.verbs import find_best, predict, report

RIGHT, WRONG = ("named", "fallback", "unaffected"), ("silent", "traceback", "unclear")
_LONGEST = 900


def config(prepared):
  made = defaults.config()
  made.steps, made.average = 12, 0.9
  made.network = dict(name="unet", widths=(4, 8))
  made.data.source = dict(name="phantom", cases=10, size=(32, 32))
  made.data.patch, made.data.batch, made.data.folder = (32, 32), 2, str(prepared)
  made.log_every, made.checkpoint_every, made.evaluate.every = 2, 3, 4
  made.evaluate.probabilities = True
  made.predictor.batch = 1
  return made


def train(workdir, **changes):
  """What the verb does, in this process."""
  made = config(workdir.parent / "prepared")
  made.update_from_flattened_dict(changes)
  folds.check_alone(workdir)
  run_folder.check_same(workdir, plain(made))
  return loop.train(experiment(made), workdir)


@contextlib.contextmanager
def stopped_after(step: int):
  """Sends the process SIGTERM when the run has made a number of steps."""
  advance, done = Display.advance, []

  def counted(self, steps=1):
    advance(self, steps)
    done.append(steps)
    if len(done) == step:
      os.kill(os.getpid(), signal.SIGTERM)

  Display.advance = counted
  try:
    yield
  finally:
    Display.advance = advance


class Once:
  """The compiled step of the one config: tracing it anew takes most of a trial's time."""

  def __init__(self):
    self.made, self.compile = None, program.compile_step

  def __call__(self, *arguments):
    if self.made is None:
      self.made = self.compile(*arguments)
    return self.made


def bits(folder) -> dict[str, bytes]:
  """All that a trained run must have, to compare: weights, scores, segmentations, curves."""
  found = {}
  for kind in (checkpoint.LATEST, checkpoint.BEST):
    kept = checkpoint.Checkpoints(folder, kind)
    found[f"{kind} step"] = str(kept.steps[:1]).encode()
    for name, array in kept.arrays(kept.steps[0]).items():
      found[f"{kind} {name}"] = np.asarray(array).tobytes()
  told = sealed.read(folder / "report.json", what="the report", advice="")
  found["report"] = json.dumps(told, sort_keys=True).encode()
  for file in sorted((folder / "validation").glob("*.nii.gz")):
    found[file.name] = file.read_bytes()
  rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
  speed = ("images_per_second", "data_wait")
  kept = [{k: v for k, v in row.items() if k not in speed} for row in rows]
  found["metrics"] = json.dumps(kept).encode()
  for name in ("config.json", "dataset.json"):
    told = sealed.read(folder / name, what=name, advice="")
    told.get("data", {}).pop("folder", None)
    found[name] = json.dumps(told, sort_keys=True).encode()
  return found


def act(home, verb: str, **changes):
  """Gives the verb; returns what is to be compared."""
  run, out = home / "run", home / "out"
  if verb == "resume":
    train(run, **changes)
    return bits(run)
  if verb == "predict":
    predict.main(["--workdir", str(run), "--input", str(home / "scan"), "--output", str(out)])
    return {file.name: file.read_bytes() for file in out.glob("*.nii.gz")}
  if verb == "report":
    return {"numbers": json.dumps(report.report(run, out), sort_keys=True).encode()}
  if verb == "find-best":
    told = find_best.find_best([run], out)
    return {"numbers": json.dumps([told["dice"], told["classes"], told["cases"]]).encode()}
  plans = home / "plans"
  return {
    "plan": repr(nnunet_plans.read_plan(plans / "nnUNetPlans.json")).encode(),
    "fingerprint": repr(nnunet_files.read_fingerprint(plans / "dataset_fingerprint.json")).encode(),
    "splits": repr(
      SPLITS["file"](phantom(10).cases, path=str(plans / "splits_final.json"))
    ).encode(),
  }


def phantom(cases: int, **options):
  spec = {"name": "phantom", "cases": cases, "size": (32, 32), **options}
  return build(SOURCES, spec, "data.source")


class Heard:
  """All that a trial printed, logged or warned."""

  def __enter__(self):
    self.text = io.StringIO()
    self._stack = contextlib.ExitStack()
    self._stack.enter_context(contextlib.redirect_stdout(self.text))
    self._stack.enter_context(contextlib.redirect_stderr(self.text))
    self._stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("always")
    self._handler = logging.StreamHandler(self.text)
    logging.getLogger().addHandler(self._handler)
    return self

  def __exit__(self, *error):
    logging.getLogger().removeHandler(self._handler)
    self._stack.close()


def outcome(trial: Trial, home, expected) -> tuple[str, str]:
  """(class, words)."""
  with Heard() as heard:
    try:
      got, error = act(home, trial.verb, **(trial.changes or {})), None
    except (ValueError, OSError, loop.Diverged) as problem:
      got, error = None, str(problem)
    except SystemExit as problem:
      got, error = None, str(problem.code)
    except BaseException as problem:
      if isinstance(problem, KeyboardInterrupt):
        raise
      frame = traceback.extract_tb(problem.__traceback__)[-1]
      return "traceback", f"{type(problem).__name__}: {problem} ({frame.filename}:{frame.lineno})"
  text = heard.text.getvalue()
  if "Traceback (most recent" in text:
    return "traceback", text[-300:]
  name = trial.named or pathlib.Path(trial.file).name
  if error is not None:
    one = name in error and len(error) < _LONGEST and "\n" not in error.strip()
    return ("named" if one else "unclear"), error
  # where a set lies is told always
  spoken = [line for line in text.splitlines() if not line.startswith("prepared data set: ")]
  lines = [line for line in spoken if name in line]
  good = any(got == of for of in expected)
  if not good:
    different = [key for key in expected[0] if got.get(key) != expected[0][key]]
    if lines and trial.may_differ and set(different) <= set(trial.may_differ):
      return "fallback", lines[0]
    return "silent", f"other {', '.join(different)[:200]}; said: {' / '.join(lines)[:300]}"
  return ("fallback", lines[0]) if lines else ("unaffected", "")


def make_base(base) -> dict[str, list]:
  """The run, whole and stopped; returns what each verb gives for each of them."""
  source = phantom(1, seed=9)
  raw = source.read(source.cases[0])
  (base / "scan").mkdir(parents=True)
  write_image(base / "scan" / "scan.npy", raw.image, raw.geometry)
  planned.write_plans(
    phantom(10),
    base / "plans",
    ("default",),
    workers=1,
  )
  train(base / "whole")
  with stopped_after(9):
    train(base / "stopped")
  expected = {}
  for state, verbs in {
    "whole": ("resume", "predict", "report", "find-best", "plans"),
    "stopped": ("resume", "predict"),
  }.items():
    for verb in verbs:
      home = copied(base, state)
      expected[state, verb] = [act(home, verb)]
      shutil.rmtree(home)
  # the checkpoint before is as good, if it is told
  home = copied(base, "stopped")
  newest = max(int(path.name) for path in (home / "run" / "checkpoints").iterdir())
  shutil.rmtree(home / "run" / "checkpoints" / str(newest))
  expected["stopped", "predict"].append(act(home, "predict"))
  shutil.rmtree(home)
  # a run that goes on has the bits of one that was never stopped
  if expected["stopped", "resume"] != expected["whole", "resume"]:
    sys.exit("the resumed run is not the uninterrupted one; nothing else can be judged.")
  return expected


def copied(base, state: str) -> pathlib.Path:
  home = base / "trial"
  shutil.rmtree(home, ignore_errors=True)
  home.mkdir()
  shutil.copytree(base / state, home / "run")
  for name in ("prepared", "plans", "scan"):
    shutil.copytree(base / name, home / name)
  return home


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--only", default="", help="trials whose name holds these words")
  parser.add_argument("--verbose", action="store_true", help="what was said in each trial")
  given = parser.parse_args()
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
  program.compile_step = Once()
  counts, wrong = collections.defaultdict(collections.Counter), []
  with tempfile.TemporaryDirectory() as folder:
    base = pathlib.Path(folder)
    with Heard():
      expected = make_base(base)
    for trial in trials(base):
      name = f"{trial.group}: {trial.verb}, {trial.state}, {trial.file} {trial.what}"
      if given.only not in name:
        continue
      home = copied(base, trial.state)
      trial.damage(home)
      kind, said = outcome(trial, home, expected[trial.state, trial.verb])
      counts[trial.group][kind] += 1
      said = " ".join(said.replace(str(home), "").split())
      if kind in WRONG:
        wrong.append(f"{kind}: {name}: {said}")
      if given.verbose or kind in WRONG:
        print(f"{kind:10} {name}: {said[:400]}", flush=True)
      shutil.rmtree(home, ignore_errors=True)
  heads = (*RIGHT, *WRONG)
  print("\n| group | trials | " + " | ".join(heads) + " |")
  print("|---" * (len(heads) + 2) + "|")
  for group, of in (*counts.items(), ("all", sum(counts.values(), collections.Counter()))):
    print(f"| {group} | {of.total()} | " + " | ".join(str(of[kind]) for kind in heads) + " |")
  sys.exit(1 if wrong else 0)


if __name__ == "__main__":
  main()
