import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.augment import chain, channel_dropout, cutout, find_body, mask_body, noise, spatial

RNG = np.random.default_rng(15)
KEY = jax.random.key(6)


@pytest.mark.parametrize("size", [(40, 50), (20, 24, 22)])
def test_a_cut_out_box_is_a_box_of_the_asked_size(size):
  sample = {"image": np.ones((*size, 2), np.float32), "weight": np.ones(size, np.float32)}
  act = jax.jit(functools.partial(cutout, p=1.0, size=(0.3, 0.3), fill=-2.0))
  largest = np.zeros(len(size))
  for seed in range(12):
    out = act(jax.random.key(seed), sample)
    hole = np.asarray(out["image"])[..., 0] == -2.0
    np.testing.assert_array_equal(hole, np.asarray(out["image"])[..., 1] == -2.0)
    np.testing.assert_array_equal(out["weight"], 1.0)
    widths = [
      hole.any(tuple(a for a in range(len(size)) if a != axis)).sum() for axis in range(len(size))
    ]
    assert hole.sum() == np.prod(widths)
    largest = np.maximum(largest, widths)
  np.testing.assert_allclose(largest, 0.3 * np.array(size), atol=1)


def test_cut_out_voxels_can_be_ignored():
  sample = {"image": np.ones((10, 10, 1), np.float32), "weight": np.ones((10, 10), np.float32)}
  out = cutout(KEY, sample, p=1.0, ignore=True, boxes=2)
  assert 0 < np.sum(out["image"] == 0) < 100
  np.testing.assert_array_equal(out["weight"], out["image"][..., 0])


def test_one_channel_at_least_stays_and_each_is_dropped_sometimes():
  image = jnp.ones((2, 2, 3))
  keys = jax.random.split(KEY, 1500)
  act = functools.partial(channel_dropout, p=0.5, p_channel=0.8)
  out = np.asarray(jax.jit(jax.vmap(lambda k: act(k, {"image": image})["image"][0, 0]))(keys))
  dropped = out == 0
  assert dropped.sum(1).max() == 2
  # all three would be dropped in 0.8^3 of the draws; one of them then stays
  expected = 0.5 * (0.8 - 0.8**3 / 3)
  np.testing.assert_allclose(dropped.mean(0), expected, atol=0.05)
  lone = {"image": jnp.ones((2, 2, 1))}
  np.testing.assert_array_equal(channel_dropout(KEY, lone, p=1.0, p_channel=1.0)["image"], 1.0)


def test_the_share_of_samples_with_a_box_is_p():
  image = jnp.ones((8, 8, 1))
  keys = jax.random.split(KEY, 800)
  changed = jax.jit(jax.vmap(lambda k: (cutout(k, {"image": image}, p=0.2)["image"] != 1).any()))
  np.testing.assert_allclose(np.mean(changed(keys)), 0.2, atol=4 * np.sqrt(0.16 / 800))


def test_outside_of_the_body_stays_zero_and_inside_does_not():
  image = np.zeros((16, 16, 2), np.float32)
  image[4:12, 5:11] = RNG.normal(size=(8, 6, 2))
  act = chain(
    {
      "mask_body": mask_body,
      "find_body": find_body,
      "noise": functools.partial(noise, p=1.0, sigma=(0.5, 0.5)),
    },
    (16, 16),
  )
  out = jax.jit(act)(KEY, {"image": image})
  assert set(out) == {"image"}
  np.testing.assert_array_equal((out["image"] != 0).any(-1), (image != 0).any(-1))
  assert not np.allclose(out["image"], image)


def test_the_body_turns_with_the_image():
  body = np.zeros((21, 21), np.float32)
  body[3:9, 6:18] = 1
  act = functools.partial(spatial, p_rotation=1.0, p_scale=0.0)
  out = act(KEY, {"image": body[..., None], "body": body})
  # nearest and linear differ at the border alone
  close = np.abs(np.asarray(out["image"])[..., 0] - np.asarray(out["body"])) <= 0.75
  assert close.mean() > 0.97
