"""Which configuration, or which two together, did best in cross-validation."""

import itertools
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import read_label
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import channels
from jaxseg.inference.postprocessing import Cases, Validated, mean_dice, mean_of_classes

FOLDER = "validation"
_ENDINGS = (".nii.gz", ".png")


class Candidate(NamedTuple):
  """A configuration, or several whose probabilities are averaged.

  Attributes:
    members: folders of the configurations.
    classes: class or region -> mean Dice over the cases.
  """

  members: tuple[pathlib.Path, ...]
  classes: dict[str, float]

  @property
  def dice(self) -> float:
    return mean_of_classes(self.classes)


def validation_files(folds: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
  """Case -> its segmentation, written at the end of its fold's training.

  Raises FileNotFoundError if a fold has none, ValueError if a case is in two folds.
  """
  found: dict[str, pathlib.Path] = {}
  for fold in folds:
    files = [
      file
      for ending in _ENDINGS
      for file in sorted((fold / FOLDER).glob(f"*{ending}"))
      if not file.name.startswith(".") and not file.name.endswith("_overlay.png")
    ]
    if not files:
      raise FileNotFoundError(
        f"{fold / FOLDER}: holds no segmentation of a validation case; they are written at the end "
        "of training: finish it with the same command."
      )
    for file in files:
      case = next(file.name.removesuffix(e) for e in _ENDINGS if file.name.endswith(e))
      if case in found:
        raise ValueError(
          f"{file}: case '{case}' was validated by {found[case].parents[1].name}, too; find-best "
          "needs folds of one cross-validation, that hold each case once."
        )
      found[case] = file
  return found


def probabilities_of(segmentation: pathlib.Path) -> np.ndarray:
  """(*space, k) float32 probabilities beside a segmentation; raises where there are none."""
  case = next(segmentation.name.removesuffix(e) for e in _ENDINGS if segmentation.name.endswith(e))
  path = segmentation.with_name(f"{case}_probabilities.npz")
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: not found; pairs need probabilities of the validation cases: train with "
      "--config.evaluate.probabilities=True, or compare single configurations with --no-pairs."
    )
  try:
    with np.load(path, allow_pickle=False) as file:
      return file["probabilities"]
  except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"{path}: holds no readable 'probabilities' ({error}); remove it and give the train command "
      "again."
    ) from error


def validated(
  members: Sequence[Mapping[str, pathlib.Path]],
  references: Callable[[str], RawCase],
  labels: LabelSpec,
) -> Cases:
  """The validation cases of one configuration, or of several by the mean of probabilities.

  Args:
    members: per configuration, case -> its segmentation.
    references: case -> the case with its label.
    labels: of all of them.
  """

  def reader(case: str):
    def read() -> Validated:
      raw = references(case)
      if len(members) == 1:
        predicted = read_label(members[0][case])[0]
      else:
        shares = [channels.of_array(probabilities_of(of[case])) for of in members]
        predicted = labels.decode(channels.mean(shares), threshold=0.5)
      if predicted.shape != raw.label.shape:
        raise ValueError(
          f"{members[0][case]}: its grid {predicted.shape} is not that of the label of case "
          f"'{case}', {raw.label.shape}; the data set was changed after training."
        )
      return Validated(predicted, raw.label, raw.weight)

    return read

  return {case: reader(case) for case in members[0]}


def candidates(
  configurations: Mapping[pathlib.Path, Mapping[str, pathlib.Path]],
  references: Callable[[str], RawCase],
  labels: LabelSpec,
  *,
  pairs: bool = True,
) -> list[Candidate]:
  """Every configuration and every pair, best first: nnU-Net's choice (1809.10486).

  Args:
    configurations: folder -> case -> its segmentation.
    references: case -> the case with its label.
    labels: of all of them.
    pairs: whether to try pairs.

  Raises ValueError where configurations validated different cases.
  """
  (name, first), *rest = configurations.items()
  for other, files in rest:
    different = sorted(set(first) ^ set(files))
    if different:
      raise ValueError(
        f"{other}: case '{different[0]}' (and {len(different) - 1} more) was validated here or in "
        f"{name}, not in both; compare cross-validations over the same cases."
      )
  groups = [(folder,) for folder in configurations]
  if pairs:
    groups += itertools.combinations(configurations, 2)
  found = [
    Candidate(
      group,
      mean_dice(validated([configurations[f] for f in group], references, labels), labels),
    )
    for group in groups
  ]
  # of equals the first: single configurations before pairs, in the order given
  return sorted(found, key=lambda candidate: -candidate.dice)
