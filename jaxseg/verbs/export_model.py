"""export-model: a trained run as one file, or folder, for other programs."""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.inference import postprocessing
from jaxseg.interop import nnunet_export
from jaxseg.interop.exports import needs, onnx_file, saved, stablehlo
from jaxseg.interop.exports.window_program import WindowProgram, window_program
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.folder import run_folders
from jaxseg.runs.load import open_runs
from jaxseg.verbs.arguments import Parser, check_folder


class Format(NamedTuple):
  """What `--format` may be.

  Attributes:
    write: (run folders, the verb's options) -> a sentence about what was written.
    options: those of the verb that it takes beside the runs and the output.
  """

  write: Callable[[Sequence[pathlib.Path], argparse.Namespace], str]
  options: tuple[str, ...] = ()


def _program(folders, wanted, **how) -> WindowProgram:
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  # one device: whoever loads the file decides about others
  opened = open_runs(folders, kind=kind, mirror=wanted.mirror, devices=jax.local_devices()[:1])
  _note_post_processing(folders, "the program")
  if needed := _left_out(opened.told[0].preparation):
    print(
      f"export-model: note: the program takes windows of scans that are {needed} already, and "
      "gives labels there; docs/interop.md tells more, and jaxseg predict does all of it.",
      file=sys.stderr,
    )
  return window_program(opened, normalised=wanted.normalised, **how)


def _note_post_processing(folders, what: str) -> None:
  for folder in {run_folder.home(folder) for folder in folders}:
    if (folder / postprocessing.FILE).is_file():
      print(
        f"export-model: note: {folder / postprocessing.FILE}: is of whole scans and not part of "
        f"{what}; jaxseg predict applies it.",
        file=sys.stderr,
      )


def _left_out(preparation: Preparation) -> str:
  """What of the preparation of a scan is of the whole scan, so that no window can do it."""
  steps = []
  if preparation.rank == 3 and preparation.code:
    steps.append(f"turned to {preparation.code}")
  if preparation.transpose not in ((), tuple(range(preparation.rank))):
    steps.append(f"transposed by {preparation.transpose}")
  if preparation.crop_nonzero:
    steps.append("cropped to what is not zero")
  if preparation.masked:
    steps.append("NaN outside of the body, which alone is normalised")
  if preparation.spacing:
    steps.append(f"resampled to {preparation.spacing} mm (None stays)")
  if size := preparation.resampling.get("size"):
    steps.append(f"resampled to {tuple(size)} voxels (None stays)")
  return ", ".join(steps)


def _stablehlo(folders, wanted) -> str:
  platforms = wanted.platforms or stablehlo.PLATFORMS
  told = stablehlo.write(wanted.output, _program(folders, wanted), platforms=platforms)
  return f"for {', '.join(told['platforms'])}, guaranteed until {told['expires']}"


def _onnx(folders, wanted) -> str:
  told = onnx_file.write(wanted.output, _program(folders, wanted, loops=False))
  if "difference" in told:
    return f"opset {told['opset']}, differs by {told['difference']:.1e} from the run"
  return (
    f"opset {told['opset']}, not compared with the run: onnxruntime is not installed (pip install "
    "onnxruntime)"
  )


def _saved(folders, wanted) -> str:
  told = saved.write(wanted.output, folders)
  return f"{', '.join(told['packed'])}; jaxseg predict --workdir {wanted.output} takes it"


def _nnunet(folders, wanted) -> str:
  kind = checkpoint.BEST if wanted.checkpoint == "best" else checkpoint.LATEST
  _note_post_processing(folders, "nnU-Net's model folder")
  return nnunet_export.export(folders, wanted.output, kind=kind)


_WINDOWS = ("checkpoint", "mirror", "normalised")
FORMATS: dict[str, Format] = {
  stablehlo.NAME: Format(_stablehlo, (*_WINDOWS, "platforms")),
  onnx_file.NAME: Format(_onnx, _WINDOWS),
  saved.NAME: Format(_saved),
  nnunet_export.NAME: Format(_nnunet, ("checkpoint",)),
}
_DEFAULTS = {"checkpoint": "latest", "mirror": False, "normalised": False, "platforms": None}


def _format(text: str) -> str:
  if text not in FORMATS:
    raise argparse.ArgumentTypeError(
      f"'{text}' is unknown{suggestion(text, FORMATS)}; choices: {', '.join(FORMATS)}"
    )
  return text


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg export-model",
    description="Writes a trained run, or the folds of one, as one artefact: stablehlo (jax alone "
    "loads it), onnx (onnxruntime), saved (jaxseg predict), nnunet (nnU-Net's own predictor). The "
    "first two hold normalisation, network, mirror images, the mean of the folds and the decoding "
    "of labels, for windows of the run's patch and batches of any size; docs/interop.md has "
    "loaders for whole scans.",
  )
  add = parser.add_argument
  add("runs", nargs="+", type=pathlib.Path, metavar="RUN", help="run folder, or a folder of folds")
  add("--format", required=True, type=_format, help=f"one of {', '.join(FORMATS)}")
  add("--output", required=True, type=pathlib.Path, help="what to write; must not exist yet")
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add("--mirror", action="store_true", help="average over mirror images, as predict --mirror")
  add(
    "--normalised",
    action="store_true",
    help="windows will come as the network sees them, without normalisation in the program",
  )
  add(
    "--platforms",
    nargs="+",
    choices=stablehlo.PLATFORMS,
    help=f"of stablehlo; default: {' '.join(stablehlo.PLATFORMS)}",
  )
  return parser


def check_output(path: pathlib.Path) -> None:
  """Raises ValueError for an output that exists, or that cannot be written."""
  if path.exists():
    raise ValueError(f"--output {path}: exists already; choose another name, or remove it.")
  check_folder(path.absolute().parent, "the folder of --output")


def main(arguments: list[str]) -> None:
  wanted = _parser().parse_args(arguments)
  try:
    _run(wanted)
  except (ValueError, OSError) as error:
    sys.exit(f"export-model: {error}")


def _run(wanted) -> None:
  form = FORMATS[wanted.format]
  for option, default in _DEFAULTS.items():
    if option not in form.options and getattr(wanted, option) != default:
      takers = ", ".join(name for name, of in FORMATS.items() if option in of.options)
      raise ValueError(
        f"--{option}: is no option of --format {wanted.format}, only of {takers}; leave it out."
      )
  check_output(wanted.output)
  needs.check(wanted.format, f"--format {wanted.format}")
  every = [folder for path in wanted.runs for folder in run_folders(path, seeds=True)]
  folders = files.distinct(every)
  print(f"{wanted.output}: {wanted.format}, {form.write(folders, wanted)}")
