import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, blocks, cross_entropy, dice, weighted_sum
from jaxseg.networks.blocks.acceleration import cpu_gradients

SPACE, CLASSES = (6, 8, 10), 3
BOTH = {"dice": (1.0, dice), "cross_entropy": (0.5, cross_entropy)}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  monkeypatch.setattr(blocks, "VOXELS", 60)
  monkeypatch.setattr(blocks, "LARGE", 1)


def made(*, labels="index", weight=False):
  random = np.random.default_rng(0)
  logits = random.normal(size=(2, *SPACE, CLASSES)).astype(np.float32)
  truth = random.integers(0, CLASSES, (2, *SPACE)).astype(np.int32)
  if labels == "soft":
    truth = jax.nn.softmax(random.normal(size=logits.shape).astype(np.float32), -1)
  # a sample has more voxels that count than the other
  kept = (random.random((2, *SPACE)) > np.array([0.2, 0.7])[:, None, None, None]) * 1.0
  return logits, Target(truth, np.float32(kept) if weight else None)


def compiled(loss, logits, target):
  return jax.jit(jax.value_and_grad(loss)).lower(logits, target).compile()


def loops(program) -> int:
  return len(re.findall(r" while\(", program.as_text()))


@pytest.mark.parametrize("labels", ["index", "soft"])
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize(
  "options",
  [
    {"dice": {}, "cross_entropy": {}},
    {"dice": {"batch": True, "squared": True}, "cross_entropy": {"label_smoothing": 0.1}},
    {"dice": {"sigmoid": True}, "cross_entropy": {"sigmoid": True, "positive_weight": 2.0}},
    {
      "dice": {"class_weights": (1, 2, 3), "include_background": False},
      "cross_entropy": {"class_weights": (1, 2, 3)},
    },
    {"generalized_dice": {}, "tversky": {}, "dice": {"batch": True}},
  ],
)
def test_blocks_give_what_the_whole_gives(labels, weight, options):
  loss = weighted_sum(
    {name: (1.0, functools.partial(LOSSES[name], **of)) for name, of in options.items()}
  )
  logits, target = made(labels=labels, weight=weight)
  by_blocks = compiled(loss, logits, target)
  assert loops(by_blocks) == 2
  with blocks.whole(True):
    whole = jax.jit(jax.value_and_grad(lambda *args: loss(*args)))
    expected = whole(logits, target)
  value, gradient = by_blocks(logits, target)
  assert_close(value, expected[0], rtol=1e-6)
  assert_close(gradient, expected[1], rtol=1e-5, atol=1e-8)


def test_forward_mode_agrees_with_reverse_mode():
  logits, target = made(weight=True)
  direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
  loss = weighted_sum(BOTH)
  _, along = jax.jit(lambda x: jax.jvp(lambda y: loss(y, target), (x,), (direction,)))(logits)
  gradient = compiled(loss, logits, target)(logits, target)[1]
  assert_close(along, (gradient * direction).sum(), rtol=1e-5)


def test_a_weight_of_one_terms_own_is_of_that_term_alone():
  logits, target = made()
  border = np.random.default_rng(2).random((2, *SPACE)).astype(np.float32)
  target = target._replace(maps={"border": border})
  mapped = functools.partial(cross_entropy, weight_map="border")
  value = weighted_sum({"dice": (1.0, dice), "cross_entropy": (1.0, mapped)})(logits, target)
  with blocks.whole(True):
    assert_close(value, dice(logits, target) + mapped(logits, target), rtol=1e-6)


def test_nothing_between_logits_and_gradient_is_larger_than_blocks(monkeypatch):
  monkeypatch.setattr(blocks, "VOXELS", 4096)
  logits = jax.ShapeDtypeStruct((1, 64, 64, 64, 5), jnp.float32)
  program = compiled(weighted_sum(BOTH), logits, Target(jax.ShapeDtypeStruct((1, 64, 64, 64), int)))
  assert program.memory_analysis().temp_size_in_bytes < 0.2 * logits.size * 4


@pytest.mark.parametrize("space", [(2, 61), (61,)])
def test_where_no_block_divides_the_voxels_the_whole_is_summed(space, monkeypatch):
  monkeypatch.setattr(blocks, "VOXELS", 40)
  logits = np.ones((1, *space, 2), np.float32)
  assert loops(compiled(dice, logits, Target(np.ones((1, *space), np.int32)))) == 0


def test_other_platforms_and_devices_that_share_a_batch_have_no_loop():
  logits, target = made()
  with cpu_gradients(False):
    assert loops(compiled(weighted_sum(BOTH), logits, target)) == 0
  with blocks.whole(True):
    assert loops(compiled(weighted_sum(dict(BOTH)), logits, target)) == 0


def test_the_sums_that_other_platforms_give_are_the_same():
  logits, target = made(weight=True)
  value = jax.jit(weighted_sum(BOTH))(logits, target)
  with cpu_gradients(False):
    assert_close(jax.jit(weighted_sum(dict(BOTH)))(logits, target), value, rtol=1e-6)


def test_labels_of_another_shape_are_refused_in_words():
  logits, target = made()
  with pytest.raises(ValueError, match="labels have shape"):
    weighted_sum(BOTH)(logits, target._replace(labels=target.labels[:, 1:]))
