"""deepbrain and deepbet as run folders: what `predict` needs to find the brain in a head."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg import defaults
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.interop import FORMATS, packages
from jaxseg.interop.name_map import listed
from jaxseg.runs import folder as run_folder
from jaxseg.runs import foreign

DEEPBRAIN, DEEPBET = "deepbrain", "deepbet"
_CHANNEL = "T1"
# voxels of what a network of each sees
_DEEPBRAIN, _DEEPBET = (128, 128, 128), (256, 256, 256)
_DEEPBET_BOX = 128
# both read a file's axes with x first
_TRANSPOSE = (2, 1, 0)


class _Brain(NamedTuple):
  """What makes a run of weights that find the brain.

  Attributes:
    parts: part of the network, "" for all of it -> the package's weights.
    labels: of the mask.
    data, others: what is not as in the default config.
  """

  parts: Mapping[str, str]
  labels: LabelSpec
  data: Mapping[str, Any]
  others: Mapping[str, Any]


def _deepbrain() -> _Brain:
  """A head at 128 voxels per axis and from 0 to 1.

  deepbrain divides by the maximum of an image that begins at 0, and blurs before it makes that
  smaller.
  """
  # linear both ways
  resampling = {"size": _DEEPBRAIN, "order": 1, "score_order": 1}
  data = {"normalise": "minmax", "resampling": resampling, "patch": _DEEPBRAIN}
  network, predictor = {"name": DEEPBRAIN}, {"name": "sliding_window"}
  labels = LabelSpec(("brain",), (0, 1), ((1,),))
  return _Brain({"": DEEPBRAIN}, labels, data, {"network": network, "predictor": predictor})


def _deepbet() -> _Brain:
  """A head as it is, turned to RAS: the predictor brings it, and its box, to their sizes."""
  data = {"normalise": "none", "orientation": "RAS", "patch": _DEEPBET}
  size = {"box_size": _DEEPBET_BOX}
  network, predictor = {"name": DEEPBET, **size}, {"name": "boxed", **size}
  parts = {"box": "deepbet_box", "brain": "deepbet"}
  labels = LabelSpec(("background", "brain"), (0, 1))
  return _Brain(parts, labels, data, {"network": network, "predictor": predictor})


BRAINS: dict[str, Callable[[], _Brain]] = {DEEPBRAIN: _deepbrain, DEEPBET: _deepbet}


def import_brain(name: str, output, files: Mapping[str, Any] | None = None) -> pathlib.Path:
  """Makes a run folder of a package's weights: one channel, and the brain.

  Args:
    name: of BRAINS.
    output: a new folder.
    files: name of the weights (`packages.PACKAGES`) -> file, of those that the installed package
      doesn't have.

  Raises FileNotFoundError or ValueError in words, before anything is written.
  """
  brain, files, weights = BRAINS[name](), files or {}, {}
  for part, package in brain.parts.items():
    read = FORMATS[packages.PACKAGES[package].format].read
    weights |= _within(part, read(files.get(package) or packages.file_of(package)))
  told = _described(name, brain)
  abstract = foreign.shapes(told)
  shapes = foreign.weight_shapes(abstract)
  differing = {path for path, of in weights.items() if shapes.get(path) != of.shape}
  if differing := sorted(differing | (shapes.keys() - weights.keys())):
    where = ", ".join(map(str, files.values())) or name
    raise ValueError(f"{where}: {listed(differing)} are not as in {name}'s network.")
  foreign.write(output, told, foreign.state(abstract, weights, step=1))
  return pathlib.Path(output)


def _within(part: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {f"{part}/{path}" if part else path: of for path, of in weights.items()}


def _described(name: str, brain: _Brain) -> run_folder.Described:
  own = plain(defaults.fields())
  data = {"transpose": _TRANSPOSE, "batch": 1, "source": {"name": "nnunet_raw", "path": name}}
  config = complete(
    {
      **own,
      "loss": {"cross_entropy": {"weight": 1.0}},
      "steps": 1,
      **brain.others,
      "data": {**own["data"], **data, **brain.data},
    }
  )
  preparation = Preparation(
    channels=(_CHANNEL,),
    rank=3,
    normalisation=({"name": brain.data["normalise"]},),
    orientation=config["data"]["orientation"],
    transpose=_TRANSPOSE,
    resampling=dict(config["data"]["resampling"]),
  )
  return run_folder.Described(config, brain.labels, (_CHANNEL,), 3, preparation)
