"""A session as JSON, and a file of prompts, which is the same: the scan, and what was done.

    {"scan": {"shape": [35, 51, 35]},           also "spacing" and "content", of the scan's voxels
     "coordinates": "voxel",                    or "mm"
     "automatic": true,                         whether it begins with the automatic segmentation
     "threshold": 0.5,                          probability from which on two classes' second begins
     "fine_tuning": {"steps": 20, "rate": 0.01, "layers": ["head*"]},   if it was answered so
     "steps": [
       {"class": "anterior", "point": [17, 20, 12]},
       {"prompts": [{"class": 0, "stroke": [[1, 2, 3], [1, 9, 3]]}, ...]},   answered together
       {"undo": 1}, {"redo": 1}, {"reset": true}, {"freeze": "anterior"}, {"thaw": true},
       {"thaw": "anterior"}, {"freeze_box": [[0, 0, 0], [9, 9, 9]]}, {"object": "left kidney"}]}

"voxel" positions are indices of the scan's own array, (z, y, x) or (y, x), that count from 0; "mm"
are the file's own RAS millimetres, (x, y, z) as viewers show them, of volumes whose file has them.
"shape" is the size of that array: a file of prompts for another scan is told by it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.sources.source import RawCase, content
from jaxseg.interaction import session
from jaxseg.interaction.places import SHOWN_AS, from_runs, read_prompt
from jaxseg.interaction.prompts import numbers
from jaxseg.interaction.threshold import HALF, check_threshold

VOXEL, MM = "voxel", "mm"
_KNOWN = ("scan", "coordinates", "automatic", "threshold", "fine_tuning", "steps")
_STEPS = ["undo", "redo", "reset", "thaw", "freeze", "freeze_box", "freeze_region", "object"]
_ADVICE = "see docs/interactive.md for the form of such a file"
_SPACING = 0.01


def identity(raw: RawCase) -> dict[str, Any]:
  """What tells a scan from another: its size, spacing, and a sum of its voxels."""
  return {
    "shape": list(raw.geometry.shape),
    "spacing": [float(s) for s in raw.geometry.spacing],
    "content": content(raw._replace(label=None, weight=None)),
  }


def record(
  state: session.State,
  scan: Mapping[str, Any],
  *,
  threshold: float = HALF,
  fine_tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The session so far, without what was undone: JSON that `replay` plays.

  Args:
    state: the session.
    scan: the `identity` of what it is of; it takes as long as reading the scan, and stays.
    threshold: of `threshold.at_threshold`, by which it was looked at.
    fine_tuning: "steps", "rate" and "layers" of what answered; None of the trained networks.
  """
  steps = [_plain(step.what) for step in state.steps[: state.at]]
  told = {} if fine_tuning is None else {"fine_tuning": _plain(fine_tuning)}
  return {
    "scan": dict(scan),
    "coordinates": VOXEL,
    "automatic": state.began,
    "threshold": threshold,
    **told,
    "steps": steps,
  }


def _plain(value):
  if isinstance(value, Mapping):
    return {key: _plain(of) for key, of in value.items()}
  if isinstance(value, np.ndarray | np.generic):
    return value.tolist()
  return [_plain(of) for of in value] if isinstance(value, list | tuple) else value


def read(path) -> dict[str, Any]:
  """A file of prompts, checked as far as it goes without its scan."""
  told = files.read_json(
    path, what="a file of prompts", advice=_ADVICE, fields={"scan": dict, "steps": list}
  )
  for field in told:
    if field not in _KNOWN:
      raise ValueError(
        f"{path}: '{field}' is no field of a file of prompts{suggestion(field, _KNOWN)}; expected "
        f"{', '.join(_KNOWN)}."
      )
  if told.get("coordinates", VOXEL) not in (VOXEL, MM):
    raise ValueError(f"{path}: coordinates: {told['coordinates']!r}; expected '{VOXEL}' or '{MM}'.")
  if not isinstance(told.get("automatic", True), bool):
    raise ValueError(f"{path}: automatic: {told['automatic']!r}; expected true or false.")
  try:
    check_threshold(told.get("threshold", HALF))
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  if told.get("fine_tuning") is not None:
    _check_fine_tuning(told["fine_tuning"], path)
  files.check_fields(told["scan"], path, advice=_ADVICE, fields={"shape": list}, prefix="scan.")
  return told


def _check_fine_tuning(told: Any, path) -> None:
  fields = {"steps": int, "rate": (int, float), "layers": list}
  advice = f"{_ADVICE}, or remove the field"
  files.check_fields({"fine_tuning": told}, path, advice=advice, fields={"fine_tuning": dict})
  files.check_fields(told, path, advice=advice, fields=fields, prefix="fine_tuning.")
  if not all(isinstance(layer, str) for layer in told["layers"]):
    raise ValueError(
      f"{path}: fine_tuning.layers: {told['layers']}; expected patterns of paths; {advice}."
    )


def check_tuned(told: Mapping[str, Any], own: Mapping[str, Any] | None, path, advice: str) -> None:
  """Raises ValueError for prompts that networks answered which were fine-tuned otherwise.

  Args:
    told: a file of prompts, or a session.
    own: "steps", "rate" and "layers" of what answers now; None of the trained networks.
    path: for the message, which ends with `advice`.
  """
  then = told.get("fine_tuning")
  if then == (own := None if own is None else _plain(own)):
    return
  raise ValueError(
    f"{path}: its prompts were answered by {_tuned(then)}, which {_tuned(own)} would answer "
    f"otherwise; {advice}."
  )


