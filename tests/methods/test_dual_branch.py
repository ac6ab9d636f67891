"""Two decoders: the loss against numpy, whose pseudo-labels are mixed, what is refused."""

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scribbled
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from scipy.special import expit, log_softmax, softmax

from jaxseg.experiment import experiment
from jaxseg.losses import cross_entropy
from jaxseg.methods.dual_branch import dual_branch
from jaxseg.networks import SSL4MISUNet, UNet


class Two(nn.Module):
  """Two 1x1 convolutions of the image."""

  @nn.compact
  def __call__(self, x, *, train=False):
    outputs = {"logits": nn.Dense(3, name="first")(x)}
    return {**outputs, "second": nn.Dense(3, name="second")(x)} if train else outputs


def scribbled_batch(space=(6, 5), classes=3):
  random = np.random.default_rng(1)
  label = random.integers(0, classes, (2, *space)).astype(np.int32)
  weight = (random.random((2, *space)) < 0.3).astype(np.float32)
  image = np.stack([label == k for k in range(classes)], -1) + random.normal(
    size=(2, *space, classes)
  )
  return {"image": image.astype(np.float32), "label": label, "weight": weight}


def soft_dice(logits, labels):
  scores, truth = softmax(logits, -1), np.eye(3)[labels]
  shared, sizes = (scores * truth).sum((0, 1, 2)), (scores**2 + truth**2).sum((0, 1, 2))
  return (1 - (2 * shared + 1e-5) / (sizes + 1e-5)).mean()


def partial_cross_entropy(logits, batch):
  each = -np.take_along_axis(log_softmax(logits, -1), batch["label"][..., None], -1)[..., 0]
  return (each * batch["weight"]).sum() / batch["weight"].sum()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_is_partial_cross_entropy_and_dice_of_the_mixture(alpha):
  batch = scribbled_batch()
  scheme = dual_branch(Two(), cross_entropy, optax.sgd(0.1), consistency=0.4, alpha=alpha)
  state = scheme.init(jax.random.key(3), batch)
  _, metrics = jax.jit(scheme.train_step)(state, batch, jax.random.key(0))
  params = state.learners["network"].params
  first, second = (
    np.asarray(batch["image"] @ np.asarray(params[name]["kernel"], np.float64))
    for name in ("first", "second")
  )
  mixed = alpha * softmax(first, -1) + (1 - alpha) * softmax(second, -1)
  pseudo = mixed.argmax(-1)
  drawn = (partial_cross_entropy(first, batch) + partial_cross_entropy(second, batch)) / 2
  agreed = (soft_dice(first, pseudo) + soft_dice(second, pseudo)) / 2
  assert_close(metrics["drawn_loss"], drawn)
  assert_close(metrics["pseudo_loss"], agreed)
  assert_close(metrics["loss"], drawn + 0.4 * agreed)
  assert_close(metrics["agreement"], (first.argmax(-1) == second.argmax(-1)).mean())


def test_the_share_is_drawn_anew_in_each_step():
  batch = scribbled_batch()
  scheme = dual_branch(Two(), cross_entropy, optax.sgd(0.0))
  state = scheme.init(jax.random.key(3), batch)
  step = jax.jit(scheme.train_step)
  values = {float(step(state, batch, jax.random.key(i))[1]["pseudo_loss"]) for i in range(6)}
  assert len(values) > 2
  again = [float(step(state, batch, jax.random.key(0))[1]["pseudo_loss"]) for _ in range(2)]
  assert again[0] == again[1]


def test_regions_are_mixed_channel_by_channel():
  batch = scribbled_batch()
  batch["soft_label"] = np.eye(3, dtype=np.float32)[batch.pop("label")]

  def silent(logits, target):
    return 0 * logits.sum() + cross_entropy(logits, target, sigmoid=True)

  def squared(logits, target):
    return ((jax.nn.sigmoid(logits) - target.labels) ** 2).mean()

  scheme = dual_branch(Two(), silent, optax.sgd(0.1), squared, alpha=0.25, sigmoid=True)
  state = scheme.init(jax.random.key(3), batch)
  metrics = jax.jit(scheme.train_step)(state, batch, jax.random.key(0))[1]
  params = state.learners["network"].params
  first, second = (
    expit(batch["image"] @ np.asarray(params[name]["kernel"])) for name in ("first", "second")
  )
  pseudo = 0.25 * first + 0.75 * second > 0.5
  expected = (((first - pseudo) ** 2).mean() + ((second - pseudo) ** 2).mean()) / 2
  assert_close(metrics["pseudo_loss"], expected)


