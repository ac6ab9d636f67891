"""Names and layouts of another project's tensors -> ours, by a table of rules.

A rule is a pattern of the other's module names, our module's path, and what kind of layer it is.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np

SHOWN = 10


class Layer(NamedTuple):
  """A kind of layer: the last part of a name -> ours, None to leave it, and axes -> ours."""

  names: Mapping[str, str | None]
  laid_out: Callable[[np.ndarray], np.ndarray] = lambda array: array


def _convolution(array: np.ndarray) -> np.ndarray:
  """(out, in, *kernel) -> (*kernel, in, out)."""
  return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def _transposed(array: np.ndarray) -> np.ndarray:
  """(in, out, *kernel) -> (*kernel, in, out)."""
  return np.moveaxis(array, (0, 1), (-2, -1)) if array.ndim > 1 else array


_WEIGHT = {"weight": "kernel", "bias": "bias"}
CONV = Layer(_WEIGHT, _convolution)
DENSE = Layer(_WEIGHT, _convolution)
TRANSPOSED = Layer(_WEIGHT, _transposed)
NORM = Layer({"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"})
SLOPE = Layer({"weight": "slope"})
# counts that PyTorch keeps beside the statistics of a norm
_COUNTS = re.compile(r"(^|\.)num_batches_tracked$")


class Rule(NamedTuple):
  """`ours`: a template of `re.Match.expand`, or a function of the match; None leaves a tensor."""

  pattern: str
  ours: str | Callable[[re.Match], str] | None
  layer: Layer = CONV


def renamed(
  arrays: Mapping[str, np.ndarray], rules: Sequence[Rule], path, words: str
) -> dict[str, np.ndarray]:
  """Another project's tensors in our names and layouts, floats as float32.

  Args:
    arrays: by names of modules and their tensors, "layer1.0.conv1.weight".
    rules: of which the first whose pattern is a whole module's name counts.
    path: the file, for messages.
    words: what the rules are for: "torchvision's ResNet, VGG and DenseNet".

  Raises ValueError that lists the tensors that no rule knows.
  """
  rules = [(re.compile(rule.pattern), rule) for rule in rules]
  out, strange = {}, []
  for name, array in arrays.items():
    if _COUNTS.search(name):
      continue
    module, _, last = name.rpartition(".")
    match, rule = next(
      ((m, r) for regex, r in rules if (m := regex.fullmatch(module))), (None, None)
    )
    if rule is not None and rule.ours is None:
      continue
    if rule is None or last not in rule.layer.names:
      strange.append(name)
      continue
    if rule.layer.names[last] is None:
      continue
    place = match.expand(rule.ours) if isinstance(rule.ours, str) else rule.ours(match)
    own = f"{place}/{rule.layer.names[last]}".lstrip("/")
    if own in out:
      raise ValueError(f"{path}: '{name}' is a second '{own}'; expected {words}.")
    out[own] = rule.layer.laid_out(float32(array, name, path))
  if strange:
    raise ValueError(
      f"{path}: {listed(strange)} of its {len(arrays)} tensors are no part of {words}; expected "
      "weights of these, or another format."
    )
  return out


def float32(array: np.ndarray, name: str, path) -> np.ndarray:
  """A tensor of floats of any precision as float32; raises ValueError for other numbers.

  Whole numbers are those of a quantised network, whose scales lie elsewhere.
  """
  if not (np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16):
    raise ValueError(
      f"{path}: '{name}' is of type {array.dtype}; expected weights that are floats, saved before "
      "quantisation."
    )
  return array.astype(np.float32)


def listed(names: Iterable[str]) -> str:
  """All names, at most ten shown."""
  names = list(names)
  more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
  return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
