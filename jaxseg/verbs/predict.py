"""predict: images in, segmentations out, on the images' own grid."""

import argparse
import functools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm

from jaxseg import files
from jaxseg.config import domains
from jaxseg.config.synthesis import makes_images
from jaxseg.data import RawCase
from jaxseg.data.sources.case_files import LEGEND, CaseFiles, find_cases
from jaxseg.data.sources.case_folders import folders_of_cases
from jaxseg.data.sources.read_case import read_case
from jaxseg.data.sources.source import check_spacing
from jaxseg.inference import postprocessing
from jaxseg.inference.missing import numbers, placed, warning
from jaxseg.inference.segmentation import segment
from jaxseg.inference.synthesis import synthesise, write_image
from jaxseg.inference.writing import write
from jaxseg.interop.exports import saved
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.domain import describe
from jaxseg.runs.folder import FOLD, run_folders
from jaxseg.runs.load import Model, by_configuration, check_alike, load
from jaxseg.task import MASKS
from jaxseg.verbs.arguments import Parser

# names of cases in one note
_LISTED = 4


def read(case: CaseFiles, told: run_folder.Described, missing: Sequence[int] = ()) -> RawCase:
  """Reads the channels of a case and checks them against what the network was trained on.

  Those with the numbers in `missing` are taken as missing, whether the case has them or not.
  """
  source = told.config["data"]["source"]
  raw = read_case(case, rank=told.rank, source=source)
  channels, numbered = len(told.channels), case.numbers
  # what the training set's cases could lack, a scan can without a word
  if source.get("incomplete") and numbered and raw.image.shape[-1] == len(numbered):
    missing = {*missing, *(i for i in range(channels) if i not in numbered)}
  if missing:
    raw = placed(raw, numbered, channels, sorted(missing))
  where = case.files[0]
  rank, channels = raw.image.ndim - 1, raw.image.shape[-1]
  if rank != told.rank:
    raise ValueError(
      f"{where}: has {rank} spatial axes {raw.image.shape[:-1]}, but the network was trained on "
      f"cases with {told.rank}; give it images like those."
    )
  if channels != len(told.channels):
    raise ValueError(
      f"{where}: has {channels} channel(s), but the checkpoint's network takes "
      f"{len(told.channels)} ({', '.join(told.channels)}); give it these in this order, in "
      "one file or in files that end in _0000, _0001, ..., or name with --missing what the scans "
      "lack."
    )
  check_spacing(raw.geometry, str(where))
  return raw


def blank(raw: RawCase, channels: Sequence[str]) -> str:
  """A remark about channels in which there is nothing to see, "" where there are none."""
  each = enumerate(np.moveaxis(raw.image, -1, 0))
  flat = [i for i, of in each if i not in raw.missing and of.min() == of.max()]
  names = ", ".join(channels[i] for i in flat)
  return names and f"one value everywhere in {names}, so that the network sees nothing there"


def load_all(
  paths: Sequence,
  *,
  kind: str = checkpoint.LATEST,
  mirror: bool = False,
  domain: str | None = None,
) -> tuple[Model, ...]:
  """Run folders, and folders of folds -> one model for each configuration among them.

  Raises FileNotFoundError where there is no run or checkpoint, ValueError where a fold is missing
  or the runs differ in labels or channels, or know no such domain.
  """
  folders = [folder for path in paths for folder in run_folders(path, seeds=True)]
  check_alike({str(folder): describe(folder, domain) for folder in folders})
  options = {"kind": kind, "mirror": mirror, "domain": domain}
  return tuple(load(group, **options) for group in by_configuration(folders))


def unfinished(paths: Sequence) -> list[pathlib.Path]:
  """The run folders among them whose training has not come to its end."""
  folders = [folder for path in paths for folder in run_folders(path, seeds=True)]
  return [f for f in folders if run_folder.steps_done(f) < run_folder.read_config(f)["steps"]]


