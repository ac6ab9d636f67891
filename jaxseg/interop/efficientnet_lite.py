"""EfficientNet-Lite of PyTorch -> the encoders `efficientnet_lite0` to 2.

Two families of names: those of efficientnet_lite_pytorch and the packages with its weights
("_blocks.3._expand_conv"), and timm's ("blocks.1.0.conv_pw").
"""

import re
from collections.abc import Mapping

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import DENSE, NORM, Rule, renamed

WORDS = "EfficientNet-Lite, by the names of efficientnet_lite_pytorch or timm"
_PROJECT = re.compile(r"_blocks\.(\d+)\._project_conv\.weight")
_TIMM = r"blocks\.(\d+)\.(\d+)"


def read(path) -> dict[str, np.ndarray]:
  """The weights of a file with EfficientNet-Lite, as `FORMATS` wants it."""
  arrays = tensor_files.read(path)
  rules = _of_lukemelas(arrays) if "_conv_stem.weight" in arrays else _of_timm()
  return renamed(arrays, rules, path, WORDS)


def read_timm(path) -> dict[str, np.ndarray]:
  """The weights of timm's own training, whose tensors have the names of its published ones."""
  return renamed(tensor_files.read(path), _of_timm(), path, "timm's EfficientNet-Lite")


def _of_lukemelas(arrays: Mapping[str, np.ndarray]) -> list[Rule]:
  """Blocks are counted through all stages, each of which has another number of features."""
  widths = sorted(
    (int(m[1]), len(arrays[name])) for name in arrays if (m := _PROJECT.fullmatch(name))
  )
  places, stage, block, before = {}, 0, 0, None
  for index, width in widths:
    stage, block = (stage, block + 1) if width == before else (stage + 1, 1)
    places[index], before = f"stage{stage}/block{block}", width
  convolutions = ("expand", "depthwise", "project")
  rules = [
    Rule(r"_conv_stem", "conv_stem"),
    Rule(r"_bn0", "bn_stem", NORM),
    Rule(r"_conv_head", "head_conv"),
    Rule(r"_bn1", "head_bn", NORM),
    Rule(r"_fc", "fc", DENSE),
  ]
  for index, place in places.items():
    for i, name in enumerate(convolutions):
      rules.append(Rule(rf"_blocks\.{index}\._{name}_conv", f"{place}/{name}_conv"))
      rules.append(Rule(rf"_blocks\.{index}\._bn{i}", f"{place}/{name}_bn", NORM))
  return rules


def _of_timm() -> list[Rule]:
  """The first stage's blocks don't expand, so that their layers are called otherwise."""

  def at(name: str):
    return lambda m: f"stage{int(m[1]) + 1}/block{int(m[2]) + 1}/{name}"

  first = r"blocks\.(0)\.(\d+)"
  return [
    Rule(r"conv_stem", "conv_stem"),
    Rule(r"bn1", "bn_stem", NORM),
    Rule(r"conv_head", "head_conv"),
    Rule(r"bn2", "head_bn", NORM),
    Rule(r"classifier", "fc", DENSE),
    Rule(rf"{_TIMM}\.conv_dw", at("depthwise_conv")),
    Rule(rf"{first}\.bn1", at("depthwise_bn"), NORM),
    Rule(rf"{first}\.conv_pw", at("project_conv")),
    Rule(rf"{first}\.bn2", at("project_bn"), NORM),
    Rule(rf"{_TIMM}\.conv_pw", at("expand_conv")),
    Rule(rf"{_TIMM}\.bn1", at("expand_bn"), NORM),
    Rule(rf"{_TIMM}\.bn2", at("depthwise_bn"), NORM),
    Rule(rf"{_TIMM}\.conv_pwl", at("project_conv")),
    Rule(rf"{_TIMM}\.bn3", at("project_bn"), NORM),
  ]
