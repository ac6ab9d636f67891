"""Files of torch.save, read without PyTorch: values, and what is refused."""

import ml_dtypes
import numpy as np
import pytest
import torch_files
from torch_files import Call, Module, Tensor

from jaxseg.interop.torch_file import load

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("kind", sorted(torch_files.KINDS))
def test_tensors_of_every_type_are_read(tmp_path, kind):
  dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
  values = np.array([[0, 1, 0], [1, 1, 0]] if kind == "bool" else [[1, 2, 3], [4, 5, 7]])
  torch_files.write(tmp_path / "x.pth", {"a": values.astype(dtype)})
  read = load(tmp_path / "x.pth")["a"]
  assert read.dtype == dtype
  np.testing.assert_array_equal(read.astype(np.float32), values.astype(np.float32))


def test_views_of_one_storage_are_read(tmp_path):
  storage = np.arange(12, dtype=np.float32)
  views = {
    "transposed": Tensor(storage, 2, (3, 2), (1, 3)),
    "scalar": Tensor(storage, 11, (), ()),
    "empty": Tensor(storage, 0, (0, 3), (3, 1)),
    "same": Tensor(storage, 0, (2, 3), (0, 1)),
    # as PyTorch stores the view that torch._neg_view makes
    "opposite": Tensor(storage, 1, (2,), (1,), {"conj": False, "neg": True}),
  }
  torch_files.write(tmp_path / "x.pth", views)
  read = load(tmp_path / "x.pth")
  np.testing.assert_array_equal(read["transposed"], [[2, 5], [3, 6], [4, 7]])
  assert read["scalar"] == 11
  np.testing.assert_array_equal(read["opposite"], [-1, -2])
  assert read["empty"].shape == (0, 3)
  np.testing.assert_array_equal(read["same"], [[0, 1, 2]] * 2)


def test_plain_values_come_along(tmp_path):
  number = Call(
    "numpy._core.multiarray",
    "scalar",
    (
      Call("numpy", "dtype", ("f8", False, True)),
      Call("_codecs", "encode", (np.float64(0.75).tobytes().decode("latin1"), "latin1")),
    ),
  )
  parameter = Call("torch._utils", "_rebuild_parameter", (ARRAY, True, None))
  value = {
    "epoch": 3,
    "lr": 0.5,
    "name": "a",
    "none": None,
    "device": Call("torch", "device", ("cpu",)),
  }
  torch_files.write(tmp_path / "x.pth", {**value, "dice": number, "weight": parameter})
  read = load(tmp_path / "x.pth")
  np.testing.assert_array_equal(read.pop("weight"), ARRAY)
  assert read == {**value, "device": "cpu", "dice": 0.75}


@pytest.mark.parametrize(
  ("module", "name"),
  [
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("torch", "load"),
    ("argparse", "Namespace"),
    ("collections", "OrderedDict.fromkeys"),
  ],
)
def test_what_could_run_code_is_refused_by_its_name_and_not_run(tmp_path, module, name):
  mark = tmp_path / "made"
  torch_files.write(tmp_path / "x.pth", {"a": Call(module, name, (f"touch {mark}",))})
  with pytest.raises(
    ValueError, match=rf"x\.pth: holds '{module}\.{name}'; only tensors and plain"
  ):
    load(tmp_path / "x.pth")
  assert not mark.exists()


@pytest.mark.parametrize(
  ("value", "words"),
  [
    (Tensor(np.ones(4, np.float32), 0, (2, 3), (3, 1)), "reaches beyond its 4 numbers"),
    (Tensor(np.ones(4, np.float32), -1, (2,), (1,)), "reaches beyond its 4 numbers"),
    (Tensor(np.ones(4, np.float32), 3, (2,), (-1,)), "reaches beyond its 4 numbers"),
    (Call("numpy._core.multiarray", "scalar", (Call("numpy", "dtype", ("O8",)), "x")), "no number"),
    (Call("_codecs", "encode", ("a", "rot13")), "something else than bytes"),
  ],
)
def test_what_makes_no_sense_is_refused(tmp_path, value, words):
  torch_files.write(tmp_path / "x.pth", {"a": value})
  with pytest.raises(ValueError, match=rf"x\.pth: .*{words}"):
    load(tmp_path / "x.pth")