def steps_for(paths: Sequence) -> pathlib.Path | None:
  """The post-processing that was learned for a run folder or a folder of folds; None without.

  What was learned for one configuration isn't applied to several together.
  """
  folders = {pathlib.Path(path).resolve() for path in paths}
  homes = {folder.parent if folder.name.startswith(FOLD) else folder for folder in folders}
  if len(homes) > 1:
    return None
  (home,) = homes
  file = home / postprocessing.FILE
  return file if file.is_file() else None


def check_output(folder: pathlib.Path, cases: Mapping[str, CaseFiles]) -> None:
  """Raises ValueError if the folder is one that the images lie in.

  A scan and its segmentation may have one name, and segmentations would be images the next time.
  """
  for name, case in cases.items():
    if any(home.resolve() == folder.resolve() for home in {file.parent for file in case.files}):
      raise ValueError(
        f"--output {folder}: holds images of --input (case '{name}'), that could be overwritten; "
        "choose a folder of its own for the segmentations."
      )


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg predict",
    description="Segments images with trained runs. Folds of one configuration average their "
    "logits, several configurations their probabilities. Output: NIfTI with the input's own "
    "geometry for volumes, PNG for pictures, with the label values of the training data. Runs that "
    "make images write these, in the intensities of the training data.",
  )
  add = parser.add_argument
  add(
    "--workdir",
    required=True,
    nargs="+",
    type=pathlib.Path,
    metavar="RUN",
    help="run folders of train.py, folders that hold fold_0, fold_1, ... or seed_0, ..., or files "
    "of export-model --format saved",
  )
  add(
    "--input",
    required=True,
    type=pathlib.Path,
    help="an image or a folder; folders in it count, too",
  )
  add("--output", required=True, type=pathlib.Path, help="folder for the segmentations")
  add(
    "--missing",
    nargs="+",
    default=(),
    metavar="CHANNEL",
    help="channels that the scans lack, by their names in the training set; files of them are not "
    "looked at, and need not be there",
  )
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--mirror", action="store_true", help="average over mirror images: slower, often better")
  add(
    "--domain",
    metavar="NAME",
    help="the stream that the images are of: a name of config.streams, or main; runs of the method "
    "'unpaired' want it",
  )
  add("--overlay", action="store_true", help="also write pictures, image | labels over image")
  add("--probabilities", action="store_true", help="also write probabilities as .npz")
  add(
    "--postprocessing",
    type=pathlib.Path,
    metavar="FILE",
    help=f"steps of find-best; default: {postprocessing.FILE} of the run or of its folds",
  )
  add("--no-postprocessing", action="store_true", help="write what the networks give")
  return parser


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    with saved.unpacked(wanted.workdir) as folders:
      wanted.workdir = folders
      _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"predict: {error}")


def _words(error: Exception, name: str, case: CaseFiles) -> str:
  """One sentence about a case that was not segmented."""
  where = f"{case.files[0]} (case '{name}')"
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
    return f"{where}: does not fit into memory; close other programs, or use a larger machine."
  if isinstance(error, ValueError | OSError):
    return str(error) if str(case.files[0].parent) in str(error) else f"{where}: {error}"
  first = (str(error).strip().splitlines() or ["no reason given"])[0]
  return f"{where}: failed with {type(error).__name__}: {first[:300]}"


def _check_options(wanted) -> None:
  """Raises ValueError for what only segmentations have."""
  for option in ("overlay", "probabilities", "postprocessing"):
    if getattr(wanted, option):
      raise ValueError(
        f"--{option}: is of segmentations, but {wanted.workdir[0]} makes images; leave it out."
      )


