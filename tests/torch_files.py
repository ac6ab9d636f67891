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


class Module(NamedTuple):
  """An object of a TorchScript archive: its class, and its attributes."""

  name: str
  state: dict


class Tensor(NamedTuple):
  """A part of a storage."""

  storage: np.ndarray
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  bits: dict | None = None


def write(path, value, *, folder: str = "archive", **more: bytes) -> None:
  """Writes `value`: nested dicts, tuples, strings, numbers, arrays, `Tensor` and `Call`."""
  storages: dict[int, np.ndarray] = {}
  body = pickle.PROTO + b"\x02" + _pickled(value, storages) + pickle.STOP
  files = {"data.pkl": body, "byteorder": b"little", "version": b"3\n"}
  files |= {f"data/{i}": of.tobytes() for i, of in enumerate(storages.values())}
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
    for name, content in {**files, **more}.items():
      archive.writestr(f"{folder}/{name}", content)


def write_legacy(path, value, *, protocol: int = 1001, little_endian: bool = True) -> None:
  """As `torch.save` wrote before PyTorch 1.6: pickles in a row, the storages behind."""
  storages: dict[int, np.ndarray] = {}

  def pickled(of, last=b"") -> bytes:
    return pickle.PROTO + b"\x02" + _pickled(of, storages, last) + pickle.STOP

  magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
  machine = {"protocol_version": protocol, "little_endian": little_endian}
  content = magic + pickled(protocol) + pickled(machine) + pickled(value, pickle.NONE)
  content += pickled(tuple(map(str, range(len(storages)))))
  for of in storages.values():
    content += struct.pack("<q", of.size) + of.tobytes()
  path.write_bytes(content)


def _pickled(value: Any, storages, last: bytes = b"") -> bytes:
  """`last` ends the reference to a storage."""

  def items(values) -> bytes:
    return pickle.MARK + b"".join(_pickled(v, storages, last) for v in values)

  match value:
    case Call(module, name, arguments):
      named = pickle.GLOBAL + f"{module}\n{name}\n".encode()
      return named if arguments is None else named + items(arguments) + pickle.TUPLE + pickle.REDUCE
    case Module(name, state):
      made = pickle.GLOBAL + f"__torch__.net\n{name}\n".encode()
      made += pickle.EMPTY_TUPLE + pickle.NEWOBJ
      return made + _pickled(state, storages, last) + pickle.BUILD
    case Tensor(storage, offset, shape, strides, bits):
      storages[id(storage)] = storage
      kind = Call("torch", KINDS[storage.dtype.name])
      key = str(list(storages).index(id(storage)))
      reference = ("storage", kind, key, "cpu", storage.size)
      parts = b"".join(_pickled(part, storages) for part in reference) + last
      identity = pickle.MARK + parts + pickle.TUPLE + pickle.BINPERSID
      hooks = Call("collections", "OrderedDict", ())
      options = (offset, shape, strides, False, hooks, *([] if bits is None else [bits]))
      more = b"".join(_pickled(v, storages) for v in options)
      rebuild = _pickled(Call("torch._utils", "_rebuild_tensor_v2"), storages)
      return rebuild + pickle.MARK + identity + more + pickle.TUPLE + pickle.REDUCE
    case np.ndarray():
      flat = np.ascontiguousarray(value).reshape(-1)
      strides = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)
      return _pickled(Tensor(flat, 0, value.shape, strides), storages, last)
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
      return pickle.BININT + struct.pack("<i", value)
    case float():
      return pickle.BINFLOAT + struct.pack(">d", value)
    case None:
      return pickle.NONE
    case str():
      return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()
  raise TypeError(value)
