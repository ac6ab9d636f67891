"""Which image files make one case: channels are told by endings _0000, _0001, ... (nnU-Net's)."""

import pathlib
import re
from collections.abc import Iterable, Sequence

from jaxseg.data.formats.images import stem
from jaxseg.data.sources.source import natural

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def split_channel(name: str) -> tuple[str, int | None]:
  """case_0001 -> ("case", 1); a name without a channel's number -> (name, None)."""
  match = _CHANNEL.fullmatch(name)
  return (match[1], int(match[2])) if match else (name, None)


def by_case(
  files: Iterable[pathlib.Path], *, numbered: bool = False
) -> dict[str, tuple[pathlib.Path, ...]]:
  """The image files of one folder -> case name -> its files in the channels' order.

  Args:
    files: image files.
    numbered: every image bears a channel's number, as in nnU-Net's imagesTr; those without one are
      left out. Otherwise _1998 is a channel's number only beside _0000.
  """
  files = sorted(files, key=lambda file: natural(file.name))
  stems = {stem(file) for file in files}
  cases: dict[str, list[pathlib.Path]] = {}
  for file in files:
    name, number = split_channel(stem(file))
    if number is None and numbered:
      continue
    if not numbered and number is not None and f"{name}_0000" not in stems:
      name = stem(file)
    cases.setdefault(name, []).append(file)
  return {name: tuple(found) for name, found in cases.items()}


def check_files(
  case: str, files: Sequence[pathlib.Path], channels: Sequence[str], where, *, lone: bool = True
) -> None:
  """Raises ValueError unless the files are one per channel, or one with all channels.

  Args:
    case: the case's name.
    files: its files, as `by_case` gives them.
    channels: names of the channels that are expected.
    where: the folder or description of the set, for the message.
    lone: whether a file alone may hold all channels.
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
  if numbers != list(range(len(channels))):
    raise ValueError(
      f"{where}: case '{case}' has the image files {', '.join(file.name for file in files)}; "
      f"expected one per channel ({', '.join(channels)}), numbered {expected}: add what is "
      "missing, remove what is too many."
    )
