"""Records of a set of TensorFlow Datasets (TFDS), read by number, without TensorFlow."""

import functools
import io
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

INDEX = "dataset_info.json"
# in the header of a PNG: bits per sample, and the kinds of samples that Pillow would cut to 8
_BITS, _SAMPLES, _COLOURS = 24, 25, (2, 6)
# what the readers of records, of compressed arrays and of pictures raise for damage
_DAMAGE = (ValueError, RuntimeError, OSError, IndexError, KeyError, zlib.error)


class Place(NamedTuple):
  """Where records lie and what of them is read: plain values, so that a reader pickles."""

  folder: pathlib.Path
  split: str
  features: tuple[str, ...]


class Records:
  """The chosen features of the records of one split."""

  def __init__(self, place: Place):
    import tensorflow_datasets as tfds

    builder = builder_of(place.folder)
    self.features = {name: feature_of(builder.info.features, name) for name in place.features}
    self.pictures = {name for name, feature in self.features.items() if is_picture(feature)}
    wanted, skipped = {}, {}
    for name in place.features:
      _put(wanted, name, self.features[name])
    for name in self.pictures:
      _put(skipped, name, tfds.decode.SkipDecoding())
    self._decoders, self.folder = skipped, place.folder
    # the features that are read, out of all that a record holds
    self._wanted = tfds.features.FeaturesDict(wanted)
    whole = tfds.decode.DeserializeMethod.RAW_BYTES
    try:
      self._source = builder.as_data_source(split=place.split, deserialize_method=whole)
    except _DAMAGE as error:
      raise _unreadable(place.folder, f"split '{place.split}'", error) from error

  def __len__(self) -> int:
    return len(self._source)

  def read(self, number: int, where: str) -> dict[str, Any]:
    """The features of a record by name, pictures as arrays."""
    try:
      record = self._wanted.deserialize_example_np(self._source[number], decoders=self._decoders)
      found = {name: _get(record, name) for name in self.features}
      # a reader that skips what is damaged gives a record without anything
      lost = [name for name, value in found.items() if value is None]
      if lost:
        raise ValueError(f"it lacks '{lost[0]}'")
      for name in self.pictures:
        found[name] = _picture(found[name], self.features[name])
    except _DAMAGE as error:
      raise _unreadable(self.folder, where, error) from error
    return found


def _unreadable(folder: pathlib.Path, where: str, error: Exception) -> ValueError:
  reason = " ".join(str(error).split())[:200]
  return ValueError(
    f"{folder}: {where} cannot be read ({reason}); the files are damaged or cut off: copy them, or "
    "prepare the set again."
  )


@functools.lru_cache(16)
def records_of(place: Place) -> Records:
  return Records(place)


@functools.lru_cache(16)
def builder_of(folder: pathlib.Path):
  import tensorflow_datasets as tfds

  try:
    return tfds.builder_from_directory(folder)
  except (AttributeError, ImportError, MemoryError, PermissionError):
    # no fault of the set
    raise
  except Exception as error:
    reason = " ".join(str(error).split())[:200]
    raise ValueError(
      f"{folder}: is no set of TFDS ({reason}); expected {INDEX} and features.json as TFDS writes "
      "them: copy or prepare the set again."
    ) from error


def _put(tree: dict, name: str, value) -> None:
  *above, last = name.split("/")
  for part in above:
    tree = tree.setdefault(part, {})
  tree[last] = value


def _get(tree: Mapping, name: str):
  for part in name.split("/"):
    tree = tree[part]
  return tree


def is_picture(feature) -> bool:
  """Whether a feature is an encoded picture, (y, x, channels)."""
  import tensorflow_datasets as tfds

  return isinstance(feature, tfds.features.Image)


def is_group(feature) -> bool:
  """Whether a feature is a dict of features."""
  return hasattr(feature, "keys")


def feature_of(features, name: str):
  """A feature by its name, that of one within a group as "group/name"; None if there is none."""
  for part in name.split("/"):
    if not is_group(features) or part not in features:
      return None
    features = features[part]
  return features


def _picture(data: bytes, feature) -> np.ndarray:
  """(y, x, channels) of an encoded picture, as TFDS decodes it."""
  colours = len(data) > _SAMPLES and data[1:4] == b"PNG" and data[_SAMPLES] in _COLOURS
  if colours and data[_BITS] == 16:
    raise ValueError("a PNG with colours of 16 bits; store them as a Tensor")
  with Image.open(io.BytesIO(data)) as page:
    array = np.asarray(page)
  array = array[..., None] if array.ndim == 2 else array
  if feature.np_dtype == np.float32:
    # TFDS keeps the four bytes of a number as four channels
    return np.ascontiguousarray(array).view(np.float32)
  return array.astype(feature.np_dtype)
