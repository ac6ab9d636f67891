"""config.initialise: where the weights of a learner come from, as far as the config tells."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.build import suggestion
from jaxseg.interop import FORMATS
from jaxseg.interop.packages import PACKAGES

# what becomes of a first convolution where the number of input channels is another
INPUTS = ("mean", "cycle", "zero")
# how a kernel of images becomes one of volumes
INFLATE = ("mean", "centre", "axial")
_TEXTS = ("run", "learner", "file", "format", "package")
_SOURCES = ("run", "runs", "file", "package")
_OPTIONS = (*_TEXTS, "runs", "inputs", "inflate", "take")
_EXPECTED = (
  "expected the folder of a run, dict(run=FOLDER), dict(file=FILE, format=FORMAT), or "
  "dict(package=NAME), with take, inputs and inflate if need be"
)


class Weights(NamedTuple):
  """Where the weights of a learner come from.

  Attributes:
    run: a run folder, of which `learner` names the learner; "" for the network that it predicts
      with, the average where it keeps one.
    runs: run folders instead, for networks whose weights are stacked.
    file: a file instead, of `format`, a name of `interop.FORMATS`.
    package: weights inside an installed package instead, a name of `interop.packages.PACKAGES`.
    inputs: what a first convolution gets where the number of input channels is another: "mean", of
      the source's kernels, for every channel; "cycle", theirs in turn; "zero", theirs, and 0 for
      further ones. The first two are scaled so that features keep their size.
    inflate: how kernels of images become kernels of volumes: "mean", the kernel in every slice over
      their number (I3D, Carreira, Zisserman, arXiv 1705.07750); "centre", in the middle slice, 0 in
      the others; "axial", that in the three planes in turn, a third of the features each (ACS, Yang
      et al., arXiv 1911.10477). "": they don't.
    take: pattern of own paths -> pattern of the source's, whose stars are those of the first, or
      None to leave them; see `paths`. {} is everything by the same path, nothing left out; of a
      format that is part of a network, as an encoder, that part.
  """

  run: str = ""
  learner: str = ""
  file: str = ""
  format: str = ""
  inputs: str = "mean"
  inflate: str = ""
  take: Mapping[str, str | None] = {}
  runs: Sequence[str] = ()
  package: str = ""


def weights(spec: Any, where: str) -> Weights:
  """What a config gives for a learner, checked by itself; a word is the folder of a run.

  Raises ValueError that begins with `where`.
  """
  spec = {"run": spec} if isinstance(spec, str) else spec
  if not isinstance(spec, Mapping):
    raise ValueError(f"{where}: {spec!r}; {_EXPECTED}.")
  for option, value in spec.items():
    if option not in _OPTIONS:
      raise ValueError(
        f"{where}.{option}: no such option{suggestion(option, _OPTIONS)}; {_EXPECTED}."
      )
    if option in _TEXTS and not (isinstance(value, str) and value):
      raise ValueError(f"{where}.{option}: {value!r}; expected a word.")
  named = [source for source in _SOURCES if source in spec]
  if len(named) != 1:
    words = f"{' and '.join(named)} are both named" if named else "no run, file or package is named"
    raise ValueError(f"{where}: {words}; {_EXPECTED}.")
  for option, belongs in (("learner", ("run", "runs")), ("format", ("file",))):
    if option in spec and named[0] not in belongs:
      raise ValueError(f"{where}.{option}: belongs to {belongs[0]}, which is not named.")
  several = spec.get("runs", ("FOLDER",))
  if isinstance(several, str) or not several or not all(isinstance(of, str) for of in several):
    raise ValueError(f"{where}.runs: {several!r}; expected the folders of runs.")
  known = ", ".join(sorted(FORMATS))
  if "file" in spec and "format" not in spec:
    raise ValueError(f"{where}.format: is missing for {spec['file']}; choices: {known}.")
  if spec.get("format", "nnunet") not in FORMATS:
    raise ValueError(
      f"{where}.format: '{spec['format']}' is unknown{suggestion(spec['format'], FORMATS)}; "
      f"choices: {known}."
    )
  if "package" in spec and spec["package"] not in PACKAGES:
    raise ValueError(
      f"{where}.package: '{spec['package']}' is unknown{suggestion(spec['package'], PACKAGES)}; "
      f"choices: {', '.join(sorted(PACKAGES))}."
    )
  for option, choices in (("inputs", INPUTS), ("inflate", INFLATE)):
    if option in spec and spec[option] not in choices:
      raise ValueError(f"{where}.{option}: {spec[option]!r}; choices: {', '.join(choices)}.")
  _check_take(spec.get("take", {}), f"{where}.take")
  return Weights(**spec)


def _check_take(take: Any, where: str) -> None:
  if not isinstance(take, Mapping):
    raise ValueError(
      f"{where}: {take!r}; expected patterns of paths, own ones and the source's, as dict with "
      "{'encoder*': 'encoder*'}."
    )
  for pattern, target in take.items():
    if target is not None and not (isinstance(target, str) and target):
      raise ValueError(
        f"{where}['{pattern}']: {target!r}; expected a pattern of the source's paths, or None to "
        "leave what it names as initialised."
      )
    if target is not None and target.count("*") > pattern.count("*"):
      raise ValueError(
        f"{where}['{pattern}']: '{target}' has more * than '{pattern}'; expected at most as many, "
        "each for one of them."
      )