def _run(wanted) -> None:
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  models = load_all(wanted.workdir, kind=kind, mirror=wanted.mirror, domain=wanted.domain)
  if kind == checkpoint.LATEST and (short := unfinished(wanted.workdir)):
    print(
      f"predict: note: {', '.join(map(str, short))}: not trained to the end; its newest checkpoint "
      "is used. Give the train command again to finish it.",
      file=sys.stderr,
    )
  told = models[0].described
  if remark := domains.note(told.config, wanted.domain):
    print(f"predict: note: {remark}.", file=sys.stderr)
  source, missing = told.config["data"]["source"], numbers(wanted.missing, told.channels)
  for note in {warning(model.described.config) for model in models} - {""} if missing else ():
    print(f"predict: note: {note}.", file=sys.stderr)
  if source["name"] == "nnunet_raw" and source.get("channels"):  # files do not tell which they are
    print(
      "predict: note: of the training set's channels the network takes "
      f"{', '.join(told.channels)}; give it these alone, in this order.",
      file=sys.stderr,
    )
  if told.config["task"]["name"] == MASKS:
    raise ValueError(
      f"--workdir {wanted.workdir[0]}: makes label maps of noise, and there is nothing to segment "
      'in that; see `jaxseg judge-synthetic`, or a source of its cases (name="synthetic").'
    )
  labels, images = told.labels, makes_images(told.config)
  if images:
    _check_options(wanted)
  file = (
    None
    if images or wanted.no_postprocessing
    else wanted.postprocessing or steps_for(wanted.workdir)
  )
  steps = () if file is None else postprocessing.read(file)
  optional = range(len(told.channels)) if source.get("incomplete") else missing
  find = functools.partial(
    find_cases, channels=told.channels, rank=told.rank, output=wanted.output, missing=optional
  )
  if source["name"] == "case_folders" and wanted.input.is_dir():
    find = functools.partial(folders_of_cases, source=source, missing=optional)
  cases, notes = find(wanted.input)
  for note in notes:
    print(f"predict: note: {note}.", file=sys.stderr)
  check_output(wanted.output, cases)
  files.writable_folder(wanted.output, "--output")
  # a region is told by the values that it unites
  legend = dict(zip(labels.names, labels.regions or labels.stored_values, strict=True))
  if not images:
    files.write_json(wanted.output / LEGEND, legend)
  bar = tqdm.tqdm(cases.items(), unit="case", disable=not sys.stderr.isatty())
  failures, remarks = [], {}
  for name, case in bar:

    def progress(done, total, name=name):
      bar.set_postfix_str(f"{name}: window {done} of {total}")

    try:
      raw = read(case, told, missing)
      notes = [model.described.preparation.remark(raw.geometry) for model in models]
      for note in (*notes, blank(raw, told.channels)):
        remarks.setdefault(note, {})[name] = None
      configurations, where = [model.configuration for model in models], str(case.files[0])
      if images:
        image = synthesise(configurations, raw, where, progress=progress)
        write_image(wanted.output, name, image, raw.geometry, raw.image.dtype)
        continue
      found = segment(
        configurations, raw, where, probabilities=wanted.probabilities, progress=progress
      )
      found = found._replace(labels=postprocessing.apply_steps(found.labels, steps, labels))
      write(wanted.output, name, raw, found, labels, overlay=wanted.overlay)
    except files.DiskFull:  # the others would find no room either
      raise
    except Exception as error:  # whatever it is, the others are segmented all the same
      failures.append(f"predict: {_words(error, name, case)}")
  for remark, names in remarks.items():
    if remark:
      more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
      print(f"predict: note: {', '.join(list(names)[:_LISTED])}{more}: {remark}.", file=sys.stderr)
  applied = f" with {file}" if steps else ""
  if written := len(cases) - len(failures):
    meaning = f"values: {json.dumps(legend)}"
    if images:
      meaning = f"made: {', '.join(told.targets)}"
    print(f"{written} case(s) written to {wanted.output}{applied}; {meaning}")
  if failures:
    if len(cases) > 1:
      failures.append(f"predict: {len(failures)} of {len(cases)} case(s) not segmented, see above.")
    sys.exit("\n".join(failures))
