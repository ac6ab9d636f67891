"""What a dataset.json says of channels and labels, in nnU-Net's words or the Decathlon's."""

import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import ending

_ADVICE = "correct the file"
_EXAMPLE = '{"background": 0, "tumour": 1}'


def read(path: pathlib.Path) -> dict[str, Any]:
  """The object in the file; raises FileNotFoundError or ValueError in words."""
  what = "the description of a data set in nnU-Net's or the Decathlon's format"
  return files.read_json(path, what=what, advice=_ADVICE)


def file_ending(description: Mapping[str, Any], where) -> str:
  """The ending of the set's files as it is known, with its dot and in lower case."""
  told = description.get("file_ending")
  if not isinstance(told, str) or not told:
    raise ValueError(f'{where}: needs "file_ending", for example ".nii.gz", got {told!r}.')
  wanted = f".{told.lower().lstrip('.')}"
  try:
    known = ending(f"case{wanted}")
  except ValueError as error:
    raise ValueError(f'{where}: "file_ending" is "{told}": {error}') from None
  if known != wanted:
    raise ValueError(f'{where}: "file_ending" is "{told}", expected an ending like "{known}".')
  return known


def channel_names(description: Mapping[str, Any], where) -> tuple[str, ...]:
  """The names in the order of the channels' numbers; two channels may share a name."""
  channels = description.get("channel_names", description.get("modality"))
  if isinstance(channels, list) and channels and all(isinstance(c, str) for c in channels):
    return tuple(channels)
  if not isinstance(channels, dict) or not channels:
    raise ValueError(
      f'{where}: needs "channel_names" (or the Decathlon\'s "modality"), for example {{"0": "CT"}}.'
    )
  if not all(key.isdecimal() for key in channels):
    raise ValueError(
      f'{where}: the keys of "channel_names" (or "modality") are {", ".join(channels)}; expected '
      'the channels\' numbers, as in {"0": "CT"}.'
    )
  strange = [name for name in channels.values() if not isinstance(name, str | int)]
  if strange:
    raise ValueError(
      f'{where}: "channel_names" (or "modality") holds {strange[0]!r:.80}; expected a name in '
      'quotes for each channel, as in {"0": "CT"}.'
    )
  numbers = sorted(map(int, channels))
  if numbers[-1] - numbers[0] + 1 != len(numbers) or numbers[0] > 1:
    raise ValueError(
      f'{where}: "channel_names" (or "modality") numbers the channels '
      f"{', '.join(map(str, numbers))}; expected 0 to {len(numbers) - 1}, each once."
    )
  return tuple(str(channels[key]) for key in sorted(channels, key=int))


def whole(value, what: str) -> int:
  """3, 3.0 or "3" as 3; raises ValueError otherwise, and beyond the 32 bits of a label."""
  try:
    number = int(value) if isinstance(value, str) else value
  except ValueError:
    number = None
  real = isinstance(number, int | float) and not isinstance(number, bool)
  if not real or number != number // 1 or abs(number) >= 2**31:
    raise ValueError(f"{what} is {value!r}; expected a whole number of at most 32 bits.")
  return int(number)


def label_spec(description: Mapping[str, Any], where) -> LabelSpec:
  """The labels of a dataset.json: {name: value}, {name: [values]} or, as in the MSD, {value: name}.

  A region's first value is the one that is written for it (nnU-Net's regions_class_order).
  """
  labels = _by_name(description.get("labels"), where)
  ignore = labels.pop("ignore", None)
  if ignore is not None:
    ignore = whole(ignore, f'{where}: the "ignore" label\'s value')
  if any(isinstance(value, list) for value in labels.values()):
    return _regions(description, labels, ignore, where)
  pairs = sorted(
    (whole(value, f'{where}: "labels": the value of "{name}"'), name)
    for name, value in labels.items()
  )
  pairs.sort(key=lambda pair: pair[1].lower() != "background")
  if not pairs or (pairs[0][0] != 0 and pairs[0][1].lower() != "background"):
    raise ValueError(
      f'{where}: "labels" names no background (the value 0 or the name "background"); add it, as '
      f"in {_EXAMPLE}."
    )
  names, values = tuple(name for _, name in pairs), tuple(value for value, _ in pairs)
  twice = [value for i, value in enumerate(values) if value in (*values[:i], ignore)]
  if twice:
    raise ValueError(
      f'{where}: "labels" gives the value {twice[0]} to two names; give each its own, or unite '
      "values in a region, as a list."
    )
  return LabelSpec(
    names, values, ignore=ignore, mirror_pairs=_mirror_pairs(description, names, where)
  )


