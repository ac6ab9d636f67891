"""What jax2onnx lacks: volumes, pooling over space alone, padding beside a symbolic batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

jax2onnx = pytest.importorskip("jax2onnx", reason="pip install jax2onnx onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

KERNEL = np.random.default_rng(1).standard_normal((3, 2, 3, 4, 6)).astype(np.float32)
GROUPED = np.random.default_rng(1).standard_normal((3, 3, 3, 2, 6)).astype(np.float32)


def convolution(x, kernel=KERNEL, **options):
  how = dict(window_strides=(1, 2, 1), padding=((1, 1), (0, 1), (2, 0)))
  how |= dict(dimension_numbers=("NDHWC", "DHWIO", "NDHWC")) | options
  return jax.lax.conv_general_dilated(x, kernel, **how)


FUNCTIONS = {
  "convolution": convolution,
  "dilated": lambda x: convolution(x, rhs_dilation=(2, 1, 1)),
  "grouped": lambda x: convolution(x, GROUPED, feature_group_count=2),
  "pooling": lambda x: nn.max_pool(
    x, (3, 2, 3), strides=(2, 2, 1), padding=((1, 1), (0, 0), (0, 1))
  ),
  "padding": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (3, 0), (0, 1)), constant_values=0.5),
  "cropping": lambda x: jax.lax.pad(
    x, 0.0, ((0, 0, 0), (-1, 0, 0), (0, -2, 0), (1, 0, 0), (0, 0, 0))
  ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_volumes_is_that_of_jax(name):
  from jaxseg.interop.exports.onnx_plugins import plugins

  x = np.random.default_rng(0).standard_normal((3, 6, 7, 8, 4)).astype(np.float32)
  with plugins():
    model = jax2onnx.to_onnx(
      FUNCTIONS[name],
      [("batch", *x.shape[1:])],
      opset=21,
      input_names=["x"],
      output_names=["y"],
    )
  session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
  )
  (out,) = session.run(None, {"x": x})
  np.testing.assert_allclose(out, FUNCTIONS[name](x), rtol=1e-4, atol=1e-4)


def test_the_converters_own_plugins_are_back_afterwards():
  from jax2onnx.plugins.plugin_system import PLUGIN_REGISTRY, import_all_plugins

  from jaxseg.interop.exports.onnx_plugins import plugins

  import_all_plugins()
  before = dict(PLUGIN_REGISTRY)
  with plugins():
    assert PLUGIN_REGISTRY["pad"] is not before["pad"]
  assert dict(PLUGIN_REGISTRY) == before
