"""What makes two configs those of one run, of the folds of one, of the members of an ensemble."""

import contextlib
import fnmatch
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from jaxseg import (
  augment,
  data,
  defaults,
  files,
  inference,
  losses,
  methods,
  networks,
  optimisers,
  roles,
  schedules,
  task,
)
from jaxseg.build import options_of, plain
from jaxseg.config import earlier_remat, streams
from jaxseg.config import roles as config_roles
from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.data.prepared.preparation import RESAMPLING
from jaxseg.networks import groups

RESUME, FOLDS, MEMBERS, PROCESSES = "resume", "folds", "members", "processes"
_ALL = (RESUME, FOLDS, MEMBERS)
_EVERYWHERE = (*_ALL, PROCESSES)

# field (* stands for any role), or all fields that begin so -> where it may differ: when a run goes
# on, between the folds of a cross-validation, between the members of an ensemble that averages
# logits; what is not here may differ nowhere
MAY_DIFFER: dict[str, tuple[str, ...]] = {
  # how a run is told, fed and kept, not what it learns
  "log_every": _ALL,
  "checkpoint_every": _ALL,
  "evaluate": _ALL,
  "deterministic": _ALL,
  "data.folder": _EVERYWHERE,
  "data.workers": _EVERYWHERE,
  "data.cache": _ALL,
  "predictor.batch": _ALL,
  "mesh": _ALL,
  "remat": _ALL,
  # where files lie: names and content of the cases are compared
  "data.source.path": _EVERYWHERE,
  "data.source.data_dir": _EVERYWHERE,
  "data.source.images": _EVERYWHERE,
  "data.source.masks": _EVERYWHERE,
  "data.source.weights": _EVERYWHERE,
  "data.source.cache": _EVERYWHERE,
  "data.source.url": _EVERYWHERE,
  "data.source.download": _EVERYWHERE,
  # of cases that a run has translated: their content tells by which
  "data.source.run": _EVERYWHERE,
  **{f"data.source.source.{name}": _EVERYWHERE for name in ("path", "images", "masks", "weights")},
  **dict.fromkeys(("data.split.path", "data.split.train_list"), _EVERYWHERE),
  "data.split.validation_list": _EVERYWHERE,
  "data.prior.run": (RESUME, FOLDS, PROCESSES),
  "data.split.fold": (FOLDS, MEMBERS),
  # a longer training goes on from a shorter one, see `_fewer`
  "steps": (RESUME, MEMBERS),
  # who has trained how: the networks are alike
  "seed": (MEMBERS,),
  "loss": (MEMBERS,),
  "losses": (MEMBERS,),
  "optimiser": (MEMBERS,),
  "optimisers": (MEMBERS,),
  "augment": (MEMBERS,),
  "views": (MEMBERS,),
  "streams": (MEMBERS,),
  "initialise": (MEMBERS,),
  "network.run": (MEMBERS,),
  "networks.*.run": (MEMBERS,),
  "networks.*.runs": (MEMBERS,),
  "data.batch": (MEMBERS,),
  "data.foreground": (MEMBERS,),
  "data.maps": (MEMBERS,),
  "data.source": (MEMBERS,),
  "data.split": (MEMBERS,),
}

# what the program provides where a config leaves it out: no default of the constructor's
_PROVIDED = {
  "network": ("classes", "channels"),
  "loss": ("sigmoid",),
  "method": ("sigmoid",),
  "augment": ("patch", "swap", "swap_axis", "background", "classes"),
  "predictor": ("patch", "total_stride", "margin", "axis", "devices"),
  "optimiser": ("steps", "uses", "where"),
}
# fields that are folders of runs, or files of weights
_PLACES = ("run", "runs", "file")
_SHOWN = 12
_ABSENT = "left out"


def may_differ(field: str, where: str) -> bool:
  """Whether a field, as "data.split.fold", may differ there: RESUME, FOLDS, MEMBERS or
  PROCESSES.

  A stream's fields may differ where those of config.data may.
  """
  if match := re.fullmatch(r"streams\.\w+\.(.+)", field):
    return may_differ("streams", where) or may_differ(f"data.{match[1]}", where)
  # names and content of the files are compared
  if re.fullmatch(r"data\.fields\.\w+\.path", field):
    return True
  return any(
    where in places and fnmatch.fnmatchcase(f"{field}.", f"{name}.*")
    for name, places in MAY_DIFFER.items()
  )


