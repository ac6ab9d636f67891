"""Sets of TensorFlow Datasets (TFDS) with masks, read by number from ArrayRecord files.

TensorFlow is not needed; a set that was prepared in another format than array_record is refused.
"""

import functools
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.build import suggestion
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.images import integers
from jaxseg.data.sources.picture_folder import named_labels
from jaxseg.data.sources.source import (
  RawCase,
  Source,
  check_image,
  check_spacing,
  existing_folder,
  fingerprint,
  natural,
)
from jaxseg.data.sources.tfds_records import (
  INDEX,
  Place,
  Records,
  builder_of,
  feature_of,
  is_group,
  is_picture,
  records_of,
)

# what `jaxseg convert --format tfds` adds to an image and its label, and to the set's metadata
CASE, WEIGHT, AFFINE, DIRECTED, METADATA = "case", "weight", "affine", "directed", "jaxseg"
_FORMAT = "array_record"
_MASKS = ("label", "segmentation_mask", "mask", "segmentation")
# records that are looked at to say which values a label holds
_LOOKED_AT = 8


def _version(name: str) -> tuple[int, ...]:
  return tuple(int(part) for part in name.split("."))


def _folder(dataset: str, data_dir) -> pathlib.Path:
  """The folder of a set's version, the newest where none is told."""
  home = existing_folder(data_dir, "the folder of TFDS sets (config.data.source.data_dir)")
  parts = re.fullmatch(r"(\w+)(?:/([\w.\-]+))?(?::([\d.]+))?", str(dataset))
  if parts is None:
    raise ValueError(
      f"config.data.source.dataset: '{dataset}'; expected NAME, NAME/CONFIG or NAME:VERSION."
    )
  name, config, version = parts.groups()
  if not (home / name).is_dir():
    known = sorted({index.parents[1].name for index in home.glob(f"*/*/{INDEX}")})
    known += sorted({index.parents[2].name for index in home.glob(f"*/*/*/{INDEX}")})
    raise FileNotFoundError(
      f"{home / name}: not found{suggestion(name, known)}; sets there: "
      f"{', '.join(known) or 'none'}; "
      "prepare it with TFDS (file_format='array_record'), or write it with jaxseg convert "
      "--format=tfds."
    )
  place = home / name
  if config and not (place / config).is_dir():
    known = sorted({index.parents[1].name for index in place.glob(f"*/*/{INDEX}")})
    raise FileNotFoundError(
      f"{place}: has no config '{config}'{suggestion(config, known)}; configs: "
      f"{', '.join(known) or 'none'}."
    )
  place = place / config if config else place
  versions = [index.parent.name for index in place.glob(f"*/{INDEX}")]
  versions = sorted((v for v in versions if re.fullmatch(r"\d+(\.\d+)*", v)), key=_version)
  if not versions or (version and version not in versions):
    configs = sorted({index.parents[1].name for index in place.glob(f"*/*/{INDEX}")})
    hint = f"configs: {', '.join(configs)}" if configs else f"versions: {', '.join(versions)}"
    raise FileNotFoundError(f"{place}: holds no such set '{dataset}'; {hint or 'none is there'}.")
  return place / (version or versions[-1])


def _check_format(info, folder: pathlib.Path) -> None:
  formats = {f.value for f in info.available_file_formats()} if info.file_format else set()
  if _FORMAT not in formats:
    kind = info.file_format.value if info.file_format else "an unknown format"
    raise ValueError(
      f"{folder}: was prepared as {kind}, which cannot be read by number; prepare it with "
      "file_format='array_record' (`tfds build --file_format=array_record`, or `tfds "
      "convert_format`, where TensorFlow is installed)."
    )


def _check_split(info, split: str, folder: pathlib.Path) -> None:
  try:
    empty = not info.splits[split].num_examples
  except (KeyError, ValueError) as error:
    known = list(info.splits)
    raise ValueError(
      f"config.data.source.split: {folder} has no split '{split}'{suggestion(split, known)}; "
      f"splits: {', '.join(known)}, 'all', sums ('train+test') and slices ('train[:80%]')."
    ) from error
  if empty:
    raise ValueError(f"config.data.source.split: '{split}' of {folder} holds no example.")


def _describe(features, above: str = "") -> list[str]:
  """What a user may choose from: name and kind of every feature."""
  found = []
  for name, feature in features.items():
    if is_group(feature):
      found += _describe(feature, f"{above}{name}/")
    else:
      shape = tuple(feature.shape or ())
      kind = np.dtype(feature.np_dtype).name if not isinstance(feature.np_dtype, dict) else "group"
      found.append(f"{above}{name} {type(feature).__name__}{shape} {kind}")
  return found


