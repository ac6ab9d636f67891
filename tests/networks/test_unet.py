"""U-Net: the survey's counts by block, every option in 2D and 3D, bad options in words."""

import functools
import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count
from closeness import assert_close

from jaxseg.build import build
from jaxseg.method import forward
from jaxseg.networks import NETWORKS, UNet

SMALL = {"widths": (4, 8, 8)}


def shapes(net, *shape):
  """Abstract variables and training outputs for an input of this shape."""

  def run(key, x):
    variables = net.init(key, x, train=True)
    outputs = net.apply(variables, x, train=True, mutable=["batch_stats"])[0]
    return variables, outputs

  return jax.eval_shape(run, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


def real(net, *shape):
  """An input, parameters and statistics of that network, drawn by numpy: nothing to compile."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return np.ones(leaf.shape, np.float32)
    # the kernels of a network that keeps the size of what flows through it
    fan = max(1, leaf.size // leaf.shape[-1])
    return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan)).astype(np.float32)

  stats = dict(jax.tree_util.tree_map_with_path(draw, shapes(net, *shape)[0]))
  return rng.normal(size=shape).astype(np.float32), stats.pop("params"), stats


@functools.partial(jax.jit, static_argnums=0)
def infer(net, params, stats, x, key=None):
  return forward(net, params, stats, x, key=key)[0]


def test_the_default_is_the_surveys_baseline_block_by_block():
  variables, outputs = shapes(UNet(), 2, 64, 96, 1)
  params = variables["params"]
  expected = {
    "encoder1": 37_696,
    "encoder2": 221_696,
    "encoder3": 885_760,
    "encoder4": 3_540_992,
    "encoder5": 4_720_640,
    "up4": 2_360_320,
    "up3": 1_180_160,
    "up2": 295_168,
    "up1": 73_856,
    "decoder4": 7_079_936,
    "decoder3": 1_770_496,
    "decoder2": 442_880,
    "decoder1": 110_848,
    "head": 192,
  }
  assert {name: count(block) for name, block in params.items()} == expected
  assert count(params) == 22_720_640
  assert count(variables["batch_stats"]) == 11_670 - 22  # PyTorch counts 22 batch counters too
  assert outputs["logits"].shape == (2, 64, 96, 3)
  assert outputs["bottleneck"].shape == (2, 4, 6, 512)
  assert outputs["decoder"].shape == (2, 64, 96, 64)
  assert "aux" not in outputs


def test_each_input_channel_adds_576_parameters():
  assert count(shapes(UNet(), 1, 32, 32, 4)[0]["params"]) == 22_720_640 + 3 * 576


def test_nnunets_network_is_a_matter_of_options():
  # MSD hippocampus, 3d_fullres: 3 stages of 32, 64, 128; two convolutions each with bias (3^3) and
  # instance norm (scale and bias); transposed convolutions 2^3 with bias; 1^3 heads with bias
  net = UNet(
    classes=3,
    widths=(32, 64, 128),
    norm="instance",
    activation="leaky_relu",
    down="stride",
    up="transpose",
    bias=True,
    deep_supervision=1,
  )

  def conv(a, b):
    return 27 * a * b + b + 2 * b

  encoder = conv(1, 32) + conv(32, 32) + conv(32, 64) + conv(64, 64) + conv(64, 128)
  encoder += conv(128, 128)
  up = (8 * 128 * 64 + 64) + (8 * 64 * 32 + 32)
  decoder = conv(128, 64) + conv(64, 64) + conv(64, 32) + conv(32, 32)
  heads = (32 * 3 + 3) + (64 * 3 + 3)
  variables, outputs = shapes(net, 2, 40, 56, 40, 1)
  assert count(variables["params"]) == encoder + up + decoder + heads
  assert [a.shape for a in outputs["aux"]] == [(2, 20, 28, 20, 3)]
  assert outputs["bottleneck"].shape == (2, 10, 14, 10, 128)


# what Attention-Gated-Networks' unet_3D (nothing mixes its slices) and pytorch-3dunet's
# ResidualUNet3D are but for their sizes
UNET_3D = {"bias": True}
RESIDUAL_UNET_3D = {
  "block": {"name": "residual", "shortcut": "before", "norm_first": True, "zero_init": False},
  "depth": 1,
  "decoder_depth": 1,
  "skip": "sum",
  "norm": "group",
  "up": {"name": "transpose", "kernels": 3, "bias": False},
  "bias": {"head": True},
}


def in_slices(stages):
  """Kernels, strides and kernels of the transposed convolutions that leave the first axis alone."""
  steps = stages - 1
  up = {"name": "transpose", "kernels": ((1, 4, 4),) * steps}
  return {"kernels": ((1, 3, 3),) * stages, "strides": ((1, 2, 2),) * steps, "up": up}


@pytest.mark.parametrize(
  ("classes", "options", "published"),
  [
    (4, {**UNET_3D, **in_slices(5), "widths": (16, 32, 64, 128, 256)}, 2_466_052),
    (1, {**RESIDUAL_UNET_3D, "widths": (64, 128, 256, 512, 1024)}, 113_735_233),
  ],
  ids=["unet_3D", "ResidualUNet3D"],
)
def test_other_public_unets_have_their_published_counts(classes, options, published):
  assert count(shapes(UNet(classes, **options), 1, 16, 32, 32, 1)[0]["params"]) == published


# computed in PyTorch 2.14, in double precision; the residual one with an output padding of 1 in its
# transposed convolution (the public code resizes instead): two voxels, and the sum
@pytest.mark.parametrize(
  ("options", "shape", "first", "last", "total"),
  [
    (
      {**UNET_3D, **in_slices(3), "widths": (3, 4, 5)},
      (1, 2, 8, 12, 2),
      (-0.1946218, 0.12898578),
      (-0.25244281, 0.08279373),
      83.216408,
    ),
    (
      {**RESIDUAL_UNET_3D, "widths": (4, 6), "norm": {"name": "group", "groups": 2}},
      (1, 4, 6, 4, 3),
      (0.34401812, 0.07720123),
      (-0.3882261, 0.16617771),
      50.888638,
    ),
  ],
  ids=["unet_3D", "ResidualUNet3D"],
)
def test_other_public_unets_have_the_values_of_pytorch(options, shape, first, last, total):
  net = UNet(2, **options)
  logits = jax.jit(net.apply)(waves.variables(net, *shape), waves.inputs(*shape))["logits"]
  assert_close(logits[0, 0, 0, 0], first, atol=5e-6)
  assert_close(logits[0, -1, -1, -1], last, atol=5e-6)
  assert_close(np.sum(logits), total)


OPTIONS = {
  "default": {},
  "transposed": {"up": "transpose"},
  "overlapping": {"up": {"name": "transpose", "kernels": (3, 4), "bias": False}},
  "unpooled": {"up": "unpool"},
  "strided": {"down": "stride", "norm": "instance", "activation": "leaky_relu"},
  "residual": {"residual": True, "norm": {"name": "group", "groups": 2}, "activation": "prelu"},
  "plain": {"norm": "none", "activation": "elu", "bias": True},
  "deep": {"deep_supervision": 1, "depth": (1, 2, 1), "decoder_depth": 1},
  "dropout": {"dropout": {"rate": (0.0, 0.1, 0.2), "kind": "channel"}, "activation": "silu"},
  "bfloat16": {"dtype": "bfloat16", "activation": "gelu", "up": "transpose"},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("space", [(13, 10), (6, 5, 7)])
def test_any_size_gives_logits_of_that_size(option, space):
  net = UNet(**SMALL, **OPTIONS[option])
  _, outputs = shapes(net, 2, *space, 2)
  assert outputs["logits"].shape == (2, *space, 3)
  assert outputs["logits"].dtype == jnp.float32
  assert outputs["decoder"].shape == (2, *space, 4)
  assert outputs["bottleneck"].shape == (2, *(-(-n // 4) for n in space), 8)
  for i, aux in enumerate(outputs.get("aux", ()), start=1):
    assert aux.shape == (2, *(-(-n // 2**i) for n in space), 3)
    assert aux.dtype == jnp.float32


@pytest.mark.parametrize(
  "options",
  [
    ("unpooled", "residual", "deep"),
    ("strided", "transposed", "bfloat16"),
    ("plain", "dropout"),
  ],
  ids="-".join,
)
def test_every_parameter_has_a_finite_gradient_and_none_is_silent(options):
  united = {"decoder_depth": 1, **SMALL}
  for option in options:
    united.update(OPTIONS[option])
  net = UNet(**united)
  x, params, stats = real(net, 2, 8, 12, 2)
  weights = np.random.default_rng(2).normal(size=(2, 8, 12, 3)).astype(np.float32)

  def loss(params):
    outputs, _ = forward(net, params, stats, x, key=jax.random.key(3), update_stats=True)
    total = jnp.sum(jnp.square(outputs["logits"] - weights))
    return total + sum(jnp.sum(jnp.square(a - 1)) for a in outputs.get("aux", ()))

  gradients = jax.jit(jax.grad(loss))(params)
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
    assert np.all(np.isfinite(leaf)), path
    assert np.any(leaf), path


def test_aux_heads_are_computed_in_training_only_and_finest_first():
  net = UNet(widths=(4, 4, 4, 4), deep_supervision=2)
  _, outputs = shapes(net, 1, 16, 16, 1)
  assert [a.shape[1:-1] for a in outputs["aux"]] == [(8, 8), (4, 4)]
  inference = jax.eval_shape(
    lambda x: net.apply(net.init(jax.random.key(0), x, train=True), x), jnp.ones((1, 16, 16, 1))
  )
  assert "aux" not in inference


def test_kernels_and_strides_may_differ_per_stage_and_axis():
  net = UNet(
    widths=(4, 8, 8),
    kernels=((1, 3, 3), 3, 3),
    strides=((1, 2, 2), (2, 2, 1)),
    up="transpose",
  )
  variables, outputs = shapes(net, 1, 5, 8, 8, 1)
  params = variables["params"]
  assert params["encoder1"]["layer1"]["conv"]["kernel"].shape == (1, 3, 3, 1, 4)
  assert params["decoder1"]["layer1"]["conv"]["kernel"].shape == (1, 3, 3, 8, 4)
  assert params["encoder2"]["layer1"]["conv"]["kernel"].shape == (3, 3, 3, 4, 8)
  assert params["up1"]["kernel"].shape == (1, 2, 2, 8, 4)
  assert net.total_stride(3) == (2, 4, 2)
  assert outputs["bottleneck"].shape == (1, 3, 2, 4, 8)
  assert outputs["logits"].shape == (1, 5, 8, 8, 3)


def test_total_stride_and_margin_need_no_parameters():
  assert UNet().total_stride(2) == (16, 16)
  assert UNet().total_stride(3) == (16, 16, 16)
  assert UNet().margin(3) == (0, 0, 0)


def test_bfloat16_follows_float32_with_the_same_float32_parameters():
  x, params, stats = real(UNet(**SMALL, dtype="bfloat16"), 1, 8, 8, 1)
  assert {leaf.dtype for leaf in jax.tree.leaves((params, stats))} == {jnp.dtype(jnp.float32)}
  half = infer(UNet(**SMALL, dtype="bfloat16"), params, stats, x)
  full = infer(UNet(**SMALL), params, stats, x)
  assert half["bottleneck"].dtype == jnp.bfloat16
  scale = np.abs(np.asarray(full["logits"])).max()
  np.testing.assert_allclose(half["logits"], full["logits"], atol=0.05 * scale)


def test_dropout_needs_a_key_and_spatial_dropout_drops_whole_channels():
  dropout = flax.core.freeze({"rate": 0.5, "kind": "channel"})  # hashable, as `infer` needs
  net = UNet(**SMALL, dropout=dropout, norm="none")
  x, params, stats = real(net, 1, 8, 8, 1)
  first = infer(net, params, stats, x)
  again = infer(net, params, stats, x)
  np.testing.assert_array_equal(first["logits"], again["logits"])
  noisy = infer(net, params, stats, x, key=jax.random.key(0))
  other = infer(net, params, stats, x, key=jax.random.key(1))
  assert np.any(noisy["logits"] != other["logits"])
  dropped = np.all(np.asarray(noisy["bottleneck"]) == 0, (1, 2))
  assert 0 < dropped.sum() < dropped.size
  rest = np.asarray(noisy["bottleneck"])[:, :, :, ~dropped[0]]
  assert np.any(rest != 0)


def test_the_config_table_builds_it():
  net = build(
    NETWORKS, {"name": "unet", "widths": [8, 16], "up": "transpose"}, "network", classes=2
  )
  assert isinstance(net, UNet)
  assert (net.classes, net.widths, net.up) == (2, (8, 16), "transpose")


@pytest.mark.parametrize(
  ("option", "value", "now"),
  [
    ("up_kernels", 3, "up=dict(name='transpose', kernels=...)"),
    ("conv_bias", True, "bias=dict(conv=...)"),
    ("spatial_dropout", True, "dropout=dict(rate=..., kind='channel')"),
    ("gating", "centre", "name='attention_unet', which has it"),
  ],
)
@pytest.mark.parametrize("name", ["unet", "unetpp", "plain_conv_unet"])
def test_a_config_of_the_flat_options_of_earlier_versions_is_refused(name, option, value, now):
  words = f"config.network.{option}: '{name}' has no such option any more; give {now}."
  with pytest.raises(ValueError, match=re.escape(words)):
    build(NETWORKS, {"name": name, option: value}, "network", classes=2)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"norm": "btach"}, "norm='btach' is unknown; choices: batch, instance, group, none"),
    ({"up": "bilinear"}, "up='bilinear' is unknown; choices: linear, nearest, transpose, unpool"),
    ({"down": "conv"}, "down='conv' is unknown; choices: pool, stride"),
    ({"activation": "swish"}, "activation='swish' is unknown; choices: relu"),
    ({"dtype": "float16"}, "dtype='float16' is unknown; choices: float32, bfloat16"),
    ({"depth": (2, 2)}, r"depth=\(2, 2\) has 2 entries but 3 are needed"),
    ({"strides": (2, 2, 2)}, r"strides=\(2, 2, 2\) has 3 entries but 2 are needed"),
    ({"classes": 0}, "classes=0"),
    ({"widths": (8,)}, "two stages"),
    ({"deep_supervision": 2}, "room for 0 to 1"),
    ({"up": {"kernels": 3}}, "up.kernels=3 belongs to up='transpose', but up='linear'"),
    ({"up": {"name": "nearest", "norm": True}}, "up.norm=True belongs to .* but up='nearest'"),
    ({"up": {"bias": False}}, "up.bias=False belongs to up='transpose', but up='linear'"),
    (
      {"up": {"name": "transpose", "kernel": 3}},
      r"config.network.up.kernel: 'up' has no such option \(did you mean 'kernels'\?\)",
    ),
    (
      {"up": {"name": "transpose", "kernels": 0}},
      "config.network.up.kernels: 0; expected .* from 1",
    ),
    ({"up": {"name": "transpose", "kernels": (3, 3, 3)}}, "has 3 entries but 2 are needed"),
    ({"dropout": {"kind": "block"}}, "has no rate, so that nothing would be dropped"),
    ({"norm": {"groups": 4}}, "norm.groups=4 belongs to norm='group', but norm='batch'"),
    ({"dropout": {"rate": 1.0}}, "config.network.dropout.rate: 1.0; expected .* 0 to below 1"),
    ({"dropout": {"rate": (0.1, 0.1)}}, r"dropout=\(0.1, 0.1\) has 2 entries but 3 are needed"),
    ({"dropout": {"kind": "voxels"}}, "dropout.kind='voxels' is unknown; choices: voxel, channel"),
    ({"dropout": {"ramp": 9}}, "dropout.ramp=9 belongs to kind='block', but kind='voxel'"),
    (
      {"dropout": {"kind": "block", "ramp": -5}},
      "dropout.ramp: -5; expected a whole number from 0",
    ),
    ({"norm": {"name": "group", "groups": 0}}, "norm.groups: 0; expected a whole number from 1"),
    ({"bias": {"convs": True}}, r"bias.convs: 'bias' has no such option \(did you mean 'conv'\?"),
    ({"bias": {"head": 1}}, "config.network.bias.head: 1; expected True or False"),
    ({"attention": {"encode": "se"}}, r"attention.encode: .* \(did you mean 'encoder'\?\)"),
    ({"block": {"decoder": "plane"}}, r"'plane' is unknown \(did you mean 'plain'\?\)"),
    ({"up": "unpool", "down": "stride"}, "needs the indices of down='pool'"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    UNet(**{**SMALL, **options})


@pytest.mark.parametrize(
  ("options", "shape", "words"),
  [
    ({"kernels": ((3, 3), 3, 3)}, (1, 8, 8, 8, 1), r"kernels of stage 1=\(3, 3\) has 2 entries"),
    (
      {"up": {"name": "transpose", "kernels": (3, 1)}},
      (1, 8, 8, 1),
      r"up.kernels of stage 2 are \(1, 1\), smaller than the stride \(2, 2\)",
    ),
    ({"strides": ((1, 2, 2), 2)}, (1, 8, 8, 1), r"\(1, 2, 2\) has 3 entries but the input has 2"),
    ({}, (8, 8), r"shape \(8, 8\); expected \(batch, \*space, channels\)"),
    ({"norm": {"name": "group", "groups": 3}}, (1, 8, 8, 1), "3 groups does not divide 4 channels"),
  ],
)
def test_inputs_that_do_not_fit_the_options_are_refused_in_words(options, shape, words):
  with pytest.raises(ValueError, match=words):
    shapes(UNet(**SMALL, **options), *shape)
