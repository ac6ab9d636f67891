"""The loaders in docs/interop.md, run as they stand there."""

import pathlib
import re

import jax
import numpy as np
import pytest
import run_folders

from jaxseg.interop.exports import onnx_file, stablehlo
from jaxseg.interop.exports.window_program import window_program
from jaxseg.runs.load import open_runs

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "interop.md"


def loader(*names):
  """The functions in the page's blocks of Python that define them."""
  blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  space: dict = {}
  for name in names:
    (block,) = [block for block in blocks if f"def {name}(" in block]
    exec(block, space)  # the page is ours
  return [space[name] for name in names]


def scan(shape):
  return (50 + 9 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def runs(folder, rank, **changes):
  place = run_folders.write(folder, rank=rank, normalisation={"name": "zscore"}, **changes)
  return open_runs(place, devices=jax.local_devices()[:1])


@pytest.mark.parametrize("shape", [(29, 11, 1), (18, 33, 14, 1)])
def test_the_loader_for_jax_segments_as_ours(tmp_path, shape):
  pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers")
  load, segment = loader("load", "segment")
  stablehlo.write(tmp_path / "model", window_program(runs(tmp_path / "run", len(shape) - 1)))
  expected = stablehlo.load(tmp_path / "model").labels(scan(shape))
  np.testing.assert_array_equal(segment(*load(tmp_path / "model"), scan(shape)), expected)
  with pytest.raises(ValueError, match="expected"):
    segment(*load(tmp_path / "model"), scan((20, 20)))


def test_the_loader_for_jax_refuses_what_is_past_its_date(tmp_path, monkeypatch):
  pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers")
  monkeypatch.setattr(stablehlo.artefact, "_DAYS", -1)
  stablehlo.write(tmp_path / "model", window_program(runs(tmp_path / "run", 2)))
  (load,) = loader("load")
  with pytest.raises(ValueError, match="past its date"):
    load(tmp_path / "model")


def test_the_loader_for_onnxruntime_segments_as_ours(tmp_path):
  pytest.importorskip("jax2onnx", reason="pip install jax2onnx onnx")
  pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
  load_onnx, segment = loader("load_onnx", "segment")
  program = window_program(runs(tmp_path / "run", 2), loops=False)
  onnx_file.write(tmp_path / "model.onnx", program)
  expected = onnx_file.load(tmp_path / "model.onnx").labels(scan((29, 11, 1)))
  out = segment(*load_onnx(tmp_path / "model.onnx"), scan((29, 11, 1)))
  np.testing.assert_array_equal(out, expected)


def test_the_loaders_are_as_short_as_the_page_says():
  for name in ("load", "load_onnx"):
    text = PAGE.read_text().split(f"def {name}(")[1].split("```")[0]
    assert len(text.strip().splitlines()) <= 10
