"""Cross pseudo supervision and cross teaching: what each of two networks learns from the other."""

import functools

import golden_networks
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from golden_inputs import B_LOGITS, T_LOGITS
from method_rows import batch_of, loss_of, small_unet

from jaxseg import networks
from jaxseg.batch import Target
from jaxseg.losses import LOSSES
from jaxseg.methods.cross_pseudo import cross_pseudo
from jaxseg.methods.cross_teaching import cross_teaching

CE, STILL = LOSSES["cross_entropy"], optax.sgd(0.0)


def golden(**options):
  """Metrics of a step of two networks that say B and T."""
  pair = golden_networks.Golden(), golden_networks.Golden(reverse=True)
  method, batch = cross_teaching(*pair, CE, STILL, STILL, **options), golden_networks.batch()
  return step(method, batch)[1]


def test_cross_pseudo_supervision_is_the_cross_entropy_of_either_with_the_others_labels():
  """CPS's value, 1.819972, in both directions."""
  metrics = golden(pseudo_loss=CE, consistency=0.1)
  assert_close(metrics["consistency"], 2 * 1.819972)
  labels = Target(jnp.asarray(golden_networks.batch()["label"]))
  of_t = CE(jnp.repeat(T_LOGITS, 2, 0), labels)
  assert_close(metrics["supervised_loss"], 1.069972 + of_t)
  assert_close(metrics["loss"], metrics["supervised_loss"] + 0.1 * metrics["consistency"])


def test_cross_teaching_has_the_dice_of_the_paper():
  p, q = (np.asarray(jax.nn.softmax(x, -1), np.float64) for x in (B_LOGITS, T_LOGITS))

  def dice(p, q):
    said = np.eye(3)[q.argmax(-1)]
    sums = (np.einsum("bijk->k", x) for x in (p * said, p**2, said))
    shared, predicted, true = sums
    return (1 - (2 * shared + 5e-6) / (predicted + true + 5e-6)).mean()

  # two images: the smoothing counts half for each
  assert_close(golden(consistency=0.1)["consistency"], dice(p, q) + dice(q, p))


def test_the_weight_of_the_other_may_rise_with_the_step():
  def ramp(step):
    return 0.5 * step

  metrics = golden(pseudo_loss=CE, consistency=ramp)
  assert_close(metrics["loss"], metrics["supervised_loss"])


def test_both_begin_and_end_with_weights_of_their_own_and_either_predicts():
  batch, tx = batch_of(), optax.sgd(0.05)
  options = {"consistency": 0.1, "cutmix": 1.0}
  method = cross_pseudo(small_unet(), loss_of(False), tx, **options)
  state = jax.jit(method.init)(jax.random.key(0), batch)
  after, _ = jax.jit(method.train_step)(state, batch, jax.random.key(1))
  for of in (state, after):
    first, second = (jax.tree.leaves(of.learners[name].params)[0] for name in ("network", "other"))
    assert np.abs(first - second).max() > 0.01
  other = cross_pseudo(small_unet(), loss_of(False), tx, predict_with="other", **options)
  exchanged = state.replace(learners=dict.fromkeys(state.learners, state.learners["network"]))
  one = method.apply(state, batch)["logits"]
  assert np.array_equal(other.apply(exchanged, batch)["logits"], one)
  assert not np.allclose(other.apply(state, batch)["logits"], one)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"predict_with": "both"}, "cross_pseudo: predict_with='both'.*network, other"),
    ({"area": (0.5, 0.2)}, r"cross_pseudo: area: range \(0.5, 0.2\)"),
  ],
)
def test_options_that_cannot_be_are_told(options, words):
  with pytest.raises(ValueError, match=words):
    cross_pseudo(small_unet(), CE, STILL, **options)


def test_cutmix_of_one_image_is_told():
  batch = batch_of()
  batch["unlabelled"] = {"image": batch["image"][:1]}
  method = cross_pseudo(small_unet(), CE, STILL, cutmix=0.5)
  with pytest.raises(ValueError, match=r"cross_pseudo: a batch of one image .*cutmix=0"):
    jax.eval_shape(lambda: step(method, batch))


@functools.partial(jax.jit, static_argnums=0)
def step(method, batch):
  return method.train_step(method.init(jax.random.key(0), batch), batch, jax.random.key(1))


def test_networks_that_lose_other_margins_cannot_teach_each_other():
  pair = small_unet(), networks.UNet2015(classes=3, widths=(4, 6))
  method = cross_teaching(*pair, CE, STILL, STILL)
  batch = {"image": jnp.zeros((2, 28, 28, 1)), "label": jnp.zeros((2, 28, 28), jnp.int32)}
  batch["unlabelled"] = {"image": batch["image"]}
  with pytest.raises(ValueError, match=r"teach each other give logits of shapes .*the same margin"):
    jax.eval_shape(lambda: step(method, batch))
