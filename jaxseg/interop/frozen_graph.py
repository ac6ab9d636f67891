"""TensorFlow's frozen graphs (.pb) without TensorFlow: the constants that the graph holds.

The file is a GraphDef in the wire format of protocol buffers: fields of a number and a wire type.
Read of it are the nodes (field 1: name 1, operation 2, attributes 5), of the operation "Const"
the attribute "value" (AttrValue's tensor, 8): TensorProto's dtype (1), shape (2) and numbers
(tensor_content 4, float_val 5, double_val 6, int_val 7, int64_val 10, bool_val 11, half_val 13).
"""

import pathlib
from collections.abc import Iterator

import numpy as np

_TYPES = {
  1: np.float32,
  2: np.float64,
  3: np.int32,
  4: np.uint8,
  9: np.int64,
  10: np.bool_,
  19: np.float16,
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CONTENT, _FLOATS, _DOUBLES, _INTS, _INT64S, _BOOLS, _HALVES = 4, 5, 6, 7, 10, 11, 13
_ADVICE = "copy it again from where it was made"


def fits(start: bytes, path: pathlib.Path) -> bool:
  return path.suffix == ".pb"


def read(path) -> dict[str, np.ndarray]:
  """Name -> array of a frozen graph's constants of numbers.

  Raises ValueError for a file that is no graph, is damaged, or holds a saved model, whose numbers
  lie in other files.
  """
  path = pathlib.Path(path)
  try:
    out = {}
    for number, node in _fields(path.read_bytes()):
      if number != 1 or not isinstance(node, bytes):
        continue
      of = _together(node)
      if of.get(2) != [b"Const"]:
        continue
      name = of[1][0].decode()
      for entry in of.get(5, ()):
        key, value = (_together(entry)[i][0] for i in (1, 2))
        tensor = _together(value).get(8) if key == b"value" else None
        if tensor and (array := _array(tensor[0])) is not None:
          out[name] = array
  except (IndexError, KeyError, UnicodeDecodeError, ValueError) as error:
    text = str(error) or type(error).__name__
    raise ValueError(
      f"{path}: is no frozen graph of TensorFlow, or damaged ({text}); {_ADVICE}."
    ) from error
  return out


def _array(content: bytes) -> np.ndarray | None:
  """A TensorProto's numbers, None for texts."""
  of = _together(content)
  dtype = _TYPES.get(of.get(1, [0])[0])
  if dtype is None:
    return None
  sizes = _together(of[2][0]).get(2, ()) if 2 in of else ()
  shape = tuple(_together(size).get(1, [0])[0] for size in sizes)
  count = int(np.prod(shape))
  if _CONTENT in of:
    numbers = np.frombuffer(of[_CONTENT][0], dtype)
  else:
    # halves are listed by their bits
    listed_as = np.uint16 if _HALVES in of else dtype
    numbers = np.array(_listed(of), listed_as).view(dtype)
    # the last of a list stands for all that follow, none for zeros
    last = numbers[-1:] if len(numbers) else np.zeros(1, dtype)
    numbers = np.concatenate([numbers, np.repeat(last, max(0, count - len(numbers)))])
  if len(numbers) != count:
    raise ValueError(f"a tensor of shape {shape} with {len(numbers)} numbers")
  return numbers.reshape(shape)


def _listed(of) -> list:
  out = []
  for field, packed in (
    (_FLOATS, "<f4"),
    (_DOUBLES, "<f8"),
    (_INTS, None),
    (_INT64S, None),
    (_BOOLS, None),
    (_HALVES, None),
  ):
    for value in of.get(field, ()):
      if isinstance(value, bytes) and packed:
        out += np.frombuffer(value, packed).tolist()
      elif isinstance(value, bytes):
        at = 0
        while at < len(value):
          number, at = _varint(value, at)
          out.append(_signed(number))
      else:
        out.append(_signed(value))
  return out


def _signed(value: int) -> int:
  return value - (1 << 64) if value >> 63 else value


def _together(content: bytes) -> dict[int, list]:
  """Field number -> its values."""
  out: dict[int, list] = {}
  for number, value in _fields(content):
    out.setdefault(number, []).append(value)
  return out


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
  """(number, value) of each field of a message; bytes for all but whole numbers."""
  at = 0
  while at < len(content):
    tag, at = _varint(content, at)
    number, wire = tag >> 3, tag & 7
    if wire == _VARINT:
      value, at = _varint(content, at)
    elif wire in (_FIXED64, _FIXED32, _BYTES):
      size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
      if size is None:
        size, at = _varint(content, at)
      if at + size > len(content):
        raise ValueError(f"field {number} reaches beyond the end")
      value, at = content[at : at + size], at + size
    else:
      raise ValueError(f"wire type {wire}")
    yield number, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
  """A whole number of 7 bits a byte, and where the next begins."""
  value = shift = 0
  while True:
    byte = content[at]
    value |= (byte & 127) << shift
    at, shift = at + 1, shift + 7
    if byte < 128:
      return value, at
    if shift > 63:
      raise ValueError("a number of more than 64 bits")
