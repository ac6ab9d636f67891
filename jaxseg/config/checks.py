"""What can be said of a config by itself: which fields it has, their types and ranges, their sense.

Nothing is read and nothing built here, so that a mistake is told at once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxseg import build, defaults, files
from jaxseg.config import earlier_remat, streams
from jaxseg.config.fields import FIELDS, check_field, suggested
from jaxseg.config.weights import weights
from jaxseg.data.formats.geometry import check_orientation
from jaxseg.data.prepared.preparation import check_resampling, check_size, check_transpose

_GROUPS = ("data", "evaluate", "mesh")


def fields(config) -> dict[str, Any]:
  """The config as plain data, its fields checked; what a plan is to decide may be None.

  Parts of `loss` and `augment` that are None are left out. Raises ValueError that names the field,
  its value and what was expected.
  """
  given, known = python(build.plain(config)), build.plain(defaults.fields())
  _compare(given, known, "config")
  for path in FIELDS:
    group, _, name = path.rpartition(".")
    value = given[group][name] if group else given[name]
    if value is not None or not given["plan"] or name not in defaults.PLANNED:
      check_field(path, value)
  files.check_place(given["data"]["folder"], "config.data.folder:")
  for group in ("networks", "losses", "optimisers", "views"):
    for key, spec in given[group].items():
      if not isinstance(spec, Mapping):
        raise ValueError(f"config.{group}.{key}: {spec!r}; expected dict(...).")
  earlier_remat.check(given)
  for group in ("loss", "augment"):
    given[group] = parts(given[group], group)
  _check_initialise(given["initialise"])
  _check_mesh(given["mesh"])
  _check_together(given)
  _check_predictor(given)
  given["streams"] = {name: of for name, of in given["streams"].items() if of is not None}
  streams.check(given["streams"])
  if given["streams"] and given["data"]["prior"]:
    raise ValueError(
      "config.data.prior: cases of a further stream have no segmentations of a first stage "
      f"(config.streams: {', '.join(given['streams'])}); expected one of the two fields alone."
    )
  if given["views"] and given["data"]["prior"]:
    raise ValueError(
      "config.views: a view would change the segmentation of a first stage (config.data.prior), "
      "which the network is given among the image's channels; expected one of the two fields alone."
    )
  for name in given["streams"]:
    view = streams.as_main(given, name)
    with streams.named(name):
      parts(view["augment"], "augment")
      _check_together(view)
      _check_rank(view, given)
  return given


def _check_rank(stream: Mapping, main: Mapping) -> None:
  """Raises ValueError unless the patches of a stream have as many axes as the main one's."""
  patch, ours = stream["data"]["patch"], main["data"]["patch"]
  if patch is not None and ours is not None and len(patch) != len(ours):
    raise ValueError(
      f"config.data.patch: {patch} has {len(patch)} axes, the main stream's {ours} {len(ours)}; "
      "expected as many, for one network sees both."
    )


def parts(specs: Mapping[str, Any], field: str) -> dict[str, Any]:
  """The parts of a loss or of augmentation that are not None; raises for what is no dict."""
  kept = {key: spec for key, spec in specs.items() if spec is not None}
  for key, spec in kept.items():
    if not isinstance(spec, Mapping):
      more = "" if field == "augment" else f"; its weight is config.{field}.{key}.weight"
      raise ValueError(
        f"config.{field}.{key}: expected a dict of options, dict() for their defaults, got "
        f"{spec!r}{more}."
      )
  return kept


def python(value: Any) -> Any:
  """NumPy's numbers and arrays as Python's own, which a run folder's JSON keeps."""
  if isinstance(value, np.generic):
    return value.item()
  if isinstance(value, np.ndarray):
    return build.plain(value.tolist())
  if isinstance(value, dict):
    return {key: python(item) for key, item in value.items()}
  return tuple(map(python, value)) if isinstance(value, tuple) else value


def _compare(given, known, where: str) -> None:
  if not isinstance(given, Mapping):
    raise ValueError(f"{where}: {given!r}; expected the fields {', '.join(sorted(known))}.")
  for name in given:
    if name not in known:
      raise ValueError(
        f"{where}.{name}: no such field{suggested(str(name), known)}; fields: "
        f"{', '.join(sorted(known))}."
      )
  for name in known:
    if name not in given:
      raise ValueError(f"{where}.{name}: missing; start from jaxseg.defaults.config().")
  for name in _GROUPS if where == "config" else ():
    _compare(given[name], known[name], f"config.{name}")


def _check_initialise(starts: Mapping) -> None:
  for learner, spec in starts.items():
    weights(spec, f"config.initialise.{learner}")


def _check_mesh(mesh: Mapping) -> None:
  axes = ("batch", "space", "member")
  for axis in axes:
    if mesh[axis] == 0:
      raise ValueError(
        f"config.mesh.{axis}: 0 devices; expected a number from 1, or -1 for all that are left."
      )
  if sum(mesh[axis] == -1 for axis in axes) > 1:
    raise ValueError(
      f"config.mesh: {', '.join(f'{axis}={mesh[axis]}' for axis in axes)}; expected -1, which is "
      "all devices that are left, for one of them at most."
    )
  rules = mesh["parameters"]
  for where, rule in rules.items() if isinstance(rules, Mapping) else [("", rules)]:
    if rule not in ("replicated", "fsdp"):
      raise ValueError(
        f"config.mesh.parameters{where and '.'}{where}: {rule!r} is unknown; choices: replicated, "
        "fsdp, or a dict from patterns of paths to these."
      )


def _check_predictor(config: Mapping) -> None:
  """Raises ValueError for a predictor that the main stream's slices don't suit."""
  slices = config["data"]["slices"]
  if slices is not None and config["predictor"].get("name") == "sliding_window":
    raise ValueError(
      f"config.predictor.name: 'sliding_window' with config.data.slices={slices}; expected "
      "'slices', which puts a volume together from its slices."
    )


def _check_together(config: Mapping) -> None:
  """Fields that are right by themselves and wrong together."""
  options = config["data"]
  patch, slices = options["patch"], options["slices"]
  further = {f"optimisers.{key}": spec for key, spec in config["optimisers"].items()}
  for field, spec in {"optimiser": config["optimiser"], **further}.items():
    accumulate = spec.get("accumulate", 1)
    if isinstance(accumulate, int) and accumulate > config["steps"]:
      raise ValueError(
        f"config.{field}.accumulate: {accumulate} batches for one update, but config.steps is "
        f"{config['steps']}; expected 1 to {config['steps']}."
      )
  if config["data"]["resampling"]:
    check_resampling(options["resampling"])
  try:
    # None is a plan's, of the patch too
    check_orientation(options["orientation"] or "stored")
  except ValueError as error:
    raise ValueError(f"config.data.{error}") from error
  if patch is None:
    return
  if len(patch) not in (2, 3):
    raise ValueError(
      f"config.data.patch: {patch}; expected two or three whole numbers, (y, x) or (z, y, x)."
    )
  if slices is not None and len(patch) != 2:
    raise ValueError(
      f"config.data.patch: {patch} with config.data.slices={slices}; expected two whole numbers, "
      "the size of a slice, or slices=None."
    )
  rank = len(patch) + (slices is not None)
  check_transpose(options["transpose"] or (), rank)
  spacing = options["spacing"]
  if spacing and len(spacing) != rank:
    raise ValueError(
      f"config.data.spacing: {spacing}; expected () to keep the voxels as they are, or {rank} "
      "numbers of millimetres above 0 (None keeps an axis), as many as the cases have axes."
    )
  check_size((options["resampling"] or {}).get("size", ()), spacing or (), rank)