def completed(config: dict[str, Any]) -> dict[str, Any]:
  """A stored config with today's defaults for the fields that did not exist when it was stored."""
  known = plain(defaults.fields())
  if "networks" not in config:
    config = _of_two_tables(config)
  config = earlier_remat.replaced(config)
  parts = {name: {**known[name], **config.get(name, {})} for name in ("data", "evaluate", "mesh")}
  return {**known, **config, **parts}


def _of_two_tables(config: dict[str, Any]) -> dict[str, Any]:
  """A config of when rates and weights had schedules of their own, said as today."""
  out = dict(config)
  if "optimiser" in config:
    out["optimiser"] = _relative(config["optimiser"])
  if isinstance(losses_of := config.get("loss"), Mapping):
    out["loss"] = {key: _rising(spec, "weight") for key, spec in losses_of.items()}
  if "method" in config:
    out["method"] = _rising(config["method"], "auxiliary")
  return out


def _rising(spec: Any, field: str) -> Any:
  """A component whose schedule, "piecewise" without values, rose from 0 to 1."""
  of = spec.get(field) if isinstance(spec, Mapping) else None
  if not isinstance(of, Mapping) or of.get("name") != "piecewise" or "values" in of:
    return spec
  return {**spec, field: {**of, "values": (0.0, 1.0)}}


def _relative(spec: dict[str, Any]) -> dict[str, Any]:
  """An optimiser of when the ends of a schedule were rates themselves, not parts of their peak."""
  peak, schedule = spec.get("learning_rate"), spec.get("schedule")
  if not peak or not isinstance(schedule, Mapping):
    return spec
  parts = {name: schedule[name] / peak for name in ("start", "end") if schedule.get(name)}
  return {**spec, "schedule": {**schedule, **parts}}


def explicit(config: dict[str, Any]) -> dict[str, Any]:
  """The config, `completed`, its components with every option: to compare what two configs mean.

  An option that is left out counts as the constructor's default.
  """
  config = completed(plain(config))
  data_of = config["data"]
  return config | {
    **_roles(config),
    "task": _filled(config["task"], task.TASKS),
    "method": _method(config["method"]),
    "augment": _augment(config["augment"]),
    "predictor": _filled(config["predictor"], inference.PREDICTORS, "predictor"),
    "streams": {name: _stream(config, name) for name in config["streams"]},
    "initialise": {
      key: {"run": spec} if isinstance(spec, str) else spec
      for key, spec in config["initialise"].items()
    },
    "data": data_of
    | {
      "source": _filled(data_of["source"], data.SOURCES, "source"),
      "split": _split(data_of["split"]),
      "normalise": _normalise(data_of["normalise"]),
      "resampling": RESAMPLING | data_of["resampling"],
      "maps": {key: _filled(_named(key, spec), data.MAPS) for key, spec in data_of["maps"].items()},
    },
  }


def _split(spec):
  # of all cases there is no draw
  whole = {"labelled": None, "labelled_seed": 0}
  drawn = {} if spec.get("labelled") is None else {"labelled_seed": spec.get("labelled_seed", 0)}
  return _filled(spec, data.SPLITS) | whole | {"labelled": spec.get("labelled")} | drawn


def _stream(config: Mapping[str, Any], name: str) -> dict[str, Any]:
  """A stream's fields, those that it leaves out too, their components with every option."""
  spec, view = config["streams"][name] or {}, streams.as_main(config, name)
  # source and split are the main stream's where it has none
  shared = {field: view["data"][field] for field in streams.LIKE_MAIN}
  spec = {"cases": streams.TRAINING, **shared, "augment": view["augment"], **spec}
  fill = {
    "source": lambda of: _filled(of, data.SOURCES, "source"),
    "split": _split,
    "normalise": _normalise,
    "resampling": lambda of: RESAMPLING | of,
    "augment": _augment,
  }
  return {field: fill.get(field, plain)(of) for field, of in spec.items()}


