"""Losses of critics: the fact sheets' values, numpy's rule for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.losses import gan

REAL, FAKE = jnp.asarray([0.8, 0.3])[:, None], jnp.asarray([0.4, -0.1])[:, None]


@pytest.mark.parametrize(
  ("mode", "critic", "network"),
  [
    ("bce", 0.620717, 0.628706),
    ("lsgan", 0.175, 0.785),
    ("hinge", 1.6, -0.15),
    ("wgan", 0.15 - 0.55, -0.15),
  ],
)
def test_the_losses_of_scores_are_the_published_ones(mode, critic, network):
  assert_close(gan.critic_loss(mode, REAL, FAKE), critic, atol=1e-6)
  assert_close(gan.network_loss(mode, FAKE), network, atol=1e-6)


def test_every_mode_pulls_the_critic_and_the_network_apart():
  for mode in gan.GAMES:
    by_real, by_fake = jax.grad(lambda r, f, m=mode: gan.critic_loss(m, r, f), (0, 1))(REAL, FAKE)
    by_network = jax.grad(lambda f, m=mode: gan.network_loss(m, f))(FAKE)
    # the critic raises the scores of what is real and lowers the others, the network raises its own
    assert (by_real < 0).all()
    assert float(by_fake.sum()) > 0
    assert (by_network < 0).all()


@pytest.mark.parametrize(
  ("mode", "right"), [("bce", 0.75), ("hinge", 0.75), ("lsgan", 0.75), ("wgan", 1.0)]
)
def test_accuracy_is_the_share_on_the_right_side(mode, right):
  # 0.8, 0.3 and 0.4, -0.1: around 0 one of four is wrong, around 0.5 another one; pairs are right
  assert_close(gan.accuracy(mode, REAL, FAKE), right)
  assert_close(gan.accuracy(mode, FAKE, REAL), 1 - right if mode == "wgan" else 0.25)


def test_scores_of_voxels_count_by_their_weight_others_all():
  random = np.random.default_rng(0)
  real, fake = (jnp.asarray(random.normal(size=(2, 4, 4, 1)), jnp.float32) for _ in range(2))
  weight = jnp.zeros((2, 4, 4)).at[:, :2].set(1.0)
  half = gan.critic_loss("lsgan", real, fake, real_weight=weight, fake_weight=weight)
  assert_close(half, gan.critic_loss("lsgan", real[:, :2], fake[:, :2]), rtol=1e-6)
  assert_close(
    gan.network_loss("bce", fake, weight=weight), gan.network_loss("bce", fake[:, :2]), rtol=1e-6
  )
  # two scores of an image are no voxels'
  coarse = fake[:, :2, :2]
  assert_close(
    gan.network_loss("bce", coarse, weight=weight), gan.network_loss("bce", coarse), rtol=1e-6
  )
  nothing = jnp.zeros((2, 4, 4))
  assert float(gan.network_loss("bce", fake, weight=nothing)) == 0


def test_the_gradient_penalty_is_the_published_one():
  def scores(x):
    return 0.5 * x[:, 0] ** 2 - 0.25 * x[:, 1] ** 2

  x = jnp.asarray([[1.0, 2.0]])
  assert_close(10 * gan.gradient_penalty(scores, x), 1.715729, atol=1e-5)
  # each sample by itself, and a sample's scores by their mean
  both = jnp.asarray([[1.0, 2.0], [0.6, -1.6]])
  assert_close(gan.gradient_penalty(scores, both), 0.1715729 / 2, atol=1e-6)
  twice = gan.gradient_penalty(lambda x: jnp.stack([scores(x), scores(x)], 1), x)
  assert_close(twice, 0.1715729, atol=1e-6)


def test_a_flat_critic_is_penalised_with_a_finite_gradient():
  value, slope = jax.value_and_grad(
    lambda w: gan.gradient_penalty(lambda x: (w * x).sum(-1), jnp.ones((2, 3)))
  )(0.0)
  assert_close(value, 1.0)
  assert np.isfinite(slope)


def test_the_feature_distance_is_segans_mean_over_the_concatenated_features():
  random = np.random.default_rng(1)
  a, b = ([random.normal(size=(2, n, n, 3)) for n in (4, 2, 1)] for _ in range(2))
  weights = (1.0, 2.0, 4.0)
  joined = [
    np.concatenate([w * x.reshape(2, -1) for w, x in zip(weights, of, strict=True)], 1)
    for of in (a, b)
  ]
  assert_close(gan.feature_distance(a, b, weights), np.abs(joined[0] - joined[1]).mean(), rtol=1e-5)
  plain = [np.concatenate([x.reshape(2, -1) for x in of], 1) for of in (a, b)]
  assert_close(gan.feature_distance(a, b), np.abs(plain[0] - plain[1]).mean(), rtol=1e-5)
