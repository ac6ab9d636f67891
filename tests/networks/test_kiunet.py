"""KiU-Net: published counts, the exchange before and after, levels, options, bad options."""

import functools

import abstract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count
from closeness import assert_close

from jaxseg.method import forward
from jaxseg.networks import KiUNet
from jaxseg.networks.blocks.kiunet_steps import CRFB, DenseResidual, Step
from jaxseg.networks.kiunet import add_tiled


def shapes(net, *shape):
  def run(x):
    variables = net.init(jax.random.key(0), x)
    return variables, net.apply(variables, x, mutable=["batch_stats"])[0]

  return jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def infer(net, params, stats, x):
  return forward(net, params, stats, x)[0]


def test_the_public_network_is_the_default_plus_a_crfb_that_nothing_uses():
  public = shapes(KiUNet(classes=2, published_extras=64), 1, 64, 64, 1)
  assert count(public[0]["params"]) == 290_658
  assert count(public[0]["params"]["unused_crfb"]) == 2 * (9 * 64 * 64 + 64 + 2 * 64)
  assert public[1]["logits"].shape == (1, 64, 64, 2)
  assert "unused_crfb" not in shapes(KiUNet(widths=(2,)), 1, 8, 8, 1)[0]["params"]


def test_residual_steps_add_a_1x1_convolution_each():
  plain, residual = (
    shapes(KiUNet(widths=(4, 6), block=b), 1, 8, 8, 3)[0]["params"] for b in ("plain", "residual")
  )
  one = (3 * 4 + 4) + (4 * 6 + 6) + (6 * 4 + 4) + (4 * 2 + 2)
  assert count(residual) - count(plain) == 2 * one


def test_dense_steps_add_four_layers_with_two_shared_norms_each():
  plain, dense = (
    abstract.shapes(KiUNet(widths=(8,), block=b), 1, 8, 8, 1)[1]["params"]
    for b in ("plain", "dense")
  )

  def block(c):
    new = c // 4
    wide = sum((c + i * new) * c + c for i in range(4))
    return wide + 4 * (9 * c * new + new) + 2 * c + 2 * new

  assert count(dense) - count(plain) == 2 * (block(8) + block(4))


def test_a_dense_layer_sees_all_earlier_new_features_and_their_sum_with_the_input_is_kept():
  # every 1x1 convolution sums what it sees into its first channel, every other one doubles that
  x = np.asarray([1, 2, 3, 4], np.float32).reshape(1, 1, 4)
  params = {}
  for i in range(1, 5):
    wide, new = np.zeros((1, 4 + i - 1, 4), np.float32), np.zeros((1, 4, 1), np.float32)
    wide[..., 0], new[..., 0, :] = 1, 2
    params[f"wide{i}"], params[f"new{i}"] = {"kernel": wide}, {"kernel": new}
  block = DenseResidual(kernel=1, norm="none", use_bias=False)
  # 2 x 10, 2 x (10 + 20), 2 x (10 + 20 + 60), 2 x (10 + 20 + 60 + 180)
  out = block.apply({"params": params}, x)
  assert_close(out[0, 0], [1 + 20, 2 + 60, 3 + 180, 4 + 540])


def test_every_dense_layer_keeps_running_statistics_of_its_own():
  _, variables = abstract.shapes(DenseResidual(), 2, 3, 8)
  names = {f"{moment}{use}" for moment in ("mean", "var") for use in ("", "_1", "_2", "_3")}
  stats = variables["batch_stats"]
  assert set(stats["wide_norm"]) == set(stats["new_norm"]) == names


