"""The swap of ReLUs' derivative: the same values, another gradient, wherever the ReLU stands."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg.explain import activations
from jaxseg.explain.guided import guided
from jaxseg.networks import NETWORKS
from jaxseg.networks.blocks import Activation


class Small(nn.Module):
  """Two layers and a ReLU as a module or a function, bare, in a remat, or three times in a scan."""

  kind: str = "relu"
  around: str = ""

  @nn.compact
  def __call__(self, x):
    def layer(module, x):
      del module
      return Activation(self.kind)(nn.Dense(6, name="dense")(x))

    if self.around == "remat":
      x = nn.remat(layer)(self, x)
    elif self.around == "scan":
      x = nn.Dense(6, name="first")(x)
      each = nn.scan(
        lambda module, x, _: (layer(module, x), None),
        variable_broadcast="params",
        split_rngs={"params": False},
        length=3,
      )
      x, _ = each(self, x, None)
    else:
      x = jax.nn.relu(nn.Dense(6, name="dense")(x)) if self.kind == "function" else layer(self, x)
    return {"logits": nn.Dense(2, name="head")(x)}


def built(net, shape=(1, 4, 4, 3)):
  image = jax.random.normal(jax.random.key(1), shape)
  params = net.init(jax.random.key(0), image)
  return lambda params, x: net.apply(params, x), params, image, jnp.ones((*shape[:-1], 2))


def test_a_leaky_relu_drops_its_leak():
  apply, params, image, _ = built(Small("leaky_relu"))
  assert activations.count(apply, params, image) == {"leaky_relu": 1}
  rule = activations.with_rule(lambda x: jax.nn.leaky_relu(x, 0.1), activations.guided)
  gradient = jax.vjp(rule, jnp.array([-1.0, 2.0, 3.0]))[1](jnp.array([5.0, 5.0, -5.0]))[0]
  np.testing.assert_array_equal(gradient, [0, 5, 0])


@pytest.mark.parametrize("kind", ["function", "relu"])
def test_by_a_module_or_a_function_the_rule_is_the_same(kind):
  values = guided(*built(Small(kind))).values
  np.testing.assert_array_equal(values, guided(*built(Small())).values)
  assert float(abs(values).max()) > 0


def test_under_remat_the_map_is_that_without():
  plain, again = (guided(*built(Small(around=around))) for around in ("", "remat"))
  np.testing.assert_allclose(again.values, plain.values, rtol=1e-6)
  assert again.numbers["rectifiers"] == 1


def test_in_a_scan_every_step_goes_by_the_rule():
  apply, params, image, target = built(Small(around="scan"))
  w = params["params"]

  def unrolled(image):
    x = image @ w["first"]["kernel"]
    kept = []
    for _ in range(3):
      x = x @ w["dense"]["kernel"]
      kept.append(x > 0)
      x = jax.nn.relu(x)
    g = target @ w["head"]["kernel"].T
    for mask in reversed(kept):
      g = jnp.where(mask & (g > 0), g, 0) @ w["dense"]["kernel"].T
    return g @ w["first"]["kernel"].T

  np.testing.assert_allclose(
    guided(apply, params, image, target).values, unrolled(image), rtol=1e-5, atol=1e-6
  )


@pytest.mark.bits
@pytest.mark.parametrize(
  ("name", "options", "rank"),
  [
    ("attention_unet", dict(widths=(4, 8, 8)), 2),
    ("unet", dict(widths=(4, 8), residual=True, attention="se", activation="leaky_relu"), 3),
  ],
)
@pytest.mark.parametrize("rule", [activations.guided, activations.deconvolution])
def test_the_forward_pass_is_the_same_bit_for_bit(name, options, rank, rule):
  net = NETWORKS[name](classes=2, **options)
  image = jax.random.normal(jax.random.key(1), (1, *(16,) * rank, 1))
  variables = jax.jit(functools.partial(net.init, train=True))(jax.random.key(0), image)

  def apply(variables, x):
    return net.apply(variables, x)["logits"]

  plain = jax.jit(apply)(variables, image)
  swapped = jax.jit(activations.with_rule(apply, rule))(variables, image)
  np.testing.assert_array_equal(plain, swapped)


def test_a_network_without_any_relu_is_refused_in_words():
  with pytest.raises(ValueError, match=r"no ReLU to pass by their rule.*use gradient"):
    guided(*built(Small("gelu")))
