"""The convolution block against sums in numpy and PyTorch's padding rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import Conv, convolve, cpu_conv
from jaxseg.networks.blocks.acceleration import cpu_gradients

# space, channels, features, kernel, stride, dilation, groups
CASES = {
  "plain": ((5, 6, 7), 6, 5, (3, 3, 3), (1, 1, 1), (1, 1, 1), 1),
  "one channel": ((5, 6, 7), 1, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), 1),
  "strided": ((5, 6, 7), 6, 4, (2, 3, 3), (2, 2, 2), (1, 1, 1), 1),
  "strided in plane": ((4, 7, 6), 2, 4, (3, 3, 3), (1, 2, 2), (1, 1, 1), 1),
  "dilated": ((7, 8, 5), 5, 4, (3, 3, 3), (1, 1, 1), (2, 2, 2), 1),
  "strided and dilated": ((7, 8, 9), 5, 4, (3, 3, 3), (2, 1, 2), (2, 1, 2), 1),
  "grouped": ((4, 5, 6), 6, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), 2),
  "depthwise": ((4, 5, 6), 4, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), 4),
  "depthwise strided": ((7, 8, 9), 3, 6, (3, 3, 3), (2, 1, 2), (2, 1, 1), 3),
  "depthwise of many taps": ((6, 5, 7), 3, 3, (5, 3, 3), (1, 1, 1), (1, 1, 1), 3),
  "flat kernel": ((3, 6, 5), 5, 4, (1, 3, 3), (1, 1, 1), (1, 1, 1), 1),
  "tall kernel": ((6, 3, 5), 5, 4, (3, 1, 1), (2, 1, 1), (1, 1, 1), 1),
  "pointwise": ((3, 4, 5), 5, 4, (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
  "pointwise strided": ((3, 4, 5), 5, 4, (1, 1, 1), (2, 2, 2), (1, 1, 1), 1),
  "even kernel": ((6, 4, 8), 5, 4, (2, 2, 2), (2, 2, 2), (1, 1, 1), 1),
  "one voxel deep": ((1, 6, 7), 6, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), 1),
  "2D plain": ((6, 7), 6, 5, (3, 3), (1, 1), (1, 1), 1),
  "2D one channel": ((6, 7), 1, 5, (3, 3), (1, 1), (1, 1), 1),
  "2D strided": ((7, 6), 6, 5, (3, 3), (2, 2), (1, 1), 1),
  "2D dilated": ((7, 6), 6, 5, (3, 3), (1, 1), (2, 3), 1),
  "2D grouped": ((7, 6), 6, 4, (3, 3), (1, 1), (1, 1), 2),
  "2D depthwise strided": ((7, 6), 4, 8, (3, 3), (2, 2), (1, 1), 4),
  "2D pointwise": ((7, 6), 6, 4, (1, 1), (1, 1), (1, 1), 1),
  "1D": ((9,), 3, 4, (3,), (2,), (1,), 1),
}


def oracle(x, weights, cotangent, *, stride, padding, dilation, groups=1):
  """Value and both gradients by sums over kernel voxels, in float64 numpy."""
  x, weights, cotangent = (np.asarray(a, np.float64) for a in (x, weights, cotangent))
  padded = np.pad(x, ((0, 0), *padding, (0, 0)))
  span = [d * (k - 1) + 1 for k, d in zip(weights.shape[:-2], dilation, strict=True)]
  size = [(n - f) // s + 1 for n, f, s in zip(padded.shape[1:-1], span, stride, strict=True)]
  out = np.zeros((len(x), *size, weights.shape[-1]))
  dx, dw = np.zeros_like(padded), np.zeros_like(weights)
  inputs, outputs = weights.shape[-2], weights.shape[-1] // groups
  for tap in np.ndindex(*weights.shape[:-2]):
    first = [t * d for t, d in zip(tap, dilation, strict=True)]
    where = tuple(
      slice(f, f + (n - 1) * s + 1, s) for f, n, s in zip(first, size, stride, strict=True)
    )
    for g in range(groups):
      source = (slice(None), *where, slice(g * inputs, (g + 1) * inputs))
      sink = (..., slice(g * outputs, (g + 1) * outputs))
      out[sink] += padded[source] @ weights[tap][sink]
      if cotangent.ndim:
        dx[source] += cotangent[sink] @ weights[tap][sink].T
        dw[tap][sink] += _product(padded[source], cotangent[sink])
  keep = tuple(slice(low, n - high) for (low, high), n in zip(padding, dx.shape[1:-1], strict=True))
  return out, dx[(slice(None), *keep)], dw


def _product(a, b):
  return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def example(case, seed=0):
  space, channels, features, kernel, stride, dilation, groups = CASES[case]
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(2, *space, channels)).astype(np.float32)
  weights = rng.normal(size=(*kernel, channels // groups, features)).astype(np.float32)
  span = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
  padding = tuple((s // 2, s - s // 2) for s in span)
  options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
  return x, weights, options


def value_and_gradients(x, weights, cotangent, options):
  def run(x, weights, cotangent):
    out, pullback = jax.vjp(lambda x, w: convolve(x, w, **options), x, weights)
    return out, *pullback(cotangent)

  return jax.jit(run)(x, weights, cotangent)


def check(x, weights, options):
  shape = oracle(x, weights, 0, **options)[0].shape
  cotangent = np.random.default_rng(5).normal(size=shape).astype(np.float32)
  chosen = value_and_gradients(x, weights, cotangent, options)
  for one, other in zip(chosen, oracle(x, weights, cotangent, **options), strict=True):
    assert_close(one, other, atol=5e-5)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_the_sum_over_kernel_voxels(case):
  check(*example(case))


@pytest.mark.parametrize("voxels", [5, 14, 40])
@pytest.mark.parametrize("case", ["plain", "strided and dilated", "2D dilated", "2D strided"])
def test_the_gradients_blocks_may_have_any_size(case, voxels, monkeypatch):
  monkeypatch.setattr(cpu_conv, "VOXELS", voxels)
  check(*example(case))


@pytest.fixture
def fewer(monkeypatch):
  """Convolutions of any size are made with fewer products."""
  monkeypatch.setattr(cpu_conv, "PRODUCTS", 0)
  for least in ("LEAST", "LEAST_GRADIENT"):
    monkeypatch.setattr(cpu_conv, least, {"z": 1, "y": 1})


FEWER = ["plain", "flat kernel", "2D plain", "plain, valid", "2D plain, valid", "dilated"]


@pytest.mark.parametrize("case", FEWER)
def test_fewer_products_give_the_same_values_and_gradients(case, fewer):
  case, _, valid = case.partition(", ")
  x, weights, options = example(case)
  if valid:
    options["padding"] = tuple((0, 0) for _ in options["padding"])
  check(x, weights, options)


@pytest.mark.parametrize("case", ["plain", "flat kernel", "2D plain"])
def test_one_axis_is_made_with_fewer_products(case, fewer):
  x, weights, options = example(case)
  text = str(jax.make_jaxpr(functools.partial(cpu_conv.convolve_on_cpu, **options))(x, weights))
  assert text.count("conv_general_dilated[") == 6


@pytest.mark.parametrize("case", ["plain", "2D plain"])
def test_fewer_products_have_derivatives_in_both_modes(case, fewer):
  x, weights, options = example(case)
  change = tuple(np.float32(np.random.default_rng(3).normal(size=a.shape)) for a in (x, weights))

  def along_the_change(written_for_cpus):
    def energy(x, weights):
      return jnp.sum(convolve(x, weights, **options) ** 2) / 2

    with cpu_gradients(written_for_cpus):
      slope = jax.grad(energy, (0, 1))
      return jax.jit(functools.partial(jax.jvp, slope))((x, weights), change)

  pairs = zip(*map(jax.tree.leaves, map(along_the_change, (True, False))), strict=True)
  for one, other in pairs:
    assert_close(one, other)


@pytest.mark.parametrize("padding", [((1, 2), (2, 0), (0, 1)), ((1, 2), (3, 0), (0, 4))])
@pytest.mark.parametrize("case", ["pointwise", "tall kernel", "2D plain"])
def test_padding_may_exceed_the_kernels_reach(case, padding):
  x, weights, options = example(case)
  options["padding"] = padding[: len(options["padding"])]
  check(x, weights, options)


@pytest.mark.parametrize("case", ["plain", "2D strided"])
def test_valid_padding_loses_the_border(case):
  x, weights, options = example(case)
  options["padding"] = tuple((0, 0) for _ in options["padding"])
  check(x, weights, options)


@pytest.mark.parametrize("case", ["plain", "2D plain"])
def test_vmapped_kernels_equal_a_loop_over_them(case):
  x, _, options = example(case)
  weights = np.stack([example(case, seed)[1] for seed in range(3)])
  cotangent = np.ones_like(oracle(x, weights[0], 0, **options)[0], np.float32)
  many = jax.jit(jax.vmap(lambda w: value_and_gradients(x, w, cotangent, options)))(weights)
  for i in range(3):
    for one, other in zip(many, oracle(x, weights[i], cotangent, **options), strict=True):
      assert_close(one[i], other, atol=5e-5)


def test_gradients_pass_through_remat():
  x, weights, options = example("plain")
  cotangent = 2 * oracle(x, weights, 0, **options)[0]

  @jax.checkpoint
  def loss(w):
    return jnp.sum(jnp.square(convolve(x, w, **options)))

  expected = oracle(x, weights, cotangent, **options)[2]
  np.testing.assert_allclose(jax.jit(jax.grad(loss))(weights), expected, rtol=1e-5, atol=1e-2)


def test_gradients_of_gradients_exist_in_reverse_mode():
  x, weights, options = example("2D plain")

  def xla(x, w, *, stride, padding, dilation, groups):
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, stride, padding, None, dilation, names, groups)

  def penalty(function, w):  # as a critic's gradient penalty
    slope = jax.grad(lambda x: jnp.sum(jnp.tanh(0.1 * function(x, w, **options))))(x)
    return jnp.mean(jnp.square(slope))

  chosen, expected = (
    jax.jit(jax.grad(functools.partial(penalty, function)))(weights) for function in (convolve, xla)
  )
  np.testing.assert_allclose(chosen, expected, rtol=1e-3, atol=1e-5)


def test_a_batch_split_over_devices_gives_the_same_values_and_gradients():
  x, weights, options = example("plain")
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
  check(jax.device_put(x, jax.NamedSharding(mesh, jax.P("batch"))), weights, options)


@pytest.mark.parametrize("case", ["plain", "2D plain"])
def test_bfloat16_stays_within_its_rounding(case):
  x, weights, options = example(case)
  x, weights = jnp.asarray(x, jnp.bfloat16), jnp.asarray(weights, jnp.bfloat16)
  cotangent = jnp.ones(oracle(x, weights, 0, **options)[0].shape, jnp.bfloat16)
  chosen = value_and_gradients(x, weights, cotangent, options)
  for one, other in zip(chosen, oracle(x, weights, cotangent, **options), strict=True):
    assert one.dtype == jnp.bfloat16
    np.testing.assert_allclose(one.astype(np.float32), other, atol=0.01 * np.abs(other).max())


def test_stride_two_pads_both_sides_alike_as_pytorch_does():
  # torch.nn.functional.conv1d([1, 2, 3, 4], [1, 10, 100], stride=2, padding=1) = [210, 432]
  x = jnp.arange(1.0, 5).reshape(1, 4, 1)
  kernel = jnp.array([1.0, 10, 100]).reshape(3, 1, 1)
  out = Conv(1, 3, stride=2, use_bias=False).apply({"params": {"kernel": kernel}}, x)
  np.testing.assert_array_equal(np.ravel(out), [210, 432])


def test_parameters_have_the_usual_layout():
  shape = jax.eval_shape(
    Conv(8, (1, 3, 3), groups=2).init, jax.random.key(0), jnp.ones((1, 4, 4, 4, 6))
  )
  assert jax.tree.map(lambda a: a.shape, shape["params"]) == {
    "kernel": (1, 3, 3, 3, 8),
    "bias": (8,),
  }


def test_kernels_start_as_he_proposed():
  kernel = Conv(256).init(jax.random.key(0), jnp.ones((1, 4, 4, 64)))["params"]["kernel"]
  np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (9 * 64)), rtol=0.01)
  # untruncated: 0.006 % of a normal lies beyond four standard deviations
  assert np.abs(kernel).max() > 4 * np.std(kernel)


def test_an_option_for_two_axes_on_a_volume_is_refused_in_words():
  with pytest.raises(ValueError, match=r"kernel=\(3, 3\) has 2 entries but the input has 3"):
    jax.eval_shape(Conv(4, (3, 3)).init, jax.random.key(0), jnp.ones((1, 4, 4, 4, 1)))


def test_groups_that_do_not_divide_are_refused_in_words():
  with pytest.raises(ValueError, match="groups=4 must divide the 6 input channels"):
    jax.eval_shape(Conv(4, groups=4).init, jax.random.key(0), jnp.ones((1, 4, 4, 6)))


def test_unknown_padding_lists_the_choices():
  with pytest.raises(ValueError, match="'reflect' is unknown; choices: same, valid"):
    jax.eval_shape(Conv(4, padding="reflect").init, jax.random.key(0), jnp.ones((1, 4, 4, 6)))
