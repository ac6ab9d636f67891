"""U-Net on an encoder: counts of segmentation_models, its values, every encoder and part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count, traced
from closeness import assert_close

from jaxseg.networks import EncoderUNet, EncoderUNetPP

TINY = dict(name="resnet18", blocks=(1, 1), width=4)

SCSE = dict(name="scse", reduction=16, aggregation="add")


@pytest.mark.parametrize(
  ("options", "published"),
  [
    (dict(encoder="resnet18"), 14_328_209),
    # less 195: it counts an attention where there is no skip, which it does not use
    (dict(encoder="resnet18", attention=SCSE), 14_442_200 - 195),
  ],
  ids=str,
)
def test_counts_are_those_of_segmentation_models(options, published):
  # counted in segmentation_models.pytorch 0.6.0; the fact sheet's are in the contract table
  assert count(traced(EncoderUNet(1, **options), 1, 64, 64, 3)[0]) == published


def test_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13
  net, x = EncoderUNet(2, encoder=TINY, widths=(6, 5, 4)), waves.inputs(1, 16, 24, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  assert_close(logits[0, 0, 0], [0.26926, 0.030152], atol=2e-6)
  assert_close(logits[0, -1, -1], [0.446867, 0.448521], atol=2e-6)
  assert_close(np.sum(logits), 235.2514)


@pytest.mark.parametrize("network", [EncoderUNet, EncoderUNetPP])
@pytest.mark.parametrize(
  ("options", "stride"),
  [
    (dict(encoder=dict(name="resnet50", width=2, blocks=(1, 1)), widths=4), 8),
    (dict(encoder=dict(TINY, blocks=(1, 1, 1), output_stride=8), widths=4), 8),
    (dict(encoder=dict(name="densenet121", blocks=(1, 1), growth=2), widths=(6, 5, 4)), 8),
    (dict(encoder=dict(name="vgg16", depths=(1, 1), width=2), widths=(6, 4)), 4),
    (dict(encoder=TINY, widths=4, bottleneck=dict(name="aspp", rates=(1, 2))), 8),
    (dict(encoder=TINY, widths=4, attention="cbam", norm="instance"), 8),
  ],
  ids=["bottleneck", "dilated", "densenet", "vgg", "aspp", "cbam"],
)
def test_any_encoder_and_part_gives_logits_of_the_images_size(network, options, stride):
  net = network(2, **options)
  _, out = traced(net, 1, 13, 10, 2)
  assert out["logits"].shape == (1, 13, 10, 2)
  assert out["decoder"].shape == (1, 13, 10, 4)
  assert net.total_stride(2) == (stride, stride)
  assert out["bottleneck"].shape[1:-1] == (-(-13 // stride), -(-10 // stride))


def test_bfloat16_computes_in_bfloat16_and_gives_float32_logits():
  net = EncoderUNet(2, encoder=TINY, widths=4, dtype="bfloat16")
  _, out = traced(net, 1, 16, 16, 1)
  assert out["bottleneck"].dtype == out["decoder"].dtype == jnp.bfloat16
  assert out["logits"].dtype == jnp.float32


def test_bad_options_are_told_in_words():
  with pytest.raises(ValueError, match=r"encoder_unet: widths=\(4, 4\) has 2 entries but 5 are"):
    EncoderUNet(widths=(4, 4))
  with pytest.raises(ValueError, match=r"network.encoder.name: 'unet' is unknown"):
    EncoderUNet(encoder="unet")
  with pytest.raises(ValueError, match=r"network.attention.name: 'es' is unknown"):
    EncoderUNet(attention="es")
  with pytest.raises(ValueError, match="encoder_unet: an input with 4 spatial axes"):
    traced(EncoderUNet(encoder=TINY, widths=4), 1, 8, 8, 8, 8, 1)
