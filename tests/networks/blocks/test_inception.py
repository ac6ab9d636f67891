"""Inception modules: the split of the channels, counts by hand, worked values, bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.inception import KINDS, Inception, inception_plan


def shapes(block, *shape):
  def run(x):
    variables = block.init(jax.random.key(0), x)
    return variables, block.apply(variables, x)

  return jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_googlenets_module_3a_is_nearly_the_split_of_256_features():
  # its filters: 64 | 96 -> 128 | 16 -> 32 | 32
  one, three = (1, 1), (3, 3)
  assert inception_plan("v1", 256, three) == {
    "one": [(64, one)],
    "three": [(96, one), (128, three)],
    "five": [(16, one), (32, (5, 5))],
    "pool": [(32, one)],
  }


def test_googlenets_module_3a_has_163696_parameters_without_norm():
  # 192 channels in; weights and biases of the six convolutions
  params = shapes(Inception(256, norm="none", use_bias=True), 1, 8, 8, 192)[0]["params"]
  by_hand = 64 * 193 + 96 * 193 + 128 * (9 * 96 + 1) + 16 * 193 + 32 * (25 * 16 + 1) + 32 * 193
  assert by_hand == 163_696
  assert count(params) == by_hand


# 4 channels in, 16 out, kernels without bias, batch norm's 2 per filter; filters 4 | 8 | 2 | 2
BY_HAND = {
  # 1x1, 3x3, 5x5, 1x1 after the pooling; 16 filters with norm
  ("naive", False): 4 * 4 + 9 * 4 * 8 + 25 * 4 * 2 + 4 * 2 + 2 * 16,
  # reductions to 6 and 1
  ("v1", False): 4 * 4 + (4 * 6 + 9 * 6 * 8) + (4 + 25 * 2) + 4 * 2 + 2 * 23,
  ("factorised", False): 4 * 4 + (4 * 6 + 9 * 6 * 8) + (4 + 9 * 2 + 9 * 4) + 4 * 2 + 2 * 25,
  ("factorised", True): 4 * 4
  + (4 * 6 + 3 * 6 * 8 + 3 * 8 * 8)
  + (4 + 3 * 2 + 3 * 4 + 3 * 4 + 3 * 4)
  + 4 * 2
  + 2 * (25 + 8 + 2 + 2),
  # 4 | 4 -> 4 | 4 -> 6 -> 8, then a linear 16 to 16 and the shortcut 4 to 16, both with bias
  ("residual", False): 4 * 4
  + (4 * 4 + 9 * 16)
  + (4 * 4 + 9 * 24 + 9 * 48)
  + 2 * (4 + 8 + 18)
  + (16 * 16 + 16)
  + (4 * 16 + 16),
}


@pytest.mark.parametrize("kind", BY_HAND, ids=str)
def test_counts_by_hand(kind):
  name, asymmetric = kind
  variables, out = shapes(Inception(16, kind=name, asymmetric=asymmetric), 1, 8, 8, 4)
  assert count(variables["params"]) == BY_HAND[kind]
  assert out.shape == (1, 8, 8, 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features", [4, 5, 7, 11, 64])
def test_every_split_fills_exactly_the_features(kind, features):
  plan = inception_plan(kind, features, (3, 3))
  assert sum(layers[-1][0] for layers in plan.values()) == features
  assert min(filters for layers in plan.values() for filters, _ in layers) >= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
  ("space", "kernel", "stride"), [((7, 6), 3, 2), ((5, 7, 6), (1, 3, 3), (1, 2, 2))]
)
def test_strided_modules_round_the_size_up_in_2d_and_3d(kind, space, kernel, stride):
  block = Inception(8, depth=2, kind=kind, kernel=kernel, stride=stride, asymmetric=True)
  _, out = shapes(block, 1, *space, 3)
  steps = (2, 2) if stride == 2 else stride
  assert out.shape == (1, *(-(-n // s) for n, s in zip(space, steps, strict=True)), 8)


def test_three_axes_factorise_into_three_convolutions():
  plan = inception_plan("v1", 8, (3, 3, 3), asymmetric=True)
  assert plan["three"][1:] == [(4, (1, 1, 3)), (4, (1, 3, 1)), (4, (3, 1, 1))]


def test_an_identity_module_gives_1x1_3x3_5x5_and_pooled_inputs_side_by_side():
  block = Inception(4, kind="naive", norm="none")
  x = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1)
  params = jax.tree.map(lambda s: np.ones(s.shape, np.float32), shapes(block, *x.shape)[0])
  out = np.asarray(block.apply(params, x))[0, 2, 3]
  centre = 2 * 6 + 3
  # a window's sum is its centre times its size here, its maximum lies one row and column on
  assert_close(out, [centre, 9 * centre, 25 * centre, centre + 7])


def test_average_pooling_is_an_option():
  block = Inception(4, kind="v1", norm="none", pool="average")
  x = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1)
  params = jax.tree.map(lambda s: np.ones(s.shape, np.float32), shapes(block, *x.shape)[0])
  assert_close(np.asarray(block.apply(params, x))[0, 2, 3, 3], 15)


def test_the_residual_branch_is_scaled_and_added():
  block = Inception(4, kind="residual", norm="none", scale=0.25)
  x = np.full((1, 1, 1, 4), 2, np.float32)
  params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), shapes(block, *x.shape)[0])
  assert "module1_shortcut" not in params["params"]
  params["params"]["module1_linear"]["bias"][:] = [4, 0, -4, -40]
  assert_close(block.apply(params, x)[0, 0, 0], [3, 2, 1, 0])


@pytest.mark.parametrize(("kind", "space"), [("v1", (13, 10)), ("residual", (6, 5, 7))])
def test_unet_takes_it_by_name(kind, space):
  net = UNet(widths=(4, 8), depth=1, decoder_depth=1, block=dict(name="inception", kind=kind))
  x = jax.ShapeDtypeStruct((1, *space, 2), jnp.float32)
  out = jax.eval_shape(lambda x: net.apply(net.init(jax.random.key(0), x), x), x)
  assert out["logits"].shape == (1, *space, 3)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"kind": "v2"}, "kind='v2' is unknown; choices: naive, v1, factorised, residual"),
    ({"features": 3}, "features=3; four branches need at least 4"),
    ({"scale": 0.0}, "scale=0.0; expected above 0"),
    ({"pool": "min"}, "pool='min' is unknown; choices: max, average"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    shapes(Inception(**{"features": 8, **options}), 1, 6, 6, 2)
