"""Encoders: published counts, pyramids, PyTorch's values, dilation that only makes denser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count, traced
from closeness import assert_close
from scipy import ndimage

from jaxseg import paths
from jaxseg.networks import CENet, DeepLabV3, EncoderUNet, EncoderUNetPP, PSPNet
from jaxseg.networks.blocks import ConvNormAct
from jaxseg.networks.blocks.dense import DenseBlock
from jaxseg.networks.encoders import (
  ENCODERS,
  VGG,
  Classifier,
  DenseNet,
  EfficientNetLite,
  ResNet,
  encoder,
  pad_to_grid,
  smallest_input,
)
from jaxseg.networks.encoders import layers as layers_of
from jaxseg.networks.encoders.inputs import IMAGENET, LITE, standardised

# widths of the features; parameters with a head of 1000 classes (VGG: of the convolutions)
PYRAMIDS = {
  "resnet18": ((64, 64, 128, 256, 512), 11_689_512),
  "resnet34": ((64, 64, 128, 256, 512), 21_797_672),
  "resnet50": ((64, 256, 512, 1024, 2048), 25_557_032),
  "resnet101": ((64, 256, 512, 1024, 2048), 44_549_160),
  "densenet121": ((64, 256, 512, 1024, 1024), 7_978_856),
  "densenet161": ((96, 384, 768, 2112, 2208), 28_681_000),
  "densenet169": ((64, 256, 512, 1280, 1664), 14_149_480),
  "densenet201": ((64, 256, 512, 1792, 1920), 20_013_928),
  "efficientnet_lite0": ((32, 24, 40, 112, 1280), 4_652_008),
  "efficientnet_lite1": ((32, 24, 40, 112, 1280), 5_416_680),
  "efficientnet_lite2": ((32, 24, 48, 120, 1280), 6_092_072),
}
# torchvision's convolutions and their biases; with batch norm a scale and a bias more per feature
VGGS = {"vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384}
VGG_NORMS = {"vgg11": 5_504, "vgg13": 5_888, "vgg16": 8_448, "vgg19": 11_008}
for vgg, convolutions in VGGS.items():
  PYRAMIDS[vgg] = (64, 128, 256, 512, 512, 512), convolutions
  PYRAMIDS[f"{vgg}_bn"] = (64, 128, 256, 512, 512, 512), convolutions + VGG_NORMS[vgg]


@pytest.mark.parametrize("name", PYRAMIDS)
def test_an_encoder_has_the_published_count_widths_and_strides(name):
  widths, published = PYRAMIDS[name]
  top = {"top": True} if name.startswith("efficientnet") else {}
  net = encoder(dict(name=name, **top))
  params, features = traced(net, 1, 96, 64, 3)
  assert tuple(f.shape[-1] for f in features) == widths
  assert [f.shape[1:-1] for f in features] == [(96 // s, 64 // s) for s in net.strides()]
  assert len(net.colours.mean) == len(net.colours.std) == 3
  # the published classifiers end in a dense layer to 1000 classes
  head = 0 if name.startswith("vgg") else widths[-1] * 1000 + 1000
  assert count(params) + head == published
  assert set(PYRAMIDS) == set(ENCODERS)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", ENCODERS)
def test_layers_name_every_parameter_once_from_the_input_up(name, norm):
  params, _ = traced(encoder(dict(name=name, norm=norm)), 1, 64, 64, 3)
  names = [f"encoder/{path}" for path in paths.flatten(params)]
  groups = layers_of(dict(name=name, norm=norm), "encoder")
  for path in names:
    assert [bool(paths.match(path, group)) for group in groups].count(True) == 1, path
  patterns = [pattern for group in groups for pattern in group]
  paths.check(patterns, names, "layers")
  # no coarser features than those of a layer further up
  assert len(groups) >= len(encoder(name).strides()) - 1


@pytest.mark.parametrize(
  ("spec", "head"),
  [("resnet18", "fc"), (dict(name="densenet121", blocks=(1, 1)), "classifier")],
  ids=["resnet", "densenet"],
)
def test_a_classifier_adds_a_head_of_the_published_name(spec, head):
  params, logits = traced(Classifier(encoder(spec)), 1, 64, 64, 3)
  assert set(params) == {"encoder", head}
  assert logits.shape == (1, 1000)
  if spec == "resnet18":
    assert count(params) == 11_689_512


# one of each kind is enough: others have more layers
@pytest.mark.parametrize(
  "name",
  ["resnet18", "resnet50", "densenet121", "vgg11", "vgg11_bn", "efficientnet_lite0"],
)
def test_every_encoder_serves_every_network_that_takes_one(name):
  narrow = dict(growth=2, width=4) if name.startswith("densenet") else dict(width=2)
  # as deep as published, but for the number of layers in each dense block
  narrow |= dict(blocks=(1, 1, 1, 1)) if name.startswith("densenet") else {}
  narrow = dict(width_factor=0.1, depth_factor=0.1) if name.startswith("efficientnet") else narrow
  spec = dict(name=name, **narrow)
  for net in (
    EncoderUNet(2, encoder=spec, widths=4),
    EncoderUNetPP(2, encoder=spec, widths=4),
    PSPNet(2, encoder=spec, bins=(1, 2), width=4),
    DeepLabV3(2, encoder=spec, width=4),
    CENet(2, encoder=spec, pools=(1, 2), width=4),
  ):
    params, out = traced(net, 1, 64, 49, 1)
    assert "encoder" in params
    assert out["logits"].shape == (1, 64, 49, 2), type(net).__name__


@pytest.mark.parametrize("small", [dict(blocks=(1, 1)), dict(blocks=(1, 1), bottleneck=True)])
def test_volumes_of_any_size_go_through_a_resnet(small):
  net = ResNet(width=4, **small)
  _, features = traced(net, 1, 13, 10, 7, 2)
  for stride, f in zip(net.strides(), features, strict=True):
    assert f.shape[1:-1] == tuple(-(-n // stride) for n in (13, 10, 7))


@pytest.mark.parametrize("net", [DenseNet((2, 1), growth=2, width=4), VGG((1, 2), width=4)])
def test_volumes_go_through_densenet_and_vgg(net):
  _, features = traced(net, 1, 16, 8, 24, 2)
  for stride, f in zip(net.strides(), features, strict=True):
    assert f.shape[1:-1] == (16 // stride, 8 // stride, 24 // stride)


def test_a_dilated_efficientnet_has_the_same_parameters_and_features_denser():
  plain, net = (EfficientNetLite(0.1, 0.1, output_stride=stride) for stride in (32, 8))
  assert plain.strides() == (2, 4, 8, 16, 32)
  assert net.strides() == (2, 4, 8, 8, 8)
  params, features = traced(net, 1, 64, 96, 1)
  assert params == traced(plain, 1, 64, 96, 1)[0]
  assert [f.shape[1:-1] for f in features] == [(64 // s, 96 // s) for s in net.strides()]
  _, features = traced(plain, 1, 13, 10, 7, 2)
  for stride, f in zip(plain.strides(), features, strict=True):
    assert f.shape[1:-1] == tuple(-(-n // stride) for n in (13, 10, 7))


@pytest.mark.parametrize(
  "net", [ResNet((1,), width=2), VGG((1, 1), width=2), EfficientNetLite(0.1, 0.1)]
)
def test_the_normalisation_that_weights_know_is_applied_in_front(net):
  x = waves.inputs(1, 16, 16, 3)
  variables = waves.variables(net, *x.shape)
  mean, std = map(np.float32, net.colours)
  images = np.float32(IMAGENET.mean), np.float32(IMAGENET.std)
  for inputs, seen in (
    ("unit", (x - mean) / std),
    ("zscore", (x * images[1] + images[0] - mean) / std),
  ):
    found = jax.jit(net.clone(inputs=inputs).apply)(variables, x)
    for f, expected in zip(found, jax.jit(net.apply)(variables, seen), strict=True):
      assert_close(f, expected, rtol=1e-4)
  # of one channel, the mean of the three
  grey = jnp.ones((1, 2, 2, 1))
  assert_close(standardised(grey, "unit", LITE), np.full((1, 2, 2, 1), 1.0))
  assert_close(standardised(grey, "zscore", IMAGENET), grey)
  with pytest.raises(ValueError, match=r"inputs='rgb'|'rgb'"):
    standardised(grey, "rgb", LITE)


def test_parameters_are_called_as_torchvisions():
  params, _ = traced(ResNet(blocks=(1, 2), width=4, bottleneck=True), 1, 16, 16, 3)
  assert set(params) == {"conv1", "bn1", "layer1", "layer2"}
  assert set(params["layer2"]) == {"block1", "block2"}
  convolutions = {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3"}
  assert set(params["layer2"]["block2"]) == convolutions
  assert set(params["layer2"]["block1"]) == {*convolutions, "downsample_conv", "downsample_bn"}
  params, _ = traced(DenseNet((1, 1), growth=2, width=4), 1, 16, 16, 3)
  names = {"conv0", "norm0", "denseblock1", "transition1_norm", "transition1_conv"}
  assert set(params) == {*names, "denseblock2", "norm3"}


@pytest.mark.parametrize(
  ("net", "shape", "last", "total"),
  [
    (
      ResNet(blocks=(1, 2), width=4),
      (1, 21, 18, 2),
      [0.56059, 0.203257, 0.0, 0.0, 0.216424, 0.500145, 0.524496, 0.538676],
      42.432137,
    ),
    (
      ResNet(blocks=(1, 2), width=4, bottleneck=True),
      (1, 21, 18, 2),
      [0.313503, 0.305463, 0.237293, 0.396888, 0.321481, 0.053117, 0.0, 0.0],
      47.300117,
    ),
    (
      DenseNet((2, 1), growth=2, width=4),
      (1, 24, 16, 2),
      [0.0, 0.052792, 0.156556, 0.175033, 0.0, 0.0],
      2.64481,
    ),
    (
      VGG((1, 2), width=4),
      (1, 12, 8, 2),
      [0.237229, 0.702237, 1.018318, 0.996563, 0.807495, 0.866724, 0.977989, 0.770385],
      33.826595,
    ),
  ],
  ids=["resnet", "bottleneck", "densenet", "vgg"],
)
def test_features_are_those_of_torchvisions_layers(net, shape, last, total):
  # computed by PyTorch 2.13 from torchvision's blocks
  x = waves.inputs(*shape)
  features = jax.jit(net.apply)(waves.variables(net, *shape), x)[-1]
  assert_close(features[0, -1, -1, :8], last, atol=2e-6)
  assert_close(np.sum(features), total)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_dilated_resnet_has_the_same_features_denser(bottleneck):
  options = dict(blocks=(1, 1, 2, 1), width=2, bottleneck=bottleneck)
  plain, dilated = ResNet(**options), ResNet(**options, output_stride=8)
  assert plain.strides() == (2, 4, 8, 16, 32)
  assert dilated.strides() == (2, 4, 8, 8, 8)
  x = waves.inputs(1, 70, 1)
  variables = waves.variables(plain, *x.shape)

  @jax.jit
  def both(variables):
    return plain.apply(variables, x), dilated.apply(variables, x)

  coarse, fine = both(variables)
  assert fine[4].shape[1:-1] == (9,)
  assert_close(fine[3][:, ::2], coarse[3], atol=1e-5)
  assert_close(fine[4][:, ::4], coarse[4], atol=1e-5)


@pytest.mark.parametrize(
  ("make", "options", "nominal"),
  [
    (DenseNet, dict(blocks=(1, 1, 1, 1), growth=2, width=4), (2, 4, 8, 16, 32)),
    (VGG, dict(depths=(1, 1, 1, 1, 1), width=2), (1, 2, 4, 8, 16, 32)),
  ],
)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_densenet_and_vgg_stop_at_the_output_stride_with_the_same_parameters(
  make, options, nominal, stride
):
  plain, net = make(**options), make(**options, output_stride=stride)
  assert plain.strides() == nominal
  assert net.strides() == tuple(min(s, stride) for s in nominal)
  params, features = traced(net, 1, 64, 96, 1)
  assert params == traced(plain, 1, 64, 96, 1)[0]
  assert [f.shape[1:-1] for f in features] == [(64 // s, 96 // s) for s in net.strides()]


def every(step, layer, x):
  """An undilated layer on each of the `step` interleaved parts of a signal (1, n, c)."""
  parts = [np.asarray(layer(x[:, phase::step])) for phase in range(step)]
  return np.stack(parts, 2).reshape(*x.shape[:2], -1)


def test_a_dilated_vgg_has_undilated_convolutions_on_every_second_voxel():
  options, x = dict(depths=(1, 1, 1, 1, 1), width=2), waves.inputs(1, 64, 1)
  plain, net = VGG(**options), VGG(**options, output_stride=8)
  variables = waves.variables(plain, *x.shape)
  coarse, fine = jax.jit(lambda v: (plain.apply(v, x), net.apply(v, x)))(variables)
  for i in range(4):
    np.testing.assert_array_equal(fine[i], coarse[i])
  pooled = ndimage.maximum_filter1d(fine[3], 3, axis=1, mode="nearest")
  layer = {"params": variables["params"]["conv5_1"]}
  convolution = ConvNormAct(16, norm="none", use_bias=True)
  expected = every(2, lambda part: convolution.apply(layer, part), pooled)
  assert_close(fine[4], expected, atol=1e-5)
  expected = ndimage.maximum_filter1d(fine[4], 3, axis=1, mode="nearest")
  np.testing.assert_array_equal(fine[5], expected)


def test_a_dilated_densenet_has_undilated_blocks_on_every_second_and_fourth_voxel():
  options, x = dict(blocks=(1, 1, 1, 2), growth=2, width=4), waves.inputs(1, 64, 1)
  plain, net = DenseNet(**options), DenseNet(**options, output_stride=8)
  variables = waves.variables(plain, *x.shape)
  coarse, fine = jax.jit(lambda v: (plain.apply(v, x), net.apply(v, x)))(variables)
  for i in range(3):
    np.testing.assert_array_equal(fine[i], coarse[i])
  params, stats = variables["params"], variables["batch_stats"]
  for i, (step, layers, norm) in enumerate([(2, 1, "transition3_norm"), (4, 2, "norm5")], start=3):
    y = np.asarray(fine[i - 1]) @ params[f"transition{i - 1}_conv"]["kernel"][0]
    own = {name: tree[f"denseblock{i}"] for name, tree in variables.items()}
    block = DenseBlock(layers, {"growth": 2})
    y = every(step, lambda part, block=block, own=own: block.apply(own, part), y)
    y = (y - stats[norm]["mean"]) / np.sqrt(stats[norm]["var"] + 1e-5)
    expected = np.maximum(y * params[norm]["scale"] + params[norm]["bias"], 0)
    assert_close(fine[i], expected, atol=1e-5)


def test_the_multi_grid_dilates_the_last_stage_alone():
  options = dict(blocks=(1, 3), width=2, output_stride=8)
  plain, grid = ResNet(**options), ResNet(**options, multi_grid=(1, 2, 4))
  x = waves.inputs(1, 40, 1)
  variables = waves.variables(plain, *x.shape)
  first, second = (jax.jit(net.apply)(variables, x) for net in (plain, grid))
  np.testing.assert_array_equal(first[1], second[1])
  assert np.any(np.abs(first[2] - second[2]) > 1e-3)


def test_every_parameter_of_densenet_and_vgg_learns():
  for net in (DenseNet((1, 1), growth=2, width=4), VGG((1, 1), width=2, norm="batch")):
    x = waves.inputs(2, 16, 1)
    variables = waves.variables(net, *x.shape)
    stats = variables["batch_stats"]

    @jax.jit
    def gradient(params, net=net, x=x, stats=stats):
      def loss(params):
        variables = {"params": params, "batch_stats": stats}
        return sum(jnp.sum(f[..., ::2] ** 2) for f in net.apply(variables, x))

      return jax.grad(loss)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
      assert np.all(np.isfinite(leaf)), path
      assert np.any(leaf), path


@pytest.mark.parametrize("net", [ResNet(blocks=(1,), width=2), VGG((1, 1), width=2)])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("voxels", [1, 2, 3])
def test_the_smallest_input_has_so_many_features_and_one_voxel_less_has_not(net, level, voxels):
  def features(n):
    return traced(net, *pad_to_grid(jnp.zeros((1, n, 1)), net).shape)[1][level].shape[1]

  n = smallest_input(net, level, voxels)
  assert features(n) >= voxels
  assert n == 1 or features(n - 1) < voxels


def test_images_are_padded_until_the_features_span_them():
  resnet, vgg = ResNet(output_stride=8), VGG()
  sizes = (1, 9, 128, 473)
  padded = [pad_to_grid(jnp.zeros((1, n, 1)), resnet).shape[1] for n in sizes]
  assert padded == [1, 9, 129, 473]
  padded = [pad_to_grid(jnp.zeros((1, n, 1)), vgg).shape[1] for n in sizes]
  assert padded == [32, 32, 128, 480]


def test_a_densenet_gives_what_follows_its_transitions():
  options, x = dict(blocks=(1, 2, 1), growth=2, width=4), waves.inputs(1, 32, 16, 1)
  plain, net = DenseNet(**options), DenseNet(**options, plain_stem=True, after_transitions=True)
  variables = waves.variables(plain, *x.shape)
  assert jax.tree.map(jnp.shape, waves.variables(net, *x.shape)) == jax.tree.map(
    jnp.shape, variables
  )
  assert DenseNet(**options, after_transitions=True).strides() == (2, 8, 16, 16)
  assert net.strides() == (2, 4, 8, 8)
  features = jax.jit(net.apply)(variables, x)
  for stride, f in zip(net.strides(), features, strict=True):
    assert f.shape[1:-1] == (32 // stride, 16 // stride)
  # halved by each transition; the last is after a norm alone
  assert [f.shape[-1] for f in features] == [4, 3, 3, 5]
  assert features[0].min() < 0
  assert features[-1].min() < 0
  params, stats = variables["params"], variables["batch_stats"]
  own = {name: tree["denseblock3"] for name, tree in variables.items()}
  y = np.asarray(DenseBlock(1, {"growth": 2}).apply(own, features[2]))
  y = (y - stats["norm4"]["mean"]) / np.sqrt(stats["norm4"]["var"] + 1e-5)
  assert_close(features[3], y * params["norm4"]["scale"] + params["norm4"]["bias"], atol=1e-5)


def test_bad_options_are_told_in_words():
  with pytest.raises(
    ValueError, match=r"'resnet43' is unknown .* choices: densenet121, .* vgg19_bn"
  ):
    encoder("resnet43")
  with pytest.raises(ValueError, match="has no such option"):
    encoder(dict(name="vgg16", blocks=(1,)))
  with pytest.raises(ValueError, match="output_stride=12; expected 8, 16 or 32"):
    encoder(dict(name="resnet18", output_stride=12))
  with pytest.raises(ValueError, match="after_transitions=True with output_stride=8"):
    DenseNet(after_transitions=True, output_stride=8).strides()
  with pytest.raises(ValueError, match="before_norm=True; a transition's features"):
    DenseNet(after_transitions=True, before_norm=True).strides()
  for name in ("densenet121", "vgg16"):
    with pytest.raises(ValueError, match="output_stride=4; expected 8, 16 or 32"):
      encoder(dict(name=name, output_stride=4))
  with pytest.raises(
    ValueError, match="output_stride=8 with transition_stride=3; only transitions"
  ):
    DenseNet(transition_stride=3, output_stride=8).strides()
