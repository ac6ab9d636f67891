"""import-model: nnU-Net's model folders, or networks that find brains -> run folders."""

import pathlib
import shlex
import sys

from jaxseg.interop import brain_runs
from jaxseg.interop.nnunet_folder import ALL, FINAL
from jaxseg.interop.nnunet_import import Imported, import_model
from jaxseg.verbs.arguments import Parser, check_folder


def _parser() -> Parser:
  parser = Parser(
    prog="jaxseg import-model",
    description="Makes run folders of a model that nnU-Net 2 trained: PlainConvUNet or "
    "ResidualEncoderUNet, 2D, 3D, low resolution, cascades, regions, ignored labels.",
  )
  add = parser.add_argument
  add(
    "model",
    type=pathlib.Path,
    help="model folder with plans.json, dataset.json and fold_*/checkpoint_*.pth; or deepbrain or "
    "deepbet, the networks of the packages of these names, which find the brain in a head",
  )
  add(
    "--output",
    required=True,
    type=pathlib.Path,
    help="new folder: the run itself of one fold, else fold_0, fold_1, ... in it",
  )
  add("--folds", help="all, or numbers as in 0,2; default: the numbered ones that are there")
  add("--checkpoint", default=FINAL, help=f"which file of each fold; default: {FINAL}")
  add("--data", help="the data set in nnU-Net's raw format: the runs validate and train on")
  add("--splits", help="its splits_final.json; default: nnU-Net's five folds")
  add("--previous", metavar="RUN", help="of a cascade's second stage: the first one's run")
  add("--trainer", help="a trainer of nnU-Net that one of your own trains like, as nnUNetTrainer")
  return parser


def _folds(text: str | None) -> tuple[str, ...]:
  """("0", "2") of "0,2"; () of None. Raises ValueError for other words."""
  folds = tuple(dict.fromkeys(text.split(","))) if text is not None else ()
  if not all(fold == ALL or fold.isdigit() for fold in folds) or (ALL in folds and folds[1:]):
    raise ValueError(f"--folds {text}: expected all, or numbers as in 0,2.")
  return folds


def as_text(imported: Imported, output: pathlib.Path, *, mirrored: bool = True) -> str:
  """What was made and how to go on; `mirrored`: whether it was trained on mirror images."""
  lines = [f"note: {note}" for note in imported.notes]
  lines += [f"run folder: {folder}" for folder in imported.folders]
  runs = shlex.quote(str(output))
  if imported.known:
    one = shlex.quote(str(imported.folders[0]))
    lines.append(f"To validate or go on: python train.py --config={one}/config.py --workdir={one}")
  lines.append(
    f"To segment images: jaxseg predict --workdir {runs} --input IMAGES --output SEGMENTATIONS"
    + " --mirror" * mirrored
  )
  return "\n".join(lines)


def main(arguments: list[str]) -> None:
  options = _parser().parse_args(arguments)
  try:
    check_folder(options.output, "--output")
    name = str(options.model)
    if name in brain_runs.BRAINS and not options.model.is_dir():
      run = brain_runs.import_brain(name, options.output)
      print(as_text(Imported((run,), (), False), options.output, mirrored=False))
      return
    imported = import_model(
      options.model,
      options.output,
      folds=_folds(options.folds),
      checkpoint=options.checkpoint,
      source=options.data,
      splits=options.splits,
      previous=options.previous,
      trainer=options.trainer,
    )
  except (ValueError, OSError) as error:
    sys.exit(f"import-model: {error}")
  print(as_text(imported, options.output))
