"""Votes of several networks: some may not vote, and regions are voted on each for itself."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.networks.blocks.votes import vote

RNG = np.random.default_rng(2)


def test_who_does_not_vote_has_no_say():
  a, b, c = (jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32) for _ in range(3))
  who = [jnp.array(of).reshape(2, 1, 1) for of in ([1.0, 1.0], [0.0, 1.0], [1.0, 1.0])]
  votes = vote([a, b, c], who)
  np.testing.assert_allclose(votes[0], vote([a[:1], c[:1]])[0], rtol=1e-6)
  np.testing.assert_allclose(votes[1], vote([a[1:], b[1:], c[1:]])[0], rtol=1e-6)


def test_regions_are_there_where_most_say_so_and_a_tie_goes_to_the_mean_probability():
  members = [jnp.array([[[2.0, -1.0, 3.0]]]), jnp.array([[[1.0, 5.0, -1.0]]])]
  votes = np.asarray(vote(members, sigmoid=True)).ravel()
  mean = [np.mean([1 / (1 + np.exp(-float(m[0, 0, k]))) for m in members]) for k in range(3)]
  np.testing.assert_allclose(votes, [2 + 2 * mean[0] - 1, 2 * mean[1] - 1, 2 * mean[2] - 1], 1e-6)
  assert (votes > 0).all()
  three = [*members, jnp.array([[[-9.0, -9.0, -9.0]]])]
  np.testing.assert_array_equal(np.asarray(vote(three, sigmoid=True)).ravel() > 0, [1, 0, 0])


def test_regions_too_are_trained_through_the_mean():
  members = jnp.asarray(RNG.normal(size=(3, 1, 4, 2)), jnp.float32)
  weights = jnp.asarray(RNG.normal(size=(1, 4, 2)), jnp.float32)
  gradient = jax.grad(lambda m: jnp.sum(vote(list(m), sigmoid=True) * weights))(members)
  np.testing.assert_allclose(gradient, np.broadcast_to(weights / 3, members.shape), rtol=1e-6)
