"""The file of an export: its date, what it says of itself, and its use on a whole scan."""

import datetime
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.inference import Case, sliding_window
from jaxseg.interop.exports import intensities
from jaxseg.runs import folder as run_folder

# the member of a zip, and the entry of an ONNX model's metadata, that tells what it is
TOLD, METADATA = "model.json", "jaxseg"
ADVICE = "copy the file again, or export the run anew"
# how long jax.export promises that later versions load a program
_DAYS = 180
_KINDS = {
  "format": str,
  "made": str,
  "expires": (str, type(None)),
  "versions": dict,
  "runs": list,
}
_OF_WINDOWS = {
  "output": str,
  "channels": list,
  "patch": list,
  "margin": list,
  "window": list,
  "overlap": float,
  "weighting": str,
  "padding": str,
  "normalised": bool,
  "labels": dict,
}


class Artefact(NamedTuple):
  """An exported program, loaded.

  Attributes:
    path: its file.
    told: what it says of itself, see docs/interop.md.
    apply: ((b, *patch, channels) float32 windows, (4, channels) statistics of the scan) -> name ->
      array, as `WindowProgram.function`.
  """

  path: pathlib.Path
  told: dict[str, Any]
  apply: Callable

  def scores(self, scan: np.ndarray) -> np.ndarray:
    """(*space, channels) on the network's grid -> (*space, k) float32 logits, or intensities.

    NaN where there is nothing (see `intensities`). Raises ValueError for a scan of another rank or
    other channels, or with infinite values.
    """
    told, scan = self.told, np.asarray(scan, np.float32)
    rank, channels = len(told["patch"]), len(told["channels"])
    if scan.ndim != rank + 1 or scan.shape[-1] != channels:
      names = ", ".join(told["channels"])
      raise ValueError(
        f"{self.path}: was given an array {scan.shape}; expected {rank} spatial axes of any size, "
        f"then {channels} channel(s) ({names})."
      )
    if np.isinf(scan).any() or (told["normalised"] and np.isnan(scan).any()):
      what = "NaN or infinite" if told["normalised"] else "infinite (or beyond float32)"
      raise ValueError(f"{self.path}: the scan holds {what} values, of which no score is made.")
    statistics = intensities.statistics(scan)

    # outside of the scan there is nothing
    case = Case({"image": scan, "body": np.ones(scan.shape[:-1], np.float32)})

    def apply(batch):
      image = batch["image"]
      if not told["normalised"]:
        image = np.where(batch["body"][..., None] == 0, np.float32(np.nan), image)
      return {told["output"]: self.apply(image, statistics)[told["output"]]}

    how = {name: told[name] for name in ("patch", "margin", "overlap", "weighting", "padding")}
    return sliding_window(apply, case, batch=1, **how)

  def labels(self, scan: np.ndarray) -> np.ndarray:
    """(*space, channels) -> (*space) int32 stored values; raises as `scores`."""
    if self.told["output"] != "logits":
      raise ValueError(f"{self.path}: makes images, no labels; ask for its scores.")
    spec = LabelSpec.from_json(json.dumps(self.told["labels"]))
    return spec.decode(self.scores(scan))


def checking(path: pathlib.Path, told: dict[str, Any], call: Callable) -> Artefact:
  """The artefact of `call`, which is as `Artefact.apply` but looks at no shapes."""
  expected = (*told["patch"], len(told["channels"]))

  def apply(image, statistics):
    image, statistics = np.asarray(image, np.float32), np.asarray(statistics, np.float32)
    if image.shape[1:] != expected:
      raise ValueError(
        f"{path}: was given windows {image.shape}; expected {('batch', *expected)}, patch and "
        "channels as it was exported with; `scores` and `labels` cut a scan into these."
      )
    if statistics.shape != (len(intensities.STATISTICS), expected[-1]):
      raise ValueError(
        f"{path}: was given statistics {statistics.shape}; expected "
        f"{(len(intensities.STATISTICS), expected[-1])}: {', '.join(intensities.STATISTICS)} of "
        "each channel."
      )
    return call(image, statistics)

  return Artefact(path, told, apply)


def description(form: str, *, lasts: bool) -> dict[str, Any]:
  """Format, date and versions of an artefact that is made now; `lasts` if it does not expire."""
  today = datetime.date.today()
  return {
    "format": form,
    "made": today.isoformat(),
    "expires": None if lasts else (today + datetime.timedelta(_DAYS)).isoformat(),
    "versions": run_folder.versions()["packages"],
  }


def again(told: Mapping[str, Any]) -> str:
  """What to do for a new artefact."""
  runs = " ".join(told.get("runs", ())) or "RUN"
  return f"make a new one: jaxseg export-model {runs} --format {told['format']} --output FILE"


def check_date(told: Mapping[str, Any], path, *, past_date: bool = False) -> None:
  """Raises ValueError for an artefact past its date, unless `past_date` allows it."""
  expires = told["expires"]
  if past_date or expires is None or datetime.date.today().isoformat() <= expires:
    return
  raise ValueError(
    f"{path}: is past its date, {expires}: it was written on {told['made']} by jax "
    f"{told['versions'].get('jax')}, and jax.export promises six months; {again(told)} (with the "
    "jax that wrote it, past_date=True loads it all the same)."
  )


def read_told(text: str | bytes, path, form: str) -> dict[str, Any]:
  """What an artefact says of itself; raises ValueError where that is not of this format."""
  told = parse(text, path)
  if told["format"] != form:
    raise ValueError(f"{path}: is of the format '{told['format']}', expected '{form}'.")
  files.check_fields(told, f"{path}: its {TOLD}", advice=ADVICE, fields=_OF_WINDOWS)
  return told


def parse(text: str | bytes, path) -> dict[str, Any]:
  """The JSON that tells what an artefact of any format is; raises ValueError."""
  where = f"{path}: its {TOLD}"
  told = files.parse_json(text, where, what="what an export tells of itself", advice=ADVICE)
  files.check_fields(told, where, advice=ADVICE, fields=_KINDS)
  return told


def open_zip(path, what: str) -> zipfile.ZipFile:
  """A zip of jaxseg's; raises FileNotFoundError, or ValueError where it is cut off or none."""
  path = pathlib.Path(path)
  if path.is_dir():
    raise ValueError(f"{path}: is a folder, expected {what}.")
  if not path.is_file():
    raise FileNotFoundError(f"{path}: not found, expected {what}.")
  try:
    return zipfile.ZipFile(path)
  except zipfile.BadZipFile as error:
    raise ValueError(
      f"{path}: is cut off, damaged or another kind of file ({error}), expected {what}; {ADVICE}."
    ) from error


def member(archive: zipfile.ZipFile, name: str, path) -> bytes:
  """The bytes of a member, proved by its checksum; raises ValueError where they are damaged."""
  try:
    return archive.read(name)
  except (KeyError, zipfile.BadZipFile, EOFError, OSError) as error:
    raise ValueError(
      f"{path}: is damaged or no export of jaxseg ({name}: {error}); {ADVICE}."
    ) from error
