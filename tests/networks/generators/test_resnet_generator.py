"""CycleGAN's ResNet: torch's numbers, sizes, what it makes of nothing said, bad options."""

import numpy as np
import pytest
import waves
from abstract import traced
from closeness import assert_close

from jaxseg.networks import ResnetSegmenter
from jaxseg.networks.generators import ResnetGenerator

# torch 2.13's ReflectionPad, Conv, InstanceNorm, ConvTranspose(3, 2, 1, output_padding=1) and Tanh
# in the order of pytorch-CycleGAN-and-pix2pix, with the weights and inputs of `waves`; every 37th
# value
PLANE = (0.6288585, 0.3643663, 0.56600404, 0.14819114, 0.2157466, 0.4095318, 0.03338404, 0.13221629)
VOLUME = (-0.087805159, 0.00044961271, 0.25580034, 0.72866869, -0.089404687, -0.41212764)


@pytest.mark.parametrize(
  ("shape", "values", "mean", "std"),
  [
    ((1, 12, 16, 2), PLANE, 0.2424162, 0.3470436),
    ((1, 8, 8, 12, 1), VOLUME, 0.20325565, 0.25558004),
  ],
)
def test_it_makes_what_the_published_code_makes_in_torch(shape, values, mean, std):
  net = ResnetGenerator(widths=(3, 4, 5), blocks=2)
  image = net.apply(waves.variables(net, *shape), waves.inputs(*shape))["image"]
  assert_close(np.ravel(image)[::37][: len(values)], values, rtol=2e-5)
  assert_close([np.mean(image), np.std(image)], [mean, std], rtol=2e-5)


def test_the_segmenter_is_the_generator_without_its_end():
  shape = 1, 12, 16, 2
  generator, segmenter = (
    net(widths=(3, 4, 5), blocks=1, **options)
    for net, options in ((ResnetGenerator, {"channels": 2}), (ResnetSegmenter, {"classes": 2}))
  )
  variables = waves.variables(generator, *shape)
  logits = segmenter.apply(variables, waves.inputs(*shape))["logits"]
  image = generator.apply(variables, waves.inputs(*shape))["image"]
  assert_close(np.tanh(logits), image)
  assert np.abs(logits).max() > 1


def test_it_makes_as_many_channels_as_it_is_given_where_nothing_is_said():
  _, out = traced(ResnetGenerator(widths=(4, 6), blocks=0), 1, 9, 11, 3)
  assert out["image"].shape == (1, 9, 11, 3)
  assert out["bottleneck"].shape == (1, 5, 6, 6)


@pytest.mark.parametrize("options", [dict(widths=()), dict(widths=(4, 0)), dict(blocks=-1)])
def test_bad_options_are_told(options):
  for net, name in ((ResnetGenerator, "resnet_generator"), (ResnetSegmenter, "resnet_segmenter")):
    with pytest.raises(ValueError, match=rf"{name}: widths=.* and blocks=.*; expected at least on"):
      net(**options)
  with pytest.raises(ValueError, match="resnet_segmenter: classes=0; expected at least one"):
    ResnetSegmenter(classes=0)


def test_a_skip_adds_the_input_before_the_end():
  shape = 1, 12, 16, 2
  plain, added = (ResnetGenerator(widths=(3, 4), blocks=1, skip=skip) for skip in (False, True))
  variables, x = waves.variables(plain, *shape), waves.inputs(*shape)
  before = np.arctanh(plain.apply(variables, x)["image"])
  assert_close(added.apply(variables, x)["image"], np.tanh(before + x), rtol=1e-4)
  with pytest.raises(
    ValueError, match=r"skip=True adds the input, which has 2 channel.s., to an im"
  ):
    traced(ResnetGenerator(widths=(3, 4), blocks=1, skip=True, channels=1), *shape)
