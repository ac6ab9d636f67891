"""Whether a config feeds its method what that needs beside images and labels."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxseg import methods
from jaxseg.config.streams import HELD_BACK, TRAINING, UNLABELLED, as_main
from jaxseg.config.synthesis import TRANSLATION
from jaxseg.data.stream import MAIN
from jaxseg.methods.needs import Needs
from jaxseg.task import MASKS

# tasks that few methods are of -> what they make
_MADE = {TRANSLATION: "images of another domain", MASKS: "label maps of noise"}
_SIGNED = 'dict(name="minmax", signed=True), or dict(name="window", lower=, upper=, signed=True)'


def of(config: Mapping[str, Any]) -> Needs:
  """What the config's method needs."""
  return methods.NEEDS.get(config["method"]["name"], Needs())


def check_streams(config: Mapping[str, Any]) -> None:
  """Raises ValueError for a stream that the method needs and the config lacks, or feeds otherwise.

  A source of its own may have labels, which the method does not look at.
  """
  name, batch = config["method"]["name"], config["data"]["batch"]
  task = of(config).task
  if task and config["task"]["name"] != task:
    raise ValueError(
      f"config.task: '{config['task']['name']}', but the method '{name}' is of '{task}'; expected "
      f'config.task=dict(name="{task}"), or another method.'
    )
  if (asked := config["task"]["name"]) in _MADE and task != asked:
    able = [other for other, needs in methods.NEEDS.items() if needs.task == asked]
    raise ValueError(
      f"config.method: '{name}' makes no {_MADE[asked]}, which config.task '{asked}' asks for; "
      f"methods that do: {', '.join(able)}."
    )
  for stream in of(config).other_domains:
    if "source" not in (config["streams"].get(stream) or {}):
      what = "is missing" if stream not in config["streams"] else "has no source of its own"
      raise ValueError(
        f"config.streams.{stream}: {what}; the method '{name}' learns from images of another "
        f"domain, too: expected config.streams.{stream}=dict(source=dict(...), batch={batch})."
      )
  if of(config).domains:
    _check_domains(config)
  for stream in of(config).held_back:
    _check_held_back(config, stream)
  for stream in of(config).streams:
    where, spec = f"config.streams.{stream}", config["streams"].get(stream)
    if spec is None:
      raise ValueError(
        f"{where}: is missing; the method '{name}' learns from cases without labels, too: add "
        f'{where}=dict(cases="{UNLABELLED}", batch={batch}), and config.data.split.labelled, if '
        "all cases of config.data.source have labels."
      )
    if "source" not in spec and spec.get("cases", TRAINING) != UNLABELLED:
      raise ValueError(
        f"{where}.cases: '{TRAINING}' are the cases that the main stream feeds with their labels, "
        f"and the method '{name}' learns from others beside them; expected '{UNLABELLED}', or a "
        "source of its own."
      )
    patch, ours = as_main(config, stream)["data"]["patch"], config["data"]["patch"]
    if patch is not None and ours is not None and tuple(patch) != tuple(ours):
      raise ValueError(
        f"{where}.patch: {tuple(patch)}, and the main stream's is {tuple(ours)}; the method "
        f"'{name}' puts both in one batch: leave the field out."
      )


def _check_held_back(config: Mapping[str, Any], stream: str) -> None:
  where, spec = f"config.streams.{stream}", config["streams"].get(stream)
  method, batch = config["method"]["name"], config["data"]["batch"]
  # a source of its own has other cases
  if spec is not None and ("source" in spec or spec.get("cases") == HELD_BACK):
    return
  have = "is missing" if spec is None else f"has cases='{spec.get('cases', TRAINING)}'"
  raise ValueError(
    f"{where}: {have}; the method '{method}' judges by training cases that the main stream does "
    f'not learn from: expected {where}=dict(cases="{HELD_BACK}", batch={batch}), and '
    "config.data.split.labelled=0.5, the share of the main stream."
  )


def _check_domains(config: Mapping[str, Any]) -> None:
  method = config["method"]["name"]
  if not config["streams"]:
    raise ValueError(
      f"config.streams: is empty, and the method '{method}' learns from several domains: add one, "
      'as config.streams.mr=dict(source=dict(name="paired_folder", ...), split=dict(...)).'
    )
  for stream, spec in config["streams"].items():
    where = f"config.streams.{stream}"
    if "source" not in spec:
      raise ValueError(
        f"{where}.source: is missing; the stream would be fed the main stream's cases, and for the "
        f"method '{method}' each stream is a domain of its own: name its source."
      )
    if spec.get("cases", TRAINING) != TRAINING:
      raise ValueError(
        f"{where}.cases: '{spec['cases']}'; the method '{method}' learns every domain from labels: "
        "leave the field out."
      )


def check_labels(config: Mapping[str, Any], streams: Mapping[str, Collection[str]]) -> None:
  """Raises ValueError for a domain without labels; `streams` are the fields of each by name."""
  for stream, there in streams.items() if of(config).domains else ():
    if not {"label", "soft_label", "scribble"} & set(there):
      raise ValueError(
        f"config.streams.{stream}.source: its cases have no labels, and the method "
        f"'{config['method']['name']}' learns every domain from labels; expected a source that has "
        "some."
      )


def check_fields(config: Mapping[str, Any], there: Collection[str]) -> None:
  """Raises ValueError for a field that the method needs and the main stream's cases lack."""
  for field in of(config).fields:
    if field not in there:
      raise ValueError(
        f"config.data.fields.{field}: is missing; the method '{config['method']['name']}' learns "
        f'from it: add config.data.fields.{field}=dict(name="folder", path=FOLDER), or choose a '
        "source whose cases have it."
      )


def check_other_domains(
  config: Mapping[str, Any],
  sources: Mapping[str, Any],
  schemes: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
  """Raises ValueError for domains that the method cannot learn from together.

  Args:
    config: checked.
    sources: stream -> its source of cases, MAIN's among them.
    schemes: stream -> the normalisation of each of its channels.
  """
  needs, name = of(config), config["method"]["name"]
  ours = sources[MAIN]
  for stream, theirs in sources.items():
    if theirs.channels != ours.channels and sorted(theirs.channels) == sorted(ours.channels):
      raise ValueError(
        f"config.streams.{stream}.source: the channels of '{theirs.name}' are "
        f"{', '.join(theirs.channels)}, those of config.data.source ('{ours.name}') "
        f"{', '.join(ours.channels)}, and a network knows them by their places; expected one order "
        "in both."
      )
  for stream in (*needs.other_domains, *needs.streams):
    theirs = sources[stream]
    numbers = {"channel(s)": (len(ours.channels), len(theirs.channels))}
    # of other streams volumes may be fed by slices, to go with images
    if stream in needs.other_domains:
      numbers = {"spatial axes": (ours.rank, theirs.rank)} | numbers
    for what, (a, b) in numbers.items():
      if a != b:
        raise ValueError(
          f"config.streams.{stream}.source: the images of '{theirs.name}' have {b} {what}, those "
          f"of config.data.source ('{ours.name}') {a}; the method '{name}' expects as many in both."
        )
  for stream in (MAIN, *needs.other_domains) if needs.signed else ():
    field = f"config.streams.{stream}.normalise" if stream else "config.data.normalise"
    for channel, scheme in zip(sources[stream].channels, schemes[stream], strict=True):
      if not scheme.get("signed"):
        raise ValueError(
          f"{field}: '{scheme['name']}' of the channel '{channel}', but the generators of '{name}' "
          f"make images in [-1, 1]; expected {_SIGNED}."
        )
