"""The patch critic: published counts and sizes, what a score sees, both ranks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.networks.critics import CRITICS, PatchCritic


def parameters(net, shape) -> int:
  init = jax.eval_shape(
    lambda: net.init(jax.random.key(0), jnp.zeros(shape, jnp.float32), train=True)
  )
  return sum(leaf.size for leaf in jax.tree.leaves(init["params"]))


@pytest.mark.parametrize(
  ("options", "channels", "published"),
  [
    # MONAI's PatchDiscriminator(spatial_dims=2, in_channels=1, channels=64, num_layers_d=3)
    ({}, 1, 2_763_585),
    # pytorch-CycleGAN-and-pix2pix: NLayerDiscriminator(1 or 3, 64, 3, InstanceNorm2d)
    ({"norm": "instance"}, 1, 2_762_689),
    ({"norm": "instance"}, 3, 2_764_737),
  ],
)
def test_the_published_number_of_parameters(options, channels, published):
  assert parameters(CRITICS["patch_critic"](**options), (1, 64, 64, channels)) == published


def outputs_of(net, shape):
  def call():
    x = jnp.zeros(shape, jnp.float32)
    return net.init_with_output(jax.random.key(0), x, train=True)[0]

  return jax.eval_shape(call)


def test_256_pixels_give_30_scores_and_features_of_each_stage():
  outputs = outputs_of(PatchCritic(), (2, 256, 256, 1))
  assert outputs["score"].shape == (2, 30, 30, 1)
  sides = [(128, 64), (64, 128), (32, 256), (31, 512)]
  shapes = [outputs[f"stage{i}"].shape for i in range(1, 5)]
  assert shapes == [(2, side, side, width) for side, width in sides]


def test_volumes_have_scores_too():
  net = PatchCritic(widths=(4, 8, 8), dtype=jnp.bfloat16)
  score = outputs_of(net, (1, 16, 32, 32, 2))["score"]
  assert (score.shape, score.dtype) == ((1, 2, 6, 6, 1), jnp.float32)


def test_a_score_sees_70_pixels():
  net = PatchCritic(widths=(2, 2, 2, 2), norm="none")
  x = jnp.ones((1, 128, 128, 1))
  variables = net.init(jax.random.key(0), x)
  variables = jax.tree.map(lambda w: jnp.ones_like(w) / 16, variables)

  def middle(x):
    return net.apply(variables, x)["score"][0, 7, 7, 0]

  seen = np.argwhere(np.asarray(jax.grad(middle)(x))[0, ..., 0])
  assert tuple(np.ptp(seen, axis=0) + 1) == (70, 70)


def test_the_first_stage_is_the_rule_written_out():
  net = PatchCritic(widths=(3, 4), norm="none")
  x = np.random.default_rng(0).standard_normal((1, 6, 6, 2)).astype(np.float32)
  variables = net.init(jax.random.key(1), x)
  first = variables["params"]["Conv_0"]
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = np.zeros((3, 3, 3))
  for i, j in np.ndindex(3, 3):
    window = padded[0, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
    expected[i, j] = np.tensordot(window, first["kernel"], 3) + first["bias"]
  expected = np.where(expected > 0, expected, 0.2 * expected)
  np.testing.assert_allclose(net.apply(variables, x)["stage1"][0], expected, rtol=1e-5, atol=1e-6)


def test_too_small_an_input_is_told():
  with pytest.raises(ValueError, match=r"patch_critic: an input of \(8, 8\) is too small for 4"):
    outputs_of(PatchCritic(), (1, 8, 8, 1))
