"""deepbrain as a run folder: what `predict` needs to find the brain in a head."""

import pathlib

from jaxseg import defaults
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.interop import FORMATS, packages
from jaxseg.interop.name_map import listed
from jaxseg.runs import folder as run_folder
from jaxseg.runs import foreign

NAME = "deepbrain"
# voxels of every head, whatever its own are
_SIZE = (128, 128, 128)
# as deepbrain reads a file: x first, linear both ways
_TRANSPOSE = (2, 1, 0)
_RESAMPLING = {"order": 1, "score_order": 1}
_CHANNEL = "T1"


def import_brain(output, file=None) -> pathlib.Path:
  """Makes a run folder of deepbrain's weights: one channel, one region, the brain.

  The image is brought to 128 voxels per axis and to 0..1, as deepbrain has it, which divides by the
  maximum of an image that begins at 0, and blurs before it makes it smaller.

  Args:
    output: a new folder.
    file: deepbrain's graph.pb; None for that of the installed package.

  Raises FileNotFoundError or ValueError in words, before anything is written.
  """
  weights = FORMATS[NAME].read(file or packages.file_of(NAME))
  told = _described()
  abstract = foreign.shapes(told)
  shapes = foreign.weight_shapes(abstract)
  differing = {path for path, of in weights.items() if shapes.get(path) != of.shape}
  if differing := sorted(differing | (shapes.keys() - weights.keys())):
    raise ValueError(f"{file or NAME}: {listed(differing)} are not as in deepbrain's U-Net.")
  foreign.write(output, told, foreign.state(abstract, weights, step=1))
  return pathlib.Path(output)


def _described() -> run_folder.Described:
  own, resampling = plain(defaults.fields()), {"size": _SIZE, **_RESAMPLING}
  labels = LabelSpec(("brain",), (0, 1), ((1,),))
  data = {
    "normalise": "minmax",
    "transpose": _TRANSPOSE,
    "resampling": resampling,
    "patch": _SIZE,
    "batch": 1,
    "source": {"name": "nnunet_raw", "path": NAME},
  }
  config = complete(
    {
      **own,
      "network": {"name": NAME},
      "loss": {"cross_entropy": {"weight": 1.0}},
      "predictor": {"name": "sliding_window"},
      "steps": 1,
      "data": {**own["data"], **data},
    }
  )
  preparation = Preparation(
    channels=(_CHANNEL,),
    rank=3,
    normalisation=({"name": "minmax"},),
    transpose=_TRANSPOSE,
    resampling=resampling,
  )
  return run_folder.Described(config, labels, (_CHANNEL,), 3, preparation)
