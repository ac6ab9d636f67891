"""FLOPs against counts by hand."""

import types

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from jaxseg.benchmark import flops
from jaxseg.method import State, descend, forward, learner

BATCH, SIDE, IN, OUT = 2, 8, 3, 5


class Two(nn.Module):
  """A 3x3 convolution and one of 1x1, as the project's networks have them."""

  remat: bool = False

  @nn.compact
  def __call__(self, x, *, train):
    first = nn.remat(nn.Conv) if self.remat else nn.Conv
    x = first(OUT, (3, 3), name="first")(x)
    return {"logits": nn.Conv(4, (1, 1), name="second")(jnp.sin(x))}


def program(net, shape=(BATCH, SIDE, SIDE, IN)):
  tx = optax.sgd(0.1)

  def init(key, x):
    return State(jnp.zeros((), jnp.int32), {"network": learner(net, tx, key, x)})

  def update(state, batch, key):
    def objective(params):
      out, stats = forward(net, params, {}, batch["image"], train=True)
      return jnp.mean(out["logits"] ** 2), (stats, {})

    new, metrics = descend(tx, state.learners["network"], objective)
    return State(state.step + 1, {"network": new}), metrics

  def batch(step, store, element, seed):
    return {"image": element}, jax.random.key(seed)

  def apply(state, batch):
    return forward(net, state.learners["network"].params, {}, batch["image"])[0]

  element = jax.ShapeDtypeStruct(shape, jnp.float32)
  seed = jax.ShapeDtypeStruct((), jnp.uint32)
  state = jax.eval_shape(init, jax.eval_shape(lambda: jax.random.key(0)), element)

  def train(state, store, element, seed):
    return update(state, *batch(state.step, store, element, seed))

  shapes = (state, {}, element, seed)
  return types.SimpleNamespace(
    shapes=lambda: shapes,
    batch=batch,
    update=update,
    apply=apply,
    compiled=lambda: jax.jit(train).lower(*shapes).compile(),
    measured={},
    dtype="float32",
    layout=types.SimpleNamespace(mesh=types.SimpleNamespace(size=1)),
    say=lambda text: None,
  )


# multiplication and addition apart, borders as if they were not padded
FIRST = 2 * BATCH * SIDE**2 * 9 * IN * OUT
SECOND = 2 * BATCH * SIDE**2 * OUT * 4


def test_a_step_is_both_convolutions_forward_their_kernels_gradients_and_the_inner_ones_input():
  values = flops.measure(program(Two()), options={"measure_peak": False})
  assert values["forward_flops_per_step"] == FIRST + SECOND
  # the images' own gradient is not asked for
  assert values["model_flops_per_step"] == 2 * FIRST + 3 * SECOND
  assert values["model_method"] == flops.COUNTED


def test_what_is_computed_again_counts_as_traced_not_as_the_models():
  values = flops.measure(program(Two(remat=True)), options={"measure_peak": False})
  assert values["model_flops_per_step"] == 3 * (FIRST + SECOND)
  assert values["model_method"] == flops.TRIPLE
  assert values["traced_flops_per_step"] >= 2 * FIRST + 3 * SECOND


def test_without_a_known_peak_there_is_no_share_of_it():
  made = program(Two())
  made.measured["training"] = {"step_seconds": {"median": 0.5}}
  values = flops.measure(made, options={"measure_peak": False})
  assert values["model_flops_per_second_per_device"] == 2 * values["model_flops_per_step"]
  assert "share_of_peak" not in values
  assert any("not known" in text for _, text in flops.lines(values))


@pytest.mark.parametrize(
  ("product", "convolution", "best"), [(1e9, 2e9, "convolution"), (2e9, 1e9, "matrix product")]
)
def test_a_measured_peak_is_named_as_such(monkeypatch, product, convolution, best):
  speeds = {
    "matrix_product_flops_per_second": product,
    "convolution_flops_per_second": convolution,
  }
  monkeypatch.setattr(flops.peaks, "measured", lambda dtype: speeds)
  made = program(Two())
  made.measured["training"] = {"step_seconds": {"median": 1e-3}}
  values = flops.measure(made, options={"measure_peak": True})
  assert values["peak_flops_per_second_per_device"] == 2e9
  assert values["peak_source"] == f"measured here by a {best}"
  expected = values["model_flops_per_step"] / 1e-3 / 2e9
  assert values["share_of_peak"] == pytest.approx(expected)
