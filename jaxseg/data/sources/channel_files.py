"""Which image files make one case: channels are told by endings _0000, _0001, ... (nnU-Net's)."""

import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from jaxseg.data.formats.images import stem
from jaxseg.data.sources.source import natural

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def split_channel(name: str) -> tuple[str, int | None]:
  """case_0001 -> ("case", 1); a name without a channel's number -> (name, None)."""
  match = _CHANNEL.fullmatch(name)
  return (match[1], int(match[2])) if match else (name, None)


def by_case(
  files: Iterable[pathlib.Path], *, numbered: bool = False, first: int = 0
) -> dict[str, tuple[pathlib.Path, ...]]:
  """The image files of one folder -> case name -> its files in the channels' order.

  Args:
    files: image files.
    numbered: every image bears a channel's number, as in nnU-Net's imagesTr; those without one are
      left out. Otherwise _1998 is a channel's number only beside `first`, _0000.
    first: number of the first channel that cases have.
  """
  files = sorted(files, key=lambda file: natural(file.name))
  stems = {stem(file) for file in files}
  cases: dict[str, list[pathlib.Path]] = {}
  for file in files:
    name, number = split_channel(stem(file))
    if number is None and numbered:
      continue
    if not numbered and number is not None and f"{name}_{first:04d}" not in stems:
      name = stem(file)
    cases.setdefault(name, []).append(file)
  return {name: tuple(found) for name, found in cases.items()}


def numbers_of(files: Sequence[pathlib.Path], case: str) -> tuple[int, ...] | None:
  """The channel's number of each of a case's files; None of one that holds them all."""
  names = [stem(file) for file in files]
  told = [None if name == case else split_channel(name)[1] for name in names]
  return None if None in told else tuple(told)


def placed(
  image: np.ndarray, files: Sequence[pathlib.Path], channels: int
) -> tuple[np.ndarray, tuple[int, ...]]:
  """What a case's numbered files hold as an image of all channels, and those that none of them has.

  Args:
    image: (*space, c), a channel of each of the files in their order; one of all channels stays.
    files: of the case, as `by_case` gives them.
    channels: of the data set.
  """
  if image.shape[-1] == channels or image.shape[-1] != len(files):
    return image, ()
  there = [split_channel(stem(file))[1] for file in files]
  whole = np.zeros((*image.shape[:-1], channels), image.dtype)
  whole[..., there] = image
  return whole, tuple(i for i in range(channels) if i not in there)


def lacking(
  cases: Mapping[str, Sequence[pathlib.Path]],
  channels: Sequence[str],
  selected: Sequence[int],
  where,
) -> dict[str, tuple[str, ...]]:
  """Case -> names of the selected channels that none of its numbered files holds, where some are.

  Raises ValueError where a case has none of them.
  """
  out = {}
  for case, files in cases.items():
    there = {split_channel(stem(file))[1] for file in files}
    names = tuple(channels[i] for i in selected if i not in there)
    if len(names) == len(selected):
      raise ValueError(f"{where}: case '{case}' has no image of {', '.join(names)}; remove it.")
    out |= {case: names} if names else {}
  return out


def check_files(
  case: str,
  files: Sequence[pathlib.Path],
  channels: Sequence[str],
  where,
  *,
  lone: bool = True,
  optional: Collection[int] = (),
) -> None:
  """Raises ValueError unless the files are one per channel, or one with all channels.

  Args:
    case: the case's name.
    files: its files, as `by_case` gives them.
    channels: names of the channels that are expected.
    where: the folder or description of the set, for the message.
    lone: whether a file alone may hold all channels.
    optional: channels that a case may lack, all but one.
  """
  names = [stem(file) for file in files]
  twice = [file.name for file in files if names.count(stem(file)) > 1]
  if twice:
    raise ValueError(
      f"{where}: case '{case}' has {' and '.join(twice)}, several files of one name; keep the one "
      "that counts, or rename the others."
    )
  numbers = [None if name == case else split_channel(name)[1] for name in names]
  if lone and numbers in ([None], [0]):
    return
  expected = ", ".join(f"{number:04d}" for number in range(len(channels)))
  needed = [number for number in range(len(channels)) if number not in optional]
  if len(needed) < len(channels) and set(needed) <= set(numbers) <= set(range(len(channels))):
    return
  if numbers != list(range(len(channels))):
    raise ValueError(
      f"{where}: case '{case}' has the image files {', '.join(file.name for file in files)}; "
      f"expected one per channel ({', '.join(channels)}), numbered {expected}: add what is "
      "missing, remove what is too many."
    )
