"""Baselines of domain adaptation: statistics, styles, discrepancy and a critic of features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from method_rows import batch_of, small_unet

from jaxseg.augment.style import STYLES
from jaxseg.losses import cross_entropy
from jaxseg.losses.domains import maximum_mean_discrepancy
from jaxseg.method import forward
from jaxseg.methods import adabn, feature_alignment, mmd, restyled, supervised
from jaxseg.networks import CRITICS

KEY = jax.random.key(0)


def step(scheme, batch, steps=1):
  state = state_of(scheme, batch)
  for number in range(steps):
    state, metrics = jax.jit(scheme.train_step)(state, batch, jax.random.key(number))
  return state, metrics


def weights(state):
  return jax.tree.leaves(state.learners["network"].params)


def alike(a, b, atol=0.0):
  for x, y in zip(weights(a), weights(b), strict=True):
    assert_close(x, y, rtol=0.0, atol=atol)


class Normalised(nn.Module):
  """A batch norm of the image itself, and a linear head."""

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    moving = self.is_mutable_collection("batch_stats")
    x = nn.BatchNorm(use_running_average=not moving, momentum=0.9, name="norm")(x)
    return {"logits": nn.Dense(3)(x)}


def test_adabn_learns_the_weights_of_supervised_and_the_other_domains_statistics():
  batch = batch_of()
  batch["unlabelled"]["image"] = 3 + 2 * batch["unlabelled"]["image"]
  parts = Normalised(), cross_entropy, optax.sgd(0.1)
  state, _ = step(adabn.adabn(*parts), batch, 2)
  alike(state, step(supervised.supervised(*parts), batch, 2)[0])
  other = np.asarray(batch["unlabelled"]["image"])
  axes = tuple(range(other.ndim - 1))
  # two steps from a mean of 0 and a variance of 1
  stats = state.learners["network"].stats["batch_stats"]["norm"]
  assert_close(stats["mean"], 0.19 * other.mean(axes), rtol=1e-5)
  assert_close(stats["var"], 0.81 + 0.19 * other.var(axes), rtol=1e-5)


def test_adabn_without_batch_norm_is_told():
  scheme = adabn.adabn(small_unet(norm="instance"), cross_entropy, optax.sgd(0.1))
  with pytest.raises(ValueError, match=r"adabn: the network UNet has no batch norm"):
    jax.eval_shape(scheme.init, KEY, batch_of())


@pytest.mark.parametrize("style", STYLES)
def test_restyled_is_supervised_training_on_changed_images(style):
  batch, net = batch_of(), small_unet()
  batch["unlabelled"]["image"] = 3 + 2 * batch["unlabelled"]["image"][:3]
  parts = net, cross_entropy, optax.sgd(0.1)
  options = {"band": 0.1} if style == "fourier" else {}
  state, _ = step(restyled.restyled(*parts, style=style, **options), batch)
  styles = batch["unlabelled"]["image"][jnp.array([0, 1, 2, 0])]
  changed = STYLES[style](batch["image"], styles, **options)
  alike(state, step(supervised.supervised(*parts), {**batch, "image": changed})[0], atol=1e-5)
  same, _ = step(restyled.restyled(*parts, style=style, p=0.0), batch)
  alike(same, step(supervised.supervised(*parts), batch)[0], atol=1e-6)


def test_an_unknown_style_is_told():
  with pytest.raises(ValueError, match=r"restyled: style.*'fourrier'"):
    restyled.restyled(small_unet(), cross_entropy, optax.sgd(0.1), style="fourrier")


def test_mmd_adds_the_discrepancy_of_both_streams_places():
  batch, net = batch_of(), small_unet()
  scheme = mmd.mmd(net, cross_entropy, optax.sgd(0.1), weight=0.5, grid=2)
  start = state_of(scheme, batch)
  _, metrics = jax.jit(scheme.train_step)(start, batch, KEY)
  own = start.learners["network"]
  both = jnp.concatenate([batch["image"], batch["unlabelled"]["image"]])
  outputs = forward(net, own.params, own.stats, both, update_stats=True)[0]
  deep = np.asarray(outputs["bottleneck"])
  side = deep.shape[1] // 2
  pooled = deep.reshape(8, 2, side, 2, side, -1).mean((2, 4)).reshape(2, -1, deep.shape[-1])
  expected = maximum_mean_discrepancy(*pooled)
  assert_close(metrics["discrepancy"], expected, rtol=1e-4)
  assert_close(metrics["loss"], metrics["supervised_loss"] + 0.5 * expected, rtol=1e-4)


def aligned(**options):
  critic = CRITICS["patch_critic"](widths=(4,), norm="none")
  return functools.partial(feature_alignment.feature_alignment, **options)(
    small_unet(), critic, cross_entropy, optax.sgd(0.1), optax.sgd(0.1)
  )


@pytest.mark.parametrize("features", ["bottleneck", "logits"])
def test_the_critic_sees_features_and_its_gradient_reaches_the_network_by_its_weight(features):
  batch = batch_of()
  state, metrics = step(aligned(features=features, fool=0.0), batch)
  assert 0 <= metrics["critic_accuracy"] <= 1
  more, again = step(aligned(features=features, fool=1.0), batch)
  assert_close(metrics["adversarial_loss"], again["adversarial_loss"])
  assert_close(again["loss"], again["supervised_loss"] + again["adversarial_loss"], rtol=1e-5)
  heads = [of.learners["network"].params["head"]["kernel"] for of in (state, more)]
  assert np.array_equal(*heads) is (features == "bottleneck")
  assert not all(np.array_equal(a, b) for a, b in zip(weights(state), weights(more), strict=True))


def test_features_that_a_network_does_not_give_are_told():
  words = r"config.method.features: 'botleneck', but .* bottleneck"
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(aligned(features="botleneck").init, KEY, batch_of())
  scheme = mmd.mmd(small_unet(), cross_entropy, optax.sgd(0.1), features="botleneck")
  state = jax.eval_shape(scheme.init, KEY, batch_of())
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(scheme.train_step, state, batch_of(), KEY)


def test_a_critic_of_two_inputs_and_a_game_without_an_end_are_told():
  two = CRITICS["two_input_critic"](widths=(4, 8))
  parts = small_unet(), two, cross_entropy, optax.sgd(0.1), optax.sgd(0.1)
  with pytest.raises(ValueError, match="feature_alignment: its critic sees features alone"):
    feature_alignment.feature_alignment(*parts)
  with pytest.raises(ValueError, match=r"feature_alignment: mode.*'wgan'"):
    aligned(mode="wgan")


@pytest.mark.parametrize(("side", "places"), [(3, 3), (4, 4), (7, 4), (9, 4)])
def test_mmd_has_at_most_so_many_places_as_its_grid_and_every_voxel_is_in_one(side, places):
  features = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
  found = mmd._places(jnp.asarray(features), 4)
  assert found.shape == (2 * places**2, 3)
  # of the last rows and columns, too
  changed = features.copy()
  changed[:, -1, -1] += 1.0
  assert not np.array_equal(found, mmd._places(jnp.asarray(changed), 4))


def test_a_channel_that_a_sample_lacks_is_given_no_style():
  seen = []

  class Watching(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
      jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
      return {"logits": nn.Conv(3, (1, 1))(x)}

  random = np.random.default_rng(0)
  images = random.normal(2.0, 1.0, (2, 4, 4, 2)).astype(np.float32)
  batch = {"image": images * np.float32([1, 0]), "label": np.zeros((2, 4, 4), np.int32)}
  batch |= {"modalities": np.float32([[1, 0]] * 2), "unlabelled": {"image": images + 1}}
  scheme = restyled.restyled(Watching(), cross_entropy, optax.sgd(0.1), style="histogram")
  state = state_of(scheme, batch)
  jax.effects_barrier()
  seen.clear()
  jax.block_until_ready(jax.jit(scheme.train_step)(state, batch, KEY))
  jax.effects_barrier()
  assert seen
  for image in seen:
    assert not image[..., 1].any()
    assert image[..., 0].any()