def test_every_parameter_of_a_dense_step_learns():
  net, x = Step(4, up=False, kernel=1, activation="gelu", block="dense"), waves.inputs(2, 6, 4)
  variables = waves.variables(net, *x.shape)
  stats = {"batch_stats": variables["batch_stats"]}

  @jax.jit
  def gradient(params):
    return jax.grad(lambda p: jnp.sum(net.apply({"params": p, **stats}, x) ** 2))(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0, path


def test_branches_and_fusion_are_options():
  def names(**options):
    return set(shapes(KiUNet(widths=(2, 3), **options), 1, 8, 8, 1)[0]["params"])

  both = {f"{b}_{s}" for b in ("u", "ki") for s in ("encoder1", "encoder2", "decoder1", "decoder0")}
  crfbs = {"encoder_crfb1", "encoder_crfb2", "decoder_crfb1"}
  assert names() == both | crfbs | {"head"}
  assert names(fusion=False) == both | {"head"}
  assert names(branches="ki") == {n for n in both if n.startswith("ki")} | {"head"}
  assert names(branches="u") == {n for n in both if n.startswith("u")} | {"head"}
  assert names(ki_widths=(2,)) == (both - {"ki_encoder2", "ki_decoder1"}) | {
    "head",
    "encoder_crfb1",
  }


def test_both_sides_of_a_crfb_are_from_before_the_exchange():
  block = CRFB(4, norm="none")
  u, ki = np.full((1, 2, 2, 1), 3, np.float32), np.full((1, 8, 8, 1), 2, np.float32)
  kernel = np.zeros((3, 3, 1, 1), np.float32)
  kernel[1, 1] = 1
  conv = {"conv": {"kernel": kernel, "bias": np.zeros(1, np.float32)}}
  new_u, new_ki = block.apply({"params": {"ki_to_u": conv, "u_to_ki": conv}}, u, ki)
  assert_close(new_u, np.full(u.shape, 5))  # 3 + 2
  assert_close(new_ki, np.full(ki.shape, 5))  # 2 + 3, not 2 + 5


def test_shrinking_takes_the_two_middle_voxels_and_averages_no_others():
  # the fact sheet's x_k = k^2 by 1/4: 2.5, 30.5, 90.5, 182.5
  block = CRFB(4, kernel=1, norm="none")
  zero, one = np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)
  params = {
    "ki_to_u": {"conv": {"kernel": one, "bias": np.zeros(1, np.float32)}},
    "u_to_ki": {"conv": {"kernel": zero, "bias": np.zeros(1, np.float32)}},
  }
  ki = np.square(np.arange(16, dtype=np.float32)).reshape(1, 16, 1)
  u, _ = block.apply({"params": params}, np.zeros((1, 4, 1), np.float32), ki)
  assert_close(u[0, :, 0], [2.5, 30.5, 90.5, 182.5])


def test_a_step_pools_before_norm_and_activation():
  # scale -1: the norm of a maximum is minus the maximum, not the maximum of the minus
  step = Step(1, up=False, kernel=1, activation="elu")
  x = np.asarray([1, 4, 2, 8], np.float32).reshape(1, 4, 1)
  params = {
    "conv": {"kernel": np.ones((1, 1, 1), np.float32), "bias": np.zeros(1, np.float32)},
    "norm": {"scale": -np.ones(1, np.float32), "bias": np.full(1, 10, np.float32)},
  }
  stats = {"norm": {"mean": np.zeros(1, np.float32), "var": np.ones(1, np.float32)}}
  out = step.apply({"params": params, "batch_stats": stats}, x)
  np.testing.assert_allclose(out[0, :, 0], [6, 2], rtol=1e-4)


def test_a_narrow_skip_is_repeated_along_the_channels():
  x, skip = np.zeros((1, 2, 4), np.float32), np.asarray([[[1, 2], [3, 4]]], np.float32)
  np.testing.assert_array_equal(add_tiled(x, skip), [[[1, 2, 1, 2], [3, 4, 3, 4]]])


def wave(shape, phase, factor=1.0):
  return (factor * np.sin(1.7 * np.arange(np.prod(shape)) + phase)).reshape(shape)


