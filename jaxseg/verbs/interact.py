"""interact: prompts in, segmentations out: a file of prompts is played, or a user is simulated."""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.config import domains
from jaxseg.config.ranges import COUNT, PART, Range
from jaxseg.data import RawCase
from jaxseg.data.formats.images import ENDINGS, read_label
from jaxseg.data.sources.case_files import LEGEND, CaseFiles
from jaxseg.data.sources.case_files import find_cases as find_scans
from jaxseg.data.sources.source import on_image_grid
from jaxseg.evaluation.folders import find_cases as find_labels
from jaxseg.evaluation.interactive import Played, follow, simulate, summarise
from jaxseg.evaluation.reporting import as_json
from jaxseg.inference.segmentation import Segmentation
from jaxseg.inference.writing import write
from jaxseg.interaction import record, session
from jaxseg.interaction.places import SHOWN_AS
from jaxseg.interaction.threshold import HALF, at_threshold
from jaxseg.runs import checkpoint
from jaxseg.runs.interactive import Run, open_run
from jaxseg.verbs.arguments import Parser, number
from jaxseg.verbs.fine_tuning import add_options, tuning_of
from jaxseg.verbs.predict import check_output, read

REPORT = "interact.json"
INSIDE = Range("above 0, below 1", 0, 1, inside=True, below=True)


class Work(NamedTuple):
  """A scan and what is to be done to it; None is not given."""

  case: CaseFiles
  prompts: pathlib.Path | None
  label: pathlib.Path | None


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg interact",
    description="Segments scans with a run that was trained with prompts. A file of prompts in the "
    "scan's own voxels or millimetres is played, or a user is simulated who clicks into the middle "
    "of the largest error. Output: segmentations in the scan's own geometry, and interact.json "
    "with the time of each answer and, where there are labels, how good each of them is.",
  )
  add = parser.add_argument
  add("run", nargs="+", type=pathlib.Path, metavar="RUN", help="a run folder, or one of folds")
  add("--input", required=True, type=pathlib.Path, help="a scan or a folder of scans")
  add("--output", required=True, type=pathlib.Path, help="folder for the segmentations")
  add(
    "--prompts",
    type=pathlib.Path,
    metavar="JSON",
    help="a file of prompts, or a folder with one for each scan, called as it is",
  )
  add("--label", type=pathlib.Path, metavar="FILE", help="a label file, or a folder with them")
  add("--simulate", type=number(int, COUNT), metavar="N", help="clicks of a simulated user")
  add(
    "--class",
    dest="only",
    metavar="NAME",
    help="the simulated user looks at this class alone; what is wrongly taken for it is clicked as "
    "the class that it has",
  )
  add(
    "--enough",
    type=number(float, PART),
    default=1.0,
    help="IoU at which the simulated user is content; default: 1",
  )
  add(
    "--threshold",
    type=number(float, INSIDE),
    default=HALF,
    help="probability from which on a voxel is foreground, for the simulated user and in what is "
    "written, of runs of one class; default: 0.5, RITM's: 0.49",
  )
  add_options(parser)
  add("--no-automatic", action="store_true", help="begin with background everywhere")
  add("--each-step", action="store_true", help="also write the segmentation after each step")
  add("--overlay", action="store_true", help="also write pictures, image | labels over image")
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--domain", metavar="NAME", help="the stream that the scans are of, as of predict")
  return parser


def _check(wanted) -> None:
  """Raises ValueError for options that are missing or would have no effect."""
  if (wanted.prompts is None) == (wanted.simulate is None):
    what = "are missing" if wanted.prompts is None else "exclude one another"
    raise ValueError(
      f"--prompts, --simulate: {what}; give a file of prompts, or --simulate N with --label."
    )
  if wanted.simulate is not None and wanted.label is None:
    raise ValueError("--simulate: needs --label, which the simulated user goes by.")
  if wanted.prompts is not None:
    usual = {"only": None, "enough": 1.0, "threshold": HALF, "no_automatic": False}
    fields = {"no_automatic": "automatic", "threshold": "threshold"}
    for option, value in usual.items():
      if getattr(wanted, option) != value:
        name = "class" if option == "only" else option.replace("_", "-")
        more = f" (the file's field '{fields[option]}' tells that)" if option in fields else ""
        raise ValueError(f"--{name}: is of --simulate{more}; leave it out.")


