"""Layers by path: their values and gradients, which are told without editing the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg.explain import class_activation, layers
from jaxseg.networks import NETWORKS


class Chain(nn.Module):
  """Two convolutions, the first in a remat or not; what lies between them is an output, too."""

  remat: bool = False

  @nn.compact
  def __call__(self, x):
    conv = nn.remat(nn.Conv) if self.remat else nn.Conv
    between = conv(4, (3, 3), name="first")(x)
    x = nn.relu(between)
    return {"logits": nn.Conv(2, (1, 1), name="head")(x), "between": between}


class Loop(nn.Module):
  """The same dense layer three times in a scan."""

  @nn.compact
  def __call__(self, x):
    def step(module, x, _):
      del module
      return nn.Dense(3, name="dense")(x), None

    each = nn.scan(step, variable_broadcast="params", split_rngs={"params": False}, length=3)
    x, _ = each(self, x, None)
    return {"logits": x}


def built(net, shape=(1, 6, 6, 3)):
  image = jax.random.normal(jax.random.key(1), shape)
  params = net.init(jax.random.key(0), image)
  return lambda params, x: net.apply(params, x), params, image


@pytest.mark.parametrize("remat", [False, True])
def test_values_and_gradients_are_those_of_the_layer(remat):
  apply, params, image = built(Chain(remat))
  target = jax.random.normal(jax.random.key(2), (1, 6, 6, 2))
  found = layers.features(apply, params, image, target, "first")
  between = apply(params, image)["between"]
  np.testing.assert_allclose(found.values, between, rtol=1e-6)
  head = params["params"]["head"]["kernel"][0, 0]
  np.testing.assert_allclose(
    found.gradients, (target @ head.T) * (between > 0), rtol=1e-5, atol=1e-6
  )


def test_in_a_scan_values_are_the_mean_of_the_uses_and_gradients_their_sum():
  apply, params, image = built(Loop())
  kernel = params["params"]["dense"]["kernel"]
  target = jnp.ones((1, 6, 6, 3))
  found = layers.features(apply, params, image, target, "dense")
  steps, total = [image @ kernel], target
  for _ in range(2):
    steps.append(steps[-1] @ kernel)
    total = target + total @ kernel.T
  np.testing.assert_allclose(found.values, sum(steps) / 3, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(found.gradients, total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "options", "expected"),
  [
    ("unet", dict(widths=(4, 8, 8)), ("encoder3", "decoder1")),
    ("attention_unet", dict(widths=(4, 8)), ("encoder2", "decoder1")),
    (
      "unetr",
      dict(features=4, hidden=8, mlp=8, heads=2, layers=3, taps=(1, 2, 3), image_size=32),
      ("decoder4", "decoder1"),
    ),
    (
      "swin_unetr",
      dict(features=4, depths=(1, 1), heads=(1, 1), window=4),
      ("bottleneck", "decoder0"),
    ),
  ],
)
def test_the_default_layers_are_the_deepest_encoder_stage_and_the_last_decoder_stage(
  name, options, expected
):
  net = NETWORKS[name](classes=2, **options)
  image = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
  variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=True), image)
  known = layers.layers(lambda p, x: net.apply(p, x), variables, image)
  assert layers.stages(known, 2, 2) == expected


def test_cam_is_the_logit_without_its_bias():
  apply, params, image = built(Chain())
  logits = apply(params, image)["logits"]
  target = jnp.zeros((1, 6, 6, 2)).at[0, 2, 3, 1].set(1.0)
  known = layers.layers(apply, params, image)
  head = layers.head(known, 2)
  assert head == "head"
  values = class_activation.class_activation(apply, params, image, target, layer=head).values
  bias = params["params"]["head"]["bias"][1]
  np.testing.assert_allclose(values, logits[..., 1] - bias, rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_not_there_is_told_with_the_nearest_names():
  known = layers.layers(*built(Chain()))
  with pytest.raises(ValueError, match=r"--layer frist: .* nearest: first.*--layers lists all"):
    layers.check("frist", known, 2, 2)


def test_a_map_of_valid_convolutions_lies_in_the_middle_of_the_image():
  coarse = jnp.ones((1, 3, 3))
  placed = class_activation.on_image(coarse, (16, 16), (8, 8), (4, 4))
  expected = np.zeros((1, 16, 16))
  expected[0, 2:14, 2:14] = 1
  np.testing.assert_array_equal(placed, expected)
