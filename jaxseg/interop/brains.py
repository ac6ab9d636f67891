"""Two networks that find the brain: deepbrain's frozen graph, deepbet's TorchScript archives.

deepbrain -> `deepbrain` with one class, whose sigmoid is the brain's probability; deepbet's two
files -> `linknet` with two classes.
"""

import re

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import CONV, TRANSPOSED, Layer, Rule, renamed

_TENSORFLOW = {"kernel": "kernel", "bias": "bias"}


def read_deepbrain(path) -> dict[str, np.ndarray]:
  """deepbrain's graph.pb; TensorFlow has our layout, but its transposed kernels are (out, in)."""
  arrays = tensor_files.read(path)
  # the graph holds numbers of its own, as rates of dropout and sizes
  layers = {
    name.replace("/", "."): of
    for name, of in arrays.items()
    if re.fullmatch(r"conv3d\w*/(kernel|bias)", name)
  }
  plain = Layer(_TENSORFLOW)
  up = Layer(_TENSORFLOW, lambda array: np.swapaxes(array, -1, -2))
  names = {"conv3d": "encoder1_layer1/conv", "conv3d_9": "head"}
  names |= {f"conv3d_{i}": f"encoder{i // 2 + 1}_layer{i % 2 + 1}/conv" for i in range(1, 6)}
  names |= {f"conv3d_{6 + i}": f"decoder{3 - i}/conv" for i in range(3)}
  rules = [Rule(re.escape(theirs), ours, plain) for theirs, ours in names.items()]
  rules.append(Rule(r"conv3d_transpose", "up3", up))
  rules.append(Rule(r"conv3d_transpose_(\d)", lambda m: f"up{3 - int(m[1])}", up))
  return renamed(layers or arrays, rules, path, "deepbrain's U-Net")


def read_deepbet(path) -> dict[str, np.ndarray]:
  """One of deepbet's model.pt and bbox_model.pt."""

  def block(match: re.Match) -> str:
    return f"encoder{int(match[1]) + 1}_block{match[2]}"

  def decoder(match: re.Match) -> str:
    return f"decoder{4 - int(match[1])}"

  layer = r"down(\d)\.block(\d)"
  rules = (
    Rule(r"init\.0", "stem/conv"),
    Rule(rf"{layer}\.double_conv\.0", lambda m: f"{block(m)}/layer1/conv"),
    Rule(rf"{layer}\.double_conv\.3", lambda m: f"{block(m)}/layer2/conv"),
    Rule(rf"{layer}\.downsample\.0", lambda m: f"{block(m)}/shortcut/conv"),
    Rule(r"up(\d)\.conv1\.0", lambda m: f"{decoder(m)}_layer1/conv", CONV),
    Rule(r"up(\d)\.tp_conv\.0", lambda m: f"{decoder(m)}_layer2/conv", TRANSPOSED),
    Rule(r"up(\d)\.conv2\.0", lambda m: f"{decoder(m)}_layer3/conv", CONV),
    Rule(r"tp_conv1\.0", "last_layer1/conv", TRANSPOSED),
    Rule(r"conv\.0", "last_layer2/conv"),
    Rule(r"tp_conv2", "head", TRANSPOSED),
  )
  return renamed(tensor_files.read(path), rules, path, "deepbet's LinkNet")
