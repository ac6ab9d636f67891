"""H-DenseUNet and its parts: the published counts, values, slices, fusion, frozen statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count, traced
from closeness import assert_close
from flax import linen as nn

from jaxseg.networks import DenseUNet3D, DenseUNet161, HDenseUNet
from jaxseg.networks.blocks import Conv, Norm
from jaxseg.networks.encoders import DenseNet

PART = dict(blocks=(1,), growth=2, width=3, widths=(4, 5))
SMALL = dict(classes=2, net2d=PART, net3d=PART)


def of_scale_layers(tree):
  """Parameters of `Scale` layers: "scale1", "norm0_scale", ...; a norm's own scale is an array."""
  if not isinstance(tree, dict):
    return 0
  return sum(
    count(value) if isinstance(value, dict) and "scale" in name else of_scale_layers(value)
    for name, value in tree.items()
  )


@pytest.fixture(scope="module")
def published():
  """Shapes of the published network's parameters, with the release's redundant layers."""
  net, x = HDenseUNet(scale_layers=True), jax.ShapeDtypeStruct((1, 4, 32, 32, 1), jnp.float32)
  return jax.eval_shape(lambda x: net.init(jax.random.key(0), x)["params"], x)


def test_the_counts_of_the_release_part_by_part(published):
  assert count(published["net2d"]) == 49_747_779
  assert count(published["net3d"]) == 16_001_995
  fusion = [published[name] for name in ("fusion_conv", "fusion_norm", "head")]
  assert count(fusion) == 110_979
  assert count(published) == 65_860_753


def test_without_scale_layers_the_counts_are_smaller_by_these(published):
  assert count(published["net2d"]) - of_scale_layers(published["net2d"]) == 49_527_843
  assert count(published["net3d"]) - of_scale_layers(published["net3d"]) == 15_977_467
  assert count(published) - of_scale_layers(published) == 65_616_289


def test_the_encoder_is_densenet_161_without_its_classifier(published):
  encoder = published["net2d"]["inner"]["encoder"]
  classifier = 2208 * 1000 + 1000
  assert count(encoder) - of_scale_layers(encoder) == 28_681_000 - classifier


def test_features_before_transitions_have_the_published_widths(published):
  norms = ("norm0", "transition1_norm", "transition2_norm", "transition3_norm", "norm5")

  def widths(encoder):
    return [encoder[norm]["scale"].size for norm in norms]

  assert widths(published["net2d"]["inner"]["encoder"]) == [96, 384, 768, 2112, 2208]
  assert widths(published["net3d"]["encoder"]) == [96, 192, 224, 496, 504]


def test_only_the_coarsest_skip_in_2d_has_a_convolution_and_3d_has_no_skips(published):
  def skips(part):
    return {name: part[name]["kernel"].shape for name in part if name.startswith("skip")}

  assert skips(published["net2d"]["inner"]) == {"skip4": (1, 1, 2112, 2208)}
  assert skips(published["net3d"]) == {}


def test_strides_are_32_in_the_plane_and_4_across():
  assert DenseUNet161().total_stride(2) == (32, 32)
  assert DenseUNet3D().total_stride(3) == (4, 32, 32)
  assert HDenseUNet().total_stride(3) == (4, 32, 32)
  assert HDenseUNet().margin(3) == (0, 0, 0)


