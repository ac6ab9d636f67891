"""MultiRes block and ResPath: published widths and counts, the chain, the norm that is shared."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count
from closeness import assert_close

from jaxseg.networks.blocks.multires import MultiRes, ResPath, multires_widths


def shapes(block, *inputs):
  specs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]

  def run(*arrays):
    variables = block.init(jax.random.key(0), *arrays)
    return variables, block.apply(variables, *arrays)

  return jax.eval_shape(run, *specs)


@pytest.mark.parametrize(
  ("features", "widths"),
  [(32, (8, 17, 26)), (64, (17, 35, 53)), (128, (35, 71, 106)), (256, (71, 142, 213))],
)
def test_filters_are_rounded_down(features, widths):
  assert multires_widths(features) == widths


def test_published_block_has_6081_parameters():
  variables, out = shapes(MultiRes(32, use_bias=True), (1, 8, 6, 3))
  assert count(variables["params"]) == 6_081
  assert out.shape == (1, 8, 6, 51)


@pytest.mark.parametrize("space", [(8, 6), (7, 6, 5)])
def test_a_strided_block_rounds_the_size_up(space):
  _, out = shapes(MultiRes(4, stride=2), (1, *space, 3))
  assert out.shape == (1, *(-(-n // 2) for n in space), 1 + 2 + 3)


def test_the_three_widths_are_one_chain_plus_a_linear_shortcut():
  # one pixel, no norm: every convolution is its centre tap
  block = MultiRes(4, norm="none")
  variables, _ = shapes(block, (1, 1, 1, 1))
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables["params"])
  for layer, weight in (("layer1", 2.0), ("layer2", 3.0), ("layer3", 5.0)):
    params[layer]["conv"]["kernel"][1, 1, 0, :] = weight
  params["shortcut"]["conv"]["kernel"][..., :] = np.asarray([-3, 0, 0, 100, 0, -1000.0])
  out = block.apply({"params": params}, jnp.full((1, 1, 1, 1), 1.0))
  # 2 | 6 6 | 30 30 30, and the shortcut, activated
  assert_close(out[0, 0, 0], [0, 6, 6, 130, 30, 0])


def test_a_respath_of_length_n_has_n_residual_convolutions():
  for length in (1, 3):
    path = ResPath(None, length, use_bias=True)
    variables, (out, attended) = shapes(path, (1, 6, 4, 5), (1, 6, 4, 2), (1, 3, 2, 7))
    one = (9 * 25 + 5 + 10) + (25 + 5 + 10) + 10
    assert count(variables["params"]) == length * one
    assert out.shape == (1, 6, 4, 7)
    assert attended is None


def test_reusing_the_norm_changes_the_function_and_not_the_parameters():
  skip, up = np.full((1, 2, 2, 1), 3, np.float32), np.full((1, 2, 2, 1), 7, np.float32)
  paths = [ResPath(1, length=1, reuse_norm=reuse) for reuse in (False, True)]
  trees = [shapes(p, skip.shape, up.shape, up.shape)[0] for p in paths]
  assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
  variables = jax.tree_util.tree_map_with_path(
    lambda path, leaf: np.full(leaf.shape, 1.0 if path[-1].key == "var" else 0.0, np.float32),
    trees[0],
  )
  params = variables["params"]
  params["layer1"]["norm"]["bias"][:] = 2  # the convolution's branch gives 2
  params["shortcut1"]["norm"]["bias"][:] = 1
  params["sum_norm1"] = {"scale": np.full(1, 10, np.float32), "bias": np.full(1, 1, np.float32)}

  # with the running mean 0 and variance 1: 10 (2 + 1) + 1, and 10 ((10 2 + 1) + 1) + 1
  for path, expected in zip(paths, (31, 221), strict=True):
    out = path.apply(variables, skip, up, up)[0]
    np.testing.assert_allclose(out[0, 0, 0], [expected, 7], rtol=1e-4)


def test_too_few_features_are_refused_in_words():
  with pytest.raises(ValueError, match="leave a convolution without filters"):
    shapes(MultiRes(2), (1, 4, 4, 1))


def test_multires_drops_into_unet_by_name():
  from jaxseg.networks import UNet

  net = UNet(widths=(4, 8), block="multires", skip=dict(name="respath", length=1))
  x = jax.ShapeDtypeStruct((1, 3, 4, 5, 2), jnp.float32)
  init = functools.partial(net.init, train=True)
  out = jax.eval_shape(lambda x: net.apply(init(jax.random.key(0), x), x), x)
  assert out["logits"].shape == (1, 3, 4, 5, 3)
