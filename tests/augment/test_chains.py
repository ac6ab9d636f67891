import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.augment import (
  AUGMENTATIONS,
  brightness,
  chain,
  mirror,
  nnunet,
  noise,
  spatial,
)
from jaxseg.augment.chains import batched

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


def test_the_recipe_stands_in_the_order_of_nnunet():
  wanted = ["spatial", "find_body", "noise", "blur", "brightness", "contrast", "low_resolution"]
  wanted += ["gamma_inverted", "gamma", "mask_body", "mirror"]
  wanted += ["prior_morphology", "prior_components"]
  recipe = nnunet(3, (32, 32, 32), masked=True, cascade=True)
  assert list(recipe) == wanted


def test_the_recipe_has_the_numbers_of_nnunet():
  defaults = {name: AUGMENTATIONS[name].__kwdefaults__ for name in AUGMENTATIONS}
  assert {name: defaults[name]["p"] for name in nnunet(2, (64, 64)) if name != "spatial"} == {
    "noise": 0.1,
    "blur": 0.2,
    "brightness": 0.15,
    "contrast": 0.15,
    "low_resolution": 0.25,
    "gamma_inverted": 0.1,
    "gamma": 0.3,
    "mirror": 0.5,
  }
  assert defaults["spatial"]["p_rotation"] == defaults["spatial"]["p_scale"] == 0.2
  assert defaults["spatial"]["scale"] == (0.7, 1.4)
  assert defaults["spatial"]["p_elastic"] == defaults["spatial"]["p_shear"] == 0
  assert defaults["noise"]["sigma"] == (0.0, 0.1)
  assert defaults["blur"]["sigma"] == defaults["low_resolution"]["zoom"] == (0.5, 1.0)
  assert defaults["blur"]["p_channel"] == defaults["low_resolution"]["p_channel"] == 0.5
  assert defaults["brightness"]["factor"] == defaults["contrast"]["factor"] == (0.75, 1.25)
  assert defaults["gamma"]["exponent"] == defaults["gamma_inverted"]["exponent"] == (0.7, 1.5)
  assert defaults["prior_morphology"]["p"] == 0.4
  assert defaults["prior_morphology"]["p_label"] == 0.5
  assert defaults["prior_morphology"]["radius"] == (1.0, 8.0)
  assert defaults["prior_components"]["p"] == 0.2
  assert defaults["prior_components"]["largest"] == 0.15


def test_the_recipe_turns_thick_slices_in_plane_and_long_pictures_a_little():
  assert nnunet(3, (32, 64, 64))["spatial"]["rotation"] == 30.0
  assert nnunet(3, (16, 64, 64))["spatial"]["axes"] == "inplane"
  assert nnunet(3, (16, 64, 64))["spatial"]["rotation"] == 180.0
  assert nnunet(3, (16, 64, 64))["low_resolution"] == {"axes": (1, 2)}
  assert nnunet(2, (64, 64))["spatial"]["rotation"] == 180.0
  assert nnunet(2, (100, 64))["spatial"]["rotation"] == 15.0
  with pytest.raises(ValueError, match="as many"):
    nnunet(3, (64, 64))


@pytest.mark.parametrize(
  ("name", "options", "words"),
  [
    ("noise", {"sigma": (0.2, 0.1)}, "low <= high"),
    ("blur", {"sigma": (-1.0, 1.0)}, "blur.sigma"),
    ("low_resolution", {"zoom": (0.5, 1.5)}, "between 0 and 1"),
    ("gamma", {"p": 1.2}, "gamma.p: probability 1.2"),
    ("spatial", {"elastic": "wave"}, "choices: grid, smooth"),
    ("spatial", {"label": "cubic"}, "choices: nearest, majority"),
    ("gibbs", {"axes": (3,)}, "spatial axes"),
    ("cutout", {"boxes": 0}, "at least 1"),
    ("bias_field", {"order": 0}, "order 0"),
    ("intensity_window", {"lower": (0.0, 0.9)}, "must end below"),
    ("prior_components", {"largest": 2.0}, "between 0 and 1"),
  ],
)
def test_a_bad_option_is_told_when_the_chain_is_made(name, options, words):
  with pytest.raises(ValueError, match=words):
    chain({name: functools.partial(AUGMENTATIONS[name], **options)}, (8, 8))


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
      assert_close(out[field][i], value, atol=1e-6, err_msg=field)
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
