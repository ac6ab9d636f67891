"""MONAI's SegResNet, UNETR, SwinUNETR and MedNeXt (1.6.1) -> the networks of these names.

Axes stay as they are: MONAI reads images with x first, so that a run with its weights wants
`config.data.transpose=(2, 1, 0)`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxseg.interop import tensor_files
from jaxseg.interop.name_map import CONV, DENSE, NORM, TRANSPOSED, Layer, Rule, renamed

_BLOCK_PARTS = {"conv1": "layer1/conv", "conv2": "layer2/conv", "conv3": "shortcut"}
_MEDNEXT_PARTS = {"conv1": "depthwise", "conv2": "expand", "conv3": "compress"}


def read_segresnet(path) -> dict[str, np.ndarray]:
  """SegResNet without its autoencoder; up-sampling by "nontrainable" or "deconv"."""
  arrays = tensor_files.read(path)
  stages = _number(arrays, r"down_layers\.(\d+)\..*")

  def block(match: re.Match) -> str:
    if match["way"] == "down":
      return f"encoder{int(match['stage']) + 1}_block{match['block']}"
    return f"decoder{stages - 1 - int(match['stage'])}_block{int(match['block']) + 1}"

  place = r"(?P<way>down|up)_layers\.(?P<stage>\d+)\.(?P<block>\d+)"
  rules = (
    Rule(r"convInit\.conv", "stem"),
    Rule(r"down_layers\.(\d+)\.0\.conv", lambda m: f"down{int(m[1]) + 1}"),
    Rule(rf"{place}\.conv(?P<n>\d)\.conv", lambda m: f"{block(m)}/conv{m['n']}"),
    Rule(rf"{place}\.norm(?P<n>\d)", lambda m: f"{block(m)}/norm{m['n']}", NORM),
    Rule(r"up_samples\.(\d+)\.0\.conv", lambda m: f"narrow{stages - 1 - int(m[1])}"),
    Rule(r"up_samples\.(\d+)\.1\.deconv", lambda m: f"up{stages - 1 - int(m[1])}", TRANSPOSED),
    Rule(r"conv_final\.0", "norm", NORM),
    Rule(r"conv_final\.2\.conv", "head"),
  )
  return renamed(arrays, rules, path, "MONAI's SegResNet")


def read_unetr(path) -> dict[str, np.ndarray]:
  """UNETR with residual blocks, of an image that is a cube (a square in 2D).

  Raises ValueError for positions that are none: the file doesn't tell their grid.
  """
  arrays = tensor_files.read(path)
  rank = max((of.ndim for of in arrays.values()), default=2) - 2
  rules = (
    Rule(
      r"vit\.patch_embedding", "", Layer({"position_embeddings": "position"}, _grid(rank, path))
    ),
    Rule(r"vit\.patch_embedding\.patch_embeddings(\.1)?", "embedding", _EMBEDDING),
    # applied to nothing
    Rule(r"vit\.blocks\.\d+\.norm_cross_attn", None),
    *_transformer(r"vit\.blocks\.(?P<block>\d+)", lambda m: f"layer{int(m['block']) + 1}"),
    Rule(r"vit\.norm", "norm", NORM),
    *_residual(r"encoder1\.layer", lambda m: "encoder1"),
    Rule(r"encoder(\d)\.transp_conv_init\.conv", r"encoder\1_up4", TRANSPOSED),
    Rule(
      r"encoder(\d)\.blocks\.(\d)\.0\.conv",
      lambda m: f"encoder{m[1]}_up{3 - int(m[2])}",
      TRANSPOSED,
    ),
    *_residual(r"encoder(\d)\.blocks\.(\d)\.1", lambda m: f"encoder{m[1]}_block{3 - int(m[2])}"),
    *_decoder(),
  )
  return renamed(arrays, rules, path, "MONAI's UNETR with residual blocks")


def read_swin_unetr(path) -> dict[str, np.ndarray]:
  """SwinUNETR that was made with `downsample="mergingv2"`.

  That of "merging" has tensors of the same names and shapes, but joins two neighbours twice and
  leaves two out, which is another function.
  """
  arrays = tensor_files.read(path)
  rank = max((of.ndim for of in arrays.values()), default=2) - 2
  block = r"swinViT\.layers(?P<stage>\d+)\.0\.blocks\.(?P<block>\d+)"

  def place(match: re.Match) -> str:
    return f"stage{match['stage']}_block{int(match['block']) + 1}"

  def encoder(match: re.Match) -> str:
    return "bottleneck" if match[1] == "10" else f"encoder{int(match[1]) - 1}"

  tables = {"relative_position_bias_table": "relative_position", "relative_position_index": None}
  merging = r"swinViT\.layers(\d+)\.0\.downsample"
  rules = (
    Rule(r"swinViT\.patch_embed\.proj", "embedding", _EMBEDDING),
    Rule(rf"{block}\.attn", place, Layer(tables)),
    *_transformer(block, place),
    Rule(
      rf"{merging}\.norm", r"stage\1_merging/norm", Layer(NORM.names, lambda a: _merged(a, rank))
    ),
    Rule(
      rf"{merging}\.reduction",
      r"stage\1_merging/reduction",
      Layer(DENSE.names, lambda a: _merged(a.T, rank)),
    ),
    *_residual(r"encoder(\d+)\.layer", encoder),
    *_decoder(),
  )
  return renamed(arrays, rules, path, "MONAI's SwinUNETR")


def read_mednext(path) -> dict[str, np.ndarray]:
  """MedNeXt with residual down and up blocks, without global response norms."""
  arrays = tensor_files.read(path)
  stages = _number(arrays, r"enc_stages\.(\d+)\..*") + 1
  places = (
    (
      r"enc_stages\.(?P<stage>\d+)\.(?P<block>\d+)",
      lambda m: f"encoder{int(m['stage']) + 1}",
      True,
    ),
    (r"bottleneck\.(?P<block>\d+)", lambda m: f"encoder{stages}", True),
    (r"dec_stages\.(?P<stage>\d+)\.(?P<block>\d+)", lambda m: f"decoder{_up(m, stages)}", True),
    (r"down_blocks\.(?P<stage>\d+)", lambda m: f"down{int(m['stage']) + 2}", False),
    (r"up_blocks\.(?P<stage>\d+)", lambda m: f"up{_up(m, stages)}", False),
  )
  rules = [
    Rule(r"stem", "stem"),
    Rule(r"out_0\.conv_out", "head", TRANSPOSED),
    Rule(r"out_blocks\.(?P<stage>\d+)\.conv_out", lambda m: f"aux{_up(m, stages)}", TRANSPOSED),
    # a tensor without a use
    Rule(r"", "", Layer({"dummy_tensor": None})),
    Rule(r"down_blocks\.(\d+)\.res_conv", lambda m: f"down{int(m[1]) + 2}/residual"),
    Rule(
      r"up_blocks\.(?P<stage>\d+)\.res_conv",
      lambda m: f"up{_up(m, stages)}",
      Layer({"weight": "residual/kernel", "bias": "residual_bias"}, TRANSPOSED.laid_out),
    ),
  ]
  for pattern, place, counted in places:

    def own(match, place=place, counted=counted):
      return f"{place(match)}_block{int(match['block']) + 1}" if counted else place(match)

    for part, ours in _MEDNEXT_PARTS.items():
      rules.append(Rule(rf"{pattern}\.{part}", lambda m, own=own, ours=ours: f"{own(m)}/{ours}"))
    rules.append(Rule(rf"{pattern}\.norm", lambda m, own=own: f"{own(m)}/norm", NORM))
  return renamed(arrays, rules, path, "MONAI's MedNeXt")


def _number(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
  """How many there are of what a pattern counts from 0."""
  return 1 + max((int(m[1]) for name in arrays if (m := re.fullmatch(pattern, name))), default=-1)


def _up(match: re.Match, stages: int) -> int:
  """A decoder's stage, which MONAI counts from the coarsest."""
  return stages - 1 - int(match["stage"])


