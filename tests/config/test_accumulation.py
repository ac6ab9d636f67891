"""Gradients of several batches, and what they are not: one large batch."""

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg import losses, networks
from jaxseg.config import accumulation
from jaxseg.methods.supervised import supervised
from jaxseg.optimisers import optimiser

BATCH_DICE = {"loss.dice": lambda *a: losses.LOSSES["dice"](*a, batch=True)}
CROSS_ENTROPY = {"loss.cross_entropy": losses.LOSSES["cross_entropy"]}


def config_of(accumulate=4, **method):
  return {
    "optimiser": {"accumulate": accumulate},
    "optimisers": {},
    "method": method,
    "data": {"batch": 2},
  }


def sentence(config, parts, stats, **options) -> str:
  return " ".join(accumulation.notes(config, parts, stats, channels=3, **options))


def test_batch_losses_and_batch_norms_are_told():
  told = sentence(config_of(), {**BATCH_DICE, **CROSS_ENTROPY}, {"network": {"batch_stats": {}}})
  assert "config.optimiser.accumulate: 4 batches of 2 are not one of 8 for config.loss.dice" in told
  assert "the batch norm of 'network'" in told
  assert "cross_entropy" not in told


def test_nothing_is_told_where_it_makes_no_difference():
  assert not sentence(config_of(), CROSS_ENTROPY, {"network": {}})
  assert not sentence(config_of(1), BATCH_DICE, {"network": {"batch_stats": {}}})
  frozen = config_of(freeze_statistics=True)
  assert not sentence(frozen, CROSS_ENTROPY, {"network": {"batch_stats": {}}})


def test_ignored_voxels_count():
  assert "loss.cross_entropy" in sentence(config_of(), CROSS_ENTROPY, {}, ignored=True)


def moved(loss, norm: str, accumulate: int, batches):
  """Parameters after one update of plain SGD."""
  net = networks.UNet(classes=3, widths=(4, 6), depth=1, decoder_depth=1, norm=norm)
  tx = optimiser(name="sgd", learning_rate=0.1, steps=4, accumulate=accumulate)
  method = supervised(net, loss, tx)
  state = jax.jit(method.init)(jax.random.key(0), batches[0])
  step = jax.jit(method.train_step)
  for batch in batches:
    state, _ = step(state, batch, jax.random.key(1))
  return state.learners["network"].params


@pytest.mark.parametrize(
  ("loss", "norm", "same"),
  [("cross_entropy", "instance", True), ("cross_entropy", "batch", False)],
)
def test_four_batches_of_one_are_one_of_four_where_it_says_so(loss, norm, same):
  random = np.random.default_rng(0)
  scale = np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1, 1)
  image = scale * random.normal(size=(4, 8, 8, 1)).astype(np.float32)
  whole = {"image": image, "label": random.integers(0, 3, (4, 8, 8)).astype(np.int32)}
  parts = [{name: of[i : i + 1] for name, of in whole.items()} for i in range(4)]
  one = moved(losses.LOSSES[loss], norm, 1, [whole])
  several = moved(losses.LOSSES[loss], norm, 4, parts)
  pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(several), strict=True))
  if same:
    for a, b in pairs:
      assert_close(a, b, atol=1e-6)
  else:
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4
