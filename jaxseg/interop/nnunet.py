"""nnU-Net's checkpoints (version 2) -> the weights of `plain_conv_unet` and `resenc_unet`.

Names and layouts are those of dynamic_network_architectures 0.4.4. Differences: there channels come
first and the decoder's stages are counted from the coarsest; the decoder joins [up-sampled, skip],
ours [skip, up-sampled].
"""

import re

import numpy as np

from jaxseg.interop import torch_file

# entries that repeat others: the same tensor under a second name
_REPEATED = re.compile(r"^decoder\.encoder\.|\.all_modules\.")
_LAYERS = {"weight": "kernel", "bias": "bias"}
_NORMS = {"weight": "scale", "bias": "bias"}
_STAGE = r"(?P<stage>\d+)"
_PLAIN = re.compile(rf"^encoder\.stages\.{_STAGE}\.0\.convs\.(?P<layer>\d+)\.(?P<part>conv|norm)$")
_STEM = re.compile(r"^encoder\.stem\.convs\.0\.(?P<part>conv|norm)$")
_BLOCK = re.compile(
  rf"^encoder\.stages\.{_STAGE}\.blocks\.(?P<block>\d+)\.conv(?P<layer>[123])\.(?P<part>conv|norm)$"
)
_SHORTCUT = re.compile(
  rf"^encoder\.stages\.{_STAGE}\.blocks\.(?P<block>\d+)\.skip\.[01]\.(?P<part>conv|norm)$"
)
_DECODER = re.compile(rf"^decoder\.stages\.{_STAGE}\.convs\.(?P<layer>\d+)\.(?P<part>conv|norm)$")
_UP = re.compile(rf"^decoder\.transpconvs\.{_STAGE}$")
_HEAD = re.compile(rf"^decoder\.seg_layers\.{_STAGE}$")


def read(path) -> dict[str, np.ndarray]:
  """The weights of a checkpoint_*.pth of nnU-Net v2, in our paths and layouts, float32.

  Raises FileNotFoundError or ValueError: no such file, damaged, no checkpoint of nnU-Net's, or one
  of another network than PlainConvUNet and ResidualEncoderUNet.
  """
  told = torch_file.load(path)
  weights = told.get("network_weights") if isinstance(told, dict) else None
  arrays = weights if isinstance(weights, dict) else {}
  if not arrays or not all(isinstance(of, np.ndarray) for of in arrays.values()):
    raise ValueError(
      f"{path}: is no checkpoint of nnU-Net v2 (it holds no network_weights); expected a file such "
      "as fold_0/checkpoint_final.pth."
    )
  # of networks that were compiled
  arrays = {name.removeprefix("_orig_mod."): of for name, of in arrays.items()}
  arrays = {name: of for name, of in arrays.items() if not _REPEATED.search(name)}
  steps = 1 + max((int(m["stage"]) for m in map(_HEAD.match, _modules(arrays)) if m), default=-1)
  out = {}
  for name, array in arrays.items():
    ours = _ours(name, steps)
    if ours is None or ours in out:
      raise ValueError(
        f"{path}: holds '{name}', which is no part of nnU-Net's PlainConvUNet and "
        "ResidualEncoderUNet; weights of these two networks are read."
      )
    out[ours] = _laid_out(name, array.astype(np.float32))
  return out


def _modules(names) -> list[str]:
  return [name.rpartition(".")[0] for name in names]


def _ours(name: str, steps: int) -> str | None:
  """Our path of one of nnU-Net's parameters, or None; the decoder has `steps` stages."""
  module, _, last = name.rpartition(".")
  if found := _PLAIN.match(module):
    inner = f"encoder{int(found['stage']) + 1}/layer{int(found['layer']) + 1}/{found['part']}"
  elif found := _STEM.match(module):
    inner = f"stem/{found['part']}"
  elif found := _BLOCK.match(module):
    inner = f"encoder{int(found['stage']) + 1}/block{int(found['block']) + 1}/"
    layer = found["layer"]
    inner += f"layer{layer}/conv" if found["part"] == "conv" else f"norm{layer}"
  elif found := _SHORTCUT.match(module):
    inner = f"encoder{int(found['stage']) + 1}/block{int(found['block']) + 1}/shortcut"
    inner += "" if found["part"] == "conv" else "_norm"
  elif found := _DECODER.match(module):
    stage = steps - int(found["stage"])
    inner = f"decoder{stage}/layer{int(found['layer']) + 1}/{found['part']}"
  elif found := _UP.match(module):
    inner = f"up{steps - int(found['stage'])}"
  elif found := _HEAD.match(module):
    stage = steps - 1 - int(found["stage"])
    inner = f"aux{stage}" if stage else "head"
  else:
    return None
  norm = "part" in found.re.groupindex and found["part"] == "norm"
  last = (_NORMS if norm else _LAYERS).get(last)
  return last and f"{inner}/{last}"


def _laid_out(name: str, array: np.ndarray) -> np.ndarray:
  if array.ndim < 3:
    return array
  module = name.rpartition(".")[0]
  if _UP.match(module):
    # (in, out, *kernel) -> (*kernel, in, out)
    return np.moveaxis(array, (0, 1), (-2, -1))
  joined = _DECODER.match(module)
  if joined and joined["layer"] == "0":
    half = len(array[0]) // 2
    array = np.concatenate([array[:, half:], array[:, :half]], 1)
  # (out, in, *kernel) -> (*kernel, in, out)
  return np.moveaxis(array, (0, 1), (-1, -2))