def _works(wanted, cases: Mapping[str, CaseFiles]) -> dict[str, Work]:
  """What is to be done to each scan; raises ValueError where its prompts or label are missing."""

  def beside(option: str, path: pathlib.Path | None, known) -> dict[str, pathlib.Path | None]:
    if path is None:
      return dict.fromkeys(cases)
    if not path.exists():
      raise FileNotFoundError(f"--{option} {path}: not found.")
    if path.is_file():
      if len(cases) > 1:
        raise ValueError(
          f"--{option} {path}: is of one scan, but --input has {len(cases)}; give a folder with a "
          "file for each, called as the scan, or one scan."
        )
      return dict.fromkeys(cases, path)
    for name, case in cases.items():
      if case.shared:
        raise ValueError(
          f"--{option} {path}: which of its files is of {case.files[0]} cannot be told: another "
          f"scan of --input is called '{case.shared}', too, and this one is '{name}' here; rename "
          "one, or give each on its own."
        )
    there = known(path)
    lacking = [name for name in cases if name not in there]
    if lacking:
      raise ValueError(
        f"--{option} {path}: holds nothing for the scan '{lacking[0]}'"
        f"{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}; expected files called as "
        "the scans."
      )
    return there

  def json_files(folder):
    return {file.stem: file for file in sorted(folder.glob("*.json"))}

  prompts = beside("prompts", wanted.prompts, json_files)
  labels = beside("label", wanted.label, find_labels)
  return {name: Work(case, prompts[name], labels[name]) for name, case in cases.items()}


def _truth(path: pathlib.Path, run: Run, raw: RawCase) -> tuple[np.ndarray, np.ndarray | None]:
  """(*space) classes of a label file on the scan's grid, and its weight or None."""
  if not path.name.lower().endswith(ENDINGS):
    raise ValueError(f"--label {path}: is no image; expected a label file.")
  values, geometry = read_label(path)
  stored = on_image_grid(values, geometry, raw.geometry, str(path), unless="")
  return run.labels.encode(stored, str(path))


def _one(wanted, run: Run, name: str, work: Work) -> Played:
  """Plays or simulates a scan, and writes what became of it."""
  raw = read(work.case, run.model.described)
  where = str(work.case.files[0])
  told = None
  if work.prompts is not None:
    told = record.read(work.prompts)
    record.check_scan(told, record.identity(raw), work.prompts, where)
    # prompts of trained networks are answered by others where --fine-tune asks for that
    if (then := told.get("fine_tuning")) is not None:
      advice = f"give {record.tuning_options(then)}, or remove the file's field 'fine_tuning'"
      record.check_tuned(told, run.fine_tuning, work.prompts, advice)
  truth, weight = (None, None) if work.label is None else _truth(work.label, run, raw)
  threshold = wanted.threshold if told is None else told.get("threshold", HALF)
  scan = at_threshold(run.scan(raw, where), threshold)

  def keep(state: session.State, ending: str, *, overlay: bool) -> None:
    made = Segmentation(session.labels(scan, state))
    write(wanted.output, f"{name}{ending}", raw, made, run.labels, overlay=overlay)

  def watched(states):
    for step, state in enumerate(states):
      if wanted.each_step:
        keep(state, f"_step{step:02d}", overlay=False)
      yield state

  if told is not None:
    states = watched(record.replay(scan, told, raw.geometry, work.prompts))
    played = follow(scan, states, truth, weight=weight)
  else:
    played = simulate(
      scan,
      truth,
      clicks=wanted.simulate,
      weight=weight,
      automatic=not wanted.no_automatic,
      enough=wanted.enough,
      label=wanted.only,
      where=str(work.label),
    )
    for _ in watched(_states(played.state)):
      pass
  keep(played.state, "", overlay=wanted.overlay)
  recorded = record.record(
    played.state, record.identity(raw), threshold=threshold, fine_tuning=run.fine_tuning
  )
  files.write_json(wanted.output / f"{name}_prompts.json", recorded)
  legend = session.legend(scan, played.state)
  if legend != dict(zip(scan.names, scan.values, strict=True)):
    files.write_json(wanted.output / f"{name}_{LEGEND}", legend)
  return played


