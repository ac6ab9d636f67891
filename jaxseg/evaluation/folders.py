"""Which files of two folders belong together, and what their label values mean."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import ENDINGS, stem
from jaxseg.data.sources import dataset_json
from jaxseg.data.sources.source import existing_folder, natural
from jaxseg.metrics import needs_probabilities

# nnU-Net saves probabilities so, beside the segmentation of the same name
_ARRAYS = ".npz"
# what `predict` writes beside the segmentation, under its name
_PROBABILITIES = "_probabilities"
# 3D Slicer calls the segmentation of a.nrrd a.seg.nrrd
_LAYERS = ".seg"
_COMPANIONS = ("_overlay", _PROBABILITIES)


class Matched(NamedTuple):
  """The cases of two folders.

  Attributes:
    pairs: case -> (prediction, reference), in the order of the references.
    missing: references without prediction.
    unmatched: predictions without reference.
  """

  pairs: dict[str, tuple[pathlib.Path, pathlib.Path]]
  missing: list[str]
  unmatched: list[str]


def find_cases(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Case name -> file, for every image in a folder; raises ValueError for two of one name."""
  found: dict[str, list[pathlib.Path]] = {}
  for file in sorted(folder.iterdir()):
    if file.is_file() and not file.name.startswith(".") and file.name.lower().endswith(ENDINGS):
      found.setdefault(stem(file), []).append(file)
  for name in [name for name in found if name.endswith(_LAYERS)]:
    if (plain := name.removesuffix(_LAYERS)) not in found:
      found[plain] = found.pop(name)
  cases = {}
  for name in sorted(found, key=natural):
    chosen = [f for f in found[name] if not f.name.lower().endswith(_ARRAYS)] or found[name]
    if len(chosen) > 1:
      raise ValueError(
        f"{folder}: {' and '.join(f.name for f in chosen)} are both case '{name}'; keep one."
      )
    cases[name] = chosen[0]
  return cases


def matched(prediction_folder, reference_folder) -> Matched:
  """The cases that both folders hold, by file name without its ending.

  Raises FileNotFoundError where a folder is missing, ValueError where they share no case or are
  the same folder.
  """
  check_different(prediction_folder, reference_folder, "that of references")
  predictions = find_cases(existing_folder(prediction_folder, "the folder of predictions"))
  references = find_cases(existing_folder(reference_folder, "the folder of references"))
  pairs = {
    name: (predictions[name], references[name]) for name in references if name in predictions
  }
  if not pairs:
    raise ValueError(
      f"evaluate: no case in common: {prediction_folder} holds {listing(predictions)}, "
      f"{reference_folder} holds {listing(references)}; files are matched by name without ending."
    )
  return Matched(
    pairs,
    [name for name in references if name not in predictions],
    [n for n in predictions if n not in references and not _companion(n, predictions)],
  )


def check_different(prediction_folder, other, role: str) -> None:
  """Raises ValueError where a folder of predictions is the other one too, which scores nothing."""
  if pathlib.Path(prediction_folder).resolve() == pathlib.Path(other).resolve():
    raise ValueError(
      f"evaluate: {prediction_folder} is given as the folder of predictions and as {role} too, "
      "which would agree wholly; give two folders."
    )


def _companion(name: str, predictions) -> bool:
  return any(name.endswith(c) and name.removesuffix(c) in predictions for c in _COMPANIONS)


def probability_files(
  predictions: Mapping[str, pathlib.Path], metrics: Mapping[str, Callable]
) -> dict[str, pathlib.Path | None]:
  """Case -> the probabilities that `predict --probabilities` wrote beside its segmentation.

  Raises ValueError where some cases have them and others don't, or none has but a metric of
  `metrics` needs them.
  """
  beside = {
    name: path.with_name(f"{stem(path)}{_PROBABILITIES}.npz") for name, path in predictions.items()
  }
  absent = [path for path in beside.values() if not path.is_file()]
  needing = [name for name, metric in metrics.items() if needs_probabilities(metric)]
  if absent and (needing or len(absent) < len(beside)):
    why = f"{', '.join(needing)} need" if needing else "other cases have"
    raise ValueError(
      f"{absent[0]}: not found, but {why} probabilities; write them with `jaxseg predict "
      "--probabilities`."
    )
  return {name: None if absent else path for name, path in beside.items()}


def declared_labels(reference_folder) -> LabelSpec | None:
  """The labels of a dataset.json in the folder of references, or beside it; None without one."""
  folder = existing_folder(reference_folder, "the folder of references")
  described = [f / "dataset.json" for f in (folder, folder.parent)]
  return next((read_labels(path) for path in described if path.is_file()), None)


def read_labels(path: pathlib.Path) -> LabelSpec:
  """The labels of a dataset.json (nnU-Net's or the MSD's), or of a run folder's description."""
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such file; give a dataset.json with 'labels'.")
  description = dataset_json.read(path)
  labels = description.get("labels", description)
  if isinstance(labels, dict) and "stored_values" in labels:
    fields = {"names": list, "stored_values": list}
    files.check_fields(labels, f"{path}: 'labels'", advice="correct the file", fields=fields)
    try:
      return LabelSpec.from_json(json.dumps(labels))
    except ValueError as error:
      raise ValueError(f"{path}: 'labels' is no label specification ({error}).") from error
  return dataset_json.label_spec({**description, "labels": labels}, path)


def listing(names, limit: int = 5) -> str:
  """The first names, and how many more there are."""
  names = list(names)
  more = f" and {len(names) - limit} more" if len(names) > limit else ""
  return (", ".join(names[:limit]) + more) if names else "no image"
