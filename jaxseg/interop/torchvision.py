"""torchvision's ResNet, VGG and DenseNet -> the encoders of the same names.

Names: torchvision 0.28; DenseNet's of before 0.3 ("norm.1") are read, too.
"""

import re

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import CONV, DENSE, NORM, Rule, renamed

WORDS = "torchvision's ResNet, VGG and DenseNet"


def _block(match: re.Match) -> str:
  return f"layer{match['stage']}/block{int(match['block']) + 1}"


_RESNET = r"layer(?P<stage>\d)\.(?P<block>\d+)"
_DENSE = r"features\.denseblock(?P<stage>\d+)\.denselayer(?P<layer>\d+)"
RULES = (
  Rule(r"conv1", "conv1"),
  Rule(r"bn1", "bn1", NORM),
  Rule(rf"{_RESNET}\.conv(?P<n>\d)", lambda m: f"{_block(m)}/conv{m['n']}"),
  Rule(rf"{_RESNET}\.bn(?P<n>\d)", lambda m: f"{_block(m)}/bn{m['n']}", NORM),
  Rule(rf"{_RESNET}\.downsample\.0", lambda m: f"{_block(m)}/downsample_conv"),
  Rule(rf"{_RESNET}\.downsample\.1", lambda m: f"{_block(m)}/downsample_bn", NORM),
  Rule(r"fc", "fc", DENSE),
  Rule(r"features\.conv0", "conv0"),
  Rule(r"features\.norm(\d)", r"norm\1", NORM),
  Rule(rf"{_DENSE}\.norm\.?(\d)", r"denseblock\g<stage>/denselayer\g<layer>/norm\3", NORM),
  Rule(rf"{_DENSE}\.conv\.?(\d)", r"denseblock\g<stage>/denselayer\g<layer>/conv\3"),
  Rule(r"features\.transition(\d)\.norm", r"transition\1_norm", NORM),
  Rule(r"features\.transition(\d)\.conv", r"transition\1_conv"),
  Rule(r"classifier", "classifier", DENSE),
  # VGG's, three dense layers
  Rule(r"classifier\.(\d)", r"classifier\1", DENSE),
)
_VGG = re.compile(r"features\.(\d+)\.weight")


def read(path) -> dict[str, np.ndarray]:
  """The weights of a file of torchvision's, in our paths and layouts, as `FORMATS` wants it."""
  arrays = tensor_files.read(path)
  return renamed(arrays, (*_of_vgg(arrays), *RULES), path, WORDS)


def _of_vgg(arrays) -> list[Rule]:
  """VGG counts convolutions, norms, activations and poolings alike: a wider gap is a pooling."""
  found = {int(m[1]): arrays[name].ndim for name in arrays if (m := _VGG.fullmatch(name))}
  places = sorted(place for place, rank in found.items() if rank > 1)
  usual = 3 if any(rank == 1 for rank in found.values()) else 2
  rules, stage, layer = [], 1, 0
  for before, place in zip([-usual, *places], places, strict=False):
    pooled = place - before > usual
    stage, layer = (stage + 1, 1) if pooled else (stage, layer + 1)
    own = f"conv{stage}_{layer}"
    rules.append(Rule(rf"features\.{place}", f"{own}/conv", CONV))
    rules.append(Rule(rf"features\.{place + 1}", f"{own}/norm", NORM))
  return rules
