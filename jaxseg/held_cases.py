"""Whose cases the final weights are scored on: config.evaluate.streams."""

from collections.abc import Mapping
from typing import Any

from jaxseg import feeding
from jaxseg.build import suggestion
from jaxseg.config.streams import MAIN_WORD
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.stream import MAIN, HeldCases
from jaxseg.feed import Feed, other_classes


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """The streams whose validation cases are scored; MAIN for the main one."""
  chosen = config["evaluate"]["streams"] or (MAIN_WORD,)
  return tuple(MAIN if name == MAIN_WORD else name for name in chosen)


def check(config: Mapping[str, Any], feeds: Mapping[str, Feed]) -> None:
  """Raises ValueError where the cases of a stream cannot be scored; reads none."""
  where, main, seen = "config.evaluate.streams", feeds[MAIN], {}
  if config["evaluate"]["streams"] and config["task"]["name"] != "segmentation":
    raise ValueError(
      f"{where}: {', '.join(config['evaluate']['streams'])}, but config.task.name is "
      f"'{config['task']['name']}'; expected () where images are made."
    )
  for name in names(config):
    if name not in feeds:
      known = (MAIN_WORD, *(of for of in feeds if of != MAIN))
      raise ValueError(
        f"{where}: there is no stream '{name}'{suggestion(name, known)}; expected some of "
        f"{', '.join(known)}."
      )
    feed = feeds[name]
    if name != MAIN:
      _check_stream(name, feed, main)
    for case in feed.sides.validation:
      if case in seen and seen[case] != name:
        raise ValueError(
          f"{where}: a case of '{seen[case] or MAIN_WORD}' and one of '{name or MAIN_WORD}' are "
          f"both called '{case}'; expected names of their own: set the source's option `case`."
        )
      seen[case] = name


def _check_stream(name: str, feed: Feed, main: Feed) -> None:
  where = f"config.streams.{name}"
  if feed.source is main.source or not feed.sides.validation:
    raise ValueError(
      f"{where}.split: no case of it validates, and config.evaluate.streams names it; expected a "
      "source of its own and a split, as "
      f'{where}.split=dict(name="explicit", validation=("CASE", ...)).'
    )
  if words := other_classes(feed.source, main.source.labels):
    raise ValueError(
      f"{where}.source: {words}; expected the same classes in the same order: choose those that "
      "count by config.data.classes."
    )
  for what, theirs, ours in (
    ("channel(s)", len(feed.source.channels), len(main.source.channels)),
    ("axes", feed.source.rank, main.source.rank),
  ):
    if ours != theirs:
      raise ValueError(
        f"{where}.source: the images of '{feed.source.name}' have {theirs} {what}, the main "
        f"stream's {ours}; expected as many, for one network and one predictor see both."
      )


def validating(config: Mapping[str, Any], feeds: Mapping[str, Feed]) -> tuple[str, ...]:
  """Names of the cases that no network may have learnt from: scored in training, or at its end."""
  every = [case for name in (MAIN, *names(config)) for case in feeds[name].sides.validation]
  return tuple(dict.fromkeys(every))


def cases_of(
  config: Mapping[str, Any], feeds: Mapping[str, Feed], sets: Mapping[str, Dataset]
) -> tuple[HeldCases, ...]:
  """The cases that are scored; `sets` are the prepared ones of the streams, by name."""
  return tuple(
    HeldCases(
      name,
      sets[name],
      feeding.indices(sets[name], feeds[name].sides.validation),
      feeds[name].source.read,
    )
    for name in names(config)
  )
