"""The original U-Net: its sizes, its 31,030,658 parameters, its margin in loss and predictor."""

import jax
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.inference import Case, sliding_window
from jaxseg.losses import centre_crop_target
from jaxseg.networks import UNet2015
from jaxseg.networks.describe import describe


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_one_channel_to_two_classes_has_31030658_parameters():
  outputs, variables = shapes(UNet2015(classes=2), 1, 572, 572, 1, train=True)
  assert count(variables) == 31_030_658
  assert "batch_stats" not in variables
  assert outputs["bottleneck"].shape == (1, 28, 28, 1024)
  assert outputs["decoder"].shape == (1, 388, 388, 64)
  assert outputs["logits"].shape == (1, 388, 388, 2)
  up = variables["params"]["up4"]
  assert up["kernel"].shape == (2, 2, 1024, 512)
  assert up["bias"].shape == (512,)


def test_188_is_the_smallest_size_and_leaves_4():
  outputs, _ = shapes(UNet2015(classes=2), 1, 188, 572, 1)
  assert outputs["logits"].shape == (1, 4, 388, 2)


@pytest.mark.parametrize(
  ("size", "nearest"), [(573, "572 or 588"), (256, "252 or 268"), (187, "at least 188")]
)
def test_a_size_with_an_odd_level_is_refused_with_its_neighbours(size, nearest):
  with pytest.raises(ValueError, match=f"size \\(572, {size}\\).*along axis 1.*use {nearest},"):
    shapes(UNet2015(classes=2), 1, 572, size, 1, train=True)


def test_exactly_the_sizes_a_total_stride_apart_fit():
  net = UNet2015(widths=(1, 1, 1))
  for size in range(40, 57):
    # 44 -> 40 | 20 -> 16 | 8 -> 4 | 8 -> 4 | 8 -> 4
    if size in (44, 48, 52, 56):
      assert shapes(net, 1, size, 1, train=True)[0]["logits"].shape == (1, size - 40, 3)
    else:
      with pytest.raises(ValueError, match="does not fit"):
        shapes(net, 1, size, 1, train=True)


@pytest.mark.parametrize(
  ("options", "size", "margin", "stride"),
  [
    ({}, (572, 188), (92, 92), (16, 16)),
    ({}, (572,), (92,), (16,)),
    ({"widths": (2, 4, 6)}, (44, 48, 52), (20, 20, 20), (4, 4, 4)),
    # 2 + 2 lost per side at the fine level and 2 at the coarse one, times 2
    ({"widths": (2, 4)}, (18, 20), (8, 8), (2, 2)),
    ({"widths": (2, 4), "kernel": (1, 3, 5)}, (4, 18, 36), (0, 8, 16), (2, 2, 2)),
    ({"widths": (2, 4), "strides": ((1, 2, 3),)}, (13, 18, 25), (6, 8, 10), (1, 2, 3)),
    ({"widths": (2, 4), "padding": "same"}, (13, 18), (0, 0), (2, 2)),
  ],
)
def test_margin_is_what_each_side_loses(options, size, margin, stride):
  net = UNet2015(**options)
  assert net.margin(len(size)) == margin
  assert net.total_stride(len(size)) == stride
  logits = shapes(net, 2, *size, 1, train=True)[0]["logits"]
  assert logits.shape[1:-1] == tuple(n - 2 * m for n, m in zip(size, margin, strict=True))


def test_dropout_ends_the_contracting_path():
  layers = describe(UNet2015(widths=(2, 2, 2, 2, 2)), (1, 188, 1)).layers
  names = [layer.path[0] for layer in layers if layer.kind == "Dropout" and len(layer.path) == 1]
  assert names == ["dropout4", "dropout5"]


def centre_tap(*channels):
  """A 3x3 kernel that passes on the sum of the given channels: (in, weight) pairs as a list."""
  kernel = np.zeros((3, 3, len(channels), 1), np.float32)
  kernel[1, 1, :, 0] = channels
  return {"conv": {"kernel": kernel, "bias": np.zeros(1, np.float32)}}


