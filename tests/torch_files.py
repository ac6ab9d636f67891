"""Files as `torch.save` writes them, put together by hand: a pickle of protocol 2 and storages."""

import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

KINDS = {
  "bfloat16": "BFloat16Storage",
  "bool": "BoolStorage",
  "float16": "HalfStorage",
  "float32": "FloatStorage",
  "float64": "DoubleStorage",
  "int32": "IntStorage",
  "int64": "LongStorage",
  "uint8": "ByteStorage",
}


class Call(NamedTuple):
  """A function that the pickle names, and what it is called with; None: only the name."""

  module: str
  name: str
  arguments: tuple | None = None


class Tensor(NamedTuple):
  """A part of a storage."""

  storage: np.ndarray
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def write(path, value, *, folder: str = "archive", **more: bytes) -> None:
  """Writes `value`: nested dicts, tuples, strings, numbers, arrays, `Tensor` and `Call`."""
  storages: dict[int, np.ndarray] = {}
  body = pickle.PROTO + b"\x02" + _pickled(value, storages) + pickle.STOP
  files = {"data.pkl": body, "byteorder": b"little", "version": b"3\n"}
  files |= {f"data/{i}": of.tobytes() for i, of in enumerate(storages.values())}
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
    for name, content in {**files, **more}.items():
      archive.writestr(f"{folder}/{name}", content)


def _pickled(value: Any, storages) -> bytes:
  def items(values) -> bytes:
    return pickle.MARK + b"".join(_pickled(v, storages) for v in values)

  match value:
    case Call(module, name, arguments):
      named = pickle.GLOBAL + f"{module}\n{name}\n".encode()
      return named if arguments is None else named + items(arguments) + pickle.TUPLE + pickle.REDUCE
    case Tensor(storage, offset, shape, strides):
      storages[id(storage)] = storage
      kind = Call("torch", KINDS[storage.dtype.name])
      key = str(list(storages).index(id(storage)))
      reference = ("storage", kind, key, "cpu", storage.size)
      identity = items(reference) + pickle.TUPLE + pickle.BINPERSID
      hooks = Call("collections", "OrderedDict", ())
      more = b"".join(_pickled(v, storages) for v in (offset, shape, strides, False, hooks))
      rebuild = _pickled(Call("torch._utils", "_rebuild_tensor_v2"), storages)
      return rebuild + pickle.MARK + identity + more + pickle.TUPLE + pickle.REDUCE
    case np.ndarray():
      flat = np.ascontiguousarray(value).reshape(-1)
      strides = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)
      return _pickled(Tensor(flat, 0, value.shape, strides), storages)
    case dict():
      pairs = [part for pair in value.items() for part in pair]
      return pickle.EMPTY_DICT + items(pairs) + pickle.SETITEMS
    case tuple():
      return items(value) + pickle.TUPLE
    case bool():
      return pickle.NEWTRUE if value else pickle.NEWFALSE
    case int():
      return pickle.BININT + struct.pack("<i", value)
    case float():
      return pickle.BINFLOAT + struct.pack(">d", value)
    case None:
      return pickle.NONE
    case str():
      return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()
  raise TypeError(value)
