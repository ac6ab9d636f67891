"""ImageNet's classifiers as feature pyramids, for networks that build a decoder on one.

An encoder is a Linen module: (b, *space, channels) -> a tuple of features, finest first, each
(b, *ceil(space / stride), c) for the `strides()` that it tells without parameters (sizes that are
no multiple of the coarsest stride are for encoders with `corners` alone). `layers()` tells its
modules by depth, for rates and unfreezing by layer. Three class attributes:

- `corners`: feature i of stride s lies on voxel s i, because every layer has an odd kernel with
  symmetric padding; otherwise it lies in the middle of its s voxels.
- `head`: what the published classifier calls its last layer, see `Classifier`.
- `colours`: what its published weights expect of an image, see `inputs`; its option `inputs` tells
  what it gets.

Parameters are called as torchvision's, so that weights from files can be put in their place
(`interop`).
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.encoders.classifier import Classifier
from jaxseg.networks.encoders.densenet import DenseNet
from jaxseg.networks.encoders.efficientnet_lite import EfficientNetLite
from jaxseg.networks.encoders.resnet import ResNet
from jaxseg.networks.encoders.vgg import VGG
from jaxseg.networks.parts import part

ENCODERS = {
  "resnet18": functools.partial(ResNet, blocks=(2, 2, 2, 2)),
  "resnet34": functools.partial(ResNet, blocks=(3, 4, 6, 3)),
  "resnet50": functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True),
  "resnet101": functools.partial(ResNet, blocks=(3, 4, 23, 3), bottleneck=True),
  "densenet121": functools.partial(DenseNet, blocks=(6, 12, 24, 16), growth=32, width=64),
  "densenet161": functools.partial(DenseNet, blocks=(6, 12, 36, 24), growth=48, width=96),
  "densenet169": functools.partial(DenseNet, blocks=(6, 12, 32, 32), growth=32, width=64),
  "densenet201": functools.partial(DenseNet, blocks=(6, 12, 48, 32), growth=32, width=64),
  **{
    f"vgg{layers}{suffix}": functools.partial(VGG, depths=depths, norm=norm)
    for layers, depths in {
      11: (1, 1, 2, 2, 2),
      13: (2, 2, 2, 2, 2),
      16: (2, 2, 3, 3, 3),
      19: (2, 2, 4, 4, 4),
    }.items()
    for suffix, norm in {"": "none", "_bn": "batch"}.items()
  },
  "efficientnet_lite0": EfficientNetLite,
  "efficientnet_lite1": functools.partial(EfficientNetLite, depth_factor=1.1),
  "efficientnet_lite2": functools.partial(EfficientNetLite, width_factor=1.1, depth_factor=1.2),
}


def encoder(spec: str | Mapping[str, Any], **given) -> nn.Module:
  """The encoder that `spec` names, a name of `ENCODERS` or a dict with the encoder's own options.

  Args:
    spec: "resnet34" or `dict(name="resnet34", width=16)`.
    given: further options, passed on as far as the encoder takes them and `spec` doesn't set them;
      and Linen's `name` and `parent` (`parent=None` for an encoder that is only asked for its
      strides).

  Raises ValueError for an unknown name or option, and for strides that the encoder cannot have.
  """
  linen = {key: given.pop(key) for key in ("name", "parent") if key in given}
  made = part(ENCODERS, spec, "encoder", **given)(**linen)
  made.strides()  # what they refuse is told before anything is traced
  return made


def layers(spec: str | Mapping[str, Any], prefix: str) -> tuple[tuple[str, ...], ...]:
  """Patterns of the paths of each depth of an encoder that lies at `prefix`, from the input up."""
  made = encoder(spec, parent=None)
  return tuple(tuple(f"{prefix}/{name}" for name in group) for group in made.layers())


def pad_to_grid(x, made: nn.Module):
  """Appends zeros so that the coarsest features span the whole image, first voxel to last.

  That is a multiple of the coarsest stride and, for an encoder with `corners`, one voxel more, as
  PSPNet's 473 = 8 x 59 + 1 and DeepLab's 513 = 16 x 32 + 1. `resize` with
  `align_corners=made.corners` then puts the features back where they belong.
  """
  stride, more = made.strides()[-1], int(made.corners)
  pads = [(0, (more - n) % stride) for n in x.shape[1:-1]]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)])


def smallest_input(made: nn.Module, level: int, voxels: int) -> int:
  """The least size of an axis for which `pad_to_grid` gives the features so many voxels."""
  coarsest, stride, more = made.strides()[-1], made.strides()[level], int(made.corners)
  # least multiple of the coarsest stride with enough features, then without what would be padded
  steps = -(-(voxels - more) * stride // coarsest)
  return max(1, (steps - 1) * coarsest + more + 1)


__all__ = [
  "ENCODERS",
  "VGG",
  "Classifier",
  "DenseNet",
  "EfficientNetLite",
  "ResNet",
  "encoder",
  "layers",
  "pad_to_grid",
  "smallest_input",
]
