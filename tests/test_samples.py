"""Work that each device does for its own samples: where it is done, and that nothing is sent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg import samples, sharding
from jaxseg.batch import Target
from jaxseg.benchmark import collectives
from jaxseg.losses import gated_crf
from jaxseg.morphology import largest_component
from jaxseg.networks.blocks import ConvLSTM


def layout():
  return sharding.layout(batches={}, devices=jax.devices()[:2])


def compiled(function, *arrays):
  """The program's text, its arrays split over two devices, and what it gives."""
  places = layout()

  def run(*arrays):
    with samples.split_over(places.mesh):
      return function(*arrays)

  split = [jax.device_put(x, places.split) for x in arrays]
  program = jax.jit(run).lower(*split).compile()
  return program.as_text(), jax.device_get(program(*split))


@pytest.mark.parametrize("counts", [(2, 2), (4, 2), (2, 4, 2), (3, 3), (2, 3), (1, 4)])
def test_what_was_joined_comes_apart(counts):
  parts = [np.arange(n * 5).reshape(n, 5) + 100 * i for i, n in enumerate(counts)]
  woven = samples.joined(*parts)
  assert woven.shape == (sum(counts), 5)
  for one, other in zip(parts, samples.apart(woven, counts), strict=True):
    np.testing.assert_array_equal(one, other)


def test_samples_take_turns_as_often_as_their_numbers_allow():
  joined = samples.joined(jnp.arange(4), 10 + jnp.arange(2))
  np.testing.assert_array_equal(joined, [0, 1, 10, 2, 3, 11])


def test_devices_join_what_they_hold():
  parts = np.random.default_rng(0).normal(size=(4, 6, 3)), np.ones((2, 6, 3))

  def there_and_back(*parts):
    return samples.apart(2 * samples.joined(*parts), (4, 2))

  text, back = compiled(there_and_back, *map(np.float32, parts))
  assert not collectives.read(text, 2)
  for one, other in zip(parts, back, strict=True):
    np.testing.assert_array_equal(2 * np.float32(one), other)


def test_a_loop_over_samples_asks_no_other_device():
  masks = np.random.default_rng(1).random((4, 12, 12)) < 0.5
  text, largest = compiled(lambda x: samples.each(largest_component, x), masks)
  assert "while" in text
  assert not collectives.read(text, 2)
  np.testing.assert_array_equal(largest, jax.vmap(largest_component)(masks))


def test_samples_that_devices_cannot_share_evenly_are_looked_at_together():
  masks = np.random.default_rng(1).random((3, 6, 6)) < 0.5
  with samples.split_over(layout().mesh):
    largest = samples.each(largest_component, masks)
  np.testing.assert_array_equal(largest, jax.vmap(largest_component)(masks))


def energy(logits, image):
  return gated_crf(logits, Target(logits[..., 0].astype(jnp.int32), image=image), radius=1)


LSTM = ConvLSTM(2, reverse=True)
GATES = jax.eval_shape(LSTM.init, jax.random.key(0), jnp.zeros((1, 2, 8, 8, 8)))
GATES = jax.tree.map(lambda x: np.random.default_rng(2).normal(size=x.shape) / 8, GATES)


def remembered(x, image):
  """By the weights: their gradient is a sum over steps and samples."""
  return jax.grad(lambda weights: jnp.square(LSTM.apply(weights, x.reshape(4, 2, 8, 8, 8))).sum())(
    jax.tree.map(jnp.float32, GATES)
  )


@pytest.mark.parametrize("function", [jax.value_and_grad(energy), remembered], ids=["CRF", "LSTM"])
def test_a_sum_over_samples_and_turns_is_sent_once_outside_of_the_loop(function):
  random = np.random.default_rng(3)
  logits = random.normal(size=(8, 8, 8, 8)).astype(np.float32)
  image = random.random((8, 8, 8, 1)).astype(np.float32)
  text, split = compiled(function, logits, image)
  loops, _, main = text.partition("\nENTRY ")
  assert not collectives.read(loops, 2)
  assert collectives.read(main, 2)
  alone = jax.jit(function)(logits, image)
  jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-5, atol=1e-6), split, alone)


def test_several_cpus_compute_both_sides_and_the_chosen_one_counts():
  def slope(x):
    chosen = samples.either(x.sum() > 0, jnp.square, lambda x: 3 * x, x)
    return jax.grad(lambda x: samples.either(x[0] > 0, jnp.square, lambda x: 3 * x, x).sum())(
      chosen
    )

  for sign in (1, -1):
    x = sign * np.arange(1, 5, dtype=np.float32)
    text, split = compiled(slope, x)
    assert "conditional" not in text
    np.testing.assert_array_equal(split, slope(x))