def _roles(config: dict[str, Any]) -> dict[str, Any]:
  """What fills each role of the method, said for each of them."""
  tables = networks.NETWORKS | networks.SUPERNETS | networks.CRITICS
  tables |= networks.GENERATORS | networks.DECODERS
  filled = {
    roles.NETWORK: lambda spec: _network(spec, tables),
    roles.LOSS: lambda spec: {key: _loss(key, part) for key, part in spec.items()},
    roles.OPTIMISER: _optimiser,
    roles.VIEW: _augment,
  }
  constructor = methods.METHODS.get(config["method"].get("name"))
  known = roles.roles(constructor).values() if constructor else ()
  parts = {}
  for kind, group in roles.GROUPS.items():
    further = [role for role in known if role.kind == kind and not role.first]
    specs = {role.key: config_roles.spec(config, role) for role in further}
    specs = config[group] | {key: spec for key, spec in specs.items() if spec is not None}
    if kind in roles.FIRST:
      parts[kind] = filled[kind](config[kind])
    parts[group] = {key: filled[kind](spec) for key, spec in specs.items()}
  return parts


def _network(spec, tables: Mapping[str, Callable]) -> Any:
  spec = _filled(spec, tables, "network")
  grouped = isinstance(spec, Mapping) and hasattr(tables.get(spec.get("name")), "moved")
  # options of earlier versions are told as they are
  with contextlib.suppress(ValueError):
    return groups.spelled_out(spec) if grouped else spec
  return spec


def _augment(specs: Mapping[str, Any]) -> dict[str, Any]:
  chains = augment.AUGMENTATIONS | augment.MIXTURES
  specs = {key: spec for key, spec in specs.items() if spec is not None}
  return {key: _filled(_named(key, spec), chains, "augment") for key, spec in specs.items()}


def _named(key: str, spec):
  return {"name": key, **spec} if isinstance(spec, Mapping) else spec


def _filled(spec, table: Mapping[str, Callable], part: str = ""):
  """A component with every option of its constructor; anything else as it is."""
  if not isinstance(spec, Mapping) or "name" not in spec:
    return spec
  made = table.get(spec["name"])
  return {"name": spec["name"], **(_defaults(made, part) if made else {}), **spec}


def _defaults(made: Callable, part: str) -> dict[str, Any]:
  # what Optax and the sources are called with are options too
  given = () if part in ("optimiser", "source") else None
  return {
    name: plain(option.default)
    for name, option in options_of(made, given=given).items()
    if option.default is not option.empty and name not in _PROVIDED.get(part, ())
  }


def _method(spec):
  spec = _filled(spec, methods.METHODS, "method")
  if not isinstance(spec, Mapping):
    return spec
  # a number may be a schedule instead
  return {option: _filled(value, schedules.SCHEDULES) for option, value in spec.items()}


def _loss(key: str, spec):
  if not isinstance(spec, Mapping):
    return spec
  spec = {"weight": 1.0, **_filled(_named(key, spec), losses.LOSSES | losses.IMAGE_LOSSES, "loss")}
  spec["weight"] = _filled(spec["weight"], schedules.SCHEDULES)
  weighting = spec.get("class_weights")
  if isinstance(weighting, str | Mapping):
    named = {"name": weighting} if isinstance(weighting, str) else weighting
    spec["class_weights"] = _filled(named, losses.CLASS_WEIGHTINGS)
  return spec


def _optimiser(spec: Mapping[str, Any]) -> dict[str, Any]:
  made = optimisers.OPTIMISERS.get(spec.get("name"))
  own = _defaults(made, "optimiser") if made else {}
  spec = {**own, **_defaults(optimisers.optimiser, "optimiser"), **spec}
  schedule = _filled(spec["schedule"] or {"name": "constant"}, schedules.RATES)
  scale = spec["scale"] or {}
  if isinstance(scale, Mapping):
    scale = {pattern: _filled(of, schedules.SCHEDULES) for pattern, of in scale.items()}
  # no limit is 0 in a config
  return spec | {"schedule": schedule, "scale": scale, "clip": spec["clip"] or None}


