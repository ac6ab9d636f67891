"""nnU-Net's checkpoints (version 2) -> the weights of `plain_conv_unet` and `resenc_unet`.

Names and layouts are those of dynamic_network_architectures 0.4.4. Differences: there channels come
first and the decoder's stages are counted from the coarsest; the decoder joins [up-sampled, skip],
ours [skip, up-sampled].
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxseg.interop import torch_file, torch_writing
from jaxseg.interop.name_map import listed

# entries that repeat others: the same tensor under a second name
_REPEATED = re.compile(r"^decoder\.encoder\.|\.all_modules\.")
# a layer's modules, in the order of its list of them
_PARTS = ("conv", "norm")
# what comes first among the modules of one place, though not by the alphabet
_ORDER = {"stem": "a", "weight": "a", "bias": "b", "seg_layers": "z"}
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
  return from_state_dict(network_weights(torch_file.load(path), path), path)


def write(path, weights: Mapping[str, np.ndarray]) -> None:
  """Writes weights, in our paths and layouts, as nnU-Net's training takes them to begin with."""
  torch_writing.save(path, {"network_weights": to_state_dict(weights)})


def network_weights(checkpoint: Any, path) -> dict[str, np.ndarray]:
  """The tensors of what a checkpoint holds, each once; raises ValueError where there are none."""
  weights = checkpoint.get("network_weights") if isinstance(checkpoint, dict) else None
  arrays = weights if isinstance(weights, dict) else {}
  if not arrays or not all(isinstance(of, np.ndarray) for of in arrays.values()):
    raise ValueError(
      f"{path}: is no checkpoint of nnU-Net v2 (it holds no network_weights); expected a file such "
      "as fold_0/checkpoint_final.pth."
    )
  # of networks that were compiled, or trained on several devices
  arrays = {
    name.removeprefix("_orig_mod.").removeprefix("module."): of for name, of in arrays.items()
  }
  return {name: of for name, of in arrays.items() if not _REPEATED.search(name)}


def from_state_dict(arrays: Mapping[str, np.ndarray], path) -> dict[str, np.ndarray]:
  """nnU-Net's tensors, each once -> ours; raises ValueError that names what is no part of one."""
  steps = 1 + max((int(m["stage"]) for m in map(_HEAD.match, _modules(arrays)) if m), default=-1)
  ours = {name: _ours(name, steps) for name in arrays}
  places = list(ours.values())
  strange = [name for name, place in ours.items() if place is None or places.count(place) > 1]
  if strange:
    what = "is no part" if len(strange) == 1 else "are no parts"
    raise ValueError(
      f"{path}: holds {listed(strange)}, which {what} of nnU-Net's PlainConvUNet and "
      "ResidualEncoderUNet; weights of these two networks are read."
    )
  return {ours[name]: _laid_out(name, of.astype(np.float32)) for name, of in arrays.items()}


