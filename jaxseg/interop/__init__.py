"""Weights of other ecosystems, in our paths and layouts.

A new format is a reader and a row in `FORMATS`, and a test that its network's outputs are those of
the original. `PACKAGES` are those that come from the package index.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxseg.interop import brains, efficientnet_lite, keras_vgg16, monai, nnunet, plain, torchvision


class Format(NamedTuple):
  """A kind of file with weights.

  Attributes:
    read: file -> {path: array} of a learner's parameters and statistics, in our paths and layouts,
      floats as float32; raises FileNotFoundError or ValueError that names the file.
    write: (file, {path: array}) writes one, None where there is no writer.
    inside: where a network that is built on them has them: "encoder"; "" for a whole network.
    spare: patterns of paths that a network may lack: a classifier's head.
    pictures: they were trained on photographs, so that an encoder's option `inputs` matters.
  """

  read: Callable[[str], Mapping[str, np.ndarray]]
  write: Callable[[str, Mapping[str, np.ndarray]], None] | None = None
  inside: str = ""
  spare: tuple[str, ...] = ()
  pictures: bool = False


_CLASSIFIER = {"inside": "encoder", "pictures": True}
FORMATS: dict[str, Format] = {
  "nnunet": Format(nnunet.read, nnunet.write, spare=("aux*",)),
  "plain": Format(plain.read),
  "monai_segresnet": Format(monai.read_segresnet),
  "monai_unetr": Format(monai.read_unetr),
  "monai_swin_unetr_mergingv2": Format(monai.read_swin_unetr),
  "monai_mednext": Format(monai.read_mednext, spare=("aux*",)),
  "deepbrain": Format(brains.read_deepbrain),
  "deepbet": Format(brains.read_deepbet),
  "torchvision": Format(torchvision.read, spare=("fc", "classifier*"), **_CLASSIFIER),
  "keras_vgg16": Format(keras_vgg16.read, **_CLASSIFIER),
  "efficientnet_lite": Format(
    efficientnet_lite.read, spare=("fc", "head_conv", "head_bn"), **_CLASSIFIER
  ),
  "timm_efficientnet_lite": Format(
    efficientnet_lite.read_timm, spare=("fc", "head_conv", "head_bn"), **_CLASSIFIER
  ),
}

__all__ = ["FORMATS", "Format"]
