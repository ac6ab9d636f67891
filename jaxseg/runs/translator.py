"""A run that makes images of images, as a function of a case: for the source `translated`."""

import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxseg.config.synthesis import from_label, makes_images
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.inference.synthesis import synthesise
from jaxseg.runs import checkpoint, load
from jaxseg.runs import folder as run_folder

_FIELD = "config.data.source.run"


class Translator(NamedTuple):
  """What a run makes of cases.

  Attributes:
    channels: names of the channels that are made.
    digest: of the run's data, and of its weights and preparation, 16 hex digits.
    image: (raw case, what messages call it) -> (*space, channels) float32 on the case's own grid.
  """

  channels: tuple[str, ...]
  digest: str
  image: Callable[[RawCase, str], np.ndarray]


def translator(run: str, source: Source) -> Translator:
  """The translator of a run folder, for the cases of a source; its network is built when asked.

  Raises FileNotFoundError or ValueError in words for a folder that holds no run or no checkpoint,
  for a run that makes no images of images, that is not trained to its end, or that takes other
  images than the source has.
  """
  folder = pathlib.Path(run)
  if not run or not (folder / run_folder.CONFIG).is_file():
    raise FileNotFoundError(
      f"{_FIELD}: {run or 'nothing'}: holds no run; expected the folder of one that makes images, "
      "as of the method 'cyclegan'."
    )
  told = run_folder.describe(folder)
  where, method = f"{_FIELD}: {folder}", told.config["method"]["name"]
  if not makes_images(told.config) or from_label(told.config):
    what = "makes images of labels" if from_label(told.config) else "segments"
    raise ValueError(
      f"{where}: its method '{method}' {what}; expected a run that makes images of images, as "
      "'cyclegan'."
    )
  takes = tuple(told.config["task"].get("inputs", told.channels))
  if takes != source.channels or told.rank != source.rank:
    raise ValueError(
      f"{where}: takes images with the channels {', '.join(takes)} and {told.rank} axes, those "
      f"of '{source.name}' have {', '.join(source.channels)} and {source.rank}; expected a run of "
      "this domain."
    )
  if (done := run_folder.steps_done(folder)) < told.config["steps"]:
    raise ValueError(
      f"{where}: stands at step {done} of {told.config['steps']}; train it to its end first."
    )
  model = functools.cache(lambda: load.load(folder))

  def image(raw: RawCase, where: str) -> np.ndarray:
    return synthesise([model().configuration], raw._replace(label=None), where)

  return Translator(tuple(told.targets), _digest(folder, told), image)


def _digest(folder: pathlib.Path, told: run_folder.Described) -> str:
  """Another generator, or the same one trained on, has another."""
  digest = hashlib.sha256(told.preparation.to_json().encode())
  digest.update(f"{run_folder.identity(folder)} {told.targets}".encode())
  own = checkpoint.flatten(
    {name: of.params for name, of in checkpoint.load_learners(folder).items() if name == "network"}
  )
  for name, values in sorted(own.items()):
    digest.update(name.encode())
    digest.update(np.ascontiguousarray(values, np.float32))
  return digest.hexdigest()[:16]
