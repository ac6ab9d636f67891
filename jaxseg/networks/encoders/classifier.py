"""The image classifier that an encoder was made for: what published weights hold."""

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import he_normal


class Classifier(nn.Module):
  """An encoder, the mean of its coarsest features, and one dense layer: as ResNet and DenseNet.

  Shapes: (b, *space, channels) -> (b, classes) float32 logits. The dense layer is called as the
  encoder's `head` says. (VGG's classifier, three dense layers on a fixed 7x7 image, is another.)

  Attributes:
    encoder: an encoder of this package.
    classes: ImageNet's thousand.
  """

  encoder: nn.Module
  classes: int = 1000

  @nn.compact
  def __call__(self, x):
    x = self.encoder(x)[-1]
    x = jnp.mean(x.astype(jnp.float32), tuple(range(1, x.ndim - 1)))
    return nn.Dense(self.classes, kernel_init=he_normal(slope=1.0), name=self.encoder.head)(x)
