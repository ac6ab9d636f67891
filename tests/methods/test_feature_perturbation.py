"""Other features for a decoder: where encoders end, of a small example and of the house's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close
from flax import linen as nn
from gradients import drawn
from network_rows import ROWS

from jaxseg import networks
from jaxseg.method import forward
from jaxseg.methods.feature_perturbation import drop_channels, encode

# all that have an encoder and a decoder; of a network that is refused, why
REFUSED = {
  "pseudo3d": "nothing that the network gives is computed from its 'bottleneck'",
  **dict.fromkeys(
    (
      *("recurrent_saliency", "detect_then_segment", "triplanar", "h_denseunet", "bdclstm"),
      *("kiunet", "hyper_densenet", "decision_fusion"),
      *("cell_unet", "dints", "pnet"),
    ),
    "have no 'bottleneck' features that tell where its encoder ends",
  ),
}


class TwoLevels(nn.Module):
  """logits = coarse doubled + fine + image, coarse = 3 * mean of 2 * fine's pairs, fine = 2 image.

  Parameters of one number each; norm is there for a statistic that both halves compute with.
  """

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    two, three = (
      self.param(name, nn.initializers.constant(value), ()) for name, value in (("a", 2), ("b", 3))
    )
    fine = two * x
    coarse = three * fine.reshape(len(x), -1, 2, 1).mean(2)
    decoded = jnp.repeat(coarse, 2, 1) + fine + x
    return {"logits": decoded, "bottleneck": coarse}


def of(net, update_stats=True):
  def function(params, image, stats, key):
    return forward(net, params, stats, image, key=key, update_stats=update_stats)

  return function


def test_an_encoder_ends_where_nothing_more_is_needed_for_its_coarsest_features():
  x = jnp.arange(8.0).reshape(2, 4, 1)
  net = TwoLevels()
  params = net.init(jax.random.key(0), x)["params"]
  features, decode = encode(of(net), params, x, {}, jax.random.key(1))
  fine, coarse = features
  assert_close(fine, 2 * x)
  assert_close(coarse, 6 * np.array([[[0.5], [2.5]], [[4.5], [6.5]]]))
  assert_close(decode(features)[0]["logits"], forward(net, params, {}, x)[0]["logits"])
  # the image itself is no feature, and goes on to be seen
  assert_close(decode([0 * fine, 0 * coarse])[0]["logits"], x)
  assert_close(decode([0 * fine, coarse])[0]["logits"], x + np.repeat(coarse, 2, 1))
  assert_close(decode([fine, 0 * coarse])[0]["logits"], 3 * x)


def test_gradients_of_both_halves_are_those_of_the_whole():
  x = jnp.arange(8.0).reshape(2, 4, 1)
  net = TwoLevels()
  params = net.init(jax.random.key(0), x)["params"]

  def by_halves(params):
    features, decode = encode(of(net), params, x, {}, jax.random.key(1))
    return (decode(features)[0]["logits"] ** 2).sum()

  def whole(params):
    return (forward(net, params, {}, x)[0]["logits"] ** 2).sum()

  ours, theirs = (jax.jit(jax.grad(f))(params) for f in (by_halves, whole))
  for name in ours:
    assert_close(ours[name], theirs[name])


@pytest.mark.parametrize(("batch", "size"), [(2, (16, 16)), (1, (8, 8, 8))], ids=["2D", "3D"])
def test_a_u_net_gives_one_set_of_features_for_each_stage_and_all_its_outputs(batch, size):
  net = networks.UNet(widths=(4, 6, 8), depth=1, decoder_depth=1, dropout=0.2, residual=True)
  variables = {n: drawn(tree) for n, tree in shapes(net, batch, *size, 1, train=True)[1].items()}
  params, x = variables.pop("params"), np.random.default_rng(0).normal(size=(batch, *size, 1))
  x, key = jnp.asarray(x, jnp.float32), jax.random.key(1)

  @jax.jit
  def run(params, x):
    features, decode = encode(of(net), params, x, variables, key)
    dropped = decode(drop_channels(key, features, 0.5))[0]["logits"]
    return features, decode(features), dropped

  features, (outputs, stats), dropped = run(params, x)
  assert [f.shape[-1] for f in features] == [4, 6, 8]
  assert [f.shape[1] for f in features] == [size[0], size[0] // 2, size[0] // 4]
  plain, plain_stats = forward(net, params, variables, x, key=key, update_stats=True)
  jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-4), outputs, plain)
  jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-4), stats, plain_stats)
  assert np.abs(dropped - outputs["logits"]).max() > 0.1


@pytest.mark.parametrize("name", ROWS)
def test_every_network_is_taken_apart_or_refused_in_words(name):
  net, size = networks.NETWORKS[name](classes=3, **ROWS[name].small), ROWS[name].sizes[0]
  stride, margin = (f(len(size)) for f in (net.total_stride, net.margin))
  space = [-(-(16 + 2 * m) // s) * s for s, m in zip(stride, margin, strict=True)]
  variables = dict(shapes(net, 2, *space, 1, train=True)[1])
  params, x = variables.pop("params"), jax.ShapeDtypeStruct((2, *space, 1), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))

  def run(params, x, stats, key):
    features, decode = encode(of(net), params, x, stats, key)
    return features, decode(features)[0]["logits"]

  if name in REFUSED:
    with pytest.raises(ValueError, match=f"feature perturbation: .*{REFUSED[name]}"):
      jax.eval_shape(run, params, x, variables, key)
    return
  features, logits = jax.eval_shape(run, params, x, variables, key)
  assert all(f.shape[0] == 2 and f.ndim == x.ndim for f in features)
  assert logits.shape[-1] == 3


def test_channels_are_dropped_whole_and_the_others_make_up_for_them():
  x = jnp.ones((50, 3, 5, 40))
  (out,) = drop_channels(jax.random.key(0), [x], 0.25)
  assert np.array_equal(np.unique(out), np.float32([0, 4 / 3]))
  assert np.array_equal(out, np.broadcast_to(out[:, :1, :1], out.shape))
  assert abs(float((out > 0).mean()) - 0.75) < 0.03
