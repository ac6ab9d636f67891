"""SAUNet: the release's counts and logits, its maps, what it refuses."""

import jax
import numpy as np
import pytest
import waves
from abstract import count, shapes
from closeness import assert_close

from jaxseg.networks import ShapeAttentive
from jaxseg.networks.blocks.canny import canny
from jaxseg.networks.shape_attentive import DualAttention

SMALL = dict(
  encoder=dict(name="densenet121", blocks=(1, 2, 1), growth=3, width=4),
  centre_width=6,
  widths=(8, 6, 5),
  shape_widths=(5, 4, 3),
  head_widths=(5, 4),
  reduction=2,
)


def test_parameters_of_the_parts_are_the_releases():
  _, variables = shapes(ShapeAttentive(4), 1, 64, 64, 3)
  params = variables["params"]
  assert count(params) == 31_871_505
  # densenet121 without its classifier, DualAttBlock([512, 1024], 512)
  assert count(params["encoder"]) == 7_978_856 - 1_025_000
  assert count(params["decoder4"]) == 11_374_497
  dual = DualAttention(512)
  x, skip = (jax.ShapeDtypeStruct((1, n, n, c), np.float32) for n, c in ((2, 512), (4, 1024)))
  made = jax.eval_shape(dual.init, jax.random.key(0), x, skip)
  assert count(made["params"]) == 11_374_497


def test_logits_are_those_of_the_release():
  # computed by PyTorch 2.13 in double precision, layer by layer as models.py of the release
  net = ShapeAttentive(3, **SMALL)
  x = waves.inputs(1, 32, 16, 2)
  out = jax.jit(net.apply)(waves.variables(net, *x.shape), x)
  assert_close(out["logits"][0, 0, 0], [0.09972171, -0.11922161, -0.14099845], atol=1e-5)
  assert_close(out["logits"][0, -1, -1], [0.10060677, -0.11710085, -0.1386394], atol=1e-5)
  np.testing.assert_allclose(out["logits"].sum(), -80.267903, rtol=1e-5)
  assert_close(out["edge_logits"][0, [0, -1], [0, -1], 0], [1.16014275, 1.09872166], atol=1e-5)
  np.testing.assert_allclose(out["edge_logits"].sum(), 576.93184, rtol=1e-5)
  np.testing.assert_allclose(out["attention1"].sum(), 78.979204, rtol=1e-5)
  np.testing.assert_allclose(out["attention3"].sum(), 4.9663158, rtol=1e-5)


def test_shape_and_attention_are_maps_of_the_image_and_of_each_scale():
  net = ShapeAttentive(3, **SMALL)
  x = waves.inputs(2, 21, 34, 1)
  out = jax.jit(net.apply)(waves.variables(net, *x.shape), x)
  assert net.total_stride(2) == (16, 16)
  assert out["edge"].shape == out["canny"].shape == (2, 21, 34, 1)
  assert_close(out["edge"], 1 / (1 + np.exp(-out["edge_logits"])), atol=1e-6)
  # what is padded inside makes no edge
  np.testing.assert_array_equal(out["canny"], canny(x))
  for level, stride in ((1, 2), (2, 4), (3, 8)):
    attention = np.asarray(out[f"attention{level}"])
    assert attention.shape == (2, -(-21 // stride), -(-34 // stride), 1)
    assert ((attention > 0) & (attention < 1)).all()


def test_the_images_edges_reach_the_logits():
  net = ShapeAttentive(3, **SMALL)
  x = waves.inputs(1, 16, 16, 1)
  variables = waves.variables(net, *x.shape)
  without = ShapeAttentive(3, **SMALL, thresholds=(9e9, 9e9))
  first, second = (jax.jit(of.apply)(variables, x) for of in (net, without))
  assert np.any(first["canny"])
  assert not np.any(second["canny"])
  np.testing.assert_array_equal(first["edge"], second["edge"])
  assert np.abs(first["logits"] - second["logits"]).max() > 1e-3


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"encoder": "resnet18"}, "encoder='resnet18'; expected a DenseNet"),
    (
      {"encoder": dict(name="densenet121", plain_stem=False)},
      "expected a DenseNet, its plain_stem",
    ),
    ({"widths": (8, 6)}, "as many of the first two as the encoder has blocks, 4"),
    ({"shape_widths": (8, 6)}, "as many of the first two as the encoder has blocks, 4"),
    ({"head_widths": (8,)}, "two of the last"),
    ({"thresholds": (100, 10)}, r"thresholds=\(100, 10\); expected \(low, high\)"),
    ({"dtype": "float16"}, "dtype='float16'"),
  ],
)
def test_options_that_do_not_fit_are_told(options, words):
  with pytest.raises(ValueError, match=f"shape_attentive: .*{words}"):
    ShapeAttentive(**options)


def test_volumes_are_refused():
  with pytest.raises(ValueError, match=r"shape_attentive: an input with 3 .* expected images"):
    shapes(ShapeAttentive(3, **SMALL), 1, 16, 16, 16, 1)