def passing(net, *, skip):
  """Parameters with which a network of one channel and two stages passes its input on.

  Through the skip, or through the bottom, where it arrives as its maxima over 2x2 windows.
  """
  tap = centre_tap(1)
  first = centre_tap(1, 0) if skip else centre_tap(0, 1)
  params = {
    "encoder1": {"layer1": tap, "layer2": tap},
    "encoder2": {"layer1": tap, "layer2": tap},
    "up1": {"kernel": np.ones((2, 2, 1, 1), np.float32), "bias": np.zeros(1, np.float32)},
    "decoder1": {"layer1": first, "layer2": tap},
    "head": {"kernel": np.ones((1, 1, 1, 1), np.float32), "bias": np.zeros(1, np.float32)},
  }
  return jax.jit(lambda x: net.apply({"params": params}, x))


TINY = UNet2015(classes=1, widths=(1, 1))


def test_skip_and_bottom_meet_on_the_same_voxels():
  blocks = np.random.default_rng(0).uniform(1, 2, (1, 10, 11, 1)).astype(np.float32)
  x = blocks.repeat(2, 1).repeat(2, 2)
  centre = x[:, 8:-8, 8:-8]
  for skip in (True, False):
    outputs = passing(TINY, skip=skip)(x)
    np.testing.assert_array_equal(outputs["logits"], centre)


@pytest.mark.parametrize("space", [(13, 31), (2, 97), (30, 3)])
def test_the_predictor_puts_every_voxel_of_an_odd_case_back(space):
  image = np.random.default_rng(1).uniform(1, 2, (*space, 1)).astype(np.float32)
  apply = passing(TINY, skip=True)
  scores = sliding_window(
    lambda batch: {"logits": apply(batch["image"])["logits"]},
    Case({"image": image, "spacing": np.ones(2, np.float32)}),
    patch=(18, 24),
    margin=TINY.margin(2),
    total_stride=TINY.total_stride(2),
    padding="mirror",
  )
  assert_close(scores, image)


def test_overlap_tiles_are_seamless():
  """Tiles that start on the pooling grid give what the mirrored image gives in one piece."""
  net = UNet2015(widths=(3, 4))
  rng = np.random.default_rng(2)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
    shapes(net, 1, 22, 22, 1, train=True)[1]["params"],
  )
  image = rng.normal(size=(12, 18, 1)).astype(np.float32)
  apply = jax.jit(lambda x: net.apply({"params": params}, x)["logits"])
  padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
  whole = apply(padded[None])[0]
  tiled = sliding_window(
    lambda batch: {"logits": apply(batch["image"])},
    Case({"image": image, "spacing": np.ones(2, np.float32)}),
    patch=22,
    margin=net.margin(2),
    overlap=0.0,
    padding="mirror",
  )
  np.testing.assert_allclose(tiled, whole, rtol=1e-4, atol=1e-4)


def test_the_loss_sees_the_labels_of_the_voxels_that_are_left():
  labels = np.arange(20 * 22).reshape(1, 20, 22)
  left = shapes(TINY, 1, 20, 22, 1, train=True)[0]["logits"].shape[1:-1]
  fitted = centre_crop_target(Target(labels), left)
  np.testing.assert_array_equal(fitted.labels, labels[:, 8:-8, 8:-8])


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"widths": (4,)}, "two stages"),
    ({"kernel": 2}, "kernel=2; expected odd"),
    ({"padding": "full"}, "padding='full' is unknown; choices: valid, same"),
    ({"up": "linear"}, "up='linear' is unknown; choices: halve, keep, nearest"),
    ({"strides": (2, 2, 2)}, "has 3 entries but 4 are needed"),
    ({"norm": "layer"}, "norm='layer' is unknown"),
    ({"activation": "swish"}, "activation='swish' is unknown"),
    ({"dtype": "float16"}, "dtype='float16' is unknown"),
    ({"doubling": "never"}, "doubling='never' is unknown"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=f"unet2015.*{words}"):
    UNet2015(**options)


def test_an_input_without_space_is_refused_in_words():
  with pytest.raises(ValueError, match="unet2015: an input with 0 spatial axes; expected"):
    shapes(UNet2015(), 8, 8, train=True)