def test_the_network_follows_the_public_code_in_pytorch():
  # the same sines as parameters, in PyTorch's layout
  net = KiUNet(classes=2, widths=(3, 4), decoder_widths=(2, 3))
  tree = dict(shapes(net, 1, 8, 8, 1)[0])
  params = tree.pop("params")
  stats = jax.tree_util.tree_map_with_path(
    lambda path, s: np.full(s.shape, float(path[-1].key == "var"), np.float32), tree
  )
  order = [params["u_encoder1"], params["ki_encoder1"]]
  order += [params["encoder_crfb1"]["ki_to_u"], params["encoder_crfb1"]["u_to_ki"]]
  order += [params["u_encoder2"], params["ki_encoder2"]]
  order += [params["encoder_crfb2"]["ki_to_u"], params["encoder_crfb2"]["u_to_ki"]]
  order += [params["u_decoder1"], params["ki_decoder1"]]
  order += [params["decoder_crfb1"]["ki_to_u"], params["decoder_crfb1"]["u_to_ki"]]
  order += [params["u_decoder0"], params["ki_decoder0"]]
  for phase, layer in enumerate(order):
    a, b = layer["conv"]["kernel"].shape[2:]
    kernel = wave((b, a, 3, 3), phase, np.sqrt(2 / (9 * a)))
    layer["conv"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": wave(b, phase + 1, 0.1)}
    layer["norm"] = {"scale": 1 + wave(b, phase + 2, 0.1), "bias": wave(b, phase + 3, 0.1)}
  params["head"] = {"kernel": np.eye(2)[None, None], "bias": np.zeros(2)}
  params = jax.tree.map(np.float32, params)
  x = wave((1, 8, 8, 1), 0.5).astype(np.float32)
  logits = np.asarray(infer(net, params, stats, x)["logits"], np.float64)

  # computed in PyTorch 2.13, in double precision
  np.testing.assert_allclose(logits.sum(), 52.57136308, rtol=1e-4)
  np.testing.assert_allclose(np.square(logits).sum(), 28.53256766, rtol=1e-4)
  np.testing.assert_allclose(logits[0, 0, 0], [0.86343051, 0.52244039], atol=1e-4)
  np.testing.assert_allclose(logits[0, 3, 5], [0.14833979, 0.51190932], atol=1e-4)
  np.testing.assert_allclose(logits[0, 7, 7], [0.40383185, 0.84849134], atol=1e-4)


def test_logits_are_not_cut_off_at_zero_unless_asked():
  for legacy, lowest in ((False, -3), (True, 0)):
    net = KiUNet(widths=(2,), norm="none", legacy_final_relu=legacy)
    tree = shapes(net, 1, 4, 4, 1)[0]
    params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), tree["params"])
    params["head"]["bias"][:] = [-3, 1, 2]
    logits = infer(net, params, {}, np.ones((1, 4, 4, 1), np.float32))["logits"]
    np.testing.assert_array_equal(logits[0, 0, 0], [lowest, 1, 2])


@pytest.mark.parametrize(
  ("space", "options"),
  [
    ((13, 10), {"dtype": "bfloat16"}),
    ((13, 10), {"branches": "ki", "skip": False, "head": False, "norm": "instance"}),
    ((6, 5, 7), {"stride": (1, 2, 2), "kernel": (1, 3, 3)}),
    ((5,), {"widths": (8,), "block": "dense", "head": False}),
    ((6, 5, 7), {"ki_widths": (2,), "block": "residual"}),
  ],
  ids=["bfloat16", "ki", "anisotropic", "dense", "one level up"],
)
def test_any_size_gives_logits_of_that_size(space, options):
  outputs = shapes(KiUNet(**{"widths": (2, 4), **options}), 2, *space, 1)[1]
  assert outputs["logits"].shape == (2, *space, 3)
  assert outputs["logits"].dtype == jnp.float32


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"branches": "ku"}, "branches='ku' is unknown; choices: kiu, ki, u"),
    ({"widths": ()}, "one level in each branch"),
    ({"ki_widths": (2, 3, 4, 5)}, "more levels than widths"),
    ({"decoder_widths": (2, 3)}, "expected 3 entries"),
    ({"norm": "btach"}, "norm='btach' is unknown"),
    ({"block": "res"}, "block='res' is unknown; choices: plain, residual, dense"),
    ({"block": "dense", "widths": (8, 6)}, r"widths \[6, 6\]; expected multiples of 4"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    KiUNet(**options)


def test_skips_that_cannot_be_repeated_are_refused_in_words():
  with pytest.raises(ValueError, match="a skip of 4 channels cannot be added to 6"):
    shapes(KiUNet(widths=(4, 4), decoder_widths=(2, 6)), 1, 8, 8, 1)
