"""DropBlock and stochastic depth: the published rate, whole blocks, kept expectations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from flax import linen as nn

from jaxseg.method import forward
from jaxseg.networks import UNet
from jaxseg.networks.blocks.regularisers import DropBlock, StochasticDepth, drop_block_gamma


def dropped(block, x, seed=0):
  return np.asarray(jax.jit(block.apply)({}, x, rngs={"dropout": jax.random.key(seed)}))


def test_gamma_of_the_paper():
  gamma = drop_block_gamma(0.1, (7, 7), (20, 20))
  assert gamma == pytest.approx(0.004165, abs=5e-7, rel=1e-5)
  assert gamma == pytest.approx(0.1 / 49 * 400 / 14**2, rel=1e-5)
  # an axis after the other, and a block of the whole map
  assert drop_block_gamma(0.1, (1, 4), (9, 8)) == pytest.approx(0.1 / 4 * 8 / 5, rel=1e-5)
  assert drop_block_gamma(0.1, (4, 4), (4, 4)) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("block", [DropBlock(0.2, 3), StochasticDepth(0.5)], ids=str)
def test_without_a_key_nothing_is_dropped(block):
  x = jnp.arange(32.0).reshape(2, 4, 4, 1)
  np.testing.assert_array_equal(block.apply({}, x), x)


@pytest.mark.parametrize(("space", "block"), [((12, 9), 3), ((7, 6, 5), (1, 3, 2))])
def test_drop_block_drops_whole_blocks_and_keeps_the_mean(space, block):
  x = np.ones((3, *space, 4), np.float32)
  y = dropped(DropBlock(0.25, block), x)
  zero = y == 0
  assert 0.05 < zero.mean() < 0.4
  # the kept voxels are scaled by the kept fraction
  assert_close(y[~zero], 1 / (1 - zero.mean()))
  assert y.mean() == pytest.approx(1, rel=1e-5)
  sizes = (block,) * len(space) if isinstance(block, int) else block
  covered = np.zeros_like(zero)
  for corner in np.ndindex(*(n - b + 1 for n, b in zip(space, sizes, strict=True))):
    cube = tuple(slice(c, c + b) for c, b in zip(corner, sizes, strict=True))
    where = (slice(None), *cube, slice(None))
    whole = zero[where].all(tuple(range(1, len(space) + 1)), keepdims=True)
    covered[where] |= whole
  np.testing.assert_array_equal(covered, zero)
  assert (zero[..., 0] != zero[..., 1]).any()  # channels are independent


def test_drop_block_drops_the_rate_it_is_given():
  # blocks of one voxel are plain dropout; larger ones overlap, so that they drop less
  x = np.ones((4, 32, 32, 4), np.float32)
  assert (dropped(DropBlock(0.2, 1), x) == 0).mean() == pytest.approx(0.2, abs=0.02)
  assert 0.12 < (dropped(DropBlock(0.2, 5), x) == 0).mean() < 0.2


def test_the_rate_grows_linearly_over_the_ramp_and_stays():
  net, x = DropBlock(0.4, 1, ramp=4), np.ones((4, 32, 32, 4), np.float32)
  variables = dict(net.init(jax.random.key(0), x))
  assert variables == {"counts": {"steps": 0}}

  @jax.jit
  def step(variables, key):
    return net.apply(variables, x, rngs={"dropout": key}, mutable=["counts"])

  rates = []
  for i in range(7):
    y, variables = step(variables, jax.random.key(i))
    rates.append(float((y == 0).mean()))
  np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4], atol=0.02)
  # without a training step the count stays: Monte Carlo dropout has the rate of that moment
  y = net.apply(variables, x, rngs={"dropout": jax.random.key(9)})
  assert (y == 0).mean() == pytest.approx(0.4, abs=0.02)
  np.testing.assert_array_equal(net.apply(variables, x), x)
  assert variables["counts"]["steps"] == 7


@pytest.mark.parametrize("block", ["plain", "residual"])
def test_unet_counts_the_steps_of_its_ramps(block):
  options = dict(dropout=dict(rate=(0, 0.2), kind="block", size=2, ramp=10))
  net = UNet(widths=(2, 4), depth=1, decoder_depth=1, norm="none", block=block, **options)
  x = np.ones((1, 8, 8, 1), np.float32)
  stats = dict(jax.jit(functools.partial(net.init, train=True))(jax.random.key(0), x))
  params = stats.pop("params")
  assert stats == {"counts": {"encoder2": {"dropout": {"steps": 0}}}}
  step = jax.jit(lambda stats, key: forward(net, params, stats, x, key=key, update_stats=True)[1])
  stats = step(step(stats, jax.random.key(1)), jax.random.key(2))
  assert stats["counts"]["encoder2"]["dropout"]["steps"] == 2


def test_a_block_larger_than_the_map_is_the_map():
  y = dropped(DropBlock(0.5, 7), np.ones((2, 3, 3, 64), np.float32))
  assert set(np.unique((y == 0).mean((1, 2)))) == {0.0, 1.0}


def test_stochastic_depth_drops_samples_and_keeps_the_expectation():
  x = np.ones((2000, 1, 1, 2), np.float32)
  y = dropped(StochasticDepth(0.25), x)
  assert_close(np.unique(y), (0, 4 / 3))
  np.testing.assert_array_equal(y[..., 0], y[..., 1])
  assert y.mean() == pytest.approx(1, abs=0.05)


def test_unet_gives_the_rates_in_the_order_of_computation():
  net = UNet(widths=(4, 4, 4), depth=2, residual=True, stochastic_depth=0.5)
  rates = {}

  def note(call, args, kwargs, context):
    if isinstance(context.module, StochasticDepth):
      rates[context.module.path[0]] = context.module.rate
    return call(*args, **kwargs)

  with nn.intercept_methods(note):
    jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
  assert rates == pytest.approx(
    {"encoder1": 0.1, "encoder2": 0.2, "encoder3": 0.3, "decoder2": 0.4, "decoder1": 0.5}, rel=1e-5
  )


def test_unet_with_drop_block_needs_a_key_to_drop():
  dropout = dict(rate=0.3, kind="block", size=3)
  net = UNet(widths=(2, 2), depth=1, dropout=dropout, norm="none")
  x = np.ones((1, 8, 8, 1), np.float32)
  variables = jax.eval_shape(net.init, jax.random.key(0), x)
  ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), variables)
  run = jax.jit(lambda rngs: net.apply(ones, x, rngs=rngs)["logits"])
  off, *on = (np.asarray(run(dict(dropout=jax.random.key(s)) if s else {})) for s in (0, 1, 2))
  assert np.abs(on[0] - on[1]).max() > 0
  # inside, where no zero padding reaches, the same everywhere
  assert_close(off[0, 4, 4], off[0, 3, 3])


def test_bad_options_are_refused_in_words():
  x, rngs = jnp.ones((1, 4, 4, 1)), {"dropout": jax.random.key(0)}
  with pytest.raises(ValueError, match=r"drop block: rate=1\.0; expected 0 <= rate < 1"):
    DropBlock(1.0)
  with pytest.raises(ValueError, match=r"block=\(0, 0\); expected at least one voxel"):
    DropBlock(0.1, 0).apply({}, x, rngs=rngs)
  with pytest.raises(ValueError, match="drop block: ramp=-1; expected 0 steps or more"):
    DropBlock(0.1, ramp=-1)
  with pytest.raises(ValueError, match="stochastic depth: rate=-1"):
    StochasticDepth(-1)
  with pytest.raises(ValueError, match="drops residual branches; set residual=True"):
    jax.eval_shape(UNet(widths=(4, 8), stochastic_depth=0.1).init, jax.random.key(0), x)
