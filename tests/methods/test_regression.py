"""Regression: a network's output comes near the image that is there, and is called an image."""

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxseg import networks
from jaxseg.losses.images import l1
from jaxseg.methods.regression import regression


class Painter(nn.Module):
  """A network that makes an image and says so."""

  @nn.compact
  def __call__(self, x, *, train):
    del train
    return {"image": nn.Dense(1)(x), "features": x}


UNET = networks.UNet(widths=(4, 8), classes=1, depth=1, decoder_depth=1)


@pytest.mark.parametrize("network", [UNET, Painter()], ids=["logits", "image"])
@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)], ids=["2D", "3D"])
def test_the_loss_falls_and_what_comes_is_an_image(network, space):
  random = np.random.default_rng(0)
  image = random.normal(size=(2, *space, 2)).astype(np.float32)
  rank = len(space)
  batch = {"image": image, "spacing": np.ones((2, rank), np.float32)}
  # labels that are there are no targets
  batch |= {"target_image": 2 * image[..., :1] + 1, "label": np.zeros((2, *space), np.int32)}
  scheme = regression(network, l1, optax.sgd(0.05))
  state = jax.jit(scheme.init)(jax.random.key(0), batch)
  step = jax.jit(scheme.train_step)
  losses = []
  for i in range(15):
    state, metrics = step(state, batch, jax.random.key(i))
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.9 * losses[0]
  assert step._cache_size() == 1
  outputs = jax.eval_shape(scheme.apply, state, {"image": image})
  assert outputs["image"].shape == (2, *space, 1)
  assert "logits" not in outputs
