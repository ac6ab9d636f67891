"""Networks within a network: what is masked computes what is cut out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close
from gradients import drawn

from jaxseg.networks import PlainConvUNet
from jaxseg.search import elastic, genotypes, spaces

WIDTHS = (6, 8, 10)


def whole(**options):
  return PlainConvUNet(**{"classes": 3, "widths": WIDTHS, "kernels": 5, **options})


@pytest.mark.parametrize("rank", [2, 3])
def test_a_masked_network_computes_the_one_that_is_cut_out(rank):
  depth = {"depth": (1, 2, 2), "decoder_depth": (1, 2)}
  net, space = whole(**depth), (8,) * rank
  params = drawn(shapes(net, 1, *space, 1, train=True)[1]["params"])
  genotype = {"space": "elastic", "widths": [3, 8, 4], "kernels": [3, 1, 5], "depth": [1, 2, 2]}
  genotypes.check(genotype, "genotype")
  own = whole(widths=genotype["widths"], kernels=tuple(genotype["kernels"]), **depth)
  x = np.random.default_rng(0).normal(size=(1, *space, 1)).astype(np.float32)
  small = elastic.cut(params, genotype)
  expected = shapes(own, 1, *space, 1, train=True)[1]["params"]
  assert jax.tree.map(np.shape, small) == jax.tree.map(np.shape, expected)

  @jax.jit
  def masked(widths, kernels):
    of = elastic.masked(params, widths, kernels)
    return net.apply({"params": of}, x)["logits"]

  ours = masked(jnp.array(genotype["widths"]), jnp.array(genotype["kernels"]))
  assert_close(ours, own.apply({"params": small}, x)["logits"], atol=1e-4)


def test_the_whole_network_is_its_own_largest_one():
  params = drawn(shapes(whole(), 1, 8, 8, 1)[1]["params"])
  genotype = {"widths": list(WIDTHS), "kernels": [5] * 3}
  for same in (elastic.masked(params, WIDTHS, [5] * 3), elastic.cut(params, genotype)):
    jax.tree.map(np.testing.assert_array_equal, same, params)


def test_draws_are_of_the_options():
  of = spaces.build(dict(name="elastic", widths=((3, 6), (8,)), kernels=(1, 3)))
  options = [of.choices[f"widths.{i}"] for i in range(2)]
  keys = jax.random.split(jax.random.key(0), 64)
  first, second = jax.vmap(lambda key: jnp.stack(elastic.drawn(key, options)))(keys).T
  assert set(map(int, first)) == {3, 6}
  assert set(map(int, second)) == {8}


@pytest.mark.parametrize(
  ("genotype", "words"),
  [
    ({"widths": [6, 8], "kernels": [5, 5]}, "2 stages, the network has 3"),
    ({"widths": [6, 9, 10], "kernels": [5] * 3}, "9 channels of stage 2, the network has 8"),
    ({"widths": [6, 8, 10], "kernels": [5, 7, 5]}, "7 of stage 2, the network has 5"),
  ],
)
def test_what_does_not_lie_within_is_refused(genotype, words):
  params = drawn(shapes(whole(), 1, 8, 8, 1)[1]["params"])
  with pytest.raises(ValueError, match=words):
    elastic.cut(params, genotype)
