"""The layers of deepbrain's graph, with numbers."""

import numpy as np
import state_dicts


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
