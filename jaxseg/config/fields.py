"""Every field of a config: its type, its range, and the table that a component is taken from."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.build import options_of, suggestion
from jaxseg.config.option_values import check_value, parts_of
from jaxseg.config.option_values import kind_of as kind_of_option
from jaxseg.config.ranges import (
  AXIS,
  BELOW_1,
  COUNT,
  DEVICES,
  FROM_0,
  POSITIVE,
  SEED,
  SHARE,
  STEPS,
  Range,
)


class Field(NamedTuple):
  """What a field may be: a type, the range of its numbers, or the words to choose from."""

  kind: Any
  span: Range | None = None
  choices: tuple[str, ...] = ()


_GROUP = Field(Mapping)
FIELDS: dict[str, Field] = {
  "seed": Field(int, SEED),
  "steps": Field(int, STEPS),
  **dict.fromkeys(("method", "network", "loss", "optimiser", "augment", "predictor"), _GROUP),
  **dict.fromkeys(("networks", "losses", "optimisers", "views"), _GROUP),
  **dict.fromkeys(("initialise", "plan", "data", "evaluate", "mesh", "task", "search"), _GROUP),
  "average": Field(float, BELOW_1),
  "remat": Field(str, None, ("none", "products", "blocks", "offload")),
  **dict.fromkeys(("data.source", "data.split", "data.resampling", "data.prior"), _GROUP),
  **dict.fromkeys(("data.maps", "data.fields", "streams"), _GROUP),
  "data.normalise": Field(str | Mapping | Sequence[str | Mapping]),
  "data.orientation": Field(str),
  "data.annotation": Field(str),
  "data.transpose": Field(Sequence[int], AXIS),
  "data.crop_nonzero": Field(bool),
  "data.spacing": Field(Sequence[float | None], POSITIVE),
  "data.classes": Field(Sequence[str]),
  "data.folder": Field(str),
  "data.workers": Field(int, FROM_0),
  "data.patch": Field(Sequence[int], COUNT),
  "data.batch": Field(int, COUNT),
  "data.foreground": Field(float, SHARE),
  "data.slices": Field(int | None, AXIS),
  "data.cache": Field(str, None, ("device", "host", "disk")),
  "evaluate.every": Field(int, COUNT),
  "evaluate.cases": Field(int, FROM_0),
  "evaluate.streams": Field(Sequence[str]),
  "evaluate.metrics": Field(Sequence[str]),
  "evaluate.best": Field(str),
  "evaluate.probabilities": Field(bool),
  **dict.fromkeys(("mesh.batch", "mesh.space", "mesh.member"), Field(int, DEVICES)),
  "mesh.parameters": Field(str | Mapping),
  "mesh.smallest": Field(int, COUNT),
  "mesh.optimiser": Field(str, None, ("device", "host")),
  "members": Field(int, COUNT),
  "log_every": Field(int, COUNT),
  "checkpoint_every": Field(int, COUNT),
  "deterministic": Field(bool),
}

# groups that name no component, in words
_ENTRIES = {
  "streams": "STREAM=dict(...)",
  "initialise": "LEARNER=FOLDER",
  "networks": "ROLE=dict(name=...)",
  "optimisers": "ROLE=dict(name=...)",
  "losses": "ROLE=dict(PART=dict(...))",
  "views": "ROLE=dict(TRANSFORM=dict(...))",
  "augment": "TRANSFORM=dict(...)",
  "data.fields": "FIELD=dict(name=...)",
  "data.maps": "MAP=dict(...)",
  "data.prior": "run=FOLDER",
  "data.resampling": "order=...",
  "plan": "data=...",
  "search": "space=..., strategy=...",
}

# what the entries of a group's roles are like
_FIRST = {"losses": "loss", "optimisers": "optimiser", "views": "augment"}

# what stands beside a loss's own options, and what some options may be before they are resolved
_WEIGHT = float | Mapping
_CLASS_WEIGHTS = Sequence[float] | str | Mapping | None


def check_field(path: str, value: Any) -> None:
  """Raises ValueError unless the value is what the field may be."""
  field = FIELDS[path]
  if path in _ENTRIES and not isinstance(value, Mapping):
    raise ValueError(f"config.{path}: {value!r}; expected dict({_ENTRIES[path]}).")
  check_value(value, f"config.{path}", field.kind, field.span)
  if field.choices and value not in field.choices:
    raise ValueError(
      f"config.{path}: '{value}' is unknown{suggestion(value, field.choices)}; "
      f"choices: {', '.join(field.choices)}."
    )


def suggested(name: str, known) -> str:
  """(did you mean 'x'?), of the known names of a group or, where none is near, of all fields."""
  near = suggestion(name, known)
  # of two fields with one name the first is meant: batch is config.data's, not config.mesh's
  paths = {path.rsplit(".", 1)[-1]: path for path in reversed(FIELDS)}
  found = difflib.get_close_matches(name, paths, n=1)
  return near or (f" (did you mean 'config.{paths[found[0]]}'?)" if found else "")


def table_of(path: str) -> Mapping[str, Callable] | None:
  """The table that the component at a path ("network", "loss.dice") is taken from, or None."""
  # these load JAX, which reads its settings when it starts: only where they are needed
  from jaxseg import (
    augment,
    data,
    inference,
    losses,
    methods,
    networks,
    optimisers,
    schedules,
    task,
  )

  predict = {**networks.NETWORKS, **networks.SUPERNETS, **networks.GENERATORS}
  tables = {
    "task": task.TASKS,
    "network": predict,
    "networks.*": {**predict, **networks.CRITICS, **networks.DECODERS},
    "method": methods.METHODS,
    "optimiser": optimisers.OPTIMISERS,
    "optimiser.schedule": schedules.RATES,
    "predictor": inference.PREDICTORS,
    "data.source": data.SOURCES,
    "data.split": data.SPLITS,
    "loss.*": {**losses.LOSSES, **losses.IMAGE_LOSSES},
    "augment.*": {**augment.AUGMENTATIONS, **augment.MIXTURES},
  }
  return tables.get(_like(path))


def _like(path: str) -> str:
  """A component's path as of the first role of its kind: "optimisers.critic" -> "optimiser".

  Each part of a loss, of augmentation or of a view is "loss.*" or "augment.*", each network of a
  further role "networks.*".
  """
  names = path.split(".")
  if names[0] in _FIRST and names[1:]:
    names = [_FIRST[names[0]], *names[2:]]
  if names[0] in ("loss", "augment", "networks") and len(names) == 2:
    names[1] = "*"
  return ".".join(names)


def _at(config: Mapping[str, Any], path: str) -> Any:
  for name in path.split("."):
    config = config.get(name) if isinstance(config, Mapping) else None
  return config


def _options(config: Mapping[str, Any], path: str) -> dict[str, inspect.Parameter]:
  """The options of the constructor that the component at a path names; {} where none is."""
  table, spec, like = table_of(path), _at(config, path), _like(path)
  name = spec.get("name") if isinstance(spec, Mapping) else None
  if name is None and like in ("loss.*", "augment.*"):
    name = path.rsplit(".", 1)[1]
  if name is None and path.startswith("optimisers."):
    # it is config.optimiser with changes
    name = config["optimiser"].get("name")
  if table is None or not isinstance(name, str) or name not in table:
    return {}
  # the sources' files stand before the star, and some of Optax's options
  known = options_of(table[name], given=() if like in ("data.source", "optimiser") else None)
  if like == "optimiser":
    from jaxseg import optimisers

    known = {**known, **options_of(optimisers.optimiser)}
  return known


def kind_of(config: Mapping[str, Any], path: str) -> Any:
  """The type of a field or of a component's option, as an annotation; Any where it is unknown."""
  if path in FIELDS:
    return FIELDS[path].kind
  component, _, option = path.rpartition(".")
  if option == "name" or (option == "run" and _like(component) in ("network", "networks.*")):
    return str
  if option == "weight" and _like(component) == "loss.*":
    return _WEIGHT
  known = _options(config, component) if component else {}
  if option not in known:
    return Any
  if option == "class_weights":
    return _CLASS_WEIGHTS
  from jaxseg.schedules import Schedule  # loads JAX, too

  kind = kind_of_option(known[option])
  return _WEIGHT if Schedule in parts_of(kind) else kind


def name_of(config: Mapping[str, Any], path: str) -> str | None:
  """The name of the part that a component has at an option which the config leaves out."""
  component, _, option = path.rpartition(".")
  parameter = (_options(config, component) if component else {}).get(option)
  default = parameter.default if parameter else None
  if isinstance(default, Mapping):
    return default.get("name")
  return default if isinstance(default, str) else None
