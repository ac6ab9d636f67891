"""SE, CBAM and scSE: worked values, published counts, options against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.cbam import CBAM
from jaxseg.networks.blocks.scse import ScSE
from jaxseg.networks.blocks.squeeze_excitation import SpatialSqueeze, SqueezeExcitation


def parameters(block, *shape):
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
  assert y.shape == shape
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def sigmoid(x):
  return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


@pytest.mark.parametrize(
  ("block", "expected"),
  [
    (SqueezeExcitation(2), 4_192),
    (SqueezeExcitation(16, use_bias=False), 2 * 64 * 4),
    (CBAM(16), 680),
    (CBAM(16, order=("channel",)), 580),
    (ScSE(), 4_257),
    (ScSE("add"), 4_257),
    (SpatialSqueeze(), 65),
  ],
  ids=str,
)
def test_published_counts(block, expected):
  assert parameters(block, 2, 8, 8, 64) == expected


def test_volumes_cost_more_only_in_the_spatial_kernel():
  assert parameters(SqueezeExcitation(2), 1, 4, 4, 4, 64) == 4_192
  assert parameters(ScSE(), 1, 4, 4, 4, 64) == 4_257
  assert parameters(CBAM(16, kernel=(3, 7, 7)), 1, 4, 4, 4, 64) == 580 + 2 * 3 * 7 * 7 + 2


def example(**options):
  x = jnp.stack([jnp.array([[1.0, 2], [3, 4]]), jnp.array([[0.0, -2], [2, 4]])], -1)[None]
  params = {
    "squeeze": {"kernel": jnp.array([[0.5], [-0.25]]), "bias": jnp.array([0.1])},
    "excite": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.0, 0.3])},
  }
  return np.asarray(x), SqueezeExcitation(**options).apply({"params": params}, x)


def test_worked_example_of_squeeze_and_excitation():
  # s = (2.5, 1), h = 1.25 - 0.25 + 0.1 = 1.1, e = (1.1, -1.9)
  x, y = example()
  assert_close(y, x * np.array([0.750260, 0.130108]), atol=2e-6)
  x, y = example(residual=True)
  assert_close(y, x * np.array([1.750260, 1.130108]), atol=6e-6)
  x, y = example(hard=True)
  assert_close(y, x * np.array([4.1 / 6, 1.1 / 6]))


def drawn(block, x, seed=0):
  """Numpy values for the block's variables."""
  variables = jax.eval_shape(block.init, jax.random.key(0), x)
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: rng.uniform(0.2, 1, leaf.shape).astype(np.float32), variables)


def test_cbam_is_the_channel_gate_then_the_spatial_gate():
  x = np.random.default_rng(1).normal(size=(2, 5, 4, 6)).astype(np.float32)
  block = CBAM(3, kernel=1)
  variables = drawn(block, x)
  p, stats = variables["params"], variables["batch_stats"]["spatial"]["norm"]

  def mlp(s):
    hidden = np.maximum(s @ p["channel"]["squeeze"]["kernel"] + p["channel"]["squeeze"]["bias"], 0)
    return hidden @ p["channel"]["excite"]["kernel"] + p["channel"]["excite"]["bias"]

  def channel(x):
    return x * sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))[:, None, None]

  def spatial(x):
    q = np.stack([x.max(-1), x.mean(-1)], -1) @ p["spatial"]["conv"]["kernel"][0, 0]
    norm = p["spatial"]["norm"]
    q = (q - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    return x * sigmoid(q)

  np.testing.assert_allclose(block.apply(variables, x), spatial(channel(x)), rtol=1e-4, atol=1e-6)
  turned = CBAM(3, kernel=1, order=("spatial", "channel"), residual=True)
  want = x + channel(spatial(x))
  np.testing.assert_allclose(turned.apply(variables, x), want, rtol=1e-4, atol=1e-6)


def test_scse_joins_by_maximum_or_sum():
  x = np.random.default_rng(1).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
  variables = drawn(ScSE(), x)
  p = variables["params"]
  channel = SqueezeExcitation(2).apply({"params": p["channel"]}, x)
  spatial = x * sigmoid(x @ p["spatial"]["conv"]["kernel"][0, 0, 0] + p["spatial"]["conv"]["bias"])
  got = {name: ScSE(name).apply(variables, x) for name in ("max", "add")}
  np.testing.assert_allclose(got["max"], np.maximum(channel, spatial), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(got["add"], channel + spatial, rtol=1e-4, atol=1e-5)


def test_a_unet_takes_them_by_name_where_it_is_told():
  for name in ("se", "cbam", "scse", "nonlocal"):
    net = UNet(widths=(4, 8), depth=1, attention=dict(encoder=name), norm="instance")
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 8, 1)))
    assert {"encoder_attention1", "encoder_attention2"} <= set(variables["params"])
    assert "decoder_attention1" not in variables["params"]


@pytest.mark.parametrize(
  ("block", "message"),
  [
    (lambda: SqueezeExcitation(0), "reduction=0; expected at least 1"),
    (lambda: CBAM(0), "reduction=0; expected at least 1"),
    (lambda: CBAM(order=("channel", "time")), "choices: channel, spatial"),
    (lambda: CBAM(pools=("mean",)), "choices: average, max, lse"),
    (lambda: CBAM(order=("channel", "channel")), "no gate twice"),
    (lambda: ScSE(reduction=0), "reduction=0; expected at least 1"),
    (lambda: ScSE("mean"), "choices: max, add"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_options_are_refused_in_words(block, message):
  with pytest.raises(ValueError, match=message):
    block()
