"""What methods say of networks whose answer is known, and all of them of a small network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxseg import explain
from jaxseg.explain import class_activation, layers
from jaxseg.explain.attention import attention, maps
from jaxseg.explain.noise import noisy, sources
from jaxseg.networks import NETWORKS
from jaxseg.networks.blocks.transformer import SelfAttention

WEIGHTS = np.array([[1.0, -2], [0.5, 3]], np.float32)


def linear(params, image):
  return {"logits": image @ params}


def target(shape, channel=1):
  return jnp.zeros(shape).at[..., channel].set(1.0)


def test_of_a_linear_network_all_but_the_maps_of_layers_are_weights_times_image():
  image = jax.random.normal(jax.random.key(0), (1, 8, 8, 2))
  aim, weights = target(image.shape), jnp.asarray(WEIGHTS)
  of = {name: explain.METHODS[name].function for name in explain.METHODS}
  expected = jnp.broadcast_to(weights[:, 1], image.shape)
  for name in ("gradient", "smooth_grad"):
    np.testing.assert_allclose(of[name](linear, weights, image, aim).values, expected, rtol=1e-5)
  found = of["integrated_gradients"](linear, weights, image, aim)
  np.testing.assert_allclose(found.values, image * expected, rtol=1e-4, atol=1e-6)
  fall = of["occlusion"](linear, weights, image, aim, box=1, step=1)
  np.testing.assert_allclose(fall.values, (image * expected).sum(-1), rtol=1e-3, atol=1e-4)
  assert fall.numbers["boxes"] == 64


def test_integrated_gradients_add_up_where_an_instance_norm_hides_the_way():
  net = NETWORKS["unet"](classes=2, widths=(4, 8), norm="instance")
  image = 1 + jax.random.normal(jax.random.key(1), (1, 16, 16, 1))
  variables = net.init(jax.random.key(0), image, train=True)

  def apply(params, x):
    return net.apply(params, x)

  aim = target((1, 16, 16, 2)) - target((1, 16, 16, 2), 0)
  integrated = explain.METHODS["integrated_gradients"].function
  numbers = integrated(apply, variables, image, aim).numbers
  assert numbers["completeness_error"] < 0.01
  plain = integrated(apply, variables, image, aim, tolerance=0.0, steps=64).numbers
  assert plain["completeness_error"] > 5 * numbers["completeness_error"]


def small(**options):
  net = NETWORKS["unet"](classes=2, widths=(4, 8), dropout=0.5, **options)
  image = jax.random.normal(jax.random.key(1), (1, 8, 8, 1))
  variables = net.init(jax.random.key(0), image, train=True)
  return net, lambda params, x: net.apply(params, x), variables, image


def test_noise_is_that_of_training_with_the_same_key_and_off_without():
  net, apply, variables, image = small(norm="instance")
  key = jax.random.key(5)
  found = noisy(apply, key)(variables, image)["logits"]
  np.testing.assert_array_equal(found, net.apply(variables, image, rngs={"dropout": key})["logits"])
  assert float(abs(found - apply(variables, image)["logits"]).max()) > 0
  assert sources(apply, variables, image)
  bare = NETWORKS["unet"](classes=2, widths=(4, 8))
  params = jax.eval_shape(lambda: bare.init(jax.random.key(0), image))
  assert not sources(lambda p, x: bare.apply(p, x), params, image)


class Tokens(nn.Module):
  """Self-attention over patches of 2 x 2; the scores are what each token gets."""

  @nn.compact
  def __call__(self, x):
    coarse = nn.avg_pool(x, (2, 2), strides=(2, 2))
    tokens = coarse.reshape(coarse.shape[0], -1, coarse.shape[-1])
    out = SelfAttention(2, name="attention")(tokens).reshape(coarse.shape)
    return {"logits": jnp.repeat(jnp.repeat(out, 2, 1), 2, 2)}


def test_self_attention_tells_what_the_tokens_of_the_target_look_at():
  net, image = Tokens(), jax.random.normal(jax.random.key(0), (1, 4, 6, 4))
  params = net.init(jax.random.key(1), image)

  def apply(params, x):
    return net.apply(params, x)

  (name,) = maps(apply, params, image)
  aim = jnp.zeros((1, 4, 6, 4)).at[0, 3, 0, 2].set(1.0)
  values = attention(apply, params, image, aim, layer=name).values
  tokens = image.reshape(2, 2, 3, 2, 4).mean((1, 3)).reshape(6, 4)
  qkv = (tokens @ params["params"]["attention"]["qkv"]["kernel"]).reshape(6, 3, 2, 2)
  scores = jnp.einsum("hd,khd->hk", qkv[3, 0], qkv[:, 1]) / np.sqrt(2)
  expected = jax.nn.softmax(scores).mean(0).reshape(2, 3)
  # in the corners, interpolation gives the token's own value
  np.testing.assert_allclose(values[0, ::3, ::5], expected[:, ::2], rtol=1e-5)


def test_the_windows_of_a_swin_transformer_are_put_back_where_they_were():
  net = NETWORKS["swin_unetr"](classes=2, features=4, depths=(2,), heads=(1,), window=4)
  image = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
  variables = net.init(jax.random.key(1), image)

  def apply(params, x):
    return net.apply(params, x)

  known = maps(apply, variables, image)
  assert [of.shift for of in known.values()] == [(0, 0), (2, 2)]
  for name, of in known.items():
    aim = jnp.zeros((1, 16, 16, 2)).at[0, 6, 6, 1].set(1.0)
    values = np.asarray(attention(apply, variables, image, aim, layer=name).values)[0]
    # only the window of the target's token, (3, 3), is looked at: voxels 0 to 7, shifted 4 to 11
    first = 2 * of.shift[0]
    inside = values[first : first + 8, first : first + 8]
    assert inside.min() > 0
    assert values[first + 9 :].max(initial=0) == 0
    assert values[: max(0, first - 1)].max(initial=0) == 0


def test_gates_give_their_coefficients():
  _, apply, variables, image = small(norm="instance", skip="attention_gate")
  assert list(maps(apply, variables, image)) == ["attention1"]
  aim = target((1, 8, 8, 2))
  values = attention(apply, variables, image, aim, layer="attention1").values
  np.testing.assert_allclose(values, apply(variables, image)["attention1"][..., 0], rtol=1e-6)
  with pytest.raises(ValueError, match=r"--layer attention9: .* has no such attention map"):
    attention(apply, variables, image, aim, layer="attention9")


def test_the_edges_of_a_shape_stream_are_a_map_and_their_logits_are_none():
  def apply(params, x):
    return {"logits": x * params, "edge": x[..., :1], "edge_logits": x[..., :1]}

  image = jax.random.uniform(jax.random.key(0), (1, 4, 4, 2))
  assert list(maps(apply, 1.0, image)) == ["edge"]
  values = attention(apply, 1.0, image, image, layer="edge").values
  np.testing.assert_array_equal(values, image[..., 0])


@pytest.mark.parametrize(
  "name", [name for name, of in explain.METHODS.items() if of.kind in (explain.LAYER, explain.HEAD)]
)
def test_maps_of_layers_are_on_the_images_grid(name):
  _, apply, variables, image = small(norm="instance")
  layer = "head" if explain.METHODS[name].kind == explain.HEAD else "encoder2"
  found = explain.METHODS[name].function(apply, variables, image, target((1, 8, 8, 2)), layer=layer)
  assert found.values.shape[:3] == (1, 8, 8)
  assert np.isfinite(found.values).all()


def test_hires_cam_of_the_head_is_cam_of_a_whole_class():
  _, apply, variables, image = small(norm="instance")
  aim = target((1, 8, 8, 2))
  found = layers.features(apply, variables, image, aim, "head", layers.INPUT)
  cam = class_activation.class_activation(apply, variables, image, aim, layer="head").values
  hires = class_activation.hires_cam(found.values, found.gradients)
  np.testing.assert_allclose(jax.nn.relu(cam), hires, rtol=1e-4, atol=1e-5)
