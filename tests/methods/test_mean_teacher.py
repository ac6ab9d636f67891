"""Mean teacher, with and without uncertainty: the published values, who sees what, who follows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from channel_mixer import REVERSED, ChannelMixer
from closeness import assert_close
from drawn_states import state_of
from golden_inputs import B_LABELS, B_LOGITS, T_LOGITS

from jaxseg.augment import brightness, view
from jaxseg.losses import LOSSES
from jaxseg.losses.consistency import entropy_map
from jaxseg.methods import METHODS, mixtures, teacher
from jaxseg.networks import NETWORKS
from jaxseg.schedules import gaussian

CROSS = LOSSES["cross_entropy"]
BATCH = {"image": B_LOGITS, "label": B_LABELS, "unlabelled": {"image": B_LOGITS}}
STILL = {"noise": 0.0, "consistency": 0.5}
BRIGHT = view([functools.partial(brightness, p=1.0, factor=(2.0, 2.0))])
KEY = jax.random.key(1)


def of(name="mean_teacher", *views, rate=0.1, **options):
  """The method, and a state whose student says B and whose teacher says T of the image B."""
  scheme = METHODS[name](ChannelMixer(), CROSS, optax.sgd(rate), *views, **options)
  state = scheme.init(jax.random.key(0), BATCH)
  reversing = state.learners["teacher"].replace(params={"kernel": jnp.asarray(REVERSED)})
  return scheme, state.replace(learners={**state.learners, "teacher": reversing})


def step_of(*args, step=0, **options):
  scheme, state = of(*args, **options)
  state = state.replace(step=jnp.asarray(step, jnp.int32))
  return jax.jit(scheme.train_step)(state, BATCH, KEY)


def test_the_consistency_is_the_mean_square_of_all_voxels_and_classes():
  _, metrics = step_of(**STILL)
  assert_close(metrics["consistency"], 0.201197)
  assert_close(metrics["supervised_loss"], 1.069972)
  assert_close(metrics["loss"], 1.069972 + 0.5 * 0.201197)
  ramp = gaussian(10, end=0.1, zero_before=0.2)
  for step, weight in ((1, 0.0), (5, 0.02865048), (10, 0.1)):
    _, metrics = step_of(step=step, noise=0.0, consistency=ramp)
    assert_close(metrics["consistency_weight"], weight)
    assert_close(metrics["loss"], 1.069972 + weight * 0.201197)


def test_only_voxels_count_that_the_teacher_is_sure_of():
  """The fact sheet's value divides by 2 for three classes; we by 3."""
  options = {**STILL, "threshold": gaussian(10, start=0.75), "passes": 3}
  _, metrics = step_of("uncertainty_mean_teacher", **options)
  assert_close(metrics["consistency"], 0.342300 * 2 / 3)
  assert_close(metrics["certain"], 0.75)
  _, metrics = step_of("uncertainty_mean_teacher", step=10, **options)
  assert_close(metrics["certain"], 1.0)
  assert_close(metrics["consistency"], 0.201197)
  _, metrics = step_of("uncertainty_mean_teacher", **(options | {"threshold": 0.0}))
  assert metrics["certain"] == metrics["consistency"] == 0


def test_the_uncertainty_is_of_the_mean_of_passes_with_noise_of_their_own():
  """Passes that contradict each other are unsure together, however sure each of them is."""
  options = {"consistency": 0.5, "threshold": 0.75, "noise": 100.0, "noise_limit": 100.0}
  _, few = step_of("uncertainty_mean_teacher", passes=1, **options)
  _, many = step_of("uncertainty_mean_teacher", passes=64, **options)
  assert few["certain"] == 1
  assert many["certain"] == 0
  with pytest.raises(ValueError, match=r"passes=0; expected at least one"):
    of("uncertainty_mean_teacher", passes=0)


def test_noise_is_clipped():
  x = jnp.zeros((50, 50))
  added = np.asarray(teacher.perturbed(KEY, x, 0.1, 0.2))
  assert np.abs(added).max() == np.float32(0.2)
  # a normal distribution clipped at two deviations
  assert np.std(added) == pytest.approx(0.0959, rel=0.05)


