"""Files of tensors of every kind, and what is refused."""

import json
import warnings
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
import torch_files
from torch_files import Call, Module

from jaxseg.interop import FORMATS
from jaxseg.interop.tensor_files import read

ARRAYS = {
  "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
  "b": np.array([1, 2], np.int64),
  "c": np.float16([[0.5]]),
}


def safetensors(path, arrays, **more):
  header, content = {"__metadata__": {"format": "pt"}}, b""
  kinds = {"float32": "F32", "int64": "I64", "float16": "F16", "bfloat16": "BF16"}
  for name, of in arrays.items():
    ends = [len(content), len(content) + of.nbytes]
    header[name] = {"dtype": kinds[of.dtype.name], "shape": of.shape, "data_offsets": ends, **more}
    content += of.tobytes()
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def hdf5(path, arrays):
  with h5py.File(path, "w") as file:
    for name, of in arrays.items():
      file[name] = of
    file["text"] = "no number"


@pytest.mark.parametrize(
  ("name", "write"),
  [
    ("x.npz", lambda path, arrays: np.savez(path, **arrays)),
    ("x.pth", torch_files.write),
    ("x.bin", torch_files.write),
    ("x.pt", lambda path, arrays: torch_files.write(path, {"epoch": 3, "state_dict": arrays})),
    *(
      (
        "x.pt",
        lambda path, arrays, w=w: torch_files.write(path, {w + n: arrays[n] for n in arrays}),
      )
      for w in ("module.", "module._orig_mod.", "_orig_mod.module.")
    ),
    ("x.safetensors", safetensors),
    ("weights", safetensors),
    ("x.h5", hdf5),
  ],
)
def test_tensors_are_read_by_name_whatever_the_file_is_called(tmp_path, name, write):
  write(tmp_path / name, ARRAYS)
  found = read(tmp_path / name)
  assert found.keys() == ARRAYS.keys()
  for key, of in ARRAYS.items():
    assert found[key].dtype == of.dtype
    np.testing.assert_array_equal(found[key], of)


def test_a_torchscript_archives_tensors_have_their_modules_names(tmp_path):
  inner = Module("Inner", {"weight": ARRAYS["b"], "training": False})
  torch_files.write(tmp_path / "x.pt", Module("Net", {"model": inner, "b": ARRAYS["c"]}))
  found = read(tmp_path / "x.pt")
  assert list(found) == ["model.weight", "b"]


def test_bfloat16_is_read(tmp_path):
  values = np.array([1.5, -2], ml_dtypes.bfloat16)
  safetensors(tmp_path / "x.safetensors", {"a": values})
  np.testing.assert_array_equal(read(tmp_path / "x.safetensors")["a"], values)


def npz_with_a_tensor_twice(path):
  np.savez(path, a=np.ones(2))
  with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    archive.writestr("a.npy", archive.read("a.npy"))


@pytest.mark.parametrize(
  ("name", "write", "at"),
  [
    ("x.npz", lambda path: np.savez_compressed(path, a=np.arange(90.0)), (60, 70)),
    # of both its entries in the archive the method of compression
    ("x.npz", lambda path: np.savez(path, a=np.arange(9.0)), (8, -34)),
    ("x.pth", lambda path: torch_files.write(path, ARRAYS), (8, -34)),
  ],
)
def test_bytes_that_have_changed_are_told_whatever_zipfile_makes_of_them(tmp_path, name, write, at):
  path = tmp_path / name
  write(path)
  content = bytearray(path.read_bytes())
  with zipfile.ZipFile(path) as archive:
    entry = content.rindex(b"PK\x01\x02") + 10
    first = archive.infolist()[-1].header_offset
  places = (entry, first + 8) if at == (8, -34) else range(first + at[0], first + at[1])
  for place in places:
    content[place] ^= 0x55
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf"{name}: (cannot be read|is no file of torch)"):
    read(path)


