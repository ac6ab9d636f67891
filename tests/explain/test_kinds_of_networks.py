"""Networks of every kind can be explained: layers are found and tapped; nothing is computed."""

import jax
import jax.numpy as jnp
import pytest
from abstract import shapes
from network_rows import ROWS

from jaxseg import explain, networks
from jaxseg.explain import layers

# valid convolutions, loops in time, an encoder with several outputs, tokens, two branches
NAMES = ("unet2015", "bcdunet", "encoder_unet", "unetr", "kiunet")
CASES = [(name, ROWS[name].sizes[0]) for name in NAMES]


def built(name, size):
  net = networks.NETWORKS[name](classes=3, **ROWS[name].small)
  # a size that the network takes as it is
  stride, margin = net.total_stride(len(size)), net.margin(len(size))
  space = tuple(
    (-(-n // s) * s if not m else n + 2 * m) for n, s, m in zip(size, stride, margin, strict=True)
  )
  _, variables = shapes(net, 1, *space, 1, train=True)
  image = jax.ShapeDtypeStruct((1, *space, 1), jnp.float32)

  def apply(variables, x):
    return net.apply(variables, x)

  logits = jax.eval_shape(lambda v, x: apply(v, x)["logits"], variables, image)
  return apply, variables, image, jax.ShapeDtypeStruct(logits.shape, jnp.float32)


@pytest.mark.parametrize(("name", "size"), CASES, ids=str)
def test_the_default_layers_make_maps_of_the_images_size(name, size):
  apply, variables, image, target = built(name, size)
  known = layers.layers(apply, variables, image)
  stages = layers.stages(known, len(size), 3)
  assert stages
  for layer in stages:
    layers.check(layer, known, len(size), 3)
    found = jax.eval_shape(
      lambda *given, layer=layer: explain.METHODS["grad_cam"].function(apply, *given, layer=layer),
      variables,
      image,
      target,
    )
    assert found.values.shape == image.shape[:-1]
