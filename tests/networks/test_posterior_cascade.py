"""Auto-context: the published count, what the second stage sees, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count
from closeness import assert_close

from jaxseg.networks import NETWORKS, PosteriorCascade
from jaxseg.networks.blocks.posterior import background_logits, entropy, foreground, posterior

TINY = dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)


def variables_of(net, *shape):
  run = lambda x: net.init(jax.random.key(0), x, train=True)  # noqa: E731
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return np.ones(leaf.shape, np.float32)
    return (rng.normal(size=leaf.shape) * 0.3).astype(np.float32)

  shapes = jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))
  return jax.tree_util.tree_map_with_path(draw, dict(shapes))


def test_the_second_stage_is_a_baseline_with_three_more_channels():
  net = PosteriorCascade()
  x = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
  params = jax.eval_shape(net.init, jax.random.key(0), x)["params"]
  assert count(params["stage1"]) == 22_720_640
  assert count(params["stage2"]) == 22_722_368


@pytest.mark.parametrize("joint", [True, False])
def test_the_second_stages_loss_trains_the_first_only_if_they_are_joint(joint):
  net = PosteriorCascade(stage=TINY, joint=joint)
  x = np.random.default_rng(1).normal(size=(2, 8, 6, 1)).astype(np.float32)
  variables = variables_of(net, *x.shape)

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      return jnp.square(out["logits"]).sum()

    return jax.grad(loss)(params)

  got = gradient(variables["params"])
  largest = {name: max(np.abs(g).max() for g in jax.tree.leaves(got[name])) for name in got}
  assert largest["stage2"] > 0
  assert (largest["stage1"] > 0) == joint


@pytest.mark.parametrize("size", [(8, 6), (4, 6, 8)])
def test_the_second_stage_sees_the_image_and_the_posterior(size):
  net = PosteriorCascade(stage=TINY, uncertainty=True)
  x = np.random.default_rng(1).normal(size=(2, *size, 1)).astype(np.float32)
  variables = variables_of(net, *x.shape)
  stage = NETWORKS["unet"](widths=(4, 6), depth=1, decoder_depth=1)

  @jax.jit
  def run(variables, x):
    own = [{k: v[f"stage{i}"] for k, v in variables.items()} for i in (1, 2)]
    first = stage.apply(own[0], x)["logits"]
    p = jax.nn.softmax(first)
    unsure = -(p * jnp.log(p)).sum(-1, keepdims=True) / jnp.log(3.0)
    second = stage.apply(own[1], jnp.concatenate([x, p, unsure], -1))["logits"]
    return first, second, net.apply(variables, x)

  first, second, out = run(variables, x)
  assert_close(out["stage1"], first)
  np.testing.assert_allclose(out["logits"], second, rtol=1e-4, atol=1e-5)
  assert "aux" not in out


def test_stages_may_differ_and_every_earlier_one_is_supervised():
  deep = {**TINY, "widths": (4, 6, 8), "deep_supervision": 1}
  net = PosteriorCascade(stages=3, stage=(TINY, "unet", deep), context="logits")
  x = jax.ShapeDtypeStruct((2, 17, 16, 2), jnp.float32)

  def run(x):
    return net.init_with_output(jax.random.key(0), x, train=True)[0]

  out = jax.eval_shape(run, x)
  shapes = [a.shape for a in out["aux"]]
  assert shapes == [(2, 17, 16, 3), (2, 17, 16, 3), (2, 9, 8, 3)]
  assert out["stage1"].shape == out["stage2"].shape == out["logits"].shape == (2, 17, 16, 3)
  assert net.total_stride(2) == (16, 16)
  assert net.margin(2) == (0, 0)


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="stages=1; expected at least two"):
    PosteriorCascade(stages=1)
  with pytest.raises(ValueError, match=r"network.stage.name: 'unett' is unknown.*did you mean"):
    PosteriorCascade(stage="unett")
  with pytest.raises(ValueError, match=r"network.stage.width: 'unet' has no such option"):
    PosteriorCascade(stage=dict(name="unet", width=3))
  with pytest.raises(ValueError, match="context='prior' is unknown; choices: posterior, logits"):
    PosteriorCascade(context="prior")
  with pytest.raises(ValueError, match="set posterior='sigmoid'"):
    PosteriorCascade(classes=1)
  with pytest.raises(ValueError, match="has 3 entries but 2 are needed"):
    PosteriorCascade(stage=("unet",) * 3)
  valid = PosteriorCascade(stage="unet2015")
  with pytest.raises(ValueError, match="an inner network must keep the size"):
    jax.eval_shape(valid.init, jax.random.key(0), jnp.zeros((1, 188, 188, 1)))


def test_posteriors_of_classes_and_of_regions():
  logits = jnp.log(jnp.asarray([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))[None]
  assert_close(posterior(logits)[0, 0], [0.5, 0.25, 0.25])
  assert_close(foreground(posterior(logits)), [[0.5, 2 / 3]])
  bits = 1.5 * np.log(2) / np.log(3)
  assert_close(entropy(logits)[0, :, 0], [bits, 1])
  regions = jnp.asarray([[[0.0, 50.0, -50.0], [0.0, 0.0, 0.0]]])
  assert_close(foreground(posterior(regions, "sigmoid"), "sigmoid"), [[1, 0.5]])
  assert_close(entropy(regions, "sigmoid")[0, :, 0], [1 / 3, 1], atol=1e-6)
  np.testing.assert_array_equal(background_logits(regions[0]), [[0, -10, -10]] * 2)
  np.testing.assert_array_equal(background_logits(regions[0], "sigmoid"), [[-10] * 3] * 2)
  with pytest.raises(ValueError, match="over one class is constant"):
    posterior(jnp.zeros((1, 4, 1)))
