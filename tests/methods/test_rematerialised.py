"""Activations that are computed again: the same training, less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from network_rows import ROWS

from jaxseg import losses, networks
from jaxseg.methods.rematerialised import POLICIES, rematerialised
from jaxseg.methods.supervised import supervised
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.planning.peak_memory import of_compiled, of_step_traced
from jaxseg.xla_flags import of_step


def method_of(net):
  return supervised(net, losses.LOSSES["cross_entropy"], optax.sgd(0.1))


def shapes(size, batch=2, channels=1):
  return {
    "image": jax.ShapeDtypeStruct((batch, *size, channels), jnp.float32),
    "label": jax.ShapeDtypeStruct((batch, *size), jnp.int32),
  }


def key_shape():
  return jax.eval_shape(lambda: jax.random.key(0))


def checkpoints(method, batch) -> int:
  state = jax.eval_shape(method.init, key_shape(), batch)
  program = jax.make_jaxpr(method.train_step)(state, batch, key_shape())
  return str(program).count("checkpoint[") + str(program).count("remat")


NOISY = networks.UNet(classes=3, widths=(4, 6), depth=1, dropout=0.2, residual=True)
RECURRENT = networks.BDCLSTM(classes=3, k=1, widths=(4, 6), hidden=4, layers=1)


@pytest.mark.parametrize(
  ("net", "space", "policy"),
  [
    (NOISY, (12, 8), "products"),
    (NOISY, (12, 8), "blocks"),
    (RECURRENT, (3, 8, 4), "blocks"),
  ],
  ids=["products", "blocks", "recurrent"],
)
def test_a_step_is_the_same_with_noise_and_batch_statistics(net, space, policy):
  method = method_of(net)
  random = np.random.default_rng(0)
  batch = {
    "image": random.normal(size=(2, *space, 1)).astype(np.float32),
    "label": random.integers(0, 3, (2, *space)).astype(np.int32),
  }
  state = state_of(method, batch)
  plain, metrics = jax.jit(method.train_step)(state, batch, jax.random.key(1))
  again = rematerialised(method, policy=policy)
  saved, theirs = jax.jit(again.train_step, compiler_options=of_step(policy, "cpu"))(
    state, batch, jax.random.key(1)
  )
  assert jax.tree.structure(saved) == jax.tree.structure(plain)
  for ours, other in zip(jax.tree.leaves(saved), jax.tree.leaves(plain), strict=True):
    assert_close(ours, other, atol=1e-6)
  assert_close(theirs["gradient_norm"], metrics["gradient_norm"], atol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_every_network_is_computed_again_by_blocks(name):
  net = networks.NETWORKS[name](classes=3, **ROWS[name].small)
  stride, margin = (of(len(ROWS[name].sizes[0])) for of in (net.total_stride, net.margin))
  size = [-(-(16 + 2 * m) // s) * s for s, m in zip(stride, margin, strict=True)]
  method, batch = method_of(net), shapes(size)
  with cpu_gradients(False):
    assert checkpoints(rematerialised(method, policy="blocks"), batch) >= 2


def test_none_leaves_the_method_as_it_is_and_an_unknown_policy_is_refused():
  method = method_of(networks.UNet(widths=(4, 6)))
  assert rematerialised(method, policy="none") is method
  with pytest.raises(ValueError, match=r"rematerialised: policy.*'dots'.*products.*blocks"):
    rematerialised(method, policy="dots")


def test_a_network_inside_of_another_is_taken_apart_too():
  stage = dict(name="unet", widths=(4, 6), depth=1)
  alone = networks.UNet(classes=3, widths=(4, 6), depth=1)
  cascade = networks.PosteriorCascade(classes=3, stage=stage)
  count = {}
  for name, net in (("alone", alone), ("cascade", cascade)):
    count[name] = checkpoints(rematerialised(method_of(net), policy="blocks"), shapes((8, 8)))
  assert count["cascade"] >= 2 * count["alone"] > 2


@functools.cache
def temporaries(policy) -> int:
  net = networks.UNet(classes=3, widths=(8, 16), norm="instance", up="transpose", depth=2)
  method = rematerialised(method_of(net), policy=policy)
  batch = shapes((64, 64))
  state = jax.eval_shape(method.init, key_shape(), batch)
  with cpu_gradients(False):
    step = jax.jit(method.train_step, donate_argnums=0, compiler_options=of_step(policy, "cpu"))
    return of_compiled(step.lower(state, batch, key_shape()).compile()).temporaries


@pytest.mark.parametrize("policy", ["products", "blocks"])
def test_the_compiler_needs_less_memory(policy):
  assert temporaries(policy) < 0.85 * temporaries("none")


def test_the_steps_of_a_recurrent_layer_are_not_all_in_memory_at_once():
  net = networks.BDCLSTM(classes=3, k=1, widths=(4, 6), hidden=8, layers=1)

  def needs(policy):
    method = rematerialised(method_of(net), policy=policy)
    batch = shapes((12, 32, 32), batch=1)
    return of_step_traced(method.init, method.train_step, batch).temporaries

  assert needs("blocks") < 0.5 * needs("none")


def test_the_policies_are_those_of_the_config():
  from jaxseg.config.fields import FIELDS

  assert FIELDS["remat"].choices == POLICIES
