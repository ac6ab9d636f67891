"""Members of an ensemble: each is a run of its own whose keys are folded with its number."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import run_folders
import tiny
from closeness import assert_close

from jaxseg import loop, sharding
from jaxseg.losses import LOSSES
from jaxseg.methods import averaged, ensemble, supervised
from jaxseg.networks import NETWORKS
from jaxseg.runs import checkpoint

STEPS = 3


def scheme():
  net = NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, decoder_depth=1, dropout=0.2)
  method = supervised.supervised(net, LOSSES["cross_entropy"], optax.sgd(0.05))
  return averaged.averaged(method, decay=0.9)


def batch_of():
  random = np.random.default_rng(0)
  label = random.integers(0, 3, (4, 8, 8)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}


def alone(member: int):
  """A run of its own: what it ends with, and its losses."""
  method, batch = scheme(), batch_of()
  state = jax.jit(method.init)(jax.random.fold_in(jax.random.key(0), member), batch)
  step, losses = jax.jit(method.train_step), []
  for number in range(STEPS):
    state, metrics = step(state, batch, jax.random.fold_in(jax.random.key(number), member))
    losses.append(metrics["loss"])
  return state, losses, jax.jit(method.apply)(state, batch)["logits"]


@pytest.fixture(scope="module")
def runs():
  return [alone(member) for member in range(2)]


@pytest.mark.parametrize("mesh", [None, {"member": 1}, {"batch": 1, "member": 2}])
def test_a_member_is_a_run_of_its_own_and_outputs_are_their_mean(runs, mesh):
  layout = None
  if mesh:
    layout = sharding.layout(batches={}, members=2, devices=jax.devices()[:2], **mesh)
  method, batch = ensemble.ensemble(scheme(), layout, members=2), batch_of()
  state = jax.jit(method.init)(jax.random.key(0), batch)
  step, losses = jax.jit(method.train_step), []
  for number in range(STEPS):
    state, metrics = step(state, batch, jax.random.key(number))
    losses.append(metrics["loss"])
  assert int(state.step) == STEPS
  for member, (own, *_) in enumerate(runs):
    theirs = jax.tree.map(lambda x, i=member: x[i], state.learners)
    assert theirs.keys() == own.learners.keys()
    for a, b in zip(jax.tree.leaves(theirs), jax.tree.leaves(own.learners), strict=True):
      assert_close(a, b, atol=1e-5)
  assert_close(losses, np.mean([of for _, of, _ in runs], 0), atol=1e-5)
  logits = jax.jit(method.apply)(state, batch)["logits"]
  assert_close(logits, np.mean([of for *_, of in runs], 0), atol=1e-5)


def test_an_ensemble_trains_resumes_on_another_mesh_and_predicts_under_the_same_loop(tmp_path):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  options = {"members": 2, "optimiser.name": "sgd", "optimiser.weight_decay": 0.0, "steps": 4}
  report = loop.train(tiny.experiment(**options, **{"mesh.member": 2}), whole)
  assert np.isfinite(report["validation"]["mean"]["dice"])
  run_folders.back_at(3, whole, parts)
  loop.train(tiny.experiment(**options, **{"mesh.batch": 2}), parts)
  ours, theirs = (checkpoint.load_learners(folder)["network"] for folder in (parts, whole))
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    assert a.shape[0] == 2
    assert_close(a, b, atol=1e-5)


def test_an_ensemble_of_none_is_refused():
  with pytest.raises(ValueError, match="members=0; expected at least one"):
    ensemble.ensemble(scheme(), members=0)
