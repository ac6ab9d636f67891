"""What ITK passes over in NRRD and MetaImage headers: units, time, voxels that are missing."""

import math
import pathlib
import re
import zlib

_MILLIMETRES = {
  **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
  **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
  **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
  **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
  **dict.fromkeys(("m", "meter", "metre"), 1000.0),
  **dict.fromkeys(
    ("", "?", "???", "none"), 1.0
  ),  # not known: millimetres, as every reader takes it
}
_BYTES = {
  **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
  **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
  **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
  **dict.fromkeys(("MET_DOUBLE", "MET_LONG_LONG", "MET_ULONG_LONG"), 8),
}
_CHUNK = 2**20


def directed(path: pathlib.Path) -> bool:
  """Whether the header says which way the axes run; where it does not, ITK makes it LPS."""
  if _is_meta(path):
    return bool({"TransformMatrix", "Rotation", "Orientation"} & _meta_fields(path)[0].keys())
  return "space directions" in _nrrd_fields(path)


def millimetres(path: pathlib.Path) -> float:
  """How many millimetres a unit of the header's lengths is.

  Raises ValueError for what ITK would read wrong without an error: unknown or mixed units, a series
  over time, voxels that are missing or don't decompress.
  """
  return _of_meta(path) if _is_meta(path) else _of_nrrd(path)


def _is_meta(path: pathlib.Path) -> bool:
  return path.suffix.lower() in (".mha", ".mhd")


def _scale(units) -> float:
  try:
    scales = {_MILLIMETRES[unit.strip().lower()] for unit in units}
  except KeyError as error:
    raise ValueError(
      f"its lengths are in {error}, expected mm, um or cm: correct the header"
    ) from None
  if len(scales) > 1:
    raise ValueError(f"its axes are in different units ({', '.join(units)}): correct the header")
  return scales.pop() if scales else 1.0


def _nrrd_fields(path: pathlib.Path) -> dict[str, str]:
  fields = {}
  with path.open("rb") as file:
    for line in file:
      if not line.strip():
        break
      name, colon, value = line.decode("utf-8", "replace").partition(": ")
      if colon:
        fields[name.strip().lower()] = value.strip()
  return fields


def _of_nrrd(path: pathlib.Path) -> float:
  fields = _nrrd_fields(path)
  kinds = fields.get("kinds", "").split()
  if "time" in kinds:
    raise ValueError("it holds a series over time: split it into one file per time")
  if "space units" in fields:
    return _scale(re.findall(r'"([^"]*)"', fields["space units"]))
  units = re.findall(r'"([^"]*)"', fields.get("units", ""))
  domain = [unit for i, unit in enumerate(units) if not kinds or kinds[i] in ("domain", "space")]
  return _scale(domain)


def _meta_fields(path: pathlib.Path) -> tuple[dict[str, str], int]:
  """The header, and where the voxels begin if they are in the same file."""
  fields, start = {}, 0
  with path.open("rb") as file:
    for line in file:
      name, sign, value = line.decode("utf-8", "replace").partition("=")
      fields[name.strip()] = value.strip()
      if not sign or name.strip() == "ElementDataFile":
        start = file.tell() if sign else 0
        break
  return fields, start


def _of_meta(path: pathlib.Path) -> float:
  fields, start = _meta_fields(path)
  _check_voxels(path, fields, start)
  return _scale([fields.get("DistanceUnits", "")])


def _check_voxels(path: pathlib.Path, fields: dict[str, str], start: int) -> None:
  """Raises ValueError where voxels are missing or damaged; ITK returns what it could decompress."""
  name, kind = fields.get("ElementDataFile", ""), fields.get("ElementType")
  if kind not in _BYTES or not name or name.upper().startswith("LIST") or "%" in name:
    return  # slices in files of their own
  data = path
  if name.upper() != "LOCAL":
    data, start = path.parent / name, max(0, int(fields.get("HeaderSize", 0)))
  if not data.is_file():
    raise ValueError(f"the file of its voxels, {data.name}, is missing beside it")
  size = math.prod(int(n) for n in fields["DimSize"].split()) * _BYTES[kind]
  size *= int(fields.get("ElementNumberOfChannels", 1))
  if fields.get("CompressedData", "False").lower() in ("true", "1"):
    found = _decompressed(data, start)
  else:
    found = data.stat().st_size - start
  if found < size:
    raise ValueError(f"{data.name} holds {found} bytes of voxels, expected {size}")


def _decompressed(data: pathlib.Path, start: int) -> int:
  """The number of bytes, with the checksum at their end verified."""
  decoder, size = zlib.decompressobj(47), 0
  with data.open("rb") as file:
    file.seek(start)
    while not decoder.eof and (chunk := file.read(_CHUNK)):
      size += len(decoder.decompress(chunk))
  if not decoder.eof:
    raise ValueError("its compressed voxels are cut off")
  return size
