"""Files of tensors -> {name: array}, told apart by what they hold; nothing in them is executed.

A new kind of file is a reader and a row in `KINDS`.
"""

import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np

from jaxseg import files
from jaxseg.interop import frozen_graph, torch_file
from jaxseg.packages import OnDemand

h5py = OnDemand("h5py")
_ADVICE = "copy it again from where it was made"
# the names under which a checkpoint keeps its weights beside other things
_WEIGHTS = ("state_dict", "model_state_dict", "model", "network_weights", "net")
# put before every name by wrappers for several devices and by compilers, either around the other
_WRAPPERS = ("module.", "_orig_mod.", "module.")
_SAFE_TYPES = {
  "BOOL": np.bool_,
  "U8": np.uint8,
  "I8": np.int8,
  "I16": np.int16,
  "I32": np.int32,
  "I64": np.int64,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "F32": np.float32,
  "F64": np.float64,
}


class Kind(NamedTuple):
  """A kind of file.

  Attributes:
    words: what it is called.
    fits: (its first bytes, its path) -> whether a file is one.
    read: path -> {name: array}; raises ValueError that names the file.
  """

  words: str
  fits: Callable[[bytes, pathlib.Path], bool]
  read: Callable[[pathlib.Path], dict[str, np.ndarray]]


def read(path) -> dict[str, np.ndarray]:
  """The tensors of a file of any of `KINDS`, by the names that it has for them.

  Raises FileNotFoundError, or ValueError for a file of another kind, a damaged one, one whose
  pickle holds code, or one without tensors.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"{path}: there is no such file.")
  with path.open("rb") as file:
    start = file.read(64)
  try:
    kind = next((kind for kind in KINDS if kind.fits(start, path)), None)
    arrays = None if kind is None else kind.read(path)
  except (FileNotFoundError, ModuleNotFoundError, ValueError):
    raise
  except Exception as error:  # damaged bytes raise whatever they happen to mean
    text = str(error).strip() or type(error).__name__
    raise ValueError(f"{path}: cannot be read ({text}); {_ADVICE}.") from error
  if arrays:
    return arrays
  if kind is not None:
    raise ValueError(f"{path}: holds no tensors; expected the weights of a network.")
  known = ", ".join(kind.words for kind in KINDS)
  raise ValueError(f"{path}: is damaged or no file of tensors; expected one of {known}.")


def _members(path: pathlib.Path) -> list[str]:
  try:
    with zipfile.ZipFile(path) as archive:
      return archive.namelist()
  except zipfile.BadZipFile as error:
    raise ValueError(f"{path}: is a damaged zip archive ({error}); {_ADVICE}.") from error


def _is_npz(start: bytes, path: pathlib.Path) -> bool:
  return start[:2] == b"PK" and all(name.endswith(".npy") for name in _members(path))


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as archive:
      if twice := sorted({name for name in archive.files if archive.files.count(name) > 1}):
        raise ValueError(f"'{twice[0]}' occurs twice")
      return dict(archive)
  except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
    if "pickle" in str(error):
      raise ValueError(
        f"{path}: holds Python objects, which could run code; only arrays of numbers are read."
      ) from error
    raise ValueError(f"{path}: cannot be read ({error}); {_ADVICE}.") from error


def _is_torch(start: bytes, path: pathlib.Path) -> bool:
  return start[:2] in (b"PK", b"\x80\x02") or path.suffix in (".pth", ".pt")


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
  content = torch_file.load(path)
  if not isinstance(content, Mapping):
    raise ValueError(f"{path}: holds no state_dict; save model.state_dict() with torch.save.")
  # of a TorchScript archive a module may be called so
  wrappers = () if isinstance(content, torch_file.Module) else _WEIGHTS
  kept = [content[name] for name in wrappers if isinstance(content.get(name), Mapping)]
  try:
    found = _flat(kept[0] if kept else content)
  except ValueError as error:
    raise ValueError(f"{path}: its tensor {error}; expected each tensor once.") from error
  for prefix in _WRAPPERS:
    if found and all(name.startswith(prefix) for name in found):
      found = {name.removeprefix(prefix): of for name, of in found.items()}
  return found


def _flat(tree: Mapping, above: str = "") -> dict[str, np.ndarray]:
  """Arrays by their dotted path, without other values; raises ValueError for a path twice."""
  out = {}
  for name, of in tree.items():
    if isinstance(of, Mapping):
      more = _flat(of, f"{above}{name}.")
    else:
      more = {f"{above}{name}": of} if isinstance(of, np.ndarray) else {}
    if twice := sorted(out.keys() & more.keys()):
      raise ValueError(f"'{twice[0]}' occurs twice, with dots and within another")
    out |= more
  return out


def _is_safetensors(start: bytes, path: pathlib.Path) -> bool:
  return start[8:9] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Eight bytes of length, a header in JSON, and the bytes of all tensors."""
  content = path.read_bytes()
  length = int.from_bytes(content[:8], "little")
  data = content[8 + length :]
  if len(content) < 8 or length > len(content) - 8:
    raise ValueError(f"{path}: is cut off within its header; {_ADVICE}.")
  header = content[8 : 8 + length].decode("utf-8", "replace")
  what = "the header of a .safetensors file"
  table = files.parse_json(header, path, what=what, advice=_ADVICE)
  out = {}
  for name, entry in table.items():
    if name == "__metadata__":
      continue
    try:
      dtype, (low, high) = np.dtype(_SAFE_TYPES[entry["dtype"]]), entry["data_offsets"]
      shape = tuple(entry["shape"])
      if not 0 <= low <= high <= len(data):
        raise ValueError(f"bytes {low} to {high} of {len(data)}")
      out[name] = np.frombuffer(data[low:high], dtype).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f"{path}: its tensor '{name}' cannot be read ({error}); {_ADVICE}."
      ) from error
  return out


def _is_hdf5(start: bytes, path: pathlib.Path) -> bool:
  return start[:8] == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5", ".hdf5")


def _read_hdf5(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Every set of numbers by its path, as "conv1/conv1/kernel:0" or "layers/conv2d/vars/0"."""
  out = {}

  def visit(name, item):
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
      out[name] = item[()]

  try:
    with h5py.File(path, "r") as file:
      file.visititems(visit)
  except (OSError, RuntimeError, KeyError) as error:
    raise ValueError(f"{path}: cannot be read ({error}); {_ADVICE}.") from error
  return out


KINDS = (
  Kind("a .npz", _is_npz, _read_npz),
  Kind("a .pth or .pt of torch.save or torch.jit.save", _is_torch, _read_torch),
  Kind("a .safetensors", _is_safetensors, _read_safetensors),
  Kind("an .h5", _is_hdf5, _read_hdf5),
  Kind("a frozen graph of TensorFlow (.pb)", frozen_graph.fits, frozen_graph.read),
)
