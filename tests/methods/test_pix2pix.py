"""Images of label maps: who learns from what, exact losses, noise, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from critic_rows import SMALL
from drawn_states import state_of
from flax import linen as nn

from jaxseg.losses import IMAGE_LOSSES
from jaxseg.methods import METHODS
from jaxseg.networks import CRITICS, GENERATORS


def judge(name="patch_critic", **options):
  norm = {"norm": "instance"} if name == "patch_critic" else {}
  return CRITICS[name](**{**SMALL[name], **norm, **options})


def generator(**options):
  given = {"channels": 2, "widths": (4, 6, 6, 6), "norm": "instance", **options}
  return GENERATORS["unet_generator"](**given)


def scheme(net=None, critic=None, *, rates=(0.01, 0.01), loss=IMAGE_LOSSES["l1"], **options):
  roles = net or generator(), critic or judge(), loss, *map(optax.sgd, rates)
  return METHODS["pix2pix"](*roles, **options)


def batch_of(seed=0, space=(8, 8), weight=None):
  random = np.random.default_rng(seed)
  label = random.integers(0, 3, (2, *space))
  image = jnp.asarray(np.eye(3)[label], jnp.float32)
  target = np.stack([label - 1, 0.5 * label], -1) + 0.05 * random.standard_normal((2, *space, 2))
  batch = {"image": image, "target_image": jnp.asarray(target, jnp.float32)}
  return batch if weight is None else {**batch, "weight": jnp.asarray(weight, jnp.float32)}


def one_step(method, batch):
  before = state_of(method, batch)
  return before, *jax.jit(method.train_step)(before, batch, jax.random.key(1))


def same(before, after, name):
  pairs = (before.learners[name].params, after.learners[name].params)
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, *pairs)))


@pytest.mark.parametrize("still", ["network", "critic"])
def test_with_one_frozen_only_the_other_changes(still):
  rates = (0.0, 0.1) if still == "network" else (0.1, 0.0)
  before, after, _ = one_step(scheme(rates=rates, feature_weight=1.0), batch_of())
  for learner in ("network", "critic"):
    assert same(before, after, learner) is (learner == still), learner


class Half(nn.Module):
  """The first two channels of what it is given, times a number that it learns: 1/2 at first."""

  @nn.compact
  def __call__(self, x, *, train=False):
    return {"image": self.param("factor", nn.initializers.constant(0.5), ()) * x[..., :2]}


class Mean(nn.Module):
  """A critic: the mean of the image's second channel, as it is."""

  @nn.compact
  def __call__(self, x, *, train=False):
    scale = self.param("scale", nn.initializers.ones, ())
    mean = scale * x[..., 4].reshape(len(x), -1).mean(-1, keepdims=True)
    return {"score": mean, "stage1": 3 * x[..., 3:]}


def test_the_loss_is_a_hundred_differences_and_the_critics_and_the_features():
  def hundred(image, target):
    return 100 * IMAGE_LOSSES["l1"](image, target)

  batch = batch_of()
  method = scheme(Half(), Mean(), loss=hundred, fool=2.0, feature_weight=10.0, rates=(0.0, 0.0))
  state = jax.jit(method.init)(jax.random.key(0), batch)
  _, metrics = jax.jit(method.train_step)(state, batch, jax.random.key(0))
  made, truth = 0.5 * np.asarray(batch["image"])[..., :2], np.asarray(batch["target_image"])
  image = 100 * np.abs(made - truth).mean()
  scores = [of[..., 1].reshape(2, -1).mean(-1) for of in (truth, made)]
  fooled = np.log1p(np.exp(-scores[1])).mean()
  likeness = 3 * np.abs(made - truth).mean()
  np.testing.assert_allclose(metrics["image_loss"], image, rtol=1e-5)
  np.testing.assert_allclose(metrics["adversarial_loss"], fooled, rtol=1e-5)
  np.testing.assert_allclose(metrics["feature_loss"], likeness, rtol=1e-5)
  np.testing.assert_allclose(metrics["loss"], image + 2 * fooled + 10 * likeness, rtol=1e-5)
  told = (np.log1p(np.exp(-scores[0])).mean() + np.log1p(np.exp(scores[1])).mean()) / 2
  np.testing.assert_allclose(metrics["critic_loss"], told, rtol=1e-5)
  accuracy = ((scores[0] > 0).mean() + (scores[1] <= 0).mean()) / 2
  np.testing.assert_allclose(metrics["critic_accuracy"], accuracy)


@pytest.mark.parametrize(
  "options",
  [
    {"mode": "lsgan", "critic": judge("two_input_critic")},
    {"mode": "hinge", "critic": judge(spectral=True), "critic_steps": 2},
    {"mode": "wgan", "gradient_penalty": 10.0},
    {
      "net": GENERATORS["spade_generator"](
        channels=2, widths=(4, 6), hidden=4, noise=1, norm="instance"
      )
    },
  ],
)
def test_every_mode_and_generator_trains_both(options):
  before, after, metrics = one_step(scheme(**options), batch_of())
  assert not same(before, after, "network")
  assert not same(before, after, "critic")
  assert all(np.isfinite(value) for value in metrics.values())


def test_what_has_no_weight_says_nothing():
  weight = np.zeros((2, 8, 8))
  weight[:, :4] = 1
  batch = batch_of(weight=weight)
  other = {**batch, "target_image": batch["target_image"].at[:, 4:].set(7.0)}
  # the network sees all of its input, and is judged where there is a weight
  states = [one_step(scheme(), of)[1] for of in (batch, other)]
  for a, b in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_array_equal(a, b)


def test_volumes_are_made_too():
  _, after, _ = one_step(scheme(), batch_of(space=(8, 8, 8)))
  assert int(after.step) == 1


def test_an_image_is_made_without_noise_and_with_that_of_a_draw():
  batch, method = batch_of(), scheme()
  state = state_of(method, batch)

  def made(**more):
    return np.asarray(method.apply(state, {"image": batch["image"][:1], **more})["image"])

  np.testing.assert_array_equal(made(), made())
  one, other = (made(draw=jnp.array([n])) for n in (1, 2))
  np.testing.assert_array_equal(one, made(draw=jnp.array([1])))
  assert not np.array_equal(one, other)
  assert not np.array_equal(one, made())


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda: scheme(mode="wgan"), "lets the critic grow without end"),
    (lambda: scheme(generator(channels=1)), "makes images of"),
    (lambda: scheme(critic=judge(norm="batch"), mode="lsgan", gradient_penalty=1.0), "batch norm"),
  ],
)
def test_what_cannot_be_is_refused(make, words):
  with pytest.raises(ValueError, match=words):
    state_of(make(), batch_of())
