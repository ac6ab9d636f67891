"""Any source as a set of TensorFlow Datasets (TFDS), in ArrayRecord files, without TensorFlow.

`tfds.builder_from_directory(folder).as_data_source("train")` gives its records; the source
`tfds` gives the same cases, to the bit.
"""

import os
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image

from jaxseg import files
from jaxseg.data.sources.source import RawCase, Source, check_complete
from jaxseg.data.sources.tfds_folder import AFFINE, CASE, DIRECTED, METADATA, WEIGHT

VERSION = "1.0.0"
# bytes of a file, before compression: TFDS asks for some hundred million
_SHARD = 2**28


class _Kinds(NamedTuple):
  """What all cases of a set have in common."""

  image: np.dtype
  label: np.dtype
  weighted: bool
  size: int


def _looked_at(source: Source, cases: Sequence[str]) -> _Kinds:
  check_complete(source, "convert")
  image, low, high, weighted, size = None, 0, 0, False, 0
  for case in cases:
    raw = source.read(case)
    if raw.label is None:
      raise ValueError(f"case '{case}' has no label; a set of images and masks needs one for each.")
    image = raw.image.dtype if image is None else np.result_type(image, raw.image.dtype)
    low, high = min(low, int(raw.label.min())), max(high, int(raw.label.max()))
    weighted |= raw.weight is not None
    size = max(size, raw.image.nbytes)
  label = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
  return _Kinds(image, label, weighted, size)


def _features(source: Source, kinds: _Kinds):
  import tensorflow_datasets as tfds

  space, channels = (None,) * source.rank, len(source.channels)

  def array(shape, dtype, picture: bool):
    if picture:
      return tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format="png")
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype).type, encoding="zlib")

  bytes_, planes = (kinds.image == np.uint8, kinds.label == np.uint8), source.rank == 2
  found = {
    "image": array((*space, channels), kinds.image, planes and bytes_[0] and channels in (1, 3)),
    "label": array((*space, 1), kinds.label, planes and bytes_[1]),
    CASE: tfds.features.Text(),
    AFFINE: tfds.features.Tensor(shape=(4, 4), dtype=np.float64, encoding="zlib"),
    DIRECTED: tfds.features.Scalar(dtype=np.bool_),
  }
  if kinds.weighted:
    found[WEIGHT] = array((*space, 1), np.float32, False)
  return tfds.features.FeaturesDict(found)


def _example(case: str, raw: RawCase, features, kinds: _Kinds) -> dict:
  import tensorflow_datasets as tfds

  def stored(name: str, array: np.ndarray):
    if isinstance(features[name], tfds.features.Image):
      # an array would be encoded by TensorFlow
      return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    return array

  found = {
    "image": stored("image", np.ascontiguousarray(raw.image, kinds.image)),
    "label": stored("label", np.ascontiguousarray(raw.label[..., None], kinds.label)),
    CASE: case,
    AFFINE: np.asarray(raw.geometry.affine, np.float64),
    DIRECTED: raw.geometry.directed,
  }
  if kinds.weighted:
    weight = np.ones(raw.label.shape) if raw.weight is None else raw.weight
    found[WEIGHT] = weight[..., None].astype(np.float32)
  return found


def set_name(text: str) -> str:
  """A name as TFDS wants it: small letters, digits and _."""
  name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "set"
  return name if name[0].isalpha() else f"set_{name}"


def write_tfds(
  source: Source, splits: Mapping[str, Sequence[str]], folder: pathlib.Path, *, name: str = ""
) -> pathlib.Path:
  """Writes folder/NAME/1.0.0: the cases of a source as a TFDS set in the format array_record.

  Its features are "image", "label" (with a last axis of length 1), "case", "affine" (from voxel
  (x, y, z) to RAS millimetres, as in NIfTI), "directed" (whether the affine's directions are
  known) and, where there are weights, "weight". In metadata.json are the labels' names, stored
  values, regions and ignored value, and the names of the channels and of the cases. Images keep
  their type, the widest where cases differ; every case is read twice.

  Args:
    source: the cases.
    splits: name of a split -> names of its cases.
    folder: TFDS's `data_dir`.
    name: of the set; by default the source's, in small letters.

  Returns:
    The folder of the version.

  Raises:
    ValueError: the set is there already, or a case has no label.
    DiskFull: there is no room.
  """
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import dataset_info, sequential_writer

  name = set_name(name or source.name)
  target = pathlib.Path(folder) / name / VERSION
  if target.exists():
    raise ValueError(f"{target}: is there already; choose another folder, or remove it.")
  every = [case for cases in splits.values() for case in cases]
  part = target.with_name(f".{os.getpid()}.{VERSION}")
  with files.full_disk_told(target):
    try:
      files.remove_leftovers(target.parent)
      part.mkdir(parents=True)
      kinds = _looked_at(source, every)
      features = _features(source, kinds)
      identity = dataset_info.DatasetIdentity(
        name=name, version=tfds.core.Version(VERSION), data_dir=str(part), module_name="jaxseg"
      )
      told = {"labels": source.labels.to_json(), "channels": list(source.channels)}
      told["cases"] = {split: list(cases) for split, cases in splits.items()}
      info = dataset_info.DatasetInfo(
        builder=identity,
        description=f"{source.name}: {len(every)} cases, written by jaxseg.",
        features=features,
        metadata=tfds.core.MetadataDict({METADATA: told}),
      )
      writer = sequential_writer.SequentialWriter(
        info, max(1, _SHARD // max(1, kinds.size)), overwrite=True, file_format="array_record"
      )
      writer.initialize_splits(list(splits))
      with tqdm.tqdm(
        total=len(every), unit="case", desc="tfds", disable=not sys.stderr.isatty()
      ) as bar:
        for split, cases in splits.items():
          for case in cases:
            example = _example(case, source.read(case), features, kinds)
            writer.add_examples({split: [example]})
            bar.update()
      writer.close_all()
      files.flush(part)
      files.rename(part, target)
    finally:
      shutil.rmtree(part, ignore_errors=True)
  return target
