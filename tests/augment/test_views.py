"""Views: intensities change, every voxel stays, whatever the number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg import augment


def batch_of(rank=2, channels=1):
  random = np.random.default_rng(0)
  label = random.integers(0, 3, (4, *(12,) * rank)).astype(np.int32)
  image = jnp.asarray(random.standard_normal((*label.shape, channels)), jnp.float32)
  return {"image": image, "label": jnp.asarray(label), "unlabelled": {"image": image[:2]}}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", augment.VIEWS)
def test_a_view_changes_the_images_alone(name, rank):
  batch = batch_of(rank, channels=2)
  always = {"p": 1.0} | ({"p_channel": 1.0} if name in ("blur", "low_resolution") else {})
  strong = augment.view([functools.partial(augment.VIEWS[name], **always)])
  out = jax.jit(strong)(jax.random.key(0), batch)
  assert not np.array_equal(out["image"], batch["image"])
  assert out["image"].shape == batch["image"].shape
  for field in ("label", "unlabelled"):
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, out[field], batch[field])))


@pytest.mark.parametrize("name", augment.VIEWS)
def test_a_view_moves_no_voxel(name):
  """A square stays where it is, whatever is done to its brightness."""
  image = np.zeros((1, 24, 24, 1), np.float32)
  image[:, 3:11, 12:20] = 5.0
  for seed in range(3):
    one = functools.partial(augment.VIEWS[name], p=1.0)
    out = np.asarray(
      augment.view([one])(jax.random.key(seed), {"image": jnp.asarray(image)})["image"]
    )
    if name == "cutout" or np.ptp(out) < 1e-3:  # may cover it
      continue
    inside, before = out[0, :, :, 0], image[0, :, :, 0]
    scores = {
      (y, x): np.corrcoef(np.roll(before, (y, x), (0, 1)).ravel(), inside.ravel())[0, 1]
      for y in (-2, 0, 2)
      for x in (-2, 0, 2)
    }
    assert abs(max(scores, key=lambda at: abs(scores[at]))[0]) == 0
    assert abs(max(scores, key=lambda at: abs(scores[at]))[1]) == 0


def test_a_view_of_nothing_is_the_batch():
  batch = batch_of()
  out = augment.view({})(jax.random.key(0), batch)
  assert np.array_equal(out["image"], batch["image"])


def test_two_devices_see_the_view_of_one():
  batch = batch_of()
  del batch["unlabelled"]
  transforms = {"noise": functools.partial(augment.noise, p=1.0), "gamma": augment.gamma}
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
  alone = jax.jit(augment.view(transforms))(jax.random.key(3), batch)
  split = jax.device_put(batch, jax.NamedSharding(mesh, jax.P("batch")))
  both = jax.jit(augment.view(transforms, mesh))(jax.random.key(3), split)
  assert_close(both["image"], alone["image"])
