"""What a checkpoint_*.pth of nnU-Net v2 tells beside its weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.interop import nnunet, torch_file

_FIELDS = {"trainer_name": str, "init_args": dict, "current_epoch": int}
_ARGUMENTS = {"plans": dict, "configuration": str, "dataset_json": dict}
_VERSIONS = "expected one of nnU-Net 2.0 to 2.8"


class Checkpoint(NamedTuple):
  """A checkpoint.

  Attributes:
    weights: path -> array, in our paths and layouts.
    momentum: likewise the optimiser's, of those parameters that had a gradient; {} without any.
    trainer: its class.
    configuration: its name in the plans.
    plans, dataset: the JSON that it was trained by.
    epochs: that were trained.
    mirrored: the axes that its predictions may be averaged over.
    best: the best moving average of the validation's pseudo Dice, None if it isn't told.
  """

  weights: dict[str, np.ndarray]
  momentum: dict[str, np.ndarray]
  trainer: str
  configuration: str
  plans: dict[str, Any]
  dataset: dict[str, Any]
  epochs: int
  mirrored: tuple[int, ...]
  best: float | None


def read_checkpoint(path) -> Checkpoint:
  """Reads a checkpoint of any nnU-Net 2.

  Raises FileNotFoundError or ValueError: no such file, damaged, of another network, of nnU-Net 1 or
  of a version whose fields are unknown.
  """
  told = torch_file.load(path)
  if isinstance(told, dict) and "state_dict" in told and "network_weights" not in told:
    raise ValueError(
      f"{path}: is a checkpoint of nnU-Net 1 (it holds state_dict), or of another program; "
      f"{_VERSIONS}."
    )
  arrays = nnunet.network_weights(told, path)
  _check(told, _FIELDS, path)
  arguments = told["init_args"]
  _check(arguments, _ARGUMENTS, f"{path}: init_args")
  mirrored = told.get("inference_allowed_mirroring_axes") or ()
  whole = isinstance(mirrored, list | tuple) and all(type(axis) is int for axis in mirrored)
  if not whole or not set(mirrored) <= {0, 1, 2} or told["current_epoch"] < 0:
    raise ValueError(
      f"{path}: its inference_allowed_mirroring_axes are {mirrored!r:.60} and its current_epoch "
      f"{told['current_epoch']}, which no nnU-Net writes; {_VERSIONS}."
    )
  weights = nnunet.from_state_dict(arrays, path)
  best = told.get("_best_ema")
  return Checkpoint(
    weights,
    _momentum(told.get("optimizer_state"), weights),
    told["trainer_name"],
    arguments["configuration"],
    arguments["plans"],
    arguments["dataset_json"],
    told["current_epoch"],
    tuple(sorted(mirrored)),
    float(best) if isinstance(best, int | float) else None,
  )


def _check(told: Mapping, fields: Mapping[str, type], where) -> None:
  for field, kind in fields.items():
    if type(told.get(field)) is not kind:
      had = f"is {told[field]!r:.40}" if field in told else "is missing"
      raise ValueError(
        f"{where}: '{field}' {had}, so that it is of an unknown nnU-Net; {_VERSIONS}."
      )


def _momentum(state: Any, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """SGD's buffers by our paths; {} of other optimisers, or where they are not all there is."""
  state = state if isinstance(state, dict) else {}
  groups, of = state.get("param_groups"), state.get("state")
  single = isinstance(groups, list) and len(groups) == 1 and isinstance(groups[0], dict)
  if not single or not isinstance(of, dict):
    return {}
  paths, steps = nnunet.in_order(weights), nnunet.decoder_steps(weights)
  if groups[0].get("params") != list(range(len(paths))):
    return {}
  out = {}
  for i, path in enumerate(paths):
    entry = of.get(i)
    buffer = entry.get("momentum_buffer") if isinstance(entry, dict) else None
    if not isinstance(buffer, np.ndarray):
      continue
    ours = nnunet.laid_out_as(path, buffer.astype(np.float32), steps)
    if ours.shape != weights[path].shape:
      return {}
    out[path] = ours
  return out
