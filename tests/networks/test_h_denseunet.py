"""H-DenseUNet and its parts: the published counts, values, slices, fusion, frozen statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves

from jaxseg.networks import DenseUNet3D, DenseUNet161, HDenseUNet

PART = dict(blocks=(1,), growth=2, width=3, widths=(4, 5))
SMALL = dict(classes=2, net2d=PART, net3d=PART)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


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
  np.testing.assert_allclose(got, want, atol=2e-6)
  np.testing.assert_allclose(np.sum(logits), 225.24646, rtol=1e-5)


def test_3d_logits_are_those_of_the_same_network_in_pytorch():
  # transitions and the coarsest up-sampling leave the axis z alone
  net = DenseUNet3D(2, blocks=(1, 2), growth=2, width=4, widths=(3, 4, 5))
  x = waves.inputs(1, 8, 16, 16, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  got = [logits[0, 0, 0, 0], logits[0, 5, 3, 7], logits[0, 7, 15, 9]]
  want = [[-0.094256, -0.149365], [-0.272209, -0.157428], [-0.280431, -0.144389]]
  np.testing.assert_allclose(got, want, atol=2e-6)
  np.testing.assert_allclose(np.sum(logits), -1067.99146, rtol=1e-5)


def infer(net, variables, x):
  return jax.jit(net.apply)(variables, x)


def test_each_slice_is_segmented_with_its_neighbours_and_outermost_slices_stand_in():
  net, x = HDenseUNet(**SMALL), waves.inputs(2, 3, 5, 8, 2)
  variables = waves.variables(net, *x.shape)
  got = infer(net, variables, x)["logits_2d"]
  inner = {name: variables[name]["net2d"]["inner"] for name in variables}
  neighbours = ((0, 0, 1), (0, 1, 2), (1, 2, 2))
  stacks = [np.concatenate([x[:, z] for z in of_slice], -1) for of_slice in neighbours]
  want = infer(DenseUNet161(2, **PART), inner, np.concatenate(stacks))["logits"]
  np.testing.assert_allclose(got, np.stack(np.split(want, 3), 1), atol=1e-5)


def test_the_3d_part_sees_the_volume_and_the_scaled_scores():
  x = waves.inputs(1, 4, 4, 8, 1)
  scaled, plain = HDenseUNet(**SMALL), HDenseUNet(**SMALL, score_scale=1.0)
  variables = waves.variables(scaled, *x.shape)
  kernel = variables["params"]["net3d"]["encoder"]["conv0"]["kernel"]
  assert kernel.shape == (7, 7, 7, 1 + 2, 3)
  kernel[..., 1:, :] /= 250  # small, so that nothing is a difference of large numbers
  want = infer(scaled, variables, x)
  kernel[..., 1:, :] *= 250
  got = infer(plain, variables, x)
  np.testing.assert_allclose(got["logits_3d"], want["logits_3d"], atol=1e-4)
  np.testing.assert_allclose(got["logits"], want["logits"], atol=1e-4)


@pytest.mark.parametrize("freeze", ["none", "statistics", "all"])
def test_the_2d_part_freezes_its_statistics_or_itself(freeze):
  net, x = HDenseUNet(**SMALL, freeze_2d=freeze, score_scale=1.0), waves.inputs(1, 4, 4, 8, 1)
  variables = waves.variables(net, *x.shape)

  @jax.jit
  def step(params):
    def loss(params):
      given = {**variables, "params": params}
      out, stats = net.apply(given, x, train=True, mutable=["batch_stats"])
      return jnp.sum(out["logits"] ** 2), (out, stats["batch_stats"])

    gradients, (out, stats) = jax.grad(loss, has_aux=True)(params)
    return gradients, out, stats, net.apply(variables, x)

  gradients, out, stats, inference = step(variables["params"])
  old = variables["batch_stats"]
  assert jax.tree.structure(stats) == jax.tree.structure(old)

  def changed(part):
    pairs = zip(jax.tree.leaves(old[part]), jax.tree.leaves(stats[part]), strict=True)
    return any(np.any(a != b) for a, b in pairs)

  assert changed("net2d") == (freeze == "none")
  assert changed("net3d")
  assert any(np.any(g) for g in jax.tree.leaves(gradients["net2d"])) == (freeze != "all")
  assert np.any(gradients["net3d"]["up1_conv"]["kernel"])
  same = np.allclose(out["logits_2d"], inference["logits_2d"], atol=1e-5)
  assert same == (freeze != "none")


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_any_number_of_slices_works(depth):
  net, x = HDenseUNet(**SMALL), jax.ShapeDtypeStruct((1, depth, 5, 7, 1), jnp.float32)
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


def test_bad_options_and_inputs_are_told_in_words():
  with pytest.raises(ValueError, match="freeze_2d='both' is unknown; choices: none, statistics"):
    HDenseUNet(freeze_2d="both")
  with pytest.raises(ValueError, match="end with 8 and 64 channels"):
    HDenseUNet(net2d=dict(widths=(8, 96, 96, 384, 768)))
  with pytest.raises(ValueError, match="network.net3d.grow: 'dense_unet3d' has no such option"):
    HDenseUNet(net3d=dict(grow=8))
  with pytest.raises(ValueError, match="dense_unet161: .* one more of widths than of blocks"):
    DenseUNet161(blocks=(6, 12))
  image = jnp.zeros((1, 8, 8, 1))
  with pytest.raises(ValueError, match="h_denseunet: an input with 2 spatial axes; .* volumes"):
    HDenseUNet(**SMALL).init(jax.random.key(0), image)
  with pytest.raises(ValueError, match="dense_unet3d: transition_stride=.* has 3 entries"):
    DenseUNet3D(**PART).init(jax.random.key(0), image)
