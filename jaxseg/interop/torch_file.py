"""PyTorch's files (torch.save, torch.jit.save) without PyTorch: NumPy arrays, nothing executed.

A file is a zip archive of one pickle and the raw bytes of its tensors' storages; before PyTorch 1.6
it was pickles in a row with the storages behind. A pickle can name any function; the reader here
knows the few that tensors and plain numbers are made of and refuses every other by its name, as
`torch.load(weights_only=True)` does. Of a TorchScript archive the modules' attributes are read, its
program is not.
"""

import collections
import io
import pathlib
import pickle
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_STORAGES = {
  "BFloat16Storage": ml_dtypes.bfloat16,
  "BoolStorage": np.bool_,
  "ByteStorage": np.uint8,
  "CharStorage": np.int8,
  "DoubleStorage": np.float64,
  "FloatStorage": np.float32,
  "HalfStorage": np.float16,
  "IntStorage": np.int32,
  "LongStorage": np.int64,
  "ShortStorage": np.int16,
}
# what files of before PyTorch 1.6 begin with, and their protocol
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ADVICE = "copy it again from where it was made"
# what zipfile raises for an archive whose bytes have changed
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)


class _Storage(NamedTuple):
  dtype: np.dtype


class _Numbers:
  """NumPy's dtype of numbers, of which a pickle sets the order of bytes afterwards."""

  def __init__(self, code: str, *_):
    dtype = np.dtype(code)
    if dtype.kind not in "biuf":
      raise pickle.UnpicklingError(f"a NumPy value of type '{code}', which is no number")
    self.dtype = dtype

  def __setstate__(self, state):
    if state[1] in ("<", ">"):
      self.dtype = self.dtype.newbyteorder(state[1])


class Module(dict):
  """A module of a TorchScript archive: its attributes by name."""

  def __setstate__(self, state):
    if not isinstance(state, dict):
      raise pickle.UnpicklingError("a TorchScript object that is no module")
    self.update(state)


