"""ONNX: onnxruntime's outputs are the run's, in 2D and 3D."""

import json

import jax
import numpy as np
import pytest
import run_folders

from jaxseg.interop.exports import onnx_file
from jaxseg.interop.exports.window_program import window_program
from jaxseg.runs.load import open_runs

pytest.importorskip("jax2onnx", reason="ONNX needs jax2onnx: pip install jax2onnx onnx")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
ZSCORE = {"name": "zscore"}
NETWORKS = {
  "unet": {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1},
  # instance norm, strided convolutions, transposed ones
  "plain": {"name": "plain_conv_unet", "widths": (4, 8)},
}


def program(folder, rank=2, network="unet", mirror=False, normalisation=ZSCORE, **options):
  changes = {"network": NETWORKS[network]} if network != "unet" else {}
  place = run_folders.write(folder / "run", rank=rank, normalisation=normalisation, **changes)
  runs = open_runs(place, devices=jax.local_devices()[:1], mirror=mirror)
  return window_program(runs, loops=False, **options)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rank", [2, 3])
def test_scores_are_those_of_the_run(tmp_path, rank, network):
  ours = program(tmp_path, rank, network)
  told = onnx_file.write(tmp_path / "model.onnx", ours)
  assert told["difference"] <= 1e-4
  loaded = onnx_file.load(tmp_path / "model.onnx")
  numbers = np.array([[-4], [4], [0.1], [1.1]], np.float32)
  for batch in (1, 3):
    image = np.random.default_rng(batch).standard_normal((batch, *(16,) * rank, 1))
    image = image.astype(np.float32)
    image[:, :3] = np.nan
    out = loaded.apply(image, numbers)
    expected = ours.function(ours.weights, image, numbers)
    scale = max(1, np.abs(expected["logits"]).max())
    np.testing.assert_allclose(out["logits"], expected["logits"], atol=1e-4 * scale)
    assert (out["labels"] == np.asarray(expected["labels"])).mean() > 0.99
    assert out["labels"].dtype == np.int32


def test_a_model_is_compared_on_intensities_that_are_not_clipped(tmp_path, monkeypatch):
  """Beyond them every voxel is one value, of which networks that differ may make the same."""
  seen = []
  monkeypatch.setattr(onnx_file, "TOLERANCE", np.inf)
  monkeypatch.setattr(onnx_file, "_session", lambda code: Session(seen))
  scheme = {"name": "ct", "lower": 100.0, "upper": 300.0, "mean": 150.0, "std": 40.0}
  onnx_file.difference(b"", program(tmp_path, normalisation=scheme))
  low, high = seen[0].min(), seen[0].max()
  assert 100 <= low < 110
  assert 290 < high <= 300


class Session:
  """onnxruntime's, of which only what it is given is looked at."""

  def __init__(self, seen):
    self._seen = seen

  def run(self, names, inputs):
    self._seen.append(inputs["image"])
    return [np.zeros(1, np.float32)]


def test_mirror_images_share_their_weights(tmp_path):
  onnx_file.write(tmp_path / "one.onnx", program(tmp_path / "a"))
  onnx_file.write(tmp_path / "four.onnx", program(tmp_path / "b", mirror=True))
  one, four = (onnx.load(tmp_path / name).graph for name in ("one.onnx", "four.onnx"))
  sizes = [sum(len(a.raw_data) for a in graph.initializer) for graph in (one, four)]
  assert len(four.node) > 3 * len(one.node)
  assert sizes[1] < 1.2 * sizes[0]


def test_inputs_are_alike_whatever_the_normalisation(tmp_path):
  onnx_file.write(tmp_path / "model.onnx", program(tmp_path, normalisation={"name": "none"}))
  session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
  assert [value.name for value in session.get_inputs()] == ["image", "statistics"]
  assert [value.shape for value in session.get_inputs()] == [["batch", 16, 16, 1], [4, 1]]
  assert [value.name for value in session.get_outputs()] == ["logits", "labels"]
  told = json.loads(session.get_modelmeta().custom_metadata_map["jaxseg"])
  assert told["expires"] is None
  assert {"jax", "jax2onnx", "onnx"} <= set(told["versions"])


def test_a_truncated_model_is_refused(tmp_path):
  onnx_file.write(tmp_path / "model.onnx", program(tmp_path))
  whole = (tmp_path / "model.onnx").read_bytes()
  (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match=r"cut.onnx: is cut off, damaged or no model of jaxseg"):
    onnx_file.load(tmp_path / "cut.onnx")
  with pytest.raises(FileNotFoundError, match=r"none.onnx: not found"):
    onnx_file.load(tmp_path / "none.onnx")


def test_a_model_that_differs_is_not_written(tmp_path, monkeypatch):
  monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
  with pytest.raises(ValueError, match=r"the ONNX model's logits differ by"):
    onnx_file.write(tmp_path / "model.onnx", program(tmp_path))
  assert not (tmp_path / "model.onnx").exists()


def test_what_cannot_be_converted_is_refused_in_words(tmp_path):
  ours = program(tmp_path)

  def function(weights, image, statistics):
    outputs = ours.function(weights, image, statistics)
    return outputs | {"logits": jax.lax.linalg.qr(outputs["logits"])[0]}

  with pytest.raises(ValueError, match=r"run: jax2onnx cannot convert the network .*stablehlo"):
    onnx_file.write(tmp_path / "model.onnx", ours._replace(function=function))
