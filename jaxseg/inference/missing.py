"""Which of a run's channels a user's scans lack, by their names."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.build import suggestion
from jaxseg.config.modalities import DROPOUT, drops_modalities
from jaxseg.config.streams import as_main
from jaxseg.data.sources.source import RawCase


def numbers(names: Sequence[str], channels: Sequence[str]) -> tuple[int, ...]:
  """The numbers of the channels; raises ValueError for an unknown name, and where none is left."""
  for name in names:
    if name not in channels:
      raise ValueError(
        f"--missing {name}: the run has no such channel{suggestion(name, channels)}; its channels: "
        f"{', '.join(channels)}."
      )
  missing = tuple(i for i, channel in enumerate(channels) if channel in names)
  if len(missing) == len(channels):
    raise ValueError(
      f"--missing {' '.join(names)}: these are all channels of the run, of which nothing would be "
      "left to see; leave one out."
    )
  return missing


def placed(raw: RawCase, there: Sequence[int] | None, channels: int, missing: Sequence[int]):
  """The case with all channels of the run, empty those that are missing.

  Args:
    raw: as read from the files that there are.
    there: the number of each of its channels; None where one file holds all, or all but `missing`.
    channels: of the run.
    missing: numbers of those that are missing, whether files hold them or not.
  """
  held = raw.image.shape[-1]
  if there is None:
    left = [i for i in range(channels) if i not in missing]
    there = left if held == len(left) else range(channels)
  if held != len(there) or held == channels:
    return raw.without(missing) if held == channels else raw
  image = np.zeros((*raw.image.shape[:-1], channels), raw.image.dtype)
  image[..., list(there)] = raw.image
  return raw._replace(image=image).without(missing)


def learnt(config: Mapping[str, Any]) -> bool:
  """Whether a run was trained on cases that lack channels, by nature or by modality dropout."""
  streams = [config, *(as_main(config, name) for name in config.get("streams", {}))]
  return any(drops_modalities(of) or of["data"]["source"].get("incomplete") for of in streams)


def warning(config: Mapping[str, Any], what: str = "a missing channel") -> str:
  """What is to be told where a run never saw such cases; "" where it did."""
  if learnt(config):
    return ""
  return (
    f"the run was trained on complete cases alone, without augment.{DROPOUT}: what it makes of "
    f"{what} may be worth nothing"
  )


def subsets(channels: int) -> Iterator[tuple[int, ...]]:
  """The 2^channels - 1 sets of channels that there can be, the largest first."""
  for number in range(channels, 0, -1):
    yield from itertools.combinations(range(channels), number)
