"""The pool of made images: fills first, then shows older ones half the time; detached; one pool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.methods import image_pool

SHAPE = (3, 2, 1)


def numbered(*numbers):
  """Images that tell which they are."""
  return jnp.broadcast_to(
    jnp.asarray(numbers, jnp.float32)[:, None, None, None], (len(numbers), *SHAPE)
  )


def shown(steps: int, size: int, batch: int, seed: int = 0):
  """(what is shown, the pool after each step), of images numbered from 1."""
  pool = image_pool.empty(size, numbered(*[0] * batch))
  out, kept = [], []
  exchange = jax.jit(image_pool.exchange)
  for step in range(steps):
    numbers = range(1 + step * batch, 1 + (step + 1) * batch)
    images, pool = exchange(jax.random.key(seed * 10_000 + step), pool, numbered(*numbers))
    out += [int(x) for x in images[:, 0, 0, 0]]
    kept.append([int(x) for x in pool.images[:, 0, 0, 0]])
  return out, kept


def test_it_fills_first_and_shows_what_it_keeps():
  out, kept = shown(2, 4, 2)
  assert out == [1, 2, 3, 4]
  assert kept[-1] == [1, 2, 3, 4]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_full_pool_gives_an_old_image_and_takes_the_new_one_or_leaves_both(batch):
  size = 3
  out, kept = shown(60, size, batch)
  pool, at = [], 0
  for step in range(60):
    for number in range(1 + step * batch, 1 + (step + 1) * batch):
      if len(pool) < size:
        pool.append(number)
        assert out[at] == number
      elif out[at] != number:
        # the published rule: what is shown leaves its place to the new one
        pool[pool.index(out[at])] = number
      at += 1
    assert kept[step][: len(pool)] == pool


def test_half_of_what_is_shown_is_old_and_every_place_has_its_turn():
  out, _ = shown(400, 5, 4)
  old = np.mean([at + 1 != number for at, number in enumerate(out)][5:])
  assert abs(old - 0.5) < 0.05
  ages = [at + 1 - number for at, number in enumerate(out) if at + 1 != number]
  # geometric: a place is left with probability 1/10 at each image
  assert abs(np.mean(ages) - 10) < 1.5


def test_no_gradient_goes_through_it():
  pool = image_pool.empty(2, numbered(0, 0))

  def total(images):
    seen, after = image_pool.exchange(jax.random.key(0), pool, images)
    return seen.sum() + after.images.sum()

  assert not np.any(jax.grad(total)(numbered(1, 2)))


def test_without_a_pool_images_are_shown_as_they_are():
  assert image_pool.empty(0, numbered(1)) is None
  images, pool = image_pool.exchange(jax.random.key(0), None, numbered(1, 2))
  assert pool is None
  np.testing.assert_array_equal(images, numbered(1, 2))


def test_a_batch_over_two_devices_goes_through_the_same_pool():
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
  split, whole = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("batch",), ()))
  pool = image_pool.empty(3, numbered(*[0] * 4))
  one, two = pool, jax.device_put(pool, whole)
  exchange = jax.jit(image_pool.exchange)
  for step in range(6):
    images = numbered(*range(4 * step, 4 * step + 4))
    a, one = exchange(jax.random.key(step), one, images)
    b, two = exchange(jax.random.key(step), two, jax.device_put(images, split))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.images, two.images)