def _transformer(block: str, place) -> list[Rule]:
  def at(name: str):
    return lambda match: f"{place(match)}/{name}"

  return [
    Rule(rf"{block}\.norm1", at("attention_norm"), NORM),
    Rule(rf"{block}\.norm2", at("mlp_norm"), NORM),
    Rule(rf"{block}\.attn\.qkv", at("attention/qkv"), DENSE),
    Rule(rf"{block}\.attn\.(out_)?proj", at("attention/projection"), DENSE),
    Rule(rf"{block}\.mlp\.linear1", at("mlp/expand"), DENSE),
    Rule(rf"{block}\.mlp\.linear2", at("mlp/compress"), DENSE),
  ]


def _residual(block: str, place) -> list[Rule]:
  return [
    Rule(rf"{block}\.{theirs}\.conv", lambda m, ours=ours: f"{place(m)}/{ours}", CONV)
    for theirs, ours in _BLOCK_PARTS.items()
  ]


def _decoder() -> Sequence[Rule]:
  def place(match: re.Match) -> str:
    return f"decoder{int(match[1]) - 1}"

  return (
    Rule(r"decoder(\d)\.transp_conv\.conv", lambda m: f"{place(m)}/up", TRANSPOSED),
    *_residual(r"decoder(\d)\.conv_block", lambda m: f"{place(m)}/block"),
    Rule(r"out\.conv\.conv", "head"),
  )


def _flat(array: np.ndarray) -> np.ndarray:
  """A convolution of patches as a dense layer of their voxels, channels fastest."""
  return CONV.laid_out(array).reshape(-1, len(array)) if array.ndim > 1 else array


_EMBEDDING = Layer(DENSE.names, _flat)


def _grid(rank: int, path):
  def laid_out(array: np.ndarray) -> np.ndarray:
    places, hidden = array.shape[1:]
    side = round(places ** (1 / rank))
    if side**rank != places:
      raise ValueError(
        f"{path}: its {places} positions are no {'cube' if rank == 3 else 'square'}, and the file "
        "doesn't tell their grid; expected a network of an image_size that is the same on all axes."
      )
    return array.reshape(*(side,) * rank, hidden)

  return laid_out


def _merged(array: np.ndarray, rank: int) -> np.ndarray:
  """Rows of joined neighbours in reading order; MONAI exchanges the middle two in 2D."""
  if rank != 2:
    return array
  parts = np.split(array, 4)
  return np.concatenate([parts[i] for i in (0, 2, 1, 3)])