def to_state_dict(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Ours -> all that nnU-Net's network loads, in its order; what it names twice is one array.

  Raises ValueError that names what its networks don't have.
  """
  steps = decoder_steps(weights)
  theirs = {path: _theirs(path, steps) for path in weights}
  strange = [path for path, name in theirs.items() if name is None]
  if strange:
    raise ValueError(
      f"{listed(strange)}: nnU-Net's PlainConvUNet and ResidualEncoderUNet have no such weights."
    )
  arrays = {name: _given_back(name, weights[path]) for path, name in theirs.items()}
  names = sorted(arrays, key=_place)
  encoder = _repeated({name: arrays[name] for name in names if name.startswith("encoder.")})
  decoder = _repeated({name: arrays[name] for name in names if name.startswith("decoder.")})
  return encoder | {f"decoder.{name}": of for name, of in encoder.items()} | decoder


def in_order(paths: Iterable[str]) -> list[str]:
  """Our paths of a network's parameters in the order in which PyTorch's optimisers count them."""
  paths = list(paths)
  names = {path: name_of(path, decoder_steps(paths)) for path in paths}
  return sorted(paths, key=lambda of: (names[of].startswith("decoder."), _place(names[of])))


def decoder_steps(paths: Iterable[str]) -> int:
  """Stages of the decoder of a network that has these paths."""
  return sum(path.startswith("up") and path.endswith("/kernel") for path in paths)


def name_of(path: str, steps: int) -> str:
  """nnU-Net's name of one of our paths, of a network whose decoder has `steps` stages."""
  return _theirs(path, steps) or path


def laid_out_as(path: str, array: np.ndarray, steps: int) -> np.ndarray:
  """An array in nnU-Net's layout that belongs to one of our paths, as its momentum -> in ours."""
  return _laid_out(_theirs(path, steps), array)


def given_back_as(path: str, array: np.ndarray, steps: int) -> np.ndarray:
  """The inverse of `laid_out_as`."""
  return _given_back(_theirs(path, steps), array)


def _repeated(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """With the second names of what lies in a layer: its modules are in a list as well."""
  layers: dict[str, dict[str, np.ndarray]] = {}
  for name, of in arrays.items():
    module = name.rpartition(".")[0]
    layer, _, part = module.rpartition(".")
    layers.setdefault(layer if part in _PARTS else module, {})[name] = of
  out = {}
  for layer, members in layers.items():
    out |= members
    for name, of in members.items():
      *_, part, last = name.split(".")
      if part in _PARTS:
        out[f"{layer}.all_modules.{_PARTS.index(part)}.{last}"] = of
  return out


def _place(name: str) -> tuple:
  """Sorts names as the modules of nnU-Net's networks are made."""
  parts = [_ORDER.get(part, part) for part in name.split(".")]
  return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


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


def _theirs(path: str, steps: int) -> str | None:
  """The inverse of `_ours`."""
  module, _, last = path.rpartition("/")
  part = "norm" if "norm" in module.rpartition("/")[2] else "conv"
  last = {"kernel": "weight", "scale": "weight", "bias": "bias"}.get(last)
  if found := re.fullmatch(r"encoder(\d+)/layer(\d+)/(conv|norm)", module):
    inner = f"encoder.stages.{int(found[1]) - 1}.0.convs.{int(found[2]) - 1}.{part}"
  elif module in ("stem/conv", "stem/norm"):
    inner = f"encoder.stem.convs.0.{part}"
  elif found := re.fullmatch(r"encoder(\d+)/block(\d+)/(?:layer([123])/conv|norm([123]))", module):
    inner = f"encoder.stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}."
    inner += f"conv{found[3] or found[4]}.{part}"
  elif found := re.fullmatch(r"encoder(\d+)/block(\d+)/shortcut(?:_norm)?", module):
    # after the averaging, where the stage strides: all but the finest do
    index = int(int(found[1]) > 1 and found[2] == "1")
    inner = f"encoder.stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}.skip.{index}.{part}"
  elif found := re.fullmatch(r"decoder(\d+)/layer(\d+)/(conv|norm)", module):
    inner = f"decoder.stages.{steps - int(found[1])}.convs.{int(found[2]) - 1}.{part}"
  elif found := re.fullmatch(r"up(\d+)", module):
    inner = f"decoder.transpconvs.{steps - int(found[1])}"
  elif module == "head":
    inner = f"decoder.seg_layers.{steps - 1}"
  elif found := re.fullmatch(r"aux(\d+)", module):
    inner = f"decoder.seg_layers.{steps - 1 - int(found[1])}"
  else:
    return None
  return last and f"{inner}.{last}"


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


def _given_back(name: str, array: np.ndarray) -> np.ndarray:
  """The inverse of `_laid_out`."""
  if array.ndim < 3:
    return np.ascontiguousarray(array)
  module = name.rpartition(".")[0]
  if _UP.match(module):
    return np.ascontiguousarray(np.moveaxis(array, (-2, -1), (0, 1)))
  array = np.moveaxis(array, (-1, -2), (0, 1))
  joined = _DECODER.match(module)
  if joined and joined["layer"] == "0":
    half = len(array[0]) // 2
    array = np.concatenate([array[:, half:], array[:, :half]], 1)
  return np.ascontiguousarray(array)