def _tuned(of: Mapping[str, Any] | None) -> str:
  return "trained networks" if of is None else f"networks fine-tuned with {tuning_options(of)}"


def tuning_options(of: Mapping[str, Any]) -> str:
  """The options of a command that fine-tune so."""
  layers = " ".join(of["layers"])
  return f"--fine-tune {of['steps']} --fine-tune-rate {of['rate']} --fine-tune-layers {layers}"


def check_scan(told: Mapping[str, Any], own: Mapping[str, Any], path, where: str) -> None:
  """Raises ValueError for a file of prompts that is of another scan than that of an `identity`."""
  of = told["scan"]
  spacing = of.get("spacing")
  if list(of["shape"]) != own["shape"]:
    different = f"its scan has the size {of['shape']}, this one {own['shape']}"
  elif "content" in of and of["content"] != own["content"]:
    different = "its scan has other voxels of the same size"
  elif spacing is not None and not _close(spacing, own["spacing"]):
    different = f"its scan has a spacing of {spacing} mm, this one {own['spacing']}"
  else:
    return
  raise ValueError(
    f"{path}: is of another scan than {where}: {different}; give the scan that the prompts were "
    "made on."
  )


def _close(told, own) -> bool:
  try:
    return len(told) == len(own) and np.allclose(told, own, rtol=_SPACING)
  except (TypeError, ValueError):
    return False


def replay(
  scan: session.Scan, told: Mapping[str, Any], geometry: Geometry, path="the prompts"
) -> Iterator[session.State]:
  """The state at the beginning, and after each step; a ValueError names the step that is wrong.

  What is no prompt of the scan at all is told before anything is answered.
  """
  to_voxels = _from_mm(geometry, path) if told.get("coordinates", VOXEL) == MM else None
  for number, step in enumerate(told["steps"]):
    with _named(path, number):
      if (prompts := _prompts(step, to_voxels)) is not None:
        session.read_prompts(scan, prompts)
  state = session.start(scan, automatic=told.get("automatic", True))
  yield state
  for number, step in enumerate(told["steps"]):
    with _named(path, number):
      state = _taken(scan, state, step, to_voxels)
    yield state


@contextlib.contextmanager
def _named(path, number: int) -> Iterator[None]:
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{path}: steps[{number}]: {error}") from error


def _prompts(step, to_voxels: Callable | None) -> list | None:
  """The prompts of a step, in voxels; None of one that is something else."""
  if isinstance(step, Mapping) and len(step) == 1:
    ((name, value),) = step.items()
    if name in _STEPS:
      return None
    if name == "prompts":
      if not isinstance(value, list):
        raise ValueError(f"prompts: {value!r}; expected a list of prompts.")
      return [_moved(prompt, to_voxels) for prompt in value]
  return [_moved(step, to_voxels)]


def _taken(scan, state, step, to_voxels: Callable | None) -> session.State:
  """The state after a step."""
  if (prompts := _prompts(step, to_voxels)) is not None:
    return session.add(scan, state, prompts)
  ((name, value),) = step.items()
  if name in ("undo", "redo"):
    return {"undo": session.undo, "redo": session.redo}[name](state, value)
  if name == "reset":
    if value is not True:
      raise ValueError(f"reset: {value!r}; expected true.")
    return session.reset(state)
  if name == "thaw":
    if value is not True and (isinstance(value, bool) or not isinstance(value, int | str)):
      raise ValueError(f"thaw: {value!r}; expected true, or a label that is frozen.")
    return session.thaw(scan, state, None if value is True else value)
  if name == "freeze":
    return session.freeze(scan, state, label=value)
  if name == "object":
    return session.select(scan, state, value)
  is_box = name == "freeze_box"
  region = _box(scan, value, to_voxels) if is_box else from_runs(value, scan.own_space)
  return session.freeze(scan, state, region=region)


def _moved(prompt, to_voxels):
  """A prompt in voxels."""
  if to_voxels is None or not isinstance(prompt, Mapping):
    return prompt
  return {name: to_voxels(of, name) if name in SHOWN_AS else of for name, of in prompt.items()}


def _box(scan: session.Scan, value, to_voxels) -> np.ndarray:
  prompt = read_prompt(
    _moved({"class": 0, "box": value}, to_voxels),
    scan.own_space,
    lambda index, where: index,
    ("box",),
    "freeze_box",
  )
  low, high = np.floor(prompt["box"] + 0.5).astype(int)
  region = np.zeros(scan.own_space, bool)
  region[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
  return region


def _from_mm(geometry: Geometry, path) -> Callable:
  """(positions in millimetres, kind) -> in voxels; raises ValueError where no file tells them."""
  if geometry.rank != 3 or not geometry.directed:
    raise ValueError(
      f"{path}: coordinates: '{MM}', but the scan's file does not tell where it lies; give "
      f"positions in '{VOXEL}'."
    )
  return functools.partial(_voxels, np.linalg.inv(geometry.affine))


def _voxels(inverse: np.ndarray, value, kind: str):
  places = numbers(value)
  if places is None or places.shape[-1:] != (3,):
    # it is told in words where prompts are read
    return value
  moved = (places @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1]
  return np.sort(moved, 0) if kind == "box" and moved.ndim == 2 else moved