def _check_feature(features, name: str | None, option: str, choices: Sequence[str]) -> str:
  """A feature's name, checked to be an array of numbers."""
  every = f"features: {'; '.join(_describe(features))}"
  if name is None:
    there = [choice for choice in choices if feature_of(features, choice) is not None]
    if not there:
      raise ValueError(
        f"config.data.source.{option}: none of {', '.join(choices)} is there; {every}."
      )
    name = there[0]
  feature = feature_of(features, name)
  if feature is None:
    near = suggestion(name, [entry.split()[0] for entry in _describe(features)])
    raise ValueError(f"config.data.source.{option}: no feature is called '{name}'{near}; {every}.")
  shape, kind = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
  numbers = isinstance(kind, type | np.dtype) and np.dtype(kind).kind in "biuf"
  if is_group(feature) or not numbers or len(tuple(shape or ())) < 2:
    raise ValueError(
      f"config.data.source.{option}: '{name}' is no image, volume or mask (two axes of numbers or "
      f"more); {every}."
    )
  return name


def _rank(features, image: str, label: str) -> tuple[int, int | None]:
  """Number of spatial axes, and of channels where the features tell."""
  shape, mask = tuple(feature_of(features, image).shape), tuple(feature_of(features, label).shape)
  colours = mask[-1] if is_picture(feature_of(features, label)) else 1
  mask = mask[:-1] if len(mask) > 2 and mask[-1] == 1 else mask
  # a volume never is a picture of TFDS
  rank = 2 if colours != 1 or is_picture(feature_of(features, image)) else len(mask)
  if len(mask) != rank or rank not in (2, 3) or len(shape) not in (rank, rank + 1):
    raise ValueError(
      f"config.data.source: image '{image}' {shape} and label '{label}' {mask} don't fit; "
      "expected a mask (y, x) or (z, y, x), with or without a last axis of length 1, and an image "
      "on the same grid, with or without channels last."
    )
  return rank, shape[-1] if len(shape) > rank else 1


def _channel_names(count: int, told: Mapping, channels: Sequence[str] | None) -> tuple[str, ...]:
  channels = told.get("channels") if channels is None else channels
  if channels is None and count in (1, 3):
    channels = ("image",) if count == 1 else ("red", "green", "blue")
  return tuple(channels or (f"channel_{i}" for i in range(count)))


def _labels(told: Mapping, feature, names, values, ignore, records: Records, label: str):
  if names is not None:
    return named_labels(names, values, ignore)
  if told:
    return LabelSpec.from_json(told["labels"])
  own = getattr(feature, "names", None)
  if own:
    return named_labels(own, values, ignore)
  count = min(len(records), _LOOKED_AT)
  found = [np.unique(records.read(i, f"record {i}")[label]) for i in range(count)]
  listed = ", ".join(f"{v:g}" for v in np.unique(np.concatenate(found))[:20])
  raise ValueError(
    f"config.data.source.names: the set does not say what its labels mean; give the names of the "
    f"classes, background first (and `values`, unless they are 0, 1, 2, ...). The first {count} "
    f"masks hold: {listed}."
  )


def _space(array: np.ndarray, rank: int, where: str, what: str) -> np.ndarray:
  if array.ndim == rank + 1 and array.shape[-1] == 1:
    return array[..., 0]
  if array.ndim != rank:
    raise ValueError(f"{where}: its {what} has shape {array.shape}, expected {rank} axes.")
  return array


def _read_case(
  case: str, *, place: Place, numbers, image: str, label: str, channels, labels, rank, spacing
) -> RawCase:
  if case not in numbers:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(numbers)} cases.")
  where = f"{place.folder}: case '{case}'"
  record = records_of(place).read(numbers[case], f"case '{case}'")
  picture = np.asarray(record[image])
  picture = picture if picture.ndim == rank + 1 else picture[..., None]
  check_image(picture, where, channels=len(channels), rank=rank)
  mask = integers(_space(np.asarray(record[label]), rank, where, "label"), where)
  shape = picture.shape[:-1]
  if mask.shape != shape:
    raise ValueError(
      f"{where}: the image has shape {shape} but the label {mask.shape}; they must lie on the same "
      "grid."
    )
  labels.encode(mask, where)
  geometry = plain_geometry(shape, spacing)
  if AFFINE in record and spacing is None:
    affine = np.asarray(record[AFFINE], np.float64).reshape(4, 4)
    geometry = Geometry(affine, shape, "plain", directed=bool(record[DIRECTED]))
    check_spacing(geometry, where)
  weight = record.get(WEIGHT)
  weight = None if weight is None else _space(np.asarray(weight), rank, where, "weight")
  return RawCase(picture, mask, weight, geometry)