def _normalise(value):
  if isinstance(value, tuple):
    return tuple(map(_normalise, value))
  if not isinstance(value, Mapping) or "name" not in value:
    return value
  usual = _filled({"name": value["name"]}, NORMALISATIONS)
  return value["name"] if _filled(value, NORMALISATIONS) == usual else value


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested fields -> "data.split.fold": value."""
  fields = {}
  for name, value in config.items():
    if isinstance(value, Mapping) and value:
      fields |= flat(value, f"{prefix}{name}.")
    else:
      fields[f"{prefix}{name}"] = value
  return fields


def differences(before: dict, now: dict, where: str) -> dict[str, tuple[Any, Any]]:
  """Field -> (before, now), of those that must not differ there; of components what they are."""
  a, b = flat(explicit(before)), flat(explicit(now))
  fields = [name for name in dict.fromkeys([*a, *b]) if not may_differ(name, where)]
  found = {name: (a.get(name, _ABSENT), b.get(name, _ABSENT)) for name in fields}
  found = {name: pair for name, pair in found.items() if not same_value(name, *pair)}
  if where == RESUME and now["steps"] < before["steps"]:
    found["steps"] = (before["steps"], now["steps"])
  # where entries are told, that there were none before tells nothing more
  parents = {name for name in found if any(other.startswith(f"{name}.") for other in found)}
  found = {name: pair for name, pair in found.items() if name not in parents or {} not in pair}
  # the options of another component tell nothing more
  others = [name.removesuffix("name") for name in found if name.endswith(".name")]
  return {
    name: pair
    for name, pair in found.items()
    if not any(name.startswith(other) and name != f"{other}name" for other in others)
  }


def same_value(name: str, a, b) -> bool:
  """Whether two values of a field are equal, or one place written in two ways."""
  several = [of if isinstance(of, tuple | list) else (of,) for of in (a, b)]
  if name.rpartition(".")[2] in _PLACES and all(isinstance(x, str) for of in several for x in of):
    a, b = ([files.real_path(x) for x in of] for of in several)
  return _equal(a, b)


def _equal(a, b) -> bool:
  # True is no 1, and NaN is itself
  if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
    return True
  return a == b and isinstance(a, bool) == isinstance(b, bool)


def sentence(found: Mapping[str, tuple[Any, Any]], words: str = "was {}, is {}") -> str:
  """`differences` in words: the fields, the old values and the new ones."""
  parts = [f"config.{name} {words.format(_shown(a), _shown(b))}" for name, (a, b) in found.items()]
  more = [f"and {len(parts) - _SHOWN} more"] if len(parts) > _SHOWN else []
  return "; ".join(parts[:_SHOWN] + more)


def given_as_rates(found: Mapping[str, tuple[Any, Any]], optimiser: Mapping[str, Any]) -> str:
  """A hint where `differences` come from a config of when ends of a schedule were rates."""
  peak, ends = optimiser.get("learning_rate"), []
  for end in ("start", "end"):
    part, rate = found.get(f"optimiser.schedule.{end}", (None, None))
    if isinstance(part, float) and isinstance(rate, float) and math.isclose(part * peak, rate):
      ends.append(f"{end}={part!r}")
  if not ends:
    return ""
  return f" (a schedule's ends are parts of learning_rate now, no rates: give {', '.join(ends)})"


def _shown(value) -> str:
  return value if value is _ABSENT else repr(value)


def updated(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
  """The stored config with what another one changes, which must be what may differ on resume."""
  a, b = flat(explicit(before)), flat(explicit(now))
  changed = [name for name in b if not _equal(a.get(name, _ABSENT), b[name])]
  result = dict(before)
  # what is gone first: rules by pattern may take the place of a word, or of other rules
  for name in [*(name for name in a if name not in b), *changed]:
    *path, last = name.split(".")
    inner = result
    for part in path:
      of = inner.get(part)
      inner[part] = dict(of) if isinstance(of, Mapping) else {}
      inner = inner[part]
    if name in b:
      inner[last] = b[name]
    else:
      inner.pop(last, None)
  return result
