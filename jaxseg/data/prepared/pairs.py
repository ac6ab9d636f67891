"""A prepared set as pairs of what a network is given and the image that it is to make of it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.preparation import Preparation

# what a network is given in place of channels, and what its one channel is called
LABEL = "label"


class _Pairs(NamedTuple):
  """`load` and `crop` of a data set whose image is divided; plain values, so that it pickles."""

  dataset_load: Callable[[int], dict[str, np.ndarray]]
  dataset_crop: Callable[..., dict[str, np.ndarray]]
  labels: LabelSpec
  inputs: tuple[int, ...] | None
  targets: tuple[int, ...]
  paired: bool

  def load(self, i: int) -> dict[str, np.ndarray]:
    return self._divided(self.dataset_load(i))

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    return self._divided(self.dataset_crop(i, start, size))

  def _divided(self, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    image = sample["image"]
    target = image[..., list(self.targets)]
    if self.inputs is None:
      given = self.labels.one_hot(sample[self.labels.field])
    else:
      given = image[..., list(self.inputs)]
    return {**sample, "image": given} | ({"target_image": target} if self.paired else {})


def as_pairs(
  dataset: Dataset, inputs: Sequence[str] | str, targets: Sequence[str], *, paired: bool = True
) -> Dataset:
  """The data set with some channels as `image`, others as `target_image` of its samples.

  Args:
    dataset: a prepared set that has all of them.
    inputs: names of channels, or LABEL: the classes or regions as one-hot maps.
    targets: names of channels.
    paired: False leaves `target_image` out.

  Returns:
    The data set; its channels and preparation are those of the inputs alone.
  """
  given = None if inputs == LABEL else tuple(dataset.channels.index(name) for name in inputs)
  pairs = _Pairs(
    dataset.load,
    dataset.crop,
    dataset.labels,
    given,
    tuple(dataset.channels.index(name) for name in targets),
    paired,
  )
  preparation = of_channels(dataset.preparation, inputs)
  return dataset._replace(
    load=pairs.load, crop=pairs.crop, channels=preparation.channels, preparation=preparation
  )


def of_channels(preparation: Preparation, channels: Sequence[str] | str) -> Preparation:
  """The preparation of some of its channels; of LABEL, that of the grid alone."""
  if channels == LABEL:
    schemes = ({"name": "none"},)
    return dataclasses.replace(preparation, channels=(LABEL,), normalisation=schemes)
  schemes = dict(zip(preparation.channels, preparation.normalisation, strict=True))
  return dataclasses.replace(
    preparation, channels=tuple(channels), normalisation=tuple(schemes[c] for c in channels)
  )
