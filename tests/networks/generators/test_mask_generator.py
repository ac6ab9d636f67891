"""Label maps from noise: DCGAN's count, sizes, what the noise does, and the encoder of a VAE."""

import jax
import numpy as np
import pytest
from abstract import shapes

from jaxseg.networks.generators import MaskEncoder, MaskGenerator


def test_the_count_is_that_of_pytorchs_dcgan():
  # 100 numbers of noise, 64x64 pixels of 3 channels, counted with PyTorch 2.13
  params = shapes(MaskGenerator(classes=3), 1, 64, 64, 1)[1]["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == 3_576_704


@pytest.mark.parametrize("space", [(16, 16), (13, 21), (8, 9, 10)])
def test_maps_cover_what_they_are_given_whatever_its_values(space):
  net = MaskGenerator(classes=3, widths=(4, 6), latent=5)
  x = jax.random.normal(jax.random.key(0), (2, *space, 4))
  variables = net.init(jax.random.key(1), x)
  made = [net.apply(variables, of, rngs={"dropout": jax.random.key(2)}) for of in (x, 0 * x)]
  assert made[0]["logits"].shape == (2, *space, 3)
  np.testing.assert_array_equal(made[0]["logits"], made[1]["logits"])


def test_noise_is_drawn_for_each_map_and_without_a_key_there_is_none():
  net = MaskGenerator(classes=2, widths=(4, 6), latent=5, norm="none")
  x = jax.numpy.zeros((2, 8, 8, 1))
  variables = net.init(jax.random.key(0), x)
  drawn = net.apply(variables, x, rngs={"dropout": jax.random.key(1)})["logits"]
  assert not np.array_equal(drawn[0], drawn[1])
  silent = net.apply(variables, x)["logits"]
  np.testing.assert_array_equal(silent, net.apply(variables, x, jax.numpy.zeros((2, 5)))["logits"])


def test_a_coarser_grid_is_interpolated_linearly():
  fine, coarse = (MaskGenerator(classes=2, widths=(4, 6), latent=5, coarser=n) for n in (1, 2))
  variables = fine.init(jax.random.key(0), jax.numpy.zeros((2, 8, 8, 1)))
  noise = jax.random.normal(jax.random.key(1), (2, 5))
  small = fine.apply(variables, jax.numpy.zeros((2, 8, 8, 1)), noise)["logits"]
  large = coarse.apply(variables, jax.numpy.zeros((2, 15, 16, 1)), noise)["logits"]
  expected = jax.image.resize(small, (2, 16, 16, 2), "linear")[:, :15]
  np.testing.assert_allclose(large, expected, rtol=1e-5, atol=1e-6)


def test_the_encoder_gives_mean_and_variance_of_each_number():
  net = MaskEncoder(latent=5, widths=(4, 6))
  outputs = net.init_with_output(jax.random.key(0), jax.numpy.ones((2, 8, 8, 3)))[0]
  assert outputs["mean"].shape == outputs["log_variance"].shape == (2, 5)


def test_no_noise_at_all_is_refused():
  with pytest.raises(ValueError, match="at least one number of noise"):
    MaskGenerator(latent=0)
