"""The prepared data set: every case validated and normalised once, stored as array_record by TFDS.

There is one folder per source (its fingerprint) and preparation, so that a changed file or option
makes a new set. A set is built in a temporary folder and renamed: a half-written one is never read.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from jaxseg.batch import LabelSpec
from jaxseg.data.geometry import check_orientation, orient, oriented
from jaxseg.data.locations import locate, pack, unpack
from jaxseg.data.normalise import fit, needs_statistics, schemes
from jaxseg.data.preparation import Preparation
from jaxseg.data.source import RawCase, Source

# part of every set's hash: raise it when the stored format changes
_VERSION = tfds.core.Version("1.0.0")
_RECORDS_PER_FILE = 1000
_LARGEST = 2**31 - 2**20  # a record is a protocol buffer
_INDEX, _LOCATIONS = "jaxseg.json", "locations.int32"


class Dataset(NamedTuple):
  """A prepared data set.

  Attributes:
    names: names of the cases, in the order of the source.
    labels: the label specification.
    channels: names of the image channels.
    rank: number of spatial axes.
    preparation: how images were prepared; needed to predict.
    load: i -> {"image": float32 (*space, channels), "label": int32 (*space) or "soft_label":
      float32 (*space, k) for regions, "spacing": float32 (rank,), and "weight": float32 (*space)
      where the set has ignored voxels}.
    locations: i -> {class: (n, rank) int32 voxels}, foreground only; region r is class r + 1.
    shape: i -> (*space).
    folder: where the set lies.
  """

  names: tuple[str, ...]
  labels: LabelSpec
  channels: tuple[str, ...]
  rank: int
  preparation: Preparation
  load: Callable[[int], dict[str, np.ndarray]]
  locations: Callable[[int], dict[int, np.ndarray]]
  shape: Callable[[int], tuple[int, ...]]
  folder: pathlib.Path


def _tensor(rank: int, dtype, channels: int | None = None):
  # several unknown sizes need the encoding bytes; array_record compresses the record as a whole
  shape = (None,) * rank if channels is None else (*(None,) * rank, channels)
  return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)


def _label_type(labels: LabelSpec):
  return np.uint8 if labels.channels <= 256 else np.int32


def _features(labels: LabelSpec, rank: int, channels: int, weighted: bool) -> dict:
  features = {
    "name": tfds.features.Text(),
    "image": _tensor(rank, np.float32, channels),
    "label": _tensor(rank, _label_type(labels), labels.channels if labels.regions else None),
    "spacing": tfds.features.Tensor(shape=(rank,), dtype=np.float32),
  }
  if weighted:
    features["weight"] = _tensor(rank, np.float32)
  return features


def _encode(raw: RawCase, labels: LabelSpec, case: str) -> tuple[np.ndarray, np.ndarray | None]:
  """Classes or regions, and the weight: that of ignored voxels times the source's; or None."""
  if raw.label is None:
    raise ValueError(f"case '{case}' has no label; a training set needs one for every case.")
  label, weight = labels.encode(raw.label, f"case '{case}'")
  if raw.weight is not None:
    weight = raw.weight if weight is None else weight * raw.weight
  return label, weight


def _foreground(source: Source, case: str) -> tuple[np.ndarray, np.ndarray]:
  raw = source.read(case)
  label, weight = _encode(raw, source.labels, case)
  inside = label.any(-1) if source.labels.regions else label > 0
  return raw.image, inside if weight is None else inside & (weight > 0)


def _warn_of_orientations(found: Counter, name: str) -> None:
  if len(found) > 1:
    listed = ", ".join(f"{count} x {codes}" for codes, count in found.most_common())
    warnings.warn(
      f"the cases of '{name}' differ in orientation ({listed}); set orientation='RAS' to turn them "
      "all the same way.",
      stacklevel=3,
    )


def _example(
  raw: RawCase, source: Source, preparation: Preparation, weighted: bool, case: str
) -> dict[str, np.ndarray]:
  """The arrays of one record, all in the training orientation."""
  label, weight = _encode(raw, source.labels, case)
  if weight is not None and not weighted:
    raise ValueError(
      f"case '{case}' has a weight but '{source.cases[0]}' has none; give all cases one, or none."
    )
  image = preparation.apply(raw, f"case '{case}'")
  if image.nbytes >= _LARGEST:
    raise ValueError(
      f"case '{case}' takes {image.nbytes / 2**30:.1f} GiB, a record holds at most 2; crop it or "
      "resample it to a coarser grid."
    )
  turned = functools.partial(orient, geometry=raw.geometry, orientation=preparation.orientation)
  example = {
    "image": image,
    "label": turned(label).astype(_label_type(source.labels)),
    "spacing": oriented(raw.geometry, preparation.orientation).spacing,
  }
  if weighted:
    weight = np.ones(raw.geometry.shape) if weight is None else weight
    example["weight"] = turned(weight).astype(np.float32)
  return example


