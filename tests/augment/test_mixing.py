import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg import defaults
from jaxseg.augment import cutmix, mixture, mixup
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.feeding import augmentation
from jaxseg.feeding import mixture as experiment_mixture

RNG = np.random.default_rng(16)
KEY = jax.random.key(8)


def batch_of(b=4, size=(8, 9)):
  return {
    "image": RNG.normal(size=(b, *size, 2)).astype(np.float32),
    "label": RNG.integers(0, 3, (b, *size)).astype(np.int32),
    "weight": RNG.integers(0, 2, (b, *size)).astype(np.float32),
    "spacing": np.ones((b, len(size)), np.float32),
  }


@pytest.mark.parametrize("size", [(8, 9), (4, 5, 6)])
def test_mixup_blends_image_and_label_by_the_same_share(size):
  batch = batch_of(size=size)
  del batch["weight"]
  out = jax.jit(functools.partial(mixup, classes=3, p=1.0, alpha=1.0))(KEY, batch)
  other = np.roll(batch["image"], -1, 0)
  onehot = np.eye(3)[batch["label"]]
  partner = np.roll(onehot, -1, 0)
  for n in range(4):
    difference = (batch["image"][n] - other[n]).ravel()
    share = ((np.asarray(out["image"][n]) - other[n]).ravel() @ difference) / (difference**2).sum()
    assert 0.5 <= share <= 1
    expected = share * batch["image"][n] + (1 - share) * other[n]
    assert_close(out["image"][n], expected, atol=1e-5)
    soft = share * onehot[n] + (1 - share) * partner[n]
    assert_close(out["soft_label"][n], soft, atol=1e-5)
  assert "label" not in out


def test_an_ignored_voxel_gives_no_label_to_a_mixture():
  batch = batch_of()
  out = jax.jit(functools.partial(mixup, classes=3, p=1.0, alpha=1.0))(KEY, batch)
  mine, theirs = batch["weight"], np.roll(batch["weight"], -1, 0)
  soft, weight = np.asarray(out["soft_label"]), np.asarray(out["weight"])
  assert_close(soft.sum(-1), 1.0, atol=1e-5)
  np.testing.assert_array_equal(weight > 0, (mine + theirs) > 0)
  assert_close(weight[(mine > 0) & (theirs > 0)], 1.0, atol=1e-6)
  only = (mine > 0) & (theirs == 0)
  assert_close(soft[only], np.eye(3)[batch["label"]][only], atol=1e-6)
  only = (mine == 0) & (theirs > 0)
  partner = np.eye(3)[np.roll(batch["label"], -1, 0)]
  assert_close(soft[only], partner[only], atol=1e-6)


@pytest.mark.parametrize("size", [(16, 18), (8, 9, 10)])
def test_cutmix_pastes_a_box_of_every_field_alike(size):
  batch = batch_of(size=size)
  other = {field: np.roll(x, -1, 0) for field, x in batch.items()}
  out = jax.jit(functools.partial(cutmix, p=1.0))(KEY, batch)
  pasted = np.all(np.asarray(out["image"]) == other["image"], -1)
  assert 0 < pasted.mean() < 1
  for field in ("label", "weight"):
    np.testing.assert_array_equal(out[field], np.where(pasted, other[field], batch[field]))
    assert out[field].dtype == batch[field].dtype
  np.testing.assert_array_equal(np.asarray(out["image"])[~pasted], batch["image"][~pasted])
  for n in range(4):
    inside = np.argwhere(pasted[n])
    if len(inside):
      assert len(inside) == np.prod(inside.max(0) - inside.min(0) + 1)


@pytest.mark.parametrize("act", [cutmix, functools.partial(mixup, classes=2)])
def test_samples_are_mixed_with_their_probability(act):
  image = jnp.asarray(RNG.normal(size=(1000, 6, 6, 1)), jnp.float32)
  out = jax.jit(functools.partial(act, p=0.3, alpha=2.0))(KEY, {"image": image})["image"]
  # a box may be too small to hold a voxel's centre
  np.testing.assert_allclose(np.mean((out != image).any((1, 2, 3))), 0.29, atol=0.055)


def test_a_mask_of_two_samples_together_is_where_either_is():
  batch = batch_of()
  batch["body"] = RNG.integers(0, 2, batch["label"].shape).astype(np.float32)
  out = mixup(KEY, batch, classes=3, p=1.0, alpha=1.0)
  np.testing.assert_array_equal(
    out["body"], np.maximum(batch["body"], np.roll(batch["body"], -1, 0))
  )
  out = mixup(KEY, batch, classes=3, p=0.0)
  np.testing.assert_array_equal(out["body"], batch["body"])


def test_maps_of_a_label_cannot_be_mixed():
  batch = {**batch_of(), "distance": np.zeros((4, 8, 9, 3), np.float32)}
  for act in (cutmix, functools.partial(mixup, classes=3)):
    with pytest.raises(ValueError, match="field 'distance' cannot be mixed"):
      act(KEY, batch)
  with pytest.raises(ValueError, match="must be positive"):
    mixture({"mixup": functools.partial(mixup, classes=3, alpha=0.0)})


def test_one_and_two_devices_mix_alike():
  batch, results = batch_of(), []
  act = jax.jit(mixture([functools.partial(mixup, classes=3, p=0.7)]))
  for devices in (1, 2):
    mesh = jax.make_mesh(
      (devices,),
      ("batch",),
      axis_types=(jax.sharding.AxisType.Auto,),
      devices=jax.devices()[:devices],
    )
    results.append(act(KEY, jax.device_put(batch, jax.NamedSharding(mesh, jax.P("batch")))))
  for field, x in results[0].items():
    assert_close(x, results[1][field], atol=1e-6)


def test_a_config_names_mixtures_among_its_augmentations():
  config = plain(defaults.config())
  config["augment"] = {"mirror": {}, "mixup": {"p": 1.0}, "boxes": {"name": "cutmix", "p": 1.0}}
  chain, crop = augmentation(config, (8, 9), LabelSpec(("none", "one", "two"), (0, 1, 2)))
  assert crop == (8, 9)
  batch = batch_of()
  out = experiment_mixture(config, 3)(KEY, batch)
  assert out["soft_label"].shape == (4, 8, 9, 3)
  assert set(chain(KEY, {"image": batch["image"][0]})) == {"image"}
  config["augment"] = {"mixup": {"q": 1.0}}
  with pytest.raises(ValueError, match=r"config\.augment\.mixup\.q"):
    experiment_mixture(config, 3)


@pytest.mark.parametrize("mix", [functools.partial(mixup, classes=3, alpha=1.0), cutmix])
def test_a_mixture_of_two_folds_is_held_out_by_none(mix):
  batch = batch_of() | {"fold": np.array([0, 0, 2, 1], np.int32)}
  out = jax.jit(functools.partial(mix, p=1.0))(KEY, batch)
  # each with the next: 0 with 0, 0 with 2, 2 with 1, 1 with 0
  changed = (np.asarray(out["image"]) != batch["image"]).any((1, 2, 3))
  expected = np.where(changed, [0, -1, -1, -1], batch["fold"])
  np.testing.assert_array_equal(out["fold"], expected)
  np.testing.assert_array_equal(
    jax.jit(functools.partial(mix, p=0.0))(KEY, batch)["fold"], [0, 0, 2, 1]
  )
