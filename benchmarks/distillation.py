"""Five folds into one student: python benchmarks/distillation.py [--seeds=0,1,2] [--steps=300]

Trains what is missing of configs/hippocampus_distillation.py (five teachers, then for each seed the
student, the same student without teachers, and a small one of each), scores 40 cases that no one
has learnt from, and prints the table; given again it goes on where it stopped. Runs and rows lie
in --folder; a row is kept with what it was trained with, and measured again where that is another.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from run_rows import config_sum
from short_runs import ROOT, keep, rows

from jaxseg import files

CONFIG = "configs/hippocampus_distillation.py"
FOLDS, SEED = 5, 2026
SIZES = ("same", "small")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "runs" / "distillation")
  parser.add_argument("--seeds", default="0,1,2")
  parser.add_argument("--steps", type=int, help="of every training; default: the config's")
  parser.add_argument("--table", action="store_true", help="print what is there, train nothing")
  asked = parser.parse_args()
  folder, seeds = asked.folder.resolve(), [int(seed) for seed in asked.seeds.split(",")]
  steps = () if asked.steps is None else (f"--config.steps={asked.steps}",)
  done = folder / "rows.json"
  if not asked.table:
    teachers, splits = folder / "teachers", folder / "splits.json"
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(splits, folds_of_the_rest())
    train(f"teachers={splits}", teachers, *steps, "--fold=all")
    folds = [teachers / f"fold_{fold}" for fold in range(FOLDS)]
    measure(done, "ensemble", folds)
    for fold in folds:
      measure(done, f"one fold/{fold.name}", [fold])
    for size in SIZES:
      for seed in seeds:
        for name, argument in (("student", f"student={teachers},"), ("alone", "")):
          run = folder / f"{name}_{size}_{seed}"
          train(f"{argument}size={size}", run, *steps, f"--config.seed={seed}")
          measure(done, f"{name}/{size}/{seed}", [run])
  print(table(rows(done)))


def sides():
  """The names of the cases that train, and of those that are scored at the end."""
  from jaxseg import feeding
  from jaxseg.compose import complete
  from jaxseg.config.file import load_config

  config = complete(load_config(str(ROOT / CONFIG)))
  source = feeding.source_of(config)
  return source, feeding.divided(config, source)


def folds_of_the_rest() -> list[dict[str, list[str]]]:
  """Five folds of the cases that train, as nnU-Net's splits_final.json has them."""
  from jaxseg.data.splits import kfold

  cases = sides()[1].train
  parts = (kfold(cases, fold=fold, folds=FOLDS, seed=SEED) for fold in range(FOLDS))
  return [{"train": list(train), "val": list(validation)} for train, validation in parts]


def train(argument: str, workdir: pathlib.Path, *flags: str) -> None:
  """Trains a run to its end, or goes on with it; one that is finished takes some seconds."""
  if "--fold=all" not in flags and finished(workdir):
    if words := outdated(argument, workdir, flags):
      sys.exit(f"{workdir}: {words}; give another --folder, or move this run away.")
    return
  command = [sys.executable, "train.py", f"--config={CONFIG}:{argument}", f"--workdir={workdir}"]
  print(f"{time.strftime('%H:%M')} {' '.join(command[1:])} {' '.join(flags)}", flush=True)
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  if subprocess.run([*command, *flags], cwd=ROOT, env=environment, check=False).returncode:
    sys.exit(f"{workdir}: the training failed; give the command again to go on.")
  if "--fold=all" not in flags and not finished(workdir):
    sys.exit(f"{workdir}: stopped before its end; give the command again to go on.")


def finished(workdir: pathlib.Path) -> bool:
  from jaxseg.runs import folds
  from jaxseg.runs.folder import CONFIG as FILE
  from jaxseg.runs.folder import read_config

  return (workdir / FILE).is_file() and folds.finished(workdir, read_config(workdir)["steps"])


