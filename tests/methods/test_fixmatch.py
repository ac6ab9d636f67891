"""FixMatch and UniMatch: what is sure of a weak view teaches strong ones."""

import functools

import golden_networks
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from flax import linen as nn
from method_rows import batch_of, loss_of, small_unet, strong
from network_rows import ROWS

from jaxseg import networks
from jaxseg.losses import LOSSES
from jaxseg.methods.fixmatch import fixmatch
from jaxseg.methods.unimatch import unimatch

CE, STILL = LOSSES["cross_entropy"], optax.sgd(0.0)


@functools.partial(jax.jit, static_argnums=0)
def step(method, batch):
  return method.train_step(method.init(jax.random.key(0), batch), batch, jax.random.key(1))[1]


def golden(constructor, **options):
  """Metrics of a step whose weak view is said to be B, and whose strong view is said to be T."""
  net = golden_networks.Golden()
  return step(
    constructor(net, CE, STILL, golden_networks.darker, **options), golden_networks.batch()
  )


def test_fixmatch_is_the_mean_over_all_pixels_of_those_that_are_kept():
  metrics = golden(fixmatch, threshold=0.7)
  assert_close(metrics["kept"], 0.75)
  assert_close(metrics["consistency"], 1.293940)
  assert_close(metrics["supervised_loss"], 1.069972)
  assert_close(metrics["loss"], 1.069972 + 1.293940)


def test_nothing_sure_teaches_nothing():
  metrics = golden(fixmatch, threshold=0.99)
  assert metrics["kept"] == metrics["consistency"] == 0


def test_unimatch_has_the_squared_dice_of_what_is_kept():
  options = {"threshold": 0.7, "feature_weight": 0.0, "cutmix": 0.0}
  metrics = golden(unimatch, **options)
  # two images, so that the release's smoothing counts half for each
  assert_close(metrics["image_consistency"], 0.610569, rtol=2e-5)
  assert_close(metrics["kept"], 0.75)
  assert "feature_consistency" not in metrics


def test_unimatch_adds_as_the_release_does():
  """(1 + 0.25 * 0.6 + 0.25 * 0.8 + 0.5 * 0.4) / 2 = 0.775."""
  values = iter((0.4, 0.6, 0.8))

  def constant(value):
    return lambda logits, target: value + 0 * logits.sum()

  def unlabelled(logits, target):
    return next(values) + 0 * logits.sum()

  method = unimatch(small_unet(), constant(1.0), STILL, strong(), unlabelled)
  metrics = step(method, batch_of())
  assert_close(metrics["feature_consistency"], 0.4)
  assert_close(metrics["image_consistency"], 0.7)
  assert_close(metrics["loss"], 0.775)


def unchanged(key, batch):
  del key
  return batch


def test_cutmix_takes_labels_from_where_it_takes_voxels():
  """One bright image and one dark one: what is pasted is of the other kind, and so its label."""
  whole = jnp.concatenate([golden_networks.B_LOGITS, golden_networks.T_LOGITS]).argmax(-1)

  def wrong(logits, target):
    return (logits.argmax(-1) != target.labels).mean() + 0 * logits.sum()

  def mixed(logits, target):
    return (target.labels != whole).mean() + 0 * logits.sum()

  batch = golden_networks.batch()
  batch["unlabelled"] = {"image": np.stack([batch["image"][0], -batch["image"][1]])}
  options = {"threshold": 0.0, "cutmix": 1.0, "area": (0.5, 0.5), "feature_weight": 0.0}
  of = {
    loss: step(unimatch(golden_networks.Golden(), CE, STILL, unchanged, loss, **options), batch)
    for loss in (wrong, mixed)
  }
  assert of[wrong]["image_consistency"] == 0
  assert of[mixed]["image_consistency"] > 0


def test_features_change_only_what_the_decoder_gets():
  """With all else as it is, the perturbed pass differs, and says so in the loss."""
  batch, options = batch_of(), {"threshold": 0.0, "cutmix": 0.0}
  losses = [
    step(unimatch(small_unet(), loss_of(False), STILL, unchanged, **options, **more), batch)
    for more in ({"channel_rate": 0.0}, {"channel_rate": 0.5})
  ]
  unsaid, said = (of["feature_consistency"] for of in losses)
  assert_close(losses[1]["image_consistency"], losses[0]["image_consistency"], rtol=1e-4)
  # the weak view is seen beside the labelled images, the strong ones are not: batch norm
  assert abs(unsaid - losses[0]["image_consistency"]) < 0.05
  assert said > unsaid + 0.01


class Counting(nn.Module):
  """Its running statistic is half what it was, half the mean of the images."""

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    mean = self.variable("batch_stats", "mean", jnp.zeros, ())
    if self.is_mutable_collection("batch_stats") and not self.is_initializing():
      mean.value = (mean.value + x.mean()) / 2
    return {"logits": nn.Dense(3)(x)}


def test_running_statistics_are_of_all_that_unimatch_sees():
  """Of weak images and then of strong ones: an image to come is like the weak ones."""

  def threefold(key, batch):
    return {**unchanged(key, batch), "image": 3 * batch["image"]}

  method = unimatch(Counting(), CE, STILL, threefold, feature_weight=0.0, cutmix=0.0)
  batch = golden_networks.batch()
  state = method.init(jax.random.key(0), batch)
  after, _ = jax.jit(method.train_step)(state, batch, jax.random.key(1))
  assert_close(after.learners["network"].stats["batch_stats"]["mean"], ((0 + 1) / 2 + 3) / 2)


def test_a_network_without_an_encoder_is_refused_unless_features_stay_as_they_are():
  net = networks.NETWORKS["kiunet"](classes=3, **ROWS["kiunet"].small)
  batch = jax.eval_shape(batch_of)
  with pytest.raises(ValueError, match=r"feature perturbation: .* have no 'bottleneck' features"):
    jax.eval_shape(lambda b: step(unimatch(net, CE, STILL, strong()), b), batch)
  jax.eval_shape(lambda b: step(unimatch(net, CE, STILL, strong(), feature_weight=0.0), b), batch)


def test_cutmix_of_one_image_is_told():
  batch = batch_of()
  batch["unlabelled"] = {"image": batch["image"][:1]}
  with pytest.raises(ValueError, match=r"unimatch: a batch of one image .*cutmix=0"):
    jax.eval_shape(lambda: step(unimatch(small_unet(), CE, STILL, strong()), batch))
  with pytest.raises(ValueError, match=r"unimatch: area: range \(0.5, 0.2\)"):
    unimatch(small_unet(), CE, STILL, strong(), area=(0.5, 0.2))


def test_the_weak_view_is_the_streams_own_and_the_strong_one_has_its_own_draw():
  drawn = []

  def noting(key, batch):
    drawn.append(jax.random.key_data(key))
    return batch

  method = unimatch(golden_networks.Golden(), CE, STILL, noting, feature_weight=0.0)
  step.__wrapped__(method, golden_networks.batch())
  assert len(drawn) == 2
  assert not np.array_equal(*drawn)