def test_a_tensor_that_a_file_holds_twice_is_told(tmp_path):
  npz_with_a_tensor_twice(tmp_path / "x.npz")
  with pytest.raises(ValueError, match=r"x\.npz: cannot be read \('a' occurs twice\)"):
    read(tmp_path / "x.npz")
  np.savez(tmp_path / "y.npz", **{"a.b": np.ones(1), "a/b": np.zeros(1)})
  with pytest.raises(ValueError, match=r"y\.npz: 'a/b' is a second 'a/b'; expected"):
    FORMATS["plain"].read(tmp_path / "y.npz")
  torch_files.write(tmp_path / "z.pth", {"a": {"b": ARRAYS["b"]}, "a.b": ARRAYS["c"]})
  with pytest.raises(ValueError, match=r"z\.pth: its tensor 'a\.b' occurs twice, with dots and"):
    read(tmp_path / "z.pth")


@pytest.mark.parametrize(
  "values",
  [np.int8([1, 2]), np.complex64([1j, 2]), np.array([1.5, -2], ml_dtypes.bfloat16)],
)
def test_numbers_that_are_no_floats_are_no_weights(tmp_path, values):
  # of bfloat16 a .npz keeps the bytes alone
  np.savez(tmp_path / "x.npz", **{"fc.weight": values})
  for form in ("plain", "torchvision"):
    with pytest.raises(ValueError, match=r"x\.npz: 'fc\.weight' is of type .*; expected weights"):
      FORMATS[form].read(tmp_path / "x.npz")


def test_own_paths_need_no_names(tmp_path):
  arrays = {"head.kernel": np.ones((1, 2), np.float64)}
  np.savez(tmp_path / "x.npz", **arrays)
  (path, of), *rest = FORMATS["plain"].read(tmp_path / "x.npz").items()
  assert (path, of.dtype, rest) == ("head/kernel", np.float32, [])


@pytest.mark.parametrize(
  ("name", "write", "keep", "words"),
  [
    ("x.npz", lambda path: np.savez(path, **ARRAYS), -30, r"x\.npz: .*damaged"),
    ("x.pth", lambda path: torch_files.write(path, ARRAYS), -30, r"x\.pth: .*damaged"),
    (
      "x.safetensors",
      lambda path: safetensors(path, ARRAYS),
      -1,
      r"its tensor 'c' cannot be read \(bytes 40 to 42 of 41\)",
    ),
    ("x.safetensors", lambda path: safetensors(path, ARRAYS), 20, r"is cut off within its header"),
    ("x.safetensors", lambda path: safetensors(path, ARRAYS), 4, r"is cut off within its header"),
    (
      "x.safetensors",
      lambda path: safetensors(path, ARRAYS, shape=[9]),
      None,
      r"its tensor 'a\.weight' cannot be read",
    ),
    (
      "x.safetensors",
      lambda path: safetensors(path, ARRAYS, dtype="F4"),
      None,
      r"its tensor 'a\.weight' cannot be read \('F4'\)",
    ),
    ("x.h5", lambda path: hdf5(path, ARRAYS), 900, r"x\.h5: cannot be read"),
    (
      "x.npz",
      lambda path: np.savez(path, a=np.array([{}], object)),
      None,
      r"x\.npz: holds Python objects, which could run code; only arrays",
    ),
    (
      "x.pth",
      lambda path: torch_files.write(path, {"a": Call("posix", "system", ("touch x",))}),
      None,
      r"x\.pth: holds 'posix\.system'; only tensors and plain values",
    ),
    ("x.pth", lambda path: torch_files.write(path, (1, 2)), None, r"holds no state_dict; save"),
    ("x.pth", lambda path: torch_files.write(path, {"a": 1}), None, r"holds no tensors; expected"),
    ("x.txt", lambda path: path.write_text("weights"), None, r"x\.txt: is damaged or no file of "),
    ("x.npz", lambda path: path.write_bytes(b""), None, r"x\.npz: is damaged or no file of"),
    ("no/x.npz", lambda path: None, None, r"there is no such file"),
  ],
)
def test_damage_code_and_other_files_are_told(tmp_path, name, write, keep, words):
  path = tmp_path / name
  write(path)
  if keep is not None:
    path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    read(path)
