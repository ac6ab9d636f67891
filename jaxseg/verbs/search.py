"""search: tries what config.search says and tells the best: a resumable search of runs."""

import argparse
import os
import sys

from jaxseg.config.ranges import COUNT, FROM_0
from jaxseg.verbs.arguments import Parser, add_config, check_folder, number, parse
from jaxseg.verbs.train import LEFT


def _parser() -> argparse.ArgumentParser:
  parser = Parser(prog="jaxseg search", description=__doc__)
  add = parser.add_argument
  add("--workdir", required=True, help="the search's folder; one that it holds goes on")
  whole = number(int, COUNT)
  add("--jobs", type=whole, default=1, help="trials at the same time; the cores are divided")
  add(
    "--gpus",
    type=number(int, FROM_0),
    nargs="+",
    default=[],
    metavar="N",
    help="devices, each job's in turn",
  )
  add(
    "--retry",
    action="store_true",
    help="runs trials that failed (out of memory, a crash) once more; fewer --jobs leave each more "
    "memory",
  )
  add("--list", action="store_true", help="tells the space and the first trials alone")
  add_config(parser)
  return parser


def main(arguments: list[str]) -> None:
  flags, config = parse(_parser(), arguments)
  try:
    check_folder(flags.workdir, "--workdir")
    _stay_on_host()
    from jaxseg.search import search as searching
    from jaxseg.search.plan import plan
    from jaxseg.search.strategies import most_at_once

    made = plan(config)
    most = most_at_once(made.spec["strategy"])
    if most is not None and flags.jobs > most:
      raise ValueError(
        f"--jobs {flags.jobs}: strategy '{made.spec['strategy']['name']}' waits for the results of "
        f"{most} trial(s) at a time; expected {most} or fewer, or "
        f"--config.search.strategy.at_once={flags.jobs}."
      )
    for sentence in (_beginning(made), *made.notes):
      _say(sentence)
    if flags.list:
      return
    options = {"jobs": flags.jobs, "gpus": flags.gpus, "retry": flags.retry}
    best = searching.search(made, flags.workdir, **options, say=_say)
  except (ValueError, OSError) as error:
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    sys.exit(f"search: {error}")
  if best is None:
    sys.exit(LEFT)
  _say(_ending(made, best, flags.workdir))


def _say(text: str) -> None:
  print(text, flush=True)


def _stay_on_host() -> None:
  """The accelerators are for the trials: this process alone would take their memory."""
  import jax

  jax.config.update("jax_platforms", "cpu")


def _beginning(made) -> str:
  """The space, and what is held back."""
  from jaxseg.search.parameters import values
  from jaxseg.search.report import fields_text

  size = f"{made.space.size:,.0f}" if made.space.size < float("inf") else "infinitely many"
  split = made.config["data"]["split"]
  proposals = next(made.strategy())
  shown = [f"  {fields_text(values(made.space, of.candidate))}" for of in proposals[:3]]
  return "\n".join(
    [
      f"{len(made.space.parameters)} parameters, {size} candidates; scored by {made.metric} on "
      f"{made.score_cases} of the training cases, {len(split['train'])} train; "
      f"{len(made.test)} cases are held back.",
      "The first trials:",
      *shown,
    ]
  )


def _ending(made, best, workdir) -> str:
  from jaxseg.search import report
  from jaxseg.search.trials import trial_name

  warned = "".join(f"{sentence}\n" for sentence in report.new_warnings(trial_name(best), best, {}))
  return (
    f"Best of the search: trial {best['number']}, {report.outcome(best, made.metric)}: "
    f"{report.fields_text(best['fields'])}\n{warned}"
    f"Report: {workdir}/{report.PAGE}\n"
    f"To train it on the config's own split: python train.py --config={workdir}/best.py "
    "--workdir=FOLDER"
  )
