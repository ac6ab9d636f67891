"""PyTorch's files (torch.save) written without PyTorch; `torch_file` reads them, and PyTorch does.

A file is a zip archive of one pickle (of protocol 2) and the raw bytes of its tensors' storages.
"""

import math
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files

# NumPy's name of a type -> PyTorch's storage
_KINDS = {
  "bfloat16": "BFloat16Storage",
  "bool": "BoolStorage",
  "float16": "HalfStorage",
  "float32": "FloatStorage",
  "float64": "DoubleStorage",
  "int32": "IntStorage",
  "int64": "LongStorage",
  "uint8": "ByteStorage",
}


class _Call(NamedTuple):
  """A function that the pickle names, and what it is called with; None: only the name."""

  module: str
  name: str
  arguments: tuple | None = None


class Tensor(NamedTuple):
  """A part of a storage; offset and strides count its values."""

  storage: np.ndarray
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def save(path, value: Any) -> None:
  """Writes what `torch_file.load` reads: dicts, lists, tuples, plain values, arrays, `Tensor`.

  An array that occurs twice is stored once, as PyTorch's shared parameters are. Raises TypeError
  for other values, ValueError where the file cannot be written, DiskFull where there is no room.
  """
  storages: dict[int, np.ndarray] = {}
  body = pickle.PROTO + b"\x02" + _pickled(value, storages) + pickle.STOP
  parts = {"data.pkl": body, "byteorder": b"little", "version": b"3\n"}
  # PyTorch maps what is stored, not compressed
  with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
    for name, content in parts.items():
      archive.writestr(f"archive/{name}", content)
    for number, of in enumerate(storages.values()):
      archive.writestr(f"archive/data/{number}", of.tobytes())


def _pickled(value: Any, storages: dict[int, np.ndarray]) -> bytes:
  def items(values) -> bytes:
    return pickle.MARK + b"".join(_pickled(v, storages) for v in values)

  match value:
    case _Call(module, name, arguments):
      named = pickle.GLOBAL + f"{module}\n{name}\n".encode()
      return named if arguments is None else named + items(arguments) + pickle.TUPLE + pickle.REDUCE
    case Tensor(storage, offset, shape, strides):
      number = list(storages).index(id(storage)) if id(storage) in storages else len(storages)
      storages[id(storage)] = storage
      kind = _Call("torch", _KINDS[storage.dtype.name])
      reference = ("storage", kind, str(number), "cpu", storage.size)
      identity = items(reference) + pickle.TUPLE + pickle.BINPERSID
      hooks = _Call("collections", "OrderedDict", ())
      more = b"".join(_pickled(v, storages) for v in (offset, shape, strides, False, hooks))
      rebuild = _pickled(_Call("torch._utils", "_rebuild_tensor_v2"), storages)
      return rebuild + pickle.MARK + identity + more + pickle.TUPLE + pickle.REDUCE
    case np.ndarray():
      # the array itself is the storage, so that one that occurs twice is known again
      storage = value if value.flags.c_contiguous else np.ascontiguousarray(value)
      steps = tuple(math.prod(value.shape[axis + 1 :]) for axis in range(value.ndim))
      return _pickled(Tensor(storage, 0, value.shape, steps), storages)
    case dict():
      pairs = [part for pair in value.items() for part in pair]
      return pickle.EMPTY_DICT + items(pairs) + pickle.SETITEMS
    case list():
      return pickle.EMPTY_LIST + items(value) + pickle.APPENDS
    case tuple():
      return items(value) + pickle.TUPLE
    case bool():
      return pickle.NEWTRUE if value else pickle.NEWFALSE
    case int():
      return _whole(value)
    case float():
      return pickle.BINFLOAT + struct.pack(">d", value)
    case None:
      return pickle.NONE
    case str():
      return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()
  raise TypeError(f"{type(value).__name__} is no value of a file of PyTorch's")


def _whole(value: int) -> bytes:
  if -(2**31) <= value < 2**31:
    return pickle.BININT + struct.pack("<i", value)
  size = value.bit_length() // 8 + 1
  return pickle.LONG1 + bytes([size]) + value.to_bytes(size, "little", signed=True)
