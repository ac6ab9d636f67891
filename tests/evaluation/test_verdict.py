"""The critics' verdict: exact shares of right answers, and that a difference is learnt."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg.evaluation.verdict import Pairs, _higher, accuracy, trained_anew, verdict
from jaxseg.method import Learner
from jaxseg.networks.critics import PatchCritic


class Reader(nn.Module):
  """Scores are the image's channel, voxel by voxel."""

  @nn.compact
  def __call__(self, x, *, train=False):
    return {"score": x[..., 1:]}


def pairs_of(images):
  images = np.asarray(images, np.float32)[..., None]
  return Pairs(np.zeros_like(images), images)


def test_each_score_and_each_pair_counts_and_each_kind_half():
  real = pairs_of([[[1.0, 1.0, -1.0, -2.0]], [[1.0, 1.0, 1.0, 1.0]]])
  fake = pairs_of([[[-1.0, 1.0, 1.0, -1.0]]])
  told = accuracy(Reader(), Learner({}, {}, ()), "bce", real, fake)
  # 6 of 8 real scores above 0 and 2 of 4 made ones not; one of two real means, and the made one's
  assert told["scores"] == pytest.approx((6 / 8 + 2 / 4) / 2)
  assert told["pairs"] == pytest.approx((1 / 2 + 1) / 2)


def test_where_only_the_order_means_something_pairs_of_both_kinds_are_compared():
  real, fake = pairs_of([[[3.0, 1.0]]]), pairs_of([[[2.0, 0.0]], [[4.0, 4.0]]])
  told = accuracy(Reader(), Learner({}, {}, ()), "wgan", real, fake)
  # 3 > 2, 3 > 0, 1 > 0 of eight; 2 > 1 of two
  assert told["scores"] == pytest.approx(3 / 8)
  assert told["pairs"] == pytest.approx(1 / 2)


def test_the_order_of_very_many_scores_needs_no_list_of_pairs():
  scores = np.arange(200_000, dtype=np.float32)
  assert _higher(scores, scores) == pytest.approx(0.5, abs=1e-5)
  assert _higher(scores + 0.5, scores[:0:-2]) == pytest.approx(0.5, abs=1e-5)
  assert _higher(np.float32([[1.0, 1.0]]), np.float32([1.0, 0.0])) == 0.5


def noise(seed, count, shift):
  random = np.random.default_rng(seed)
  images = random.standard_normal((count, 8, 8, 1)) + shift
  return Pairs(np.zeros((count, 8, 8, 2), np.float32), images.astype(np.float32))


def test_a_new_critic_learns_what_tells_the_two_kinds_apart():
  critic = PatchCritic(widths=(4, 8), norm="none")
  real = {"training": noise(0, 16, 1.0), "held_out": noise(1, 16, 1.0)}
  told = verdict(real, noise(2, 32, -1.0), critic=critic, steps=60)
  assert told["new_critic"]["pairs"] > 0.9
  assert "own_critic" not in told
  assert told["asked"] == {"real": 16, "made": 16}
  alike = verdict(real, noise(3, 32, 1.0), critic=critic, steps=60)
  assert alike["new_critic"]["pairs"] < 0.8


def test_no_step_leaves_a_critic_as_it_began_and_a_seed_gives_the_same_one():
  critic, real, fake = PatchCritic(widths=(4, 8), norm="none"), noise(0, 8, 1.0), noise(1, 8, 0.0)
  judges = [trained_anew(critic, real, fake, steps=n, seed=3) for n in (0, 2, 2)]
  kernels = [judge.params["Conv_0"]["kernel"] for judge in judges]
  assert not jnp.array_equal(kernels[0], kernels[1])
  np.testing.assert_array_equal(kernels[1], kernels[2])
