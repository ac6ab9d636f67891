"""UNETR: positions for any size, patches, where the skips leave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from option_checks import assert_same_parameters_and_shapes

from jaxseg.networks import UNETR
from jaxseg.networks.blocks import conv

TINY = {"features": 2, "hidden": 4, "mlp": 4, "heads": 2, "layers": 4, "taps": (1, 2, 3)}


def test_the_two_dimensional_network(monkeypatch):
  # MONAI's UNETR(1, 14, (96, 96), spatial_dims=2) less the 18,432 of norms that it never applies
  monkeypatch.setattr(conv, "convolve_on_cpu", conv._native)  # quicker to trace
  _, variables = shapes(UNETR(classes=14), 1, 32, 32, 1)
  count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  assert count == 87_165_070 - 18_432


def test_one_set_of_parameters_serves_every_size():
  net = UNETR(**TINY, image_size=(64, 32))
  first, variables = shapes(net, 1, 64, 32, 1)
  second, others = shapes(net, 1, 40, 50, 1)
  assert variables["params"]["position"].shape == (4, 2, 4)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, others)
  assert first["bottleneck"].shape == (1, 4, 2, 4)
  assert second["bottleneck"].shape == (1, 3, 4, 4)
  assert second["logits"].shape == (1, 40, 50, 3)


def test_the_patch_is_the_product_of_the_strides():
  net = UNETR(**TINY, strides=((1, 2, 2), 2, 2, 1))
  assert net.total_stride(3) == (4, 8, 8)
  outputs, variables = shapes(net, 1, 8, 8, 8, 2)
  assert variables["params"]["embedding"]["kernel"].shape == (4 * 8 * 8 * 2, 4)
  assert outputs["bottleneck"].shape == (1, 2, 1, 1, 4)


def test_patches_at_the_same_position_are_exchangeable():
  net = UNETR(**TINY, image_size=16)  # a grid of one place: every patch is there
  x = np.random.default_rng(0).normal(size=(1, 32, 16, 1)).astype(np.float32)
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes(net, *x.shape)[1]["params"]
  )
  run = jax.jit(lambda x: net.apply({"params": params}, x)["bottleneck"])
  np.testing.assert_allclose(run(x)[:, ::-1], run(np.roll(x, 16, 1)), atol=1e-4)


def test_options_keep_parameters_and_shapes():
  options = {"dtype": "bfloat16", "dropout": 0.2}
  assert_same_parameters_and_shapes(UNETR(**TINY), UNETR(**TINY, **options))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"heads": 3}, "heads=3 do not divide hidden=4"),
    ({"taps": (1, 2)}, r"taps=\(1, 2\); expected three increasing numbers of layers, 1 to 4"),
    ({"taps": (1, 2, 5)}, "1 to 4"),
    ({"strides": (2, 2)}, r"strides=\(2, 2\) has 2 entries but 4 are needed"),
    ({"norm": "layer"}, "norm='layer' is unknown; choices: batch, instance, none"),
    ({"features": 0}, "features=0"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    UNETR(**{**TINY, **options})
