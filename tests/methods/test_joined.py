"""Streams that join the main one: beside it, in its place; weights, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from channel_mixer import ChannelMixer

from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS
from jaxseg.methods.joined import joined, together


def batch_of(seed, count=2, **more):
  random = np.random.default_rng(seed)
  label = jnp.asarray(random.integers(0, 2, (count, 4, 4)), jnp.int32)
  image = jnp.asarray(random.standard_normal((count, 4, 4, 2)), jnp.float32)
  return {"image": image, "label": label, "spacing": jnp.ones((count, 2)), **more}


def supervised():
  return METHODS["supervised"](ChannelMixer(classes=2), LOSSES["cross_entropy"], optax.sgd(0.1))


def params_after(method, batch):
  state = method.init(jax.random.key(0), batch)
  return jax.tree.leaves(jax.jit(method.train_step)(state, batch, jax.random.key(1))[0])


def test_no_stream_leaves_a_method_as_it_is():
  method = supervised()
  assert joined(method, {}) is method


def test_beside_is_training_on_one_batch_of_both():
  main, other = batch_of(0), batch_of(1)
  both = {name: jnp.concatenate([main[name], other[name]]) for name in main}
  ours = params_after(joined(supervised(), {"made": "beside"}), {**main, "made": other})
  for a, b in zip(ours, params_after(supervised(), both), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_instead_is_training_on_the_other_alone():
  main, other = batch_of(0), batch_of(1)
  ours = params_after(joined(supervised(), {"made": "instead"}), {**main, "made": other})
  for a, b in zip(ours, params_after(supervised(), other), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_voxels_count_where_a_stream_says_nothing_of_weights():
  weight = jnp.zeros((2, 4, 4))
  batch = {**batch_of(0, weight=weight), "made": batch_of(1), "rest": {"image": jnp.ones((1,))}}
  both = together(batch, {"made": "beside"})
  assert both["image"].shape == (4, 4, 4, 2)
  np.testing.assert_array_equal(np.sort(both["weight"].mean((1, 2))), [0, 0, 1, 1])
  # weights stay with their samples
  np.testing.assert_array_equal(both["image"][both["weight"][:, 0, 0] == 1], batch["made"]["image"])
  assert set(both) == {"image", "label", "spacing", "weight", "rest"}


def test_a_field_that_one_lacks_is_refused():
  batch = {**batch_of(0, distance=jnp.ones((2, 4, 4, 2))), "made": batch_of(1)}
  with pytest.raises(ValueError, match=r"config.streams.made: its cases have no 'distance'"):
    together(batch, {"made": "beside"})
  batch = {**batch_of(0), "made": batch_of(1, prior=jnp.ones((2, 4, 4, 2)))}
  with pytest.raises(ValueError, match=r"config.data: its cases have no 'prior'"):
    together(batch, {"made": "beside"})
