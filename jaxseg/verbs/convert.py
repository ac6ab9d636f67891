"""convert: the cases of a config's data set in nnU-Net's raw format or as a set of TFDS."""

import dataclasses
import pathlib
import sys

import numpy as np
import tqdm

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.compose import complete
from jaxseg.data import Source, write_image, write_label, write_tfds
from jaxseg.data.sources import dataset_json
from jaxseg.data.sources.source import annotated, check_complete
from jaxseg.feeding import divided, source_of
from jaxseg.planning.planned_config import resolve
from jaxseg.verbs.arguments import Parser, add_config, check_folder, parse

PARTS = ("validation", "training", "all")
FORMATS = ("nnunet", "tfds")


def convert(source: Source, cases, folder: pathlib.Path) -> None:
  """Writes imagesTr/CASE_000C.nii.gz, labelsTr/CASE.nii.gz and dataset.json.

  Labels keep their stored values; voxels of weight 0 (a field of view) become the ignore label, by
  default one above the highest value, as nnU-Net wants it. 2D cases become NIfTI as well.
  """
  check_complete(source, "convert")
  ending, labels = ".nii.gz", source.labels
  ignore = max(_values(labels)) + 1 if labels.ignore is None else labels.ignore
  for name in tqdm.tqdm(cases, unit="case", desc="convert", disable=not sys.stderr.isatty()):
    raw = source.read(name)
    for channel in range(raw.image.shape[-1]):
      image = _number(raw.image[..., channel])
      write_image(folder / "imagesTr" / f"{name}_{channel:04d}{ending}", image, raw.geometry)
    label = raw.label
    if raw.weight is not None and (raw.weight != 1).any():
      _tell_shares(raw.weight, name)
      # wider than the stored type, which may not hold one value more
      label = np.where(raw.weight == 0, ignore, label.astype(np.int64))
      labels = dataclasses.replace(labels, ignore=ignore)
    write_label(folder / "labelsTr" / f"{name}{ending}", label, raw.geometry)
  _tell_gaps(_values(labels) | ({labels.ignore} if labels.ignore is not None else set()))
  files.write_json(
    folder / "dataset.json",
    {
      "channel_names": {str(i): name for i, name in enumerate(source.channels)},
      **dataset_json.described(labels),
      "numTraining": len(cases),
      "file_ending": ending,
    },
  )


def _number(image: np.ndarray) -> np.ndarray:
  """Unsigned 8 and 16 bits stay: their largest value scales colours."""
  return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)


def _values(labels: LabelSpec) -> set[int]:
  return {*labels.stored_values, *(v for region in labels.regions or () for v in region)}


def _tell_shares(weight: np.ndarray, name: str) -> None:
  soft = weight[(weight != 0) & (weight != 1)]
  if soft.size:
    print(
      f"convert: case '{name}' has {soft.size} voxel(s) of weights like {soft[0]:g}; nnU-Net's "
      "format knows only ignored or not, so they count fully there.",
      file=sys.stderr,
    )


def _tell_gaps(values: set[int]) -> None:
  listed = ", ".join(map(str, sorted(values)))
  if values != set(range(len(values))):
    print(
      f"convert: the labels keep their values {listed}; nnU-Net itself takes 0, 1, 2, ... without "
      "a gap: number them so before it reads this folder.",
      file=sys.stderr,
    )


def _splits(cases, training, validation) -> dict[str, list[str]]:
  """TFDS's splits of some cases; "other" are those of neither part."""
  known = {*training, *validation}
  parts = {"train": training, "validation": validation}
  parts["other"] = [case for case in cases if case not in known]
  kept = {part: [case for case in names if case in set(cases)] for part, names in parts.items()}
  return {part: names for part, names in kept.items() if names}


def _check_output(folder: pathlib.Path, cases, channels: int, options) -> None:
  """Raises ValueError where files of another data set, or of the one that is read, lie there."""
  parts = [folder / "imagesTr", folder / "labelsTr"]
  read = {pathlib.Path(o).expanduser().resolve() for o in options if isinstance(o, str) and o}
  own = {path.resolve() for path in (folder, *parts)} & read
  found = [file for part in parts if part.is_dir() for file in sorted(part.iterdir())]
  written = {
    f"{case}{end}" for case in cases for end in ("", *(f"_{i:04d}" for i in range(channels)))
  }
  seen = [file for file in found if not file.name.startswith(".")]
  others = [file for file in seen if file.name.removesuffix(".nii.gz") not in written]
  if own or others:
    what = f"files of other cases ({others[0]})" if others else "the data set that is read"
    raise ValueError(
      f"--output {folder}: holds {what}, which would be overwritten or mixed; choose another one."
    )


def main(arguments: list[str]) -> None:
  parser = Parser(prog="jaxseg convert", description=__doc__)
  add_config(parser)
  parser.add_argument("--output", required=True, type=pathlib.Path, help="folder to write")
  parser.add_argument("--cases", choices=PARTS, default="validation", help="default: validation")
  parser.add_argument(
    "--format",
    choices=FORMATS,
    default="nnunet",
    help="nnunet (default): its raw format; tfds: a set of TensorFlow Datasets (array_record), in "
    "a folder of the set's name; --cases=all gives it the splits train and validation",
  )
  options, config = parse(parser, arguments)
  try:
    check_folder(options.output, "--output")
    config = complete(resolve(config, make=False))
    source = source_of(config)
    sides = divided(config, source)
    # what has no label cannot be converted into a set of labelled cases
    parts = {"training": sides.train, "validation": sides.validation}
    cases = annotated(source).cases if options.cases == "all" else parts[options.cases]
    if options.format == "nnunet":
      read = config["data"]["source"].values()
      _check_output(options.output, cases, len(source.channels), read)
    folder = files.writable_folder(options.output, "--output")
    if options.format == "tfds":
      folder = write_tfds(source, _splits(cases, sides.train, sides.validation), folder)
    else:
      convert(source, cases, folder)
  except (ValueError, OSError) as error:
    sys.exit(f"convert: {error}")
  print(f"{len(cases)} case(s) written to {folder}")