def outdated(argument: str, workdir: pathlib.Path, flags) -> str:
  """How the config of a run that is there differs from what it would be now; "" if it doesn't."""
  from jaxseg.compose import complete
  from jaxseg.config.file import load_config
  from jaxseg.runs import same_run
  from jaxseg.runs.folder import read_config

  before, config = read_config(workdir), load_config(f"{ROOT / CONFIG}:{argument}")
  for flag in flags:
    name, _, value = flag.removeprefix("--config.").partition("=")
    config[name] = int(value)
  differing = same_run.differences(before, complete(config), same_run.RESUME)
  if before["steps"] != config.steps:
    differing["steps"] = (before["steps"], config.steps)
  # the whole folder may have been moved
  differing.pop("networks.teacher.runs", None)
  return same_run.sentence(differing)


def measure(done: pathlib.Path, name: str, runs: list[pathlib.Path]) -> None:
  """Adds a row: the mean Dice of the cases that are scored, by class and of both."""
  from jaxseg.runs.folder import read_config, steps_done

  configs = [read_config(run) for run in runs]
  trained = {"runs": [str(run) for run in runs], "steps": [steps_done(run) for run in runs]}
  trained["configs"] = [config_sum(config) for config in configs]
  before = rows(done).get(name, {})
  if {key: before.get(key) for key in trained} == trained:
    return
  if any(done < of["steps"] for done, of in zip(trained["steps"], configs, strict=True)):
    sys.exit(f"{name}: is not trained to its end; give the command again to go on.")
  begin = time.process_time()
  dice = score(runs)
  seconds = time.process_time() - begin
  row = {**trained, "dice": dice, "cpu_seconds": seconds, "parameters": parameters(runs[0])}
  keep(done, name, row)


def score(runs: list[pathlib.Path]) -> dict[str, float]:
  """Class -> mean Dice over cases on their own grid, and their "mean"."""
  import jax
  import numpy as np

  from jaxseg.inference.segmentation import segment
  from jaxseg.runs import load

  jax.clear_caches()
  source, divided = sides()
  model = load.load(runs)
  labels, table = model.described.labels, {}
  for case in divided.validation:
    raw = source.read(case)
    predicted = segment([model.configuration], raw, case).labels
    for name, value in zip(labels.scored, labels.stored_values[1:], strict=True):
      a, b = predicted == value, raw.label == value
      # every case has both parts
      table.setdefault(name, []).append(2 * np.sum(a & b) / (np.sum(a) + np.sum(b)))
  means = {name: float(np.mean(values)) for name, values in table.items()}
  return {**means, "mean": statistics.fmean(means.values())}


def parameters(run: pathlib.Path) -> int:
  import jax

  from jaxseg.runs import checkpoint

  params = checkpoint.load_learners(run)["network"].params
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def table(measured: dict[str, dict]) -> str:
  """Markdown: what predicts, its parameters, Dice (mean and deviation of the seeds)."""
  lines = [
    "| what predicts | parameters | runs | Dice | to the ensemble |",
    "|---|---|---|---|---|",
  ]
  whole = measured.get("ensemble", {}).get("dice", {}).get("mean")
  groups: dict[str, list[dict]] = {}
  for name, row in measured.items():
    group = name if name == "ensemble" else name.rpartition("/")[0]
    groups.setdefault(group, []).append(row)
  words = {"ensemble": "five folds together", "one fold": "one of them alone"}
  for size in SIZES:
    words[f"student/{size}"] = f"student, {size} size"
    words[f"alone/{size}"] = f"the same without teachers, {size} size"
  for group, what in words.items():
    if of := groups.get(group):
      dice = [row["dice"]["mean"] for row in of]
      spread = f" ± {statistics.stdev(dice):.4f}" if len(dice) > 1 else ""
      mean, count = statistics.fmean(dice), of[0]["parameters"] * len(of[0]["runs"])
      apart = "" if whole is None else f"{mean - whole:+.4f}"
      lines.append(f"| {what} | {count:,} | {len(of)} | {mean:.4f}{spread} | {apart} |")
  return "\n".join(lines)


if __name__ == "__main__":
  main()