def _states(state: session.State):
  """All states of a session, from its beginning on."""
  first = session.reset(state)
  yield first
  for count in range(1, state.at + 1):
    yield session.redo(first, count)


def _unlabelled(cases: Mapping[str, Played]) -> dict[str, Any]:
  return {"cases": {name: {"seconds": one.seconds} for name, one in cases.items()}}


def _check_classes(wanted, names: Sequence[str]) -> None:
  """Raises ValueError for options that don't suit the classes of the run."""
  if wanted.only is not None and wanted.only not in names[1:]:
    raise ValueError(
      f"--class {wanted.only}: the run has no class '{wanted.only}' to be clicked"
      f"{suggestion(wanted.only, names[1:])}; choices: {', '.join(names[1:])}."
    )
  if wanted.threshold != HALF and len(names) != 2:
    raise ValueError(
      f"--threshold {wanted.threshold}: is of runs with one class, but this one tells "
      f"{', '.join(names[1:])} apart, the likeliest of which is seen; leave it out."
    )


def _run(wanted) -> None:
  _check(wanted)
  tuning = tuning_of(wanted)
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  run = open_run(wanted.run, kind=kind, domain=wanted.domain, tuning=tuning)
  told = run.model.described
  if remark := domains.note(told.config, wanted.domain):
    print(f"interact: note: {remark}.", file=sys.stderr)
  if wanted.simulate and "point" not in run.kinds:
    known = [name for name, of in SHOWN_AS.items() if of in run.kinds]
    raise ValueError(
      f"--simulate: clicks, but the run was trained without; it takes {', '.join(known)}."
    )
  _check_classes(wanted, run.labels.names)
  cases, notes = find_scans(
    wanted.input, channels=told.channels, rank=told.rank, output=wanted.output
  )
  for note in notes:
    print(f"interact: note: {note}.", file=sys.stderr)
  works = _works(wanted, cases)
  check_output(wanted.output, cases)
  files.writable_folder(wanted.output, "--output")
  files.write_json(
    wanted.output / LEGEND, dict(zip(run.labels.names, run.labels.stored_values, strict=True))
  )
  done, failures = {}, []
  for name, work in works.items():
    try:
      done[name] = _one(wanted, run, name, work)
    except files.DiskFull:
      raise
    except (ValueError, OSError) as error:
      if len(works) == 1:
        raise
      failures.append(f"interact: {error}")
  if done:
    labelled = all(one.curves for one in done.values())
    report = summarise(done, most=_most(wanted, done)) if labelled else _unlabelled(done)
    report |= {"threshold": wanted.threshold} if wanted.simulate else {}
    report |= {"fine_tuning": tuning._asdict()} if tuning is not None else {}
    files.write_text(wanted.output / REPORT, as_json(report))
    print(_words(wanted, report, len(done), labelled))
  if failures:
    if len(works) > 1:
      failures.append(f"interact: {len(failures)} of {len(works)} scan(s) failed, see above.")
    sys.exit("\n".join(failures))


def _most(wanted, cases: Mapping[str, Played]) -> int:
  """Clicks that were allowed, or the most steps that were played; at least 1."""
  steps = (len(curve) - 1 for one in cases.values() for curve in one.curves["dice"].values())
  return wanted.simulate or max(1, *steps)


def _words(wanted, report, count: int, labelled: bool) -> str:
  written = f"{count} scan(s) written to {wanted.output}, with {REPORT}"
  if not labelled:
    return written
  dice = ", ".join(f"{n}: {of['mean']:.3f}" for n, of in report["dice"].items())
  lines = [f"{written}; Dice after {'prompts' if wanted.simulate else 'steps'} {dice}"]
  if wanted.simulate:
    noc = ", ".join(f"{q}: {of['exact']['mean']:.2f}" for q, of in report["noc"].items())
    lines.append(f"clicks to IoU {noc} (of at most {wanted.simulate})")
  if report["seconds"]["answers"]:
    lines.append(f"an answer took {report['seconds']['median']:.2f} s (median)")
  return "; ".join(lines)


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"interact: {error}")