def _by_name(labels, where) -> dict[str, Any]:
  """Name -> value or values, whichever way round the file has it."""
  if not isinstance(labels, dict) or not labels:
    raise ValueError(f'{where}: needs "labels", for example {_EXAMPLE}, got {labels!r:.80}.')
  if not all(key.lstrip("-").isdecimal() for key in labels):
    return dict(labels)
  if not all(isinstance(name, str) for name in labels.values()):
    return dict(labels)
  named = {name: int(value) for value, name in labels.items()}
  if len(named) < len(labels):
    twice = next(n for i, n in enumerate(labels.values()) if n in [*labels.values()][:i])
    raise ValueError(f'{where}: "labels" gives two values the name "{twice}"; rename one.')
  return named


def _regions(description, labels: dict[str, Any], ignore: int | None, where) -> LabelSpec:
  """Labels that unite several values."""
  labels.pop("background", None)
  names = tuple(labels)
  regions = []
  for name, value in labels.items():
    united = value if isinstance(value, list) else [value]
    what = f'{where}: "labels": a value of the region "{name}"'
    regions.append(tuple(whole(v, what) for v in united))
    if not united or ignore in regions[-1]:
      raise ValueError(
        f'{where}: the region "{name}" unites {list(united)}; expected one value or more, the '
        "ignore label's not among them."
      )
  order = description.get("regions_class_order")
  if not isinstance(order, list) or len(order) != len(regions):
    raise ValueError(
      f'{where}: labels with regions need "regions_class_order", the value to write for each of '
      f"the {len(regions)} regions ({', '.join(names)}), as a list; got {order!r:.80}."
    )
  order = [whole(value, f'{where}: a value of "regions_class_order"') for value in order]
  for name, region, value in zip(names, regions, order, strict=True):
    if value not in region:
      raise ValueError(
        f'{where}: "regions_class_order" writes {value} for the region "{name}", which unites only '
        f"{list(region)}."
      )
  _check_visible(names, regions, where)
  ordered = tuple(
    (value, *(v for v in region if v != value))
    for region, value in zip(regions, order, strict=True)
  )
  stored = (0, *sorted({value for region in ordered for value in region} - {0}))
  return LabelSpec(names, stored, ordered, ignore, _mirror_pairs(description, names, where))


def _check_visible(names, regions, where) -> None:
  """Raises ValueError for a region that is written before one which covers all of it."""
  for i, (name, region) in enumerate(zip(names, regions, strict=True)):
    for later, covering in zip(names[i + 1 :], regions[i + 1 :], strict=True):
      if set(region) <= set(covering):
        raise ValueError(
          f'{where}: the region "{later}" covers all of "{name}" and is written after it, so that '
          f'no segmentation would show "{name}"; list larger regions first, in "labels" and in '
          '"regions_class_order".'
        )


def _mirror_pairs(description, names: tuple[str, ...], where) -> tuple:
  """Our own optional key "mirror_pairs": names of labels that swap when left becomes right."""
  pairs = description.get("mirror_pairs", [])
  for pair in pairs if isinstance(pairs, list) else [pairs]:
    if not isinstance(pair, list) or len(pair) != 2 or not all(name in names for name in pair):
      raise ValueError(
        f'{where}: "mirror_pairs" holds {pair}; expected two of the labels {", ".join(names)}.'
      )
  return tuple((names.index(left), names.index(right)) for left, right in pairs)


def described(labels: LabelSpec) -> dict:
  """The inverse of `label_spec`: regions, and what is ignored, among the labels."""
  told = dict(zip(labels.names, labels.regions or labels.stored_values, strict=True))
  if any(len(of) > 1 for of in labels.regions or ()):
    # as a number, where another shows that they are regions
    told = {name: of if len(of) > 1 else of[0] for name, of in told.items()}
  ignored = {} if labels.ignore is None else {"ignore": labels.ignore}
  pairs = [[labels.names[i] for i in pair] for pair in labels.mirror_pairs]
  mirrored = {"mirror_pairs": pairs} if pairs else {}
  if not labels.regions:
    return {"labels": {**told, **ignored}, **mirrored}
  return {
    "labels": {"background": 0, **told, **ignored},
    "regions_class_order": list(labels.written),
    **mirrored,
  }
