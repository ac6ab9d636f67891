"""Packages that only some runs need, imported where something of them is first asked for."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any


class OnDemand:
  """A package in place of `import NAME`: its names are looked up, and it is imported, at their use.

  Reading pictures then needs no reader of DICOM, and a machine without any of these packages still
  trains on volumes that are made in memory.
  """

  def __init__(self, name: str, *, after: Callable[[], Any] | None = None):
    """`after` is called once it is imported, for what its import sets itself."""
    self._name, self._after = name, after

  def __getattr__(self, attribute: str) -> Any:
    try:
      package = importlib.import_module(self._name)
    except ModuleNotFoundError as error:
      if error.name and self._name.split(".")[0] != error.name.split(".")[0]:
        raise
      raise ModuleNotFoundError(
        f"the package {self._name.split('.')[0]} is not installed, which this needs; install it "
        "(pip install -r requirements.txt).",
        name=error.name,
      ) from error
    if self._after is not None:
      after, self._after = self._after, None
      after()
    value = getattr(package, attribute)
    # from now on it is a plain attribute
    setattr(self, attribute, value)
    return value


def installed(name: str) -> bool:
  """Whether a package is there, without importing it."""
  return importlib.util.find_spec(name) is not None
