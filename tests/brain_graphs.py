"""The layers of deepbrain's graph, with numbers, and those of deepbet's archives."""

import numpy as np
import state_dicts
from torch_files import Module


def deepbrain_graph() -> dict[str, np.ndarray]:
  """The graph's layers, layouts (*kernel, in, out), transposed ones (*kernel, out, in)."""
  out, before = {}, 1
  sizes = {"": (8, 1), "_1": (8, 8), "_2": (16, 8), "_3": (16, 16), "_4": (32, 16), "_5": (32, 32)}
  sizes |= {"_6": (32, 64), "_7": (16, 32), "_8": (8, 16), "_9": (1, 8)}
  for suffix, (width, before) in sizes.items():
    kernel = (1 if suffix == "_9" else 3,) * 3
    out |= {f"conv3d{suffix}/kernel": (*kernel, before, width), f"conv3d{suffix}/bias": (width,)}
  for suffix, (width, before) in {"": (32, 32), "_1": (16, 32), "_2": (8, 16)}.items():
    out[f"conv3d_transpose{suffix}/kernel"] = (3, 3, 3, width, before)
  arrays = state_dicts.numbers(out)
  return arrays | {"dropout/rate": np.float32(0.7), "conv3d_transpose/stack/4": np.int32(32)}


def deepbet_shapes():
  def block(place, before, width):
    out = {f"{place}.double_conv.0.weight": (width, before, 3, 3, 3)}
    out[f"{place}.double_conv.3.weight"] = (width, width, 3, 3, 3)
    more = {f"{place}.downsample.0.weight": (width, before, 1, 1, 1)}
    return out | (more if before != width else {})

  out, before = {"init.0.weight": (16, 1, 7, 7, 7)}, 16
  for i, width in enumerate((16, 32, 64, 128)):
    out |= {**block(f"down{i}.block1", before, width), **block(f"down{i}.block2", width, width)}
    before = width
  for i, width in enumerate((64, 32, 16, 16)):
    narrow = before // 4
    out |= {f"up{i}.conv1.0.weight": (narrow, before, 1, 1, 1)}
    out |= {f"up{i}.tp_conv.0.weight": (narrow, narrow, 3, 3, 3)}
    out |= {f"up{i}.conv2.0.weight": (width, narrow, 1, 1, 1)}
    before = width
  out |= {"tp_conv1.0.weight": (16, 8, 3, 3, 3), "tp_conv1.0.bias": (8,)}
  out |= {"conv.0.weight": (8, 8, 3, 3, 3), "conv.0.bias": (8,)}
  return out | {"tp_conv2.weight": (8, 2, 2, 2, 2), "tp_conv2.bias": (2,)}


def module(arrays) -> Module:
  """A TorchScript archive's tree of modules."""
  tree: dict = {"training": False}
  for name, of in arrays.items():
    *above, last = name.split(".")
    node = tree
    for part in above:
      node = node.setdefault(part, {})
    node[last] = of

  def made(name, node):
    return Module(name, {k: made(k, v) if isinstance(v, dict) else v for k, v in node.items()})

  return made("Net", tree)
