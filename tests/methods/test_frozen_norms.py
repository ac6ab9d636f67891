"""Frozen parts in training: weights and statistics keep their bits, and then learn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn

from jaxseg import loop, paths, sharding
from jaxseg.config.weights import Weights
from jaxseg.method import forward
from jaxseg.methods.frozen_norms import Frozen, frozen_norms
from jaxseg.networks.blocks import Norm
from jaxseg.networks.blocks.statistics import keeping
from jaxseg.runs import checkpoint
from jaxseg.runs.initialise import Start
from jaxseg.runs.interrupt import Interrupt

LAYERS = ("encoder1", "encoder2")
# the upper layer learns from the third step on, the lower one from the fifth
FREEZING = {
  "optimiser.layers": LAYERS,
  "optimiser.unfreeze": (2, 4),
  "optimiser.frozen_norms": "kept",
}


class Normed(nn.Module):
  @nn.compact
  def __call__(self, x, *, train=False):
    return Norm(name="norm")(x)


def normed(x, step, until):
  """(output, statistics afterwards) of a norm that has seen a mean of 1 and a variance of 4."""
  net = Normed()
  stats = {"batch_stats": {"norm": {"mean": jnp.ones(2), "var": jnp.full(2, 4.0)}}}
  params = {"norm": {"scale": jnp.array([1.0, 3.0]), "bias": jnp.array([0.0, 0.5])}}

  def of(step):
    with keeping([(net, lambda path: until if path == "norm/scale" else 0)], step):
      return forward(net, params, stats, x, update_stats=True)

  out, stats = jax.jit(of)(step)
  return out, stats["batch_stats"]["norm"]


@pytest.mark.parametrize(("step", "until"), [(0, math.inf), (4, 5), (5, 5), (0, 0)])
def test_a_frozen_norm_uses_and_keeps_its_running_statistics(step, until):
  x = np.random.default_rng(0).normal(2.0, 3.0, (4, 5, 2)).astype(np.float32)
  out, stats = normed(x, step, until)
  frozen = step < until
  mean, var = (1.0, 4.0) if frozen else (x.mean((0, 1)), x.var((0, 1)))
  expected = (x - mean) / np.sqrt(var + 1e-5) * [1.0, 3.0] + [0.0, 0.5]
  assert_close(out, expected, atol=1e-5)
  if frozen:
    np.testing.assert_array_equal(stats["mean"], 1.0)
    np.testing.assert_array_equal(stats["var"], 4.0)
  else:
    assert_close(stats["mean"], 0.9 + 0.1 * mean)
    assert_close(stats["var"], 0.9 * 4 + 0.1 * var)


def test_gradients_pass_a_frozen_norm_as_a_fixed_scale():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 2)), jnp.float32)
  slope = jax.grad(lambda x: normed(x, 0, 3)[0].sum())(x)
  assert_close(slope, np.broadcast_to(np.array([1.0, 3.0]) / np.sqrt(4 + 1e-5), x.shape))


def test_norms_of_another_network_are_left_alone():
  net, other = Normed(), Normed()
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 2)), jnp.float32)
  variables = dict(other.init(jax.random.key(0), x))
  with keeping([(net, lambda path: math.inf)], 0):
    _, stats = forward(other, variables.pop("params"), variables, x, update_stats=True)
  assert (np.asarray(stats["batch_stats"]["norm"]["mean"]) != 0).all()


class LeavesAfter(Interrupt):
  """Asks a run to leave after so many steps."""

  def __init__(self, steps: int):
    super().__init__()
    self._left = steps

  def everywhere(self) -> bool:
    self._left -= 1
    return self._left <= 0


def leaves(learner) -> dict[str, np.ndarray]:
  trees = [learner.params, learner.stats["batch_stats"]]
  return {path: np.asarray(of) for tree in trees for path, of in paths.flatten(tree).items()}


def batch_of():
  random = np.random.default_rng(0)
  label = random.integers(0, 3, (4, 16, 16)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}


def steps(method, number: int):
  """The learners before each step, and after the last one."""
  batch, step = batch_of(), jax.jit(method.train_step)
  states = [state_of(method, batch)]
  for at in range(number):
    states.append(step(states[-1], batch, jax.random.key(at))[0])
  return [leaves(state.learners["network"]) for state in states]


@pytest.mark.parametrize(
  ("changes", "moved"),
  [
    ({}, (3, 5)),
    ({"average": 0.9, "remat": "blocks"}, (3, 5)),
    ({"members": 2, "optimiser.accumulate": 2}, (4, 6)),
  ],
  ids=["alone", "average, remat", "members, accumulate"],
)
def test_the_encoder_keeps_its_bits_until_its_steps(changes, moved):
  trace = steps(tiny.experiment(**FREEZING, **changes).method, max(moved))
  for layer, first, begin in zip(reversed(LAYERS), moved, (3, 5), strict=True):
    # statistics follow the first batch, weights move at the end of an update
    of = {name: begin if name.endswith(("mean", "var")) else first for name in trace[0]}
    names = [name for name in trace[0] if name.startswith(layer)]
    assert {of[name] for name in names} == {begin, first}
    for name in names:
      for state in trace[: of[name]]:
        np.testing.assert_array_equal(state[name], trace[0][name], err_msg=name)
      if not name.endswith("bias"):
        assert (trace[of[name]][name] != trace[0][name]).any(), name
  assert (trace[2]["decoder1/layer1/norm/mean"] != trace[0]["decoder1/layer1/norm/mean"]).all()


def test_adapted_norms_of_a_frozen_encoder_follow_the_batches():
  trace = steps(tiny.experiment(**FREEZING | {"optimiser.frozen_norms": "adapted"}).method, 1)
  assert (trace[1]["encoder1/layer1/norm/mean"] != trace[0]["encoder1/layer1/norm/mean"]).all()
  kernel = "encoder1/layer1/conv/kernel"
  np.testing.assert_array_equal(trace[1][kernel], trace[0][kernel])


def test_what_is_frozen_for_good_costs_no_gradient():
  frozen = {"optimiser.scale": {"encoder*": 0.0}}
  flops, norms = [], []
  for changes in ({}, frozen):
    method = tiny.experiment(**changes).method
    state = state_of(method, batch_of())
    compiled = jax.jit(method.train_step).lower(state, batch_of(), jax.random.key(0)).compile()
    flops.append(compiled.cost_analysis()["flops"])
    norms.append(float(compiled(state, batch_of(), jax.random.key(0))[1]["gradient_norm"]))
  assert flops[1] < 0.9 * flops[0]
  assert 0 < norms[1] < norms[0]


def test_without_frozen_networks_a_method_is_what_it_was():
  method = tiny.experiment().method
  assert frozen_norms(method, []) is method
  assert frozen_norms(method, [Frozen(None, lambda path: 0)]) is not method


def test_two_devices_train_as_one():
  losses = []
  for devices in (1, 2):
    made = tiny.experiment(**FREEZING, **{"optimiser.name": "sgd", "optimiser.weight_decay": 0.0})
    patch = {"batches": {"config.data.batch": 4}, "patch": (16, 16), "stride": (2, 2)}
    layout = sharding.layout(devices=jax.devices()[:devices], **patch)
    batch, method = sharding.place(batch_of(), layout.split), made.method
    places = layout.of_state(jax.eval_shape(method.init, jax.random.key(0), batch_of()))
    state = jax.device_put(state_of(method, batch_of()), places)
    step = jax.jit(method.train_step, out_shardings=(places, layout.replicated))
    key = jax.device_put(jax.random.key(1), layout.replicated)
    of = []
    for _ in range(5):
      state, metrics = step(state, layout.spread(batch), key)
      of.append(metrics["loss"])
    losses.append(of)
  assert_close(losses[0], losses[1], atol=1e-5)


def test_a_run_that_is_drawn_to_its_source_resumes_bit_for_bit_without_it(tmp_path):
  options = {**FREEZING, "optimiser.l2_sp": 0.1, "optimiser.weight_decay": 0.0, "average": 0.9}
  source, whole, parts = (tmp_path / name for name in ("source", "whole", "parts"))
  loop.train(tiny.experiment(steps=1), source)
  run = tiny.experiment(**options)._replace(starts={"network": Start(Weights(run=str(source)))})
  loop.train(run, whole)
  kept = checkpoint.Checkpoints(whole)
  arrays = {name: np.asarray(of) for name, of in kept.arrays(kept.steps[0]).items()}
  (points,) = {name.split("/points/")[0] for name in arrays if "/points/" in name}
  theirs = checkpoint.load_learners(source)["network"].params
  for path, of in paths.flatten(theirs).items():
    np.testing.assert_array_equal(arrays[f"{points}/points/{path}"], of)
  assert loop.train(run, parts, interrupt=LeavesAfter(3)) is None
  gone = run._replace(starts={"network": Start(Weights(run=str(tmp_path / "gone")))})
  loop.train(gone, parts)
  again = checkpoint.Checkpoints(parts)
  for name, of in again.arrays(again.steps[0]).items():
    np.testing.assert_array_equal(np.asarray(of), arrays[name], err_msg=name)
