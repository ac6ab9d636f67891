"""The prepared data set: every case validated, normalised and resampled once, stored in blocks.

There is one folder per source (its fingerprint) and preparation, so that a changed file or option
makes a new set. A set grows beside and is renamed: a half-written one is never read.
"""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jaxseg import files
from jaxseg.data.prepared import building
from jaxseg.data.prepared.dataset import Dataset, open_prepared
from jaxseg.data.prepared.normalise import fit, needs_statistics, schemes
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.prepared.workers import LostWorker
from jaxseg.data.sources.source import Source

# part of every set's hash: raise it when the stored format changes
_VERSION = "7"


def prepare(
  source: Source,
  *,
  normalise="auto",
  orientation: str = "stored",
  spacing: Sequence[float | None] = (),
  transpose: Sequence[int] = (),
  crop_nonzero: bool = False,
  resampling: Mapping | None = None,
  cache_dir="~/.cache/jaxseg",
  train_cases: Sequence[str] | None = None,
  workers: int | None = None,
) -> Dataset:
  """Validates, normalises, resamples and stores every case of a source, or finds it prepared.

  An interrupted preparation goes on with the cases that are missing; of two processes that prepare
  the same set, one waits for the other.

  Args:
    source: the cases.
    normalise: a scheme or one per channel, see `jaxseg.data.prepared.normalise.schemes`.
    orientation: "RAS", or three other such letters, to turn every volume that way. With "stored",
      what is stored otherwise than all training cases is turned to the most common of theirs.
    spacing, transpose, crop_nonzero, resampling: see `Preparation`.
    cache_dir: where prepared sets lie; one folder per source, fingerprint and options.
    train_cases: the cases that `ct` takes its numbers from, and whose orientations count; all by
      default. Without `ct`, and where all are stored alike, all folds share one prepared set.
    workers: processes; None is one per core where there is more work than a few seconds.

  Returns:
    The data set; its order is that of `source.cases`.

  Raises:
    ValueError: a case is invalid (its name and file are told), or an option is unknown; `ct` is to
      take its numbers from cases of which none has a label.
    OSError: the disk is full.
    PermissionError: `cache_dir` is not writable.
  """
  scheme_list = schemes(normalise, source.channels)
  preparation = Preparation(
    source.channels,
    source.rank,
    scheme_list,
    orientation,
    tuple(spacing),
    tuple(transpose),
    bool(crop_nonzero),
    dict(resampling or {}),
  )
  fitted_on = None
  if any(needs_statistics(scheme) for scheme in scheme_list):
    chosen = source.cases if train_cases is None else train_cases
    bare = source.unlabelled if any(of["name"] == "ct" for of in scheme_list) else ()
    fitted_on = sorted(case for case in chosen if case not in bare)
    if not fitted_on:
      raise ValueError(
        f"config.data.normalise: 'ct' takes its numbers from the foreground, but no case of "
        f"'{source.name}' that trains has a label; give it the numbers (lower, upper, mean, std), "
        "or choose another scheme."
      )
  dataset = _open_or_make(source, preparation, fitted_on, cache_dir, workers)
  if orientation != "stored" or source.rank != 3:
    return dataset
  stored = dict(zip(dataset.names, map(dataset.axcodes, range(len(dataset.names))), strict=True))
  chosen = stored if train_cases is None else train_cases
  seen = tuple(code for code, _ in Counter(stored[case] for case in chosen).most_common() if code)
  _warn_of_orientations(source.name, stored, chosen)
  if seen and not {code for code in stored.values() if code} <= set(seen):
    # the other cases are turned to these, in a set of their own
    preparation = dataclasses.replace(preparation, seen=seen)
    return _open_or_make(source, preparation, fitted_on, cache_dir, workers)
  return dataset._replace(preparation=dataclasses.replace(dataset.preparation, seen=seen))


def _warn_of_orientations(name: str, stored: Mapping[str, str], training: Iterable[str]) -> None:
  """Says which cases are stored otherwise than others."""
  training = set(training)
  counts = Counter(stored[case] for case in stored if case in training and stored[case])
  listed = ", ".join(f"{count} x {code}" for code, count in counts.most_common())
  if len(counts) > 1:
    warnings.warn(
      f"the training cases of '{name}' differ in orientation ({listed}), and a network would take "
      "left for right; set config.data.orientation='RAS' to turn them all the same way.",
      stacklevel=3,
    )
  others = Counter(code for code in stored.values() if code and code not in counts)
  if counts and others:
    other = ", ".join(f"{count} x {code}" for code, count in others.most_common())
    print(f"'{name}': stored as {other}, the training cases as {listed}: turned to theirs")
  untold = [case for case, code in stored.items() if not code]
  if counts and untold:
    more = f" and {len(untold) - 1} more" if len(untold) > 1 else ""
    print(f"'{name}': case(s) without an orientation, left as stored: {untold[0]}{more}")


def _open_or_make(source, preparation, fitted_on, cache_dir, workers) -> Dataset:
  """The prepared set of these options, made where there is none."""
  options = [_VERSION, source.fingerprint, source.labels.to_json(), source.cases]
  options += [preparation.to_json(), fitted_on]
  key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
  home = pathlib.Path(cache_dir).expanduser() / source.name
  folder = home / key
  if not folder.is_dir():
    _build(source, preparation, fitted_on or (), home, key, workers)
  print(f"prepared data set: {folder} ({len(source.cases)} cases)")
  return open_prepared(folder)


def _build(source, preparation, fitted_on, home: pathlib.Path, key: str, workers) -> None:
  growing, folder = home / f".building-{key}", home / key
  try:
    home.mkdir(parents=True, exist_ok=True)
    if not os.access(home, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
  except OSError as error:
    raise PermissionError(
      f"{home}: prepared data cannot be written here ({error.strerror}); set the cache folder to "
      "a writable one."
    ) from error
  with building.alone(growing, folder) as wanted:
    if not wanted:
      return
    try:
      filled = fit(preparation.normalisation, lambda c: _foreground(source, c), fitted_on)
      labelled = (case for case in source.cases if case not in source.unlabelled)
      first = source.read(next(labelled, source.cases[0]))
      recipe = building.Recipe(
        read=source.read,
        labels=source.labels,
        preparation=dataclasses.replace(preparation, normalisation=filled),
        weighted=first.weight is not None or source.labels.ignore is not None,
        folder=growing,
        unlabelled=source.unlabelled,
        incomplete=bool(source.incomplete),
      )
      building.build(source, recipe, workers=workers)
    except LostWorker:
      # with fewer of them, the same set goes on
      raise
    except ValueError:
      # what is wrong lies in the files or the options: mended, they make another set
      shutil.rmtree(growing, ignore_errors=True)
      raise
    # its cases and its index are on the disk
    files.rename(growing, folder)


def _foreground(source: Source, case: str) -> tuple[np.ndarray, np.ndarray | None]:
  """A case's image and where it is foreground; None without a label."""
  raw = source.read(case)
  if raw.label is None:
    return raw.image, None
  label, weight = source.labels.encode(raw.label, f"case '{case}'")
  inside = label.any(-1) if source.labels.regions else label > 0
  for ignored in (weight, raw.weight):
    inside = inside if ignored is None else inside & (ignored > 0)
  return raw.image, inside