def test_a_storage_of_another_size_is_refused(tmp_path):
  torch_files.write(tmp_path / "x.pth", {"a": ARRAY}, **{"data/0": b"1234"})
  with pytest.raises(ValueError, match=r"storage 0 has 4 bytes, expected 6 of float32"):
    load(tmp_path / "x.pth")


def _flipped(content: bytes) -> bytes:
  place = content.index(ARRAY.tobytes()) + 5
  return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (_flipped, r"damaged \(Bad CRC-32"),
    (lambda content: content[:-40], r"is no file of torch\.save, or damaged"),
    (lambda content: b"", r"is no file of torch\.save, or damaged"),
    (lambda content: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", r"cannot be read"),
    (lambda content: content.replace(b"data.pkl", b"data.pkm"), r"but none of torch\.save"),
    (lambda content: content.replace(b"littl", b"bigen"), r"damaged|big-endian"),
  ],
)
def test_damage_and_other_files_are_told(tmp_path, change, words):
  torch_files.write(tmp_path / "x.pth", {"a": ARRAY})
  (tmp_path / "x.pth").write_bytes(change((tmp_path / "x.pth").read_bytes()))
  with pytest.raises(ValueError, match=rf"x\.pth: .*{words}"):
    load(tmp_path / "x.pth")


def test_files_of_before_pytorch_1_6_are_read(tmp_path):
  storage = np.arange(12, dtype=np.float32)
  views = {"a": Tensor(storage, 2, (3, 2), (1, 3)), "b": ARRAY.astype(np.int64), "c": 3}
  torch_files.write_legacy(tmp_path / "x.pth", views)
  read = load(tmp_path / "x.pth")
  np.testing.assert_array_equal(read["a"], [[2, 5], [3, 6], [4, 7]])
  np.testing.assert_array_equal(read["b"], ARRAY)
  assert read["c"] == 3


@pytest.mark.parametrize("bytes_less", [1, 8, 40, 200])
def test_a_file_of_before_pytorch_1_6_that_is_cut_off_is_told(tmp_path, bytes_less):
  torch_files.write_legacy(tmp_path / "x.pth", {"a": ARRAY})
  (tmp_path / "x.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:-bytes_less])
  with pytest.raises(ValueError, match=r"x\.pth: cannot be read \(.*\); copy it again"):
    load(tmp_path / "x.pth")


def test_a_file_of_before_pytorch_1_6_runs_nothing_either(tmp_path):
  mark = tmp_path / "made"
  call = Call("posix", "system", (f"touch {mark}",))
  torch_files.write_legacy(tmp_path / "x.pth", {"a": call})
  with pytest.raises(ValueError, match=r"x\.pth: holds 'posix\.system'; only tensors and plain"):
    load(tmp_path / "x.pth")
  assert not mark.exists()
  for options, words in (({"protocol": 1000}, "1000"), ({"little_endian": False}, "False")):
    torch_files.write_legacy(tmp_path / "x.pth", {"a": ARRAY}, **options)
    with pytest.raises(ValueError, match=rf"x\.pth: cannot be read \(protocol .*{words}"):
      load(tmp_path / "x.pth")


def test_of_a_torchscript_archive_the_attributes_are_read(tmp_path):
  conv = Module("Conv3d", {"weight": ARRAY, "bias": None, "training": False})
  torch_files.write(tmp_path / "x.pt", Module("Net", {"conv": conv, "scale": 2}))
  read = load(tmp_path / "x.pt")
  assert read["scale"] == 2
  assert read["conv"]["bias"] is None
  np.testing.assert_array_equal(read["conv"]["weight"], ARRAY)


def test_another_order_of_bytes_is_refused(tmp_path):
  torch_files.write(tmp_path / "x.pth", {"a": ARRAY}, byteorder=b"big")
  with pytest.raises(ValueError, match=r"x\.pth: was written by a big-endian machine"):
    load(tmp_path / "x.pth")


def test_a_file_that_is_not_there_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no\.pth: there is no such file"):
    load(tmp_path / "no.pth")
