import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.augment import AUGMENTATIONS, brightness, chain, mirror, noise, spatial
from jaxseg.augment.batched import batched
from jaxseg.augment.composition import ORDER

RNG = np.random.default_rng(4)
KEY = jax.random.key(5)


def batch_of(b=4, size=(12, 14)):
  return {
    "image": jnp.asarray(RNG.normal(size=(b, *size, 1)), jnp.float32),
    "label": jnp.asarray(RNG.integers(0, 3, (b, *size)), jnp.int32),
    "spacing": jnp.ones((b, len(size))),
    "case": jnp.arange(b),
  }


def full(patch):
  return chain(
    {
      "brightness": functools.partial(brightness, p=0.7),
      "mirror": mirror,
      "noise": functools.partial(noise, p=0.7),
      "spatial": functools.partial(spatial, patch=patch, p_rotation=0.5, p_scale=0.5),
    },
    patch,
  )


def test_every_public_augmentation_has_a_place_in_the_order():
  assert set(AUGMENTATIONS.values()) == set(ORDER)


def test_a_mapping_is_applied_in_the_order_of_nnunet_and_a_sequence_as_it_stands():
  sample = {"image": jnp.ones((8, 8, 1))}
  double = functools.partial(brightness, p=1.0, factor=(2.0, 2.0))
  noisy = functools.partial(noise, p=1.0, sigma=(0.5, 0.5))
  named = chain({"brightness": double, "noise": noisy})(KEY, sample)
  listed = chain([noisy, double])(KEY, sample)
  other = chain([double, noisy])(KEY, sample)
  np.testing.assert_array_equal(named["image"], listed["image"])
  np.testing.assert_allclose(np.std(named["image"]), 1.0, rtol=0.2)
  np.testing.assert_allclose(np.std(other["image"]), 0.5, rtol=0.2)


def test_two_entries_of_the_same_transform_draw_different_numbers():
  sample = {"image": jnp.zeros((8, 8, 1))}
  noisy = functools.partial(noise, p=1.0, sigma=(1.0, 1.0))
  once = chain([noisy])(KEY, sample)["image"]
  twice = chain([noisy, noisy])(KEY, sample)["image"]
  assert not np.allclose(twice, 2 * once)


def test_a_chain_without_spatial_crops_the_centre():
  sample = {"image": RNG.normal(size=(9, 10, 8, 1)).astype(np.float32)}
  out = chain({}, (5, 6, 8))(KEY, sample)
  np.testing.assert_array_equal(out["image"], sample["image"][2:7, 2:8])


def test_a_batch_is_its_samples_with_the_key_of_their_slot():
  batch = batch_of()
  act = full((8, 8))
  out = jax.jit(batched(act))(KEY, batch)
  one = jax.jit(act)
  for i in range(4):
    alone = one(jax.random.fold_in(KEY, i), jax.tree.map(lambda x, i=i: x[i], batch))
    for field, value in alone.items():
      np.testing.assert_allclose(out[field][i], value, atol=1e-6, err_msg=field)
      assert out[field].dtype == batch[field].dtype


@pytest.mark.bits
def test_one_and_two_devices_give_the_same_bits():
  batch, patch = batch_of(), (8, 8)
  results = []
  for devices in (1, 2):
    mesh = jax.make_mesh(
      (devices,),
      ("batch",),
      axis_types=(jax.sharding.AxisType.Auto,),
      devices=jax.devices()[:devices],
    )
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    placed = jax.device_put(batch, sharding)
    results.append(jax.jit(batched(full(patch), mesh))(KEY, placed))
  plain = jax.jit(batched(full(patch)))(KEY, batch)
  for field in batch:
    np.testing.assert_array_equal(results[0][field], results[1][field], err_msg=field)
    np.testing.assert_array_equal(results[0][field], plain[field], err_msg=field)


def test_no_gather_crosses_the_devices():
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
  placed = jax.device_put(batch_of(), jax.NamedSharding(mesh, jax.P("batch")))
  text = jax.jit(batched(full((8, 8)), mesh)).lower(KEY, placed).compile().as_text()
  assert "all-gather" not in text
  assert "all-reduce" not in text
