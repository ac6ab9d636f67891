"""nnU-Net's dataset_fingerprint.json and splits_final.json, read and written."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

from jaxseg import files
from jaxseg.data.splits import Split
from jaxseg.planning.fingerprint import Fingerprint
from jaxseg.planning.mirroring_file import read_mirroring, write_mirroring

STATISTICS = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
# of ours; nnU-Net looks its own fields up by name and doesn't see it
_CLASSES = "class_voxels"


def load(path, kind: type, what: str):
  """The JSON file at `path`; raises FileNotFoundError or ValueError that says `what` it must be."""
  advice = "plan again with `jaxseg plan`, or copy the file again"
  return files.read_json(pathlib.Path(path).expanduser(), what=what, advice=advice, kind=kind)


def check_fields(found: Mapping, known: Sequence[str], where: str, optional=()) -> None:
  """Raises ValueError that names the first field that is missing or unknown."""
  if not isinstance(found, Mapping):
    raise ValueError(
      f"{where}: holds {found!r:.60}, expected an object with {', '.join(known)}; plan again."
    )
  missing = [name for name in known if name not in found]
  if missing:
    raise ValueError(
      f"{where}: the field '{missing[0]}' is missing; expected the fields of nnU-Net 2.8: plan "
      "again with `jaxseg plan` or with that nnU-Net."
    )
  unknown = [name for name in found if name not in known and name not in optional]
  if unknown:
    raise ValueError(
      f"{where}: the field '{unknown[0]}' is unknown; expected the fields of nnU-Net 2.8: plan "
      "again with `jaxseg plan`, or remove the field if it doesn't matter."
    )


def parse_or_refuse(parse: Callable, value, where: str):
  """parse(value); what goes wrong inside is told as one sentence."""
  try:
    return parse(value)
  except (TypeError, KeyError, AttributeError, ValueError) as error:
    raise ValueError(
      f"{where}: holds a value that nnU-Net doesn't write there ({error!r}); plan again."
    ) from error


def write_fingerprint(path, fingerprint: Fingerprint) -> None:
  """Writes dataset_fingerprint.json, and what nnU-Net doesn't measure into a file beside."""
  out = {
    "foreground_intensity_properties_per_channel": number_channels(fingerprint.intensities),
    "median_relative_size_after_cropping": fingerprint.relative_size,
    "shapes_after_crop": fingerprint.shapes,
    "spacings": fingerprint.spacings,
  }
  if fingerprint.classes is not None:
    out[_CLASSES] = fingerprint.classes
  files.write_text(path, json.dumps(out, indent=4, sort_keys=True))
  if fingerprint.mirroring is not None:
    write_mirroring(pathlib.Path(path).parent, fingerprint.mirroring)


def read_fingerprint(path) -> Fingerprint:
  """Reads dataset_fingerprint.json; raises ValueError in words for fields that don't fit."""
  loaded = load(path, dict, "nnU-Net's dataset_fingerprint.json")
  fields = (
    "foreground_intensity_properties_per_channel",
    "median_relative_size_after_cropping",
    "shapes_after_crop",
    "spacings",
  )
  check_fields(loaded, fields, str(path), optional=(_CLASSES,))
  return parse_or_refuse(_fingerprint, loaded, str(path))._replace(
    mirroring=read_mirroring(pathlib.Path(path).expanduser().parent)
  )


def _fingerprint(loaded: Mapping) -> Fingerprint:
  return Fingerprint(
    shapes=tuple(tuple(int(n) for n in shape) for shape in loaded["shapes_after_crop"]),
    spacings=tuple(tuple(float(s) for s in spacing) for spacing in loaded["spacings"]),
    relative_size=float(loaded["median_relative_size_after_cropping"]),
    intensities=list_channels(loaded["foreground_intensity_properties_per_channel"]),
    classes=loaded.get(_CLASSES),
  )


def write_splits(path, splits: Sequence[Split]) -> None:
  """Writes splits_final.json: (training, validation) names per fold."""
  out = [{"train": list(train), "val": list(held)} for train, held in splits]
  files.write_text(path, json.dumps(out, indent=4))


def read_splits(path) -> tuple[Split, ...]:
  """Reads splits_final.json: (training, validation) names per fold."""
  what = 'nnU-Net\'s list of {"train": [...], "val": [...]}'
  loaded = load(path, list, what)
  for fold in loaded:
    check_fields(fold, ("train", "val"), f"{path}")
  return tuple((tuple(fold["train"]), tuple(fold["val"])) for fold in loaded)


def number_channels(channels: Sequence[Mapping]) -> dict[str, dict[str, float]]:
  """Per channel, under the numbers "0", "1", ... as nnU-Net has it."""
  return {str(i): dict(channel) for i, channel in enumerate(channels)}


def list_channels(channels: Mapping) -> tuple[dict[str, float], ...]:
  """The inverse of `number_channels`, for intensity statistics."""
  return tuple(
    {name: float(channels[str(i)][name]) for name in STATISTICS} for i in range(len(channels))
  )
