"""A flat table of arrays in a folder, by Orbax; its paths, noise and errors are dealt with here."""

import contextlib
import errno
import importlib.metadata
import logging
import math
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from jaxseg import files
from jaxseg.packages import OnDemand
from jaxseg.runs.plain_path import plain_path

# a third of a second, and most verbs read what a run folder tells without its arrays
ocp = OnDemand("orbax.checkpoint")

# of the bytes to be written: room for what Orbax says of them
_ROOM = 1.02


class StorageError(OSError):
  """Arrays that cannot be written, or sound ones that cannot be read now; its text is a sentence.

  Nothing that was there before was changed.
  """

  def __init__(self, path, problem: str, reason: BaseException | str | None = None):
    because = "" if reason is None else f" ({one_line(reason)})"
    self.sentence = (
      f"{path}: {problem}{because}; nothing was changed: see to the cause and give the command "
      "again."
    )
    super().__init__(getattr(reason, "errno", None) or errno.EIO, self.sentence)

  def __str__(self) -> str:
    return self.sentence


def one_line(reason: BaseException | str, length: int = 200) -> str:
  """The beginning of an error's text: TensorStore adds pages of JSON to it."""
  text = " ".join(str(reason).split()).split(" [source locations=")[0].split(" [tensorstore_")[0]
  text = text if len(text) <= length else text[:length].rstrip() + " ..."
  return text.rstrip(".") or type(reason).__name__


def version() -> str:
  return importlib.metadata.version("orbax-checkpoint")


def check_room(folder: pathlib.Path, flat: Mapping[str, jax.Array]) -> None:
  """Raises DiskFull where the arrays will not go into a folder: the disk stays as it is."""
  needed = _ROOM * sum(array.nbytes for array in flat.values())
  if shutil.disk_usage(folder).free < needed:
    raise files.DiskFull(
      folder, f"{math.ceil(needed / 1e6)} MB are needed; free room there and give the command again"
    )


def write(folder: pathlib.Path, flat: Mapping[str, jax.Array]) -> None:
  """Writes the arrays into a new folder and reads them back; on every process of a run.

  Raises:
    DiskFull: there is no room.
    OSError: they cannot be written, or what was written is not what was to be.
  """
  try:
    with files.full_disk_told(folder.parent.parent), _quiet():
      _checkpointer().save(plain_path(folder), args=ocp.args.StandardSave(dict(flat)))
  except OSError:
    raise
  except Exception as error:  # Orbax raises many kinds for one cause
    raise StorageError(folder, "the checkpoint cannot be written", error) from error
  # of what is spread over processes, each one proves its own part
  places = {name: None if _is_whole(a) else a.sharding for name, a in flat.items()}
  table = {name: (a.dtype, a.shape) for name, a in flat.items()}
  hosts = jax.device_get({name: a for name, a in flat.items() if places[name] is None})
  for name, back in read(folder, table, places).items():
    pairs = [(hosts[name], back)] if name in hosts else _parts(flat[name], back)
    if any(np.asarray(a).tobytes() != np.asarray(b).tobytes() for a, b in pairs):
      raise StorageError(folder, f"'{name}' does not read back as it was written")


def _is_whole(array: jax.Array) -> bool:
  """Whether this process holds all of an array."""
  return array.is_fully_addressable or array.is_fully_replicated


def _parts(a: jax.Array, b: jax.Array) -> Iterator[tuple[jax.Array, jax.Array]]:
  """The parts of two arrays, placed alike, that this process holds."""
  for one, other in zip(a.addressable_shards, b.addressable_shards, strict=True):
    yield one.data, other.data


def read(
  folder: pathlib.Path,
  table: Mapping[str, tuple],
  places: Mapping[str, jax.sharding.Sharding | None],
) -> dict[str, jax.Array | np.ndarray]:
  """The arrays in a folder, on every process of a run.

  Args:
    folder: where `write` put them.
    table: name -> (dtype, shape).
    places: name -> where it is to live; None gives NumPy's.

  Raises StorageError, whatever the cause.
  """
  abstract = {
    name: np.broadcast_to(np.zeros((), dtype), shape)
    if places[name] is None
    else jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=places[name])
    for name, (dtype, shape) in table.items()
  }
  try:
    with _quiet():
      return _checkpointer().restore(plain_path(folder), args=ocp.args.StandardRestore(abstract))
  except Exception as error:  # as above
    raise StorageError(folder, "cannot be read now", error) from error


def _checkpointer() -> "ocp.Checkpointer":
  return ocp.Checkpointer(ocp.StandardCheckpointHandler())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps from the user what Orbax and TensorStore print of a failure: it is told once."""
  loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
  disabled = [logger.disabled for logger in loggers]
  hooks = sys.excepthook, sys.unraisablehook
  for logger in loggers:
    logger.disabled = True
  sys.excepthook = lambda *error: None if _late(error[1]) else hooks[0](*error)
  sys.unraisablehook = lambda error: None if _late(error.exc_value) else hooks[1](error)
  try:
    yield
    # after a failure they stay: threads go on to complain
    sys.excepthook, sys.unraisablehook = hooks
  finally:
    for logger, before in zip(loggers, disabled, strict=True):
      logger.disabled = before


def _late(error: BaseException | None) -> bool:
  """Whether a thread of TensorStore called back into an event loop that Orbax had closed."""
  return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)
