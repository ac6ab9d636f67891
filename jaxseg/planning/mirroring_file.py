"""mirroring.json beside nnU-Net's plans: the axes that may be mirrored, to read and to edit."""

import pathlib

from jaxseg import files
from jaxseg.planning.mirroring import Axis, Mirroring

FILE = "mirroring.json"
_WHAT = "which axes may be mirrored, as `jaxseg plan` writes it"
_ADVICE = "correct it, or remove it and plan again"


def as_json(mirroring: Mirroring) -> dict:
  """Axis by axis, pairs by their names."""
  names = mirroring.names
  axes = [
    {
      "axis": letter,
      "mirror": axis.mirrored,
      "swap": [[names[a], names[b]] for a, b in axis.swap],
      "why": axis.why,
    }
    for letter, axis in zip("zyx"[-len(mirroring.axes) :], mirroring.axes, strict=True)
  ]
  return {"axes": axes, "orientations": mirroring.orientations, "names": list(names)}


def from_json(value, where) -> Mirroring:
  """The inverse; raises ValueError that says where a field is not what it must be."""
  fields = {"axes": list, "orientations": dict, "names": list}
  files.check_fields(value, where, advice=_ADVICE, fields=fields)
  names, letters = value["names"], [str(axis) for axis in "zyx"]
  axes = tuple(_axis(axis, names, f"{where}: axes") for axis in value["axes"])
  told = [axis["axis"] for axis in value["axes"]]
  if told not in (letters, letters[1:]):
    raise ValueError(
      f"{where}: its axes are {told}, expected {letters} or {letters[1:]}; {_ADVICE}."
    )
  if not all(isinstance(name, str) for name in names):
    raise ValueError(f"{where}: names are {names}, expected those of the labels; {_ADVICE}.")
  counts = value["orientations"]
  if not all(isinstance(count, int) for count in counts.values()):
    raise ValueError(f"{where}: orientations are {counts}, expected numbers of cases; {_ADVICE}.")
  return Mirroring(axes, dict(counts), tuple(names))


def _axis(value, names: list, where: str) -> Axis:
  fields = {"axis": str, "mirror": bool, "swap": list, "why": str}
  files.check_fields(value, where, advice=_ADVICE, fields=fields)
  for pair in value["swap"]:
    if not (isinstance(pair, list) and len(pair) == 2 and all(name in names for name in pair)):
      raise ValueError(
        f"{where}: swap holds {pair!r}, expected pairs of {', '.join(map(str, names))}; {_ADVICE}."
      )
  swap = tuple((names.index(a), names.index(b)) for a, b in value["swap"])
  return Axis(value["mirror"], swap, value["why"])


def write_mirroring(folder, mirroring: Mirroring) -> None:
  files.write_json(pathlib.Path(folder) / FILE, as_json(mirroring))


def read_mirroring(folder) -> Mirroring | None:
  """That of a folder of plans; None where there is no such file, as beside nnU-Net's own plans."""
  path = pathlib.Path(folder) / FILE
  if not path.exists():
    return None
  told = files.read_json(path, what=_WHAT, advice=_ADVICE)
  return from_json(told, path)