def test_each_sees_its_own_view():
  logits = {"plain": B_LOGITS, "bright": 2 * B_LOGITS}
  soft = {name: np.asarray(jax.nn.softmax(x, -1)) for name, x in logits.items()}
  for views, student, lesson in (
    ((BRIGHT,), "bright", "plain"),
    ((None, BRIGHT), "plain", "bright"),
    ((BRIGHT, BRIGHT), "bright", "bright"),
  ):
    _, metrics = step_of("mean_teacher", *views, **STILL)
    expected = ((soft[student] - soft[lesson][..., ::-1]) ** 2).mean()
    assert_close(metrics["consistency"], expected)
    # the labelled images are seen as they are
    assert_close(metrics["supervised_loss"], 1.069972)


@pytest.mark.parametrize("name", ["mean_teacher", "uncertainty_mean_teacher"])
def test_what_the_teacher_said_is_mixed_as_the_images_are(name):
  images = jnp.concatenate([B_LOGITS, 0.2 * B_LOGITS[:, ::-1], 3 * B_LOGITS])
  batch = BATCH | {"unlabelled": {"image": images}}
  options = STILL | {"cutmix": 1.0}
  if name != "mean_teacher":
    options |= {"passes": 1, "threshold": 0.6}
  scheme, state = of(name, **options)
  _, metrics = jax.jit(scheme.train_step)(state, batch, KEY)
  # a network that sees each voxel alone says of a mixture what it said of its parts
  said, taught = (jax.nn.softmax(x, -1) for x in (images, images[..., ::-1]))
  apart, known = ((said - taught) ** 2).mean(-1), jnp.ones(images.shape[:-1])
  if name != "mean_teacher":
    known = (entropy_map(taught) < 0.6 * np.log(3)).astype(jnp.float32)
    assert 0 < known.mean() < 1
  boxes = jax.random.split(KEY, 6)[-1]
  (mixed,) = mixtures.mixtures(name, boxes, 3, images.shape[1:-1], p=1.0, area=(0.5, 0.5))
  weight, each = mixed(known), mixed(apart)
  assert not np.allclose((known * apart).sum(), (weight * each).sum())
  assert_close(metrics["consistency"], (weight * each).sum() / weight.sum())


def test_cutmix_needs_two_images():
  one = BATCH | {"unlabelled": {"image": B_LOGITS[:1]}}
  scheme, state = of(cutmix=0.5)
  with pytest.raises(ValueError, match=r"mean_teacher: a batch of one image .*cutmix=0"):
    jax.eval_shape(scheme.train_step, state, one, KEY)
  with pytest.raises(ValueError, match=r"uncertainty_mean_teacher: area: range \(0.5, 0.2\)"):
    of("uncertainty_mean_teacher", area=(0.5, 0.2))


@pytest.mark.parametrize(("step", "decay"), [(0, 0.0), (1, 0.5), (999, 0.99)])
def test_the_teacher_follows_after_the_students_step(step, decay):
  after, _ = step_of(step=step, **STILL)
  student, follower = (after.learners[name].params["kernel"] for name in ("network", "teacher"))
  assert_close(follower, decay * REVERSED + (1 - decay) * np.asarray(student))


def test_who_predicts_is_chosen():
  for name, expected in (("student", B_LOGITS), ("teacher", T_LOGITS)):
    scheme, state = of(predict_with=name)
    assert_close(scheme.apply(state, {"image": B_LOGITS})["logits"], expected)


@pytest.mark.parametrize("average", [False, True])
def test_the_teacher_predicts_with_the_average_of_the_students_statistics(average):
  """Not with those of the unlabelled images with noise, which its own passes see."""
  net = NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, decoder_depth=1, norm="batch")
  scheme = METHODS["mean_teacher"](net, CROSS, optax.sgd(0.1), average_statistics=average)
  image = jax.random.normal(KEY, (2, 8, 8, 1)) + 3
  labels = jnp.zeros((2, 8, 8), jnp.int32)
  batch = {"image": image, "label": labels, "unlabelled": {"image": -image}}
  state, step = state_of(scheme, batch), jax.jit(scheme.train_step)
  for decay in (0.0, 0.5):
    before = state.learners["teacher"].stats
    state, _ = step(state, batch, KEY)
    student, follower = (state.learners[name].stats for name in ("network", "teacher"))
    expected = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, before, student)
    jax.tree.map(assert_close, follower, expected)
