"""Files of torch.save, written without PyTorch: what is read again, and what is refused."""

import zipfile

import numpy as np
import pytest

from jaxseg.interop.torch_file import load
from jaxseg.interop.torch_writing import save


def test_plain_values_come_back(tmp_path):
  value = {
    "a": [1, 2.5, None, True, "word", (3, [])],
    "large": 2**40,
    "negative": -(2**35),
    7: {"empty": {}},
  }
  save(tmp_path / "x.pth", value)
  assert load(tmp_path / "x.pth") == value


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)])
def test_arrays_come_back_in_their_order(tmp_path, shape):
  array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
  save(tmp_path / "x.pth", {"as it is": array, "turned": array.T})
  read = load(tmp_path / "x.pth")
  np.testing.assert_array_equal(read["as it is"], array)
  np.testing.assert_array_equal(read["turned"], array.T)


def test_an_array_that_occurs_twice_is_stored_once_and_uncompressed(tmp_path):
  array = np.arange(12, dtype=np.float64)
  save(tmp_path / "x.pth", {"first": array, "second": array})
  with zipfile.ZipFile(tmp_path / "x.pth") as archive:
    stored = [file for file in archive.infolist() if "/data/" in file.filename]
  assert [(file.file_size, file.compress_type) for file in stored] == [(96, zipfile.ZIP_STORED)]
  np.testing.assert_array_equal(load(tmp_path / "x.pth")["second"], array)


def test_other_values_are_refused_and_nothing_is_left(tmp_path):
  with pytest.raises(TypeError, match="set is no value of a file of PyTorch's"):
    save(tmp_path / "x.pth", {"a": {1, 2}})
  assert list(tmp_path.iterdir()) == []
