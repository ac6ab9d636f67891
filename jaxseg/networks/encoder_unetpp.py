"""U-Net++ decoder on an ImageNet classifier's encoder."""

import jax.numpy as jnp

from jaxseg.networks.encoder_unet import EncoderUNet


class EncoderUNetPP(EncoderUNet):
  """U-Net++ whose encoder is a ResNet, DenseNet or VGG.

      stride 2  x00 - x01 - x02 - x03 - x04 - up - head   x^{i,0} are the encoder's features;
      stride 4    x10 - x11 - x12 - x13                   x^{i,j}: nearest x2 of x^{i+1,j-1}, beside
      stride 8      x20 - x21 - x22                       it x^{i,j-1}, ..., x^{i,0}, then two 3x3
      stride 16       x30 - x31                           convolutions
      stride 32         x40

  The nodes of the last diagonal, on the way from the bottleneck to the head, have the decoder's
  `widths`; those between have the channels of the encoder's features in their row. An encoder that
  starts at the image's resolution (VGG) has a row there, and needs no last step up.

  Shapes, options and errors: as `EncoderUNet`; `attention` follows every node's concatenation and
  every node. For heads at every depth and pruning, without a classifier's encoder: `unetpp`.

  Source: Zhou et al., arXiv 1912.05074; equals `UnetPlusPlus` of Yakubovskiy's
  segmentation_models.pytorch: 26,078,609 parameters for "resnet34", 3 channels and 1 class.
  """

  _who = "encoder_unetpp"

  def _decode(self, skips, x):
    rows = [*skips, x]
    last = len(rows) - 1
    finest = len(self._strides()) - last  # the level of the first row
    nodes = {(i, 0): features for i, features in enumerate(rows)}
    for j in range(1, last + 1):
      for i in range(last + 1 - j):
        level = finest + i
        width = self._width(level) if i + j == last else rows[i].shape[-1]
        left = jnp.concatenate([nodes[i, k] for k in reversed(range(j))], -1)
        nodes[i, j] = self._stage(level, width, f"x{i}_{j}")(nodes[i + 1, j - 1], left)
    x = nodes[0, last]
    return x if finest == 1 else self._stage(1, self._width(1), "decoder1")(x, None)