@pytest.mark.parametrize("space", [(16, 16), (8, 8, 8)], ids=["2D", "3D"])
def test_the_loss_falls_in_2d_and_3d(space):
  network = SSL4MISUNet(classes=3, widths=(4, 8), dropout=0.1, second_decoder=0.5)
  scheme = dual_branch(network, cross_entropy, optax.adam(1e-2))
  batch = scribbled_batch(space)
  _, state, metrics = fixed_batch.train(scheme, batch)
  assert {"drawn_loss", "pseudo_loss", "agreement"} <= set(metrics)
  outputs = jax.eval_shape(scheme.apply, state, {"image": batch["image"]})
  assert "second" not in outputs
  assert outputs["logits"].shape == (2, *space, 3)


def test_what_full_labels_say_where_nothing_was_drawn_changes_nothing():
  batch = scribbled_batch()
  other = {**batch, "label": np.where(batch["weight"] > 0, batch["label"], 2 - batch["label"])}
  scheme = dual_branch(Two(), cross_entropy, optax.sgd(0.1))
  state = scheme.init(jax.random.key(3), batch)
  step = jax.jit(scheme.train_step)
  for x, y in zip(
    jax.tree.leaves(step(state, batch, jax.random.key(0))),
    jax.tree.leaves(step(state, other, jax.random.key(0))),
    strict=True,
  ):
    np.testing.assert_array_equal(x, y)


def test_the_pseudo_labels_take_no_gradient():
  """Where both decoders are right by far, only the drawn voxels pull."""
  batch = scribbled_batch()
  scheme = dual_branch(Two(), cross_entropy, optax.sgd(1.0), lambda y, t: jnp.sum(t.labels) * 1.0)
  state = scheme.init(jax.random.key(3), batch)
  after, _ = jax.jit(scheme.train_step)(state, batch, jax.random.key(0))
  plain = dual_branch(Two(), cross_entropy, optax.sgd(1.0), consistency=0.0)
  expected, _ = jax.jit(plain.train_step)(state, batch, jax.random.key(0))
  for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
    assert_close(x, y)


def test_a_config_trains_it_rematerialised_and_averaged(tmp_path):
  changes = {
    "method": dict(name="dual_branch", consistency=dict(name="linear")),
    "network": dict(name="ssl4mis_unet", widths=(4, 8), dropout=0.1, second_decoder=0.5),
    "losses": dict(pseudo=dict(dice=dict(squared=True), cross_entropy=dict())),
    "loss": dict(cross_entropy=dict()),
    "remat": "products",
    "average": 0.9,
    "members": 2,
  }
  folder = scribbled.write(tmp_path / "raw")
  run = experiment(scribbled.config(folder, tmp_path / "sets", **changes))
  batch = scribbled_batch((16, 16))
  batch["image"] = batch["image"][..., :1]
  state = state_of(run.method, batch)
  state, metrics = jax.jit(run.method.train_step)(state, batch, jax.random.key(0))
  assert np.isfinite(metrics["loss"])
  assert "network_average" in state.learners


@pytest.mark.parametrize(
  "network", [UNet(widths=(4, 8), depth=1), SSL4MISUNet(widths=(4, 8), dropout=0)]
)
def test_a_network_without_a_second_decoder_is_told(network):
  scheme = dual_branch(network, cross_entropy, optax.sgd(0.1))
  batch = scribbled_batch((8, 8))
  state = jax.eval_shape(scheme.init, jax.random.key(0), batch)
  with pytest.raises(ValueError, match="gives no 'second' logits in training; expected two"):
    jax.eval_shape(scheme.train_step, state, batch, jax.random.key(0))


def test_options_that_cannot_be_are_told():
  with pytest.raises(ValueError, match="dual_branch: alpha is 2; expected 0 to 1"):
    dual_branch(Two(), cross_entropy, optax.sgd(0.1), alpha=2)
  with pytest.raises(ValueError, match=r"second_decoder=1\.0; expected a rate from 0, below 1"):
    SSL4MISUNet(second_decoder=1.0)