def load(path) -> Any:
  """What `torch.save` wrote: nested dicts, lists and plain values, with NumPy arrays for tensors.

  Of `torch.jit.save`'s: nested `Module`s.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is none of PyTorch's, is damaged, or holds something else than tensors and plain
      values.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: there is no such file.")
  if _is_legacy(path):
    return _told(path, _load_legacy)
  try:
    with zipfile.ZipFile(path) as archive:
      return _load(archive, path)
  except _DAMAGE as error:
    raise ValueError(
      f"{path}: is no file of torch.save, or damaged ({error}); {_ADVICE}."
    ) from error


def _is_legacy(path: pathlib.Path) -> bool:
  with path.open("rb") as file:
    start = file.read(64)
  return _LEGACY_MAGIC.to_bytes(10, "little") in start


def _load(archive: zipfile.ZipFile, path: pathlib.Path) -> Any:
  pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
  if len(pickles) != 1:
    raise ValueError(
      f"{path}: is a zip archive, but none of torch.save (it holds no data.pkl); expected a file "
      "such as checkpoint_final.pth."
    )
  folder = pickles[0].removesuffix("data.pkl")
  order = f"{folder}byteorder"
  if order in archive.namelist() and archive.read(order) != b"little":
    raise ValueError(f"{path}: was written by a big-endian machine, which is not read here.")

  def read(of):
    def stored(key, count, dtype):
      return archive.read(f"{folder}data/{key}")

    return _Unpickler(io.BytesIO(archive.read(f"{folder}data.pkl")), stored).load()

  return _told(path, read)


def _told(path: pathlib.Path, read: Callable[[pathlib.Path], Any]) -> Any:
  """What `read` gives; its errors as one sentence."""
  try:
    return read(path)
  except pickle.UnpicklingError as error:
    raise ValueError(
      f"{path}: holds {error}; only tensors and plain values are read, because anything else could "
      "run code: save the weights alone with torch.save(model.state_dict(), ...)."
    ) from error
  except zipfile.BadZipFile:
    raise
  except Exception as error:  # a damaged pickle may raise whatever its bytes happen to mean
    text = str(error).strip() or type(error).__name__
    raise ValueError(f"{path}: cannot be read ({text}); {_ADVICE}.") from error


def _load_legacy(path: pathlib.Path) -> Any:
  """A file of before PyTorch 1.6: magic number, protocol, machine, object, keys, storages."""
  content = path.read_bytes()
  stream = io.BytesIO(content)

  def unpickled(stored):
    return _Unpickler(stream, stored).load()

  _, protocol, machine = (unpickled(_nothing_stored) for _ in range(3))
  if protocol != _LEGACY_PROTOCOL or not machine.get("little_endian"):
    raise ValueError(
      f"protocol {protocol} of {machine}, expected {_LEGACY_PROTOCOL}, little-endian"
    )
  start = stream.tell()
  sizes: dict[str, int] = {}

  def measured(key, count, dtype):
    sizes[key] = count * dtype.itemsize
    if not 0 <= sizes[key] <= len(content):
      raise ValueError(f"storage {key} of {count} numbers is larger than the file")
    return bytes(sizes[key])

  # the storages lie behind the object that is made of them: the first pass tells their sizes
  unpickled(measured)
  storages = {}
  for key in unpickled(_nothing_stored):
    stream.seek(8, io.SEEK_CUR)
    storages[key] = stream.read(sizes[key])
  stream.seek(start)
  return unpickled(lambda key, count, dtype: storages[key])


def _nothing_stored(key, count, dtype) -> bytes:
  raise ValueError(f"storage {key} where there should be none")


class _Unpickler(pickle.Unpickler):
  """Knows tensors, storages, OrderedDict, numbers and modules; refuses every other name.

  `stored` gives a storage's bytes by key, number of elements and their type.
  """

  def __init__(self, stream: io.BytesIO, stored: Callable[[str, int, np.dtype], bytes]):
    super().__init__(stream, encoding="utf-8")
    self._stored = stored
    self._storages: dict[str, np.ndarray] = {}
    self._known = {
      ("collections", "OrderedDict"): collections.OrderedDict,
      ("torch._utils", "_rebuild_tensor_v2"): _tensor,
      ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
      ("torch", "Size"): tuple,
      ("torch", "device"): lambda *of: ":".join(map(str, of)),
      ("_codecs", "encode"): _encoded,
      ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
    }
    for kind in ("int", "double", "bool", "tensor"):
      self._known["torch.jit._pickle", f"build_{kind}list"] = list
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
      self._known[core, "scalar"] = _scalar
    self._known["numpy", "dtype"] = _Numbers

  def find_class(self, module, name):
    if module == "torch" and name in _STORAGES:
      return _Storage(np.dtype(_STORAGES[name]))
    if (module, name) in self._known:
      return self._known[module, name]
    if module == "torch" and name in _DTYPES:
      return name
    # the classes of a TorchScript archive, whose program stays unread
    if module == "__torch__" or module.startswith("__torch__."):
      return Module
    raise pickle.UnpicklingError(f"'{module}.{name}'")

  def persistent_load(self, pid):
    kind, storage, key, _, count, *view = pid
    usual = kind == "storage" and isinstance(storage, _Storage) and isinstance(key, str)
    if not usual or view not in ([], [None]):
      raise pickle.UnpicklingError(f"a reference {pid!r}")
    if key not in self._storages:
      data = self._stored(key, count, storage.dtype)
      if len(data) != count * storage.dtype.itemsize:
        raise ValueError(
          f"storage {key} has {len(data)} bytes, expected {count} of {storage.dtype}"
        )
      self._storages[key] = np.frombuffer(data, storage.dtype)
    return self._storages[key]


_DTYPES = ("float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool")


def _tensor(storage: np.ndarray, offset: int, shape, strides, *more) -> np.ndarray:
  """A view of a storage, which it must not leave; its bit "neg" stands for the opposite numbers."""
  shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
  reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  inside = offset >= 0 and offset + reach < len(storage) and min((*shape, *strides, 0)) >= 0
  if 0 not in shape and not inside:
    raise ValueError(f"a tensor of shape {shape} reaches beyond its {len(storage)} numbers")
  if 0 in shape:
    return np.zeros(shape, storage.dtype)
  steps = [step * storage.itemsize for step in strides]
  view = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
  # behind requires_grad and hooks
  bits = more[2] if more[2:] else None
  return -view if bits and bits.get("neg") else view.copy()


def _encoded(text, encoding) -> bytes:
  """How protocol 2 writes bytes."""
  if not isinstance(text, str) or encoding != "latin1":
    raise pickle.UnpicklingError("'_codecs.encode' of something else than bytes")
  return text.encode("latin1")


def _scalar(kind, data):
  if not isinstance(kind, _Numbers) or not isinstance(data, bytes):
    raise pickle.UnpicklingError("a NumPy value that is no number")
  return np.frombuffer(data, kind.dtype)[0].item()
