"""The contract of critics: scores of images and volumes, features, a gradient for the input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from abstract import count, shapes
from critic_rows import SMALL, channels

from jaxseg.method import descend, forward, learner
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.networks.critics import CRITICS
from jaxseg.networks.critics.convolution import SPECTRAL

SCORED = [name for name in CRITICS if name != "multi_scale_critic"]


def inputs_of(name, *shape):
  random = np.random.default_rng(0)
  arrays = [random.standard_normal((*shape, count)) for count in channels(name)]
  return [jnp.asarray(array, jnp.float32) for array in arrays]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_scores_and_teaches(name, rank):
  net = CRITICS[name](**SMALL[name])
  x, *further = inputs_of(name, 2, *(16,) * rank)
  variables = jax.jit(net.init)(jax.random.key(0), x, *further)

  @jax.jit
  def judged(x):
    outputs = net.apply(variables, x, *further)
    score = outputs["score"] if name in SCORED else outputs["stage3"]
    return score.sum(), outputs

  (_, outputs), gradient = jax.value_and_grad(judged, has_aux=True)(x)
  assert ("score" in outputs) == (name in SCORED)
  if name in SCORED:
    score = outputs["score"]
    assert (len(score), score.shape[-1], score.dtype) == (2, 1, jnp.float32)
  assert len(outputs) > 1
  assert gradient.shape == x.shape
  assert np.isfinite(gradient).all()
  assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_in_half_precision_scores_in_full(name):
  net = CRITICS[name](**SMALL[name], dtype=jnp.bfloat16)
  x = inputs_of(name, 1, 16, 16)
  outputs = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), *x))[0]
  assert name not in SCORED or outputs["score"].dtype == jnp.float32
  assert outputs["stage1"].dtype == jnp.bfloat16


@pytest.mark.parametrize("name", CRITICS)
def test_too_small_an_input_is_told(name):
  options = {**SMALL[name], "widths": (4,) * 6}
  net = CRITICS[name](**{**options, **({"kernels": 4} if "kernels" in options else {})})
  with pytest.raises(ValueError, match=rf"{name}: an input of \(16, 16\) is too small for 6 stage"):
    jax.eval_shape(lambda: net.init(jax.random.key(0), *inputs_of(name, 1, 16, 16)))


@pytest.mark.parametrize("name", CRITICS)
def test_spectral_norm_is_of_the_same_parameters_and_of_state_besides(name):
  x = inputs_of(name, 1, 16, 16)
  plain, normed = (
    jax.eval_shape(
      lambda net=CRITICS[name](**SMALL[name], spectral=spectral): net.init(jax.random.key(0), *x)
    )
    for spectral in (False, True)
  )
  assert plain["params"] == normed["params"]
  assert set(normed) - set(plain) == {SPECTRAL}
  kernels = [leaf for leaf in jax.tree.leaves(plain["params"]) if leaf.ndim > 1]
  assert len(jax.tree.leaves(normed[SPECTRAL])) == 2 * len(kernels)


def test_spectral_norm_finds_the_largest_singular_value_of_a_training_network():
  net = CRITICS["patch_critic"](widths=(4, 8), norm="none", spectral=True)
  (x,) = inputs_of("patch_critic", 1, 16, 16)
  judge = learner(net, optax.sgd(0.0), jax.random.key(0), x)
  before = judge.stats

  @jax.jit
  def step(judge):
    def objective(params):
      out, stats = forward(net, params, judge.stats, x, update_stats=True)
      return out["score"].mean(), (stats, {})

    return descend(optax.sgd(0.0), judge, objective)[0]

  for _ in range(60):
    judge = step(judge)
  assert not np.allclose(jax.tree.leaves(before)[1], jax.tree.leaves(judge.stats)[1])
  for layer in ("Conv_0", "Conv_1", "Conv_2"):
    kernel = np.asarray(judge.params[layer]["kernel"])
    largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
    sigma = [v for of in judge.stats[SPECTRAL].values() for k, v in of.items() if layer in k]
    np.testing.assert_allclose([v for v in sigma if not v.shape], largest, rtol=5e-3)
  # applied without training, all stays as it is
  same = forward(net, judge.params, judge.stats, x)[1]
  jax.tree.map(np.testing.assert_array_equal, same, judge.stats)


@pytest.mark.parametrize(
  ("name", "options", "inputs", "published"),
  [
    # the codes of Hung et al. (FCDiscriminator, 64), SegAN (NetC, what its forward pass uses) and
    # SSL4MIS (FCDiscriminator of 2D images)
    ("fully_convolutional_critic", {}, (21,), 2_783_169),
    ("fully_convolutional_critic", {}, (4,), 2_765_761),
    ("multi_scale_critic", {}, (3,), 9_393_088),
    ("two_input_critic", {}, (4, 1), 2_762_754),
  ],
)
def test_the_published_number_of_parameters(name, options, inputs, published):
  arrays = [jnp.zeros((1, 128, 128, number)) for number in inputs]
  net = CRITICS[name](**options)
  assert count(jax.eval_shape(net.init, jax.random.key(0), *arrays)["params"]) == published


def test_the_residual_critic_has_its_layers_parameters():
  widths, total, before = (8, 16, 32, 64, 64), 0, 4
  for number, width in enumerate(widths):
    taps = 49 if number == 0 else 9
    norms = 2 * (2 if before == width else 3) * width
    total += taps * (before + width) * width + norms + (before * width if before != width else 0)
    before = width
  params = shapes(CRITICS["residual_critic"](), 1, 64, 64, 4)[1]["params"]
  assert count(params) == total + 64 + 1


def test_segans_features_of_128_pixels_are_the_published_number():
  outputs = shapes(CRITICS["multi_scale_critic"](), 1, 128, 128, 3)[0]
  assert list(outputs) == ["input", *(f"stage{i}" for i in range(1, 7))]
  assert count(outputs) == 550_912


def test_a_fully_convolutional_critic_scores_every_voxel():
  net = CRITICS["fully_convolutional_critic"](widths=(2, 4))
  for space in ((24, 40), (8, 16, 24)):
    assert shapes(net, 2, *space, 3)[0]["score"].shape == (2, *space, 1)


def test_the_two_input_critic_sees_both_and_refuses_other_sizes():
  net = CRITICS["two_input_critic"](widths=(2, 4))
  maps, image = jnp.ones((2, 16, 16, 3)), jnp.ones((2, 16, 16, 1))
  variables = net.init(jax.random.key(0), maps, image)
  score = net.apply(variables, maps, image)["score"]
  assert score.shape == (2, 1)
  assert not np.allclose(score, net.apply(variables, maps, 2 * image)["score"])
  assert not np.allclose(score, net.apply(variables, 2 * maps, image)["score"])
  # its dropout is on with a key alone
  noisy = net.apply(variables, maps, image, rngs={"dropout": jax.random.key(1)})["score"]
  assert not np.allclose(score, noisy)
  with pytest.raises(
    ValueError, match=r"maps of \(2, 16, 16\) voxels for an image of \(2, 8, 16\)"
  ):
    net.init(jax.random.key(0), maps, image[:, :8])


# spectral norm is a factor of the same kernels
@pytest.mark.parametrize(
  ("name", "spectral"), [*((n, True) for n in CRITICS), ("patch_critic", False)]
)
def test_the_gradient_of_a_gradient_is_xlas_own_on_cpus_too(name, spectral):
  fields = CRITICS[name].__dataclass_fields__
  options = {**SMALL[name], **({"norm": "instance"} if "norm" in fields else {})}
  net = CRITICS[name](**options, spectral=spectral)
  x, *further = inputs_of(name, 2, 16, 16)
  variables = jax.jit(net.init)(jax.random.key(0), x, *further)
  params, rest = variables["params"], {k: of for k, of in variables.items() if k != "params"}

  def squared_slope(params):
    def judged(x):
      outputs = net.apply({"params": params, **rest}, x, *further)
      return (outputs["score"] if name in SCORED else outputs["stage3"]).mean()

    return jnp.square(jax.grad(judged)(x)).sum()

  of = {}
  for ours in (True, False):
    with cpu_gradients(ours):
      of[ours] = jax.jit(jax.grad(lambda params: squared_slope(params)))(params)
  largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(of[False]))
  assert largest > 0
  for ours, plain in zip(*map(jax.tree.leaves, (of[True], of[False])), strict=True):
    np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-5 * largest)