def test_2d_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13, max-pooling padded with zeros as in the authors' Keras code
  options = dict(blocks=(2, 1), growth=2, width=4, widths=(3, 4, 5), scale_layers=True)
  net, x = DenseUNet161(2, **options), waves.inputs(1, 16, 16, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  got = [logits[0, 0, 0], logits[0, 3, 5], logits[0, 15, 9]]
  want = [[0.469248, -0.001551], [0.669060, 0.335312], [0.600314, 0.259736]]
  assert_close(got, want, atol=2e-6)
  assert_close(np.sum(logits), 225.24646)


def test_3d_logits_are_those_of_the_same_network_in_pytorch():
  # transitions and the coarsest up-sampling leave the axis z alone
  net = DenseUNet3D(2, blocks=(1, 2), growth=2, width=4, widths=(3, 4, 5))
  x = waves.inputs(1, 8, 16, 16, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  got = [logits[0, 0, 0, 0], logits[0, 5, 3, 7], logits[0, 7, 15, 9]]
  want = [[-0.094256, -0.149365], [-0.272209, -0.157428], [-0.280431, -0.144389]]
  assert_close(got, want, atol=2e-6)
  assert_close(np.sum(logits), -1067.99146)


def test_the_hybrid_is_2d_on_slices_then_3d_on_the_volume_and_the_scores_then_their_sum():
  net, x = HDenseUNet(**SMALL), waves.inputs(2, 3, 4, 8, 2)
  variables = waves.variables(net, *x.shape)

  def part(name, *keys):
    """Variables of a part of the network."""
    found = {}
    for kind, tree in variables.items():
      tree = tree.get(name, {})
      for key in keys:
        tree = tree.get(key, {})
      found[kind] = tree
    return found

  @jax.jit
  def both(x):
    out = net.apply(variables, x)
    # every slice between its neighbours; the outermost slices stand in for those that they lack
    neighbours = ((0, 0, 1), (0, 1, 2), (1, 2, 2))
    stacks = [jnp.concatenate([x[:, z] for z in of_slice], -1) for of_slice in neighbours]
    in_2d = DenseUNet161(2, **PART).apply(part("net2d", "inner"), jnp.concatenate(stacks))
    in_2d = {name: jnp.stack(jnp.split(in_2d[name], 3), 1) for name in ("logits", "decoder")}
    volume = jnp.concatenate([x, 250 * in_2d["logits"]], -1)
    in_3d = DenseUNet3D(2, **PART).apply(part("net3d"), volume)
    fused = Conv(4, 3).apply(part("fusion_conv"), in_2d["decoder"] + in_3d["decoder"])
    fused = nn.relu(Norm(epsilon=1e-3).apply(part("fusion_norm"), fused))
    logits = Conv(2, 1).apply(part("head"), fused)
    return out, {"logits_2d": in_2d["logits"], "logits_3d": in_3d["logits"], "logits": logits}

  got, want = both(x)
  for name, values in want.items():
    assert np.ptp(values) > 0.1, name
    np.testing.assert_allclose(got[name], values, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("freeze", ["none", "statistics"])
def test_the_2d_part_may_keep_its_statistics_in_training(freeze):
  net, x = HDenseUNet(**SMALL, freeze_2d=freeze), waves.inputs(1, 2, 4, 4, 1)
  variables = waves.variables(net, *x.shape)
  step = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"])[1])
  old, new = variables["batch_stats"], step(variables, x)["batch_stats"]
  assert jax.tree.structure(new) == jax.tree.structure(old)

  def changed(part):
    pairs = zip(jax.tree.leaves(old[part]), jax.tree.leaves(new[part]), strict=True)
    return any(np.any(a != b) for a, b in pairs)

  assert changed("net2d") == (freeze == "none")
  assert changed("net3d")


def test_no_gradient_enters_a_2d_part_that_is_frozen_altogether():
  net, x = HDenseUNet(**SMALL, freeze_2d="all"), waves.inputs(1, 2, 4, 4, 1)
  variables = waves.variables(net, *x.shape)

  @jax.jit
  def gradient(params):
    def loss(params):
      return jnp.sum(net.apply({**variables, "params": params}, x)["logits"] ** 2)

    return jax.grad(loss)(params)

  found = gradient(variables["params"])
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["net2d"]))
  assert np.any(found["net3d"]["up1_conv"]["kernel"])


@pytest.mark.parametrize(("depth", "options"), [(1, {}), (2, dict(dtype="bfloat16")), (5, {})])
def test_any_number_of_slices_works(depth, options):
  net, x = HDenseUNet(**SMALL, **options), jax.ShapeDtypeStruct((1, depth, 5, 7, 1), jnp.float32)
  out = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x)[0], x)
  for name in ("logits", "logits_2d", "logits_3d"):
    assert out[name].shape == (1, depth, 5, 7, 2)
    assert out[name].dtype == jnp.float32
  assert out["decoder"].shape == (1, depth, 5, 7, 4)


def test_skips_in_3d_are_widened_where_they_must():
  options = dict(blocks=(1, 1), growth=2, width=4, widths=(3, 5, 7), skips=True)
  net, x = DenseUNet3D(**options), jax.ShapeDtypeStruct((1, 8, 8, 8, 1), jnp.float32)
  params = jax.eval_shape(lambda x: net.init(jax.random.key(0), x)["params"], x)
  # block 1 has 4 + 2 features, the bottleneck 3 + 2; the stem 4, the decoder there 7
  assert params["skip2"]["kernel"].shape == (1, 1, 1, 6, 5)
  assert params["skip1"]["kernel"].shape == (1, 1, 1, 4, 7)


def test_densenet_161s_decoder_takes_volumes_too():
  net = DenseUNet161(2, blocks=(1, 2), growth=2, width=3, widths=(4, 5, 6))
  x = waves.inputs(1, 9, 7, 10, 1)
  variables = waves.variables(net, *x.shape)
  assert net.total_stride(3) == (8, 8, 8)
  assert variables["params"]["up1_conv"]["kernel"].shape[:3] == (3, 3, 3)
  logits = jax.jit(net.apply)(variables, x)["logits"]
  assert logits.shape == (1, 9, 7, 10, 2)
  assert np.isfinite(logits).all()
  assert np.ptp(logits) > 0.01


def test_3d_denseunet_takes_images_if_no_axis_is_kept_apart():
  net = DenseUNet3D(2, **PART, transition_stride=2)
  _, out = traced(net, 1, 9, 7, 1)
  assert out["logits"].shape == (1, 9, 7, 2)


def test_bad_options_and_inputs_are_told_in_words():
  with pytest.raises(ValueError, match=r"freeze_2d='both' is unknown; choices: none, statistics"):
    HDenseUNet(freeze_2d="both")
  with pytest.raises(ValueError, match="end with 8 and 64 channels"):
    HDenseUNet(net2d=dict(widths=(8, 96, 96, 384, 768)))
  with pytest.raises(ValueError, match=r"network\.net3d\.grow: 'dense_unet3d' has no such option"):
    HDenseUNet(net3d=dict(grow=8))
  with pytest.raises(ValueError, match=r"dense_unet161: .* one more of widths than of blocks"):
    DenseUNet161(blocks=(6, 12))
  with pytest.raises(ValueError, match=r"densenet: transition_stride=.* give one integer"):
    DenseNet(transition_stride=(1, 2, 2)).strides()
  image = jnp.zeros((1, 8, 8, 1))
  with pytest.raises(ValueError, match=r"h_denseunet: an input with 2 spatial axes; .* volumes"):
    HDenseUNet(**SMALL).init(jax.random.key(0), image)
  with pytest.raises(ValueError, match=r"dense_unet3d: .* 2 spatial axes, .* transition_stride=2"):
    DenseUNet3D(**PART).init(jax.random.key(0), image)
  with pytest.raises(ValueError, match=r"dense_unet3d: transition_stride=\(2, 2\) has 2 entries"):
    DenseUNet3D(**PART, transition_stride=(2, 2)).total_stride(3)