def _text(value) -> str:
  return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _case_numbers(
  place: Place, feature: str | None, count: int, told: Mapping[str, Sequence[str]]
) -> dict[str, int]:
  """Name of each case -> number of its record."""
  parts = list(told) if place.split == "all" else place.split.split("+")
  if feature is None:
    width = max(6, len(str(count - 1)))
    names = [f"{number:0{width}d}" for number in range(count)]
  elif told and all(part in told for part in parts):
    names = [name for part in parts for name in told[part]]
  else:
    records = records_of(place._replace(features=(feature,)))
    names = [_text(records.read(i, f"record {i}")[feature]) for i in range(count)]
  numbers: dict[str, int] = {}
  for number, name in enumerate(names):
    # names become file names
    name = name.replace("/", "_")
    if numbers.setdefault(name, number) != number:
      raise ValueError(
        f"config.data.source.case: records {numbers[name]} and {number} of {place.folder} are both "
        f"called '{name}'; choose another feature, or none for numbers."
      )
  return numbers


def tfds(
  dataset: str,
  *,
  image: str = "image",
  label: str | None = None,
  split: str = "train",
  data_dir: str = "~/tensorflow_datasets",
  names: Sequence[str] | None = None,
  values: Sequence[int] | None = None,
  ignore: int | None = None,
  channels: Sequence[str] | None = None,
  spacing: Sequence[float] | None = None,
  case: str | None = None,
) -> Source:
  """A set of TensorFlow Datasets: pictures or volumes with masks, prepared as array_record.

  Args:
    dataset: NAME, NAME/CONFIG or NAME/CONFIG:VERSION; the newest version by default.
    image: the feature with the image: (y, x[, c]) or (z, y, x[, c]), of any type of number; one in
      a group is "group/name".
    label: the feature with the mask, (y, x[, 1]) or (z, y, x[, 1]), of whole numbers; by default
      the first of label, segmentation_mask, mask, segmentation that is there.
    split: "train", "all", a sum or a slice as TFDS has them ("train+test", "train[:80%]").
    data_dir: the folder in which TFDS keeps its sets.
    names: names of the classes, background first; a set that jaxseg wrote knows them, and so does
      one whose mask is a LabeledImage.
    values: the stored value of each class; 0, 1, 2, ... by default.
    ignore: stored value of voxels that are not annotated.
    channels: names of the image's channels.
    spacing: millimetres in array order; by default what jaxseg wrote, else 1.
    case: a feature of text that names the cases ("file_name"); by default what jaxseg wrote, else
      the number of the record.

  Raises:
    FileNotFoundError: the folder, the set, its config or its version is missing.
    ValueError: the set has another file format; split or features are unknown or no images; the
      classes have no names; and, when a case is read, damage, shapes or values that don't fit.
  """
  folder = _folder(dataset, data_dir)
  info = builder_of(folder).info
  _check_format(info, folder)
  _check_split(info, split, folder)
  features = info.features
  image = _check_feature(features, image, "image", ())
  label = _check_feature(features, label, "label", _MASKS)
  rank, count = _rank(features, image, label)
  told = dict((info.metadata or {}).get(METADATA, {}))
  named = told.get("cases", {}) if case is None else {}
  case = CASE if named else case
  if case is not None and feature_of(features, case) is None:
    near = suggestion(case, _describe(features))
    raise ValueError(
      f"config.data.source.case: no feature is called '{case}'{near}; features: "
      f"{'; '.join(_describe(features))}."
    )
  own = (WEIGHT, AFFINE, DIRECTED) if told else ()
  read = (image, label, *(name for name in own if name in features))
  place = Place(folder, split, read)
  records = records_of(place)
  if count is None:
    count = np.asarray(records.read(0, "record 0")[image]).shape[-1]
  channels = _channel_names(count, told, channels)
  labels = _labels(told, feature_of(features, label), names, values, ignore, records, label)
  numbers = _case_numbers(place, case, len(records), named)
  reader = functools.partial(
    _read_case,
    place=place,
    numbers=numbers,
    image=image,
    label=label,
    channels=channels,
    labels=labels,
    rank=rank,
    spacing=spacing,
  )
  options = {"split": split, "features": read, "case": case, "labels": labels.to_json()}
  options |= {"channels": channels, "spacing": spacing}
  files = [file for file in folder.iterdir() if file.is_file()]
  cases = tuple(sorted(numbers, key=natural))
  return Source(info.name, cases, channels, labels, rank, reader, fingerprint(files, options))