def _build(source: Source, preparation: Preparation, weighted: bool, folder: pathlib.Path) -> None:
  """Writes the whole set to an empty folder."""
  shapes, ends, axcodes = [], [0], Counter()
  identity = tfds.core.DatasetIdentity(
    name="prepared", version=_VERSION, data_dir=str(folder), module_name=__name__
  )
  features = _features(source.labels, source.rank, len(source.channels), weighted)
  info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
  # TFDS's usual writer sorts records by a hash, and needs TensorFlow for sets above 1 GB
  writer = tfds.core.SequentialWriter(info, _RECORDS_PER_FILE, file_format="array_record")
  writer.initialize_splits(["cases"])
  bar = tqdm.tqdm(source.cases, desc=f"preparing {source.name}", unit="case", mininterval=0.5)
  with open(folder / _LOCATIONS, "wb") as locations:
    for case in bar:
      raw = source.read(case)
      example = {"name": case, **_example(raw, source, preparation, weighted, case)}
      writer.add_examples({"cases": [example]})
      found = locate(example["label"], example.get("weight"), regions=bool(source.labels.regions))
      rows = pack(found, source.rank)
      locations.write(rows.tobytes())
      ends.append(ends[-1] + len(rows))
      shapes.append([int(n) for n in example["label"].shape[: source.rank]])
      axcodes[raw.geometry.axcodes] += 1
  writer.close_all()
  if preparation.orientation == "stored":
    _warn_of_orientations(axcodes, source.name)
  index = {
    "source": source.name,
    "fingerprint": source.fingerprint,
    "names": source.cases,
    "labels": source.labels.to_json(),
    "preparation": preparation.to_json(),
    "shapes": shapes,
    "locations": ends,
  }
  (folder / _INDEX).write_text(json.dumps(index))


class _Reader:
  """Reads one prepared set; safe to use from several threads, and to send to other processes."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    self.labels = LabelSpec.from_json(self.index["labels"])
    self.preparation = Preparation.from_json(self.index["preparation"])
    self._records = tfds.builder_from_directory(folder).as_data_source("cases")

  def load(self, i: int) -> dict[str, np.ndarray]:
    record = self._records[int(i)]
    name, wanted = record["name"].decode(), self.index["names"][int(i)]
    if name != wanted:
      raise ValueError(
        f"{self.folder}: record {i} is case '{name}', expected '{wanted}'; remove this folder, it "
        "will be prepared again."
      )
    sample = {"image": record["image"]}
    if self.labels.regions:
      sample["soft_label"] = record["label"].astype(np.float32)
    else:
      sample["label"] = record["label"].astype(np.int32)
    if "weight" in record:
      sample["weight"] = record["weight"]
    return {**sample, "spacing": record["spacing"]}

  def locations(self, i: int) -> dict[int, np.ndarray]:
    start, end = self.index["locations"][int(i) : int(i) + 2]
    width = 1 + self.preparation.rank
    rows = np.fromfile(
      self.folder / _LOCATIONS, np.int32, (end - start) * width, offset=start * width * 4
    )
    return unpack(rows.reshape(-1, width))

  def shape(self, i: int) -> tuple[int, ...]:
    return tuple(self.index["shapes"][int(i)])


def open_prepared(folder) -> Dataset:
  """The prepared set in a folder, without its source; raises FileNotFoundError if there is none."""
  folder = pathlib.Path(folder)
  if not (folder / _INDEX).is_file():
    raise FileNotFoundError(f"{folder}: holds no prepared data set ({_INDEX} is missing).")
  reader = _Reader(folder)
  return Dataset(
    names=tuple(reader.index["names"]),
    labels=reader.labels,
    channels=reader.preparation.channels,
    rank=reader.preparation.rank,
    preparation=reader.preparation,
    load=reader.load,
    locations=reader.locations,
    shape=reader.shape,
    folder=folder,
  )


def prepare(
  source: Source,
  *,
  normalise="auto",
  orientation: str = "stored",
  cache_dir="~/.cache/jaxseg",
  train_cases: Sequence[str] | None = None,
) -> Dataset:
  """Validates, normalises and stores every case of a source, or finds it already prepared.

  Args:
    source: the cases.
    normalise: a scheme or one per channel, see `jaxseg.data.normalise.schemes`.
    orientation: "stored", or "RAS" to turn every volume the same way.
    cache_dir: where prepared sets lie; one folder per source, fingerprint and options.
    train_cases: the cases that `ct` takes its numbers from; all by default. Without `ct` they
      don't matter, and all folds share one prepared set.

  Returns:
    The data set; its order is that of `source.cases`.

  Raises:
    ValueError: a case is invalid (its name and file are told), or an option is unknown.
    PermissionError: `cache_dir` is not writable.
  """
  scheme_list = schemes(normalise, source.channels)
  check_orientation(orientation)
  fitted_on = None
  if any(needs_statistics(scheme) for scheme in scheme_list):
    fitted_on = sorted(source.cases if train_cases is None else train_cases)
  options = [
    str(_VERSION),
    source.fingerprint,
    source.labels.to_json(),
    source.cases,
    source.channels,
  ]
  options += [scheme_list, orientation, fitted_on]
  key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
  home = pathlib.Path(cache_dir).expanduser() / source.name
  folder = home / key
  if not folder.is_dir():
    try:
      home.mkdir(parents=True, exist_ok=True)
      temporary = tempfile.TemporaryDirectory(dir=home, prefix=".building-")
    except OSError as error:
      raise PermissionError(
        f"{home}: prepared data cannot be written here ({error.strerror}); set the cache folder to "
        "a writable one."
      ) from error
    with temporary:
      filled = fit(scheme_list, lambda case: _foreground(source, case), fitted_on or ())
      preparation = Preparation(source.channels, source.rank, filled, orientation)
      first = source.read(source.cases[0])
      weighted = first.weight is not None or source.labels.ignore is not None
      built = pathlib.Path(temporary.name) / "set"
      built.mkdir()
      _build(source, preparation, weighted, built)
      # another process may have prepared the same set meanwhile: one is as good as the other
      with contextlib.suppress(OSError):
        os.rename(built, folder)
  print(f"prepared data set: {folder} ({len(source.cases)} cases)")
  return open_prepared(folder)
