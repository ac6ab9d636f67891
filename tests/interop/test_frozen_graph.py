"""TensorFlow's frozen graphs, put together by hand from the wire format's description."""

import struct

import numpy as np
import pytest

from jaxseg.interop.tensor_files import read


def varint(value: int) -> bytes:
  out = b""
  while value > 127:
    out, value = out + bytes([value & 127 | 128]), value >> 7
  return out + bytes([value])


def field(number: int, value) -> bytes:
  """A whole number, or bytes with their length."""
  if isinstance(value, int):
    return varint(number << 3) + varint(value)
  return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(kind: int, shape, numbers: bytes) -> bytes:
  sizes = b"".join(field(2, field(1, n)) for n in shape)
  return field(1, kind) + field(2, sizes) + numbers


def node(name: str, operation: str, value: bytes | None = None) -> bytes:
  attribute = b"" if value is None else field(5, field(1, b"value") + field(2, field(8, value)))
  kind = field(5, field(1, b"dtype") + field(2, field(6, 1)))
  return field(
    1, field(1, name.encode()) + field(2, operation.encode()) + field(3, b"x:0") + kind + attribute
  )


def graph() -> bytes:
  floats = np.arange(6, dtype=np.float32)
  parts = [
    node("img", "Placeholder"),
    node("conv/kernel", "Const", tensor(1, (2, 3), field(4, floats.tobytes()))),
    # one number for all
    node("conv/bias", "Const", tensor(1, (4,), varint(5 << 3 | 5) + struct.pack("<f", 0.5))),
    node("rate", "Const", tensor(1, (), field(5, struct.pack("<f", 0.25)))),
    node("axes", "Const", tensor(3, (2,), field(7, varint(3) + varint((1 << 64) - 1)))),
    # one, a half, and a half for all that follow, by their bits
    node("halves", "Const", tensor(19, (4,), field(13, varint(0x3C00) + varint(0x3800)))),
    node("training", "Const", tensor(10, (), field(11, 1))),
    node("zeros", "Const", tensor(1, (2,), b"")),
    node("text", "Const", tensor(7, (), field(8, b"words"))),
  ]
  return b"".join(parts) + field(4, field(1, 27))


def test_the_constants_of_a_graph_are_read(tmp_path):
  (tmp_path / "graph.pb").write_bytes(graph())
  found = read(tmp_path / "graph.pb")
  assert set(found) == {"conv/kernel", "conv/bias", "rate", "axes", "training", "zeros", "halves"}
  np.testing.assert_array_equal(found["halves"], np.float16([1, 0.5, 0.5, 0.5]))
  assert found["training"] == np.array(True)
  np.testing.assert_array_equal(found["zeros"], [0, 0])
  np.testing.assert_array_equal(found["conv/kernel"], [[0, 1, 2], [3, 4, 5]])
  np.testing.assert_array_equal(found["conv/bias"], [0.5] * 4)
  assert found["rate"].shape == ()
  assert found["rate"] == 0.25
  assert found["axes"].dtype == np.int32
  np.testing.assert_array_equal(found["axes"], [3, -1])


@pytest.mark.parametrize(
  "content",
  [
    graph()[:80],
    graph()[:-1],
    b"\xff" * 40,
    b"no graph at all",
    node("a", "Const", tensor(1, (3,), field(4, bytes(8)))),
  ],
)
def test_a_damaged_graph_is_told(tmp_path, content):
  (tmp_path / "graph.pb").write_bytes(content)
  with pytest.raises(ValueError, match=r"graph\.pb: is no frozen graph of TensorFlow, or damaged"):
    read(tmp_path / "graph.pb")


def test_a_graph_without_constants_is_told(tmp_path):
  (tmp_path / "graph.pb").write_bytes(node("img", "Placeholder"))
  with pytest.raises(ValueError, match=r"graph\.pb: holds no tensors"):
    read(tmp_path / "graph.pb")
