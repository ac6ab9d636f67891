"""Runs with random weights, opened, and scans for them."""

import numpy as np
import run_folders

from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.explain import scan as scans
from jaxseg.runs.load import as_model, open_runs


def subject(folder, *, seeds=(0,), **changes):
  """A run, or several with other weights in folders beside one another."""
  folders = [folder / f"seed_{seed}" for seed in seeds]
  for seed, one in zip(seeds, folders, strict=True):
    run_folders.write(one, seed=seed, **changes)
  opened = open_runs(folders)
  return scans.subject(opened, as_model(opened))


def raw(shape, seed=0):
  values = np.random.default_rng(seed).standard_normal((*shape, 1)).astype(np.float32)
  return RawCase(values, None, None, plain_geometry(shape))
