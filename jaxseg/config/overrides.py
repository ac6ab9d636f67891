"""--config.FIELD=VALUE: one way to change a config's fields on the command line, for every verb."""

import ast
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxseg import defaults
from jaxseg.build import plain
from jaxseg.config import fields as config_fields
from jaxseg.config.file import load_config
from jaxseg.config.option_values import allows, is_text, is_word
from jaxseg.packages import OnDemand

ml_collections = OnDemand("ml_collections")
_FLAG = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class Override(NamedTuple):
  """One word of the command line: `text` is None where no value was given."""

  path: str
  text: str | None
  no: bool

  def __str__(self) -> str:
    return f"--{'no' if self.no else ''}config.{self.path}"


def read_config(arguments: Sequence[str]) -> tuple["ml_collections.ConfigDict | None", list[str]]:
  """The command line's config, its overrides applied, locked; and the other words.

  Understands --config FILE, --config=FILE:ARG, --config.a.b=VALUE, --config.a.b VALUE and, of truth
  values, --config.a.b and --noconfig.a.b; overrides act in their order, wherever --config stands.
  Without --config the config is None.

  Raises FileNotFoundError or ValueError in words.
  """
  words, others, names = list(arguments), [], []
  while words:
    word = words.pop(0)
    if re.fullmatch(r"--?config", word):
      if not words or words[0].startswith("--"):
        raise ValueError("--config: has no value; expected --config=FILE or --config=FILE:ARG.")
      names.append(words.pop(0))
    elif match := re.fullmatch(r"--?config=(.*)", word, re.DOTALL):
      names.append(match[1])
    else:
      others.append(word)
  if len(set(names)) > 1:
    raise ValueError(f"--config: is given as {' and as '.join(dict.fromkeys(names))}; give one.")
  if not names:
    if any(_FLAG.fullmatch(word) for word in others):
      raise ValueError("--config.FIELD=VALUE changes a config, but --config=FILE is missing.")
    return None, others
  config = load_config(names[0])
  rest, changes = [], []
  while others:
    word = others.pop(0)
    match = _FLAG.fullmatch(word)
    if not match:
      rest.append(word)
      continue
    change = Override(match[2], match[3], bool(match[1]))
    if change.text is None and not change.no and not _is_truth(config, change):
      if not others or others[0].startswith("--"):
        raise ValueError(f"{change}: has no value; expected {change}=VALUE.")
      change = change._replace(text=others.pop(0))
    changes.append(change)
  _check_order(changes)
  for change in changes:
    _apply(config, change)
  return config.lock(), rest


def _is_truth(config: "ml_collections.ConfigDict", change: Override) -> bool:
  return config_fields.kind_of(plain(config), change.path) is bool


def _check_order(changes: Sequence[Override]) -> None:
  for i, before in enumerate(changes):
    for after in changes[i + 1 :]:
      if before.path.startswith(f"{after.path}."):
        raise ValueError(f"{after}: would undo {before}, which stands before it; exchange the two.")


def _apply(config: "ml_collections.ConfigDict", change: Override) -> None:
  """Sets the field; groups of options on the way are made where the file has none."""
  *groups, last = change.path.split(".")
  if not all((*groups, last)):
    raise ValueError(f"{change}: a name is missing; expected --config.FIELD=VALUE.")
  known = plain(defaults.fields())
  if (first := (*groups, last)[0]) not in known:
    near = config_fields.suggested(first, known)
    raise ValueError(f"config.{first}: no such field{near}; fields: {', '.join(sorted(known))}.")
  value = _value(plain(config), change)
  with config.unlocked(), config.ignore_type():
    here = config
    for depth, group in enumerate(groups, 1):
      inner = here.get(group)
      path = ".".join(groups[:depth])
      if inner is None or isinstance(inner, str):
        # a part that is named alone gets its options beside the name
        name = inner or config_fields.name_of(plain(config), path)
        option = "run" if groups[0] == "initialise" else "name"
        here[group] = ml_collections.ConfigDict({option: name} if name else {})
      elif not isinstance(inner, ml_collections.ConfigDict):
        raise ValueError(f"{change}: config.{path} is {inner!r}, which has no '{last}' in it.")
      here = here[group]
    # one that is assigned whole is another one: nothing of the old stays
    here[last] = ml_collections.ConfigDict(value) if isinstance(value, dict) else value


def _value(config: dict[str, Any], change: Override) -> Any:
  """The value that a word gives, as the field's type wants it as far as that is known."""
  kind, text = config_fields.kind_of(config, change.path), change.text
  if change.no or text is None:
    plainly = f"--config.{change.path}=VALUE"
    if kind is not bool:
      raise ValueError(f"{change}: is for fields that are True or False; expected {plainly}.")
    if text is not None:
      raise ValueError(f"{change}={text}: takes no value; expected {change} or {plainly}.")
    return not change.no
  if kind is bool and text.lower() in _TRUTH:
    return _TRUTH[text.lower()]
  if is_text(kind) and not (text == "None" and allows(kind, type(None))):
    return text
  value = literal(text)
  whole = isinstance(value, float) and value.is_integer() and "e" in text.lower()
  if whole and allows(kind, int) and not allows(kind, float):
    value = int(value)  # 1e4 steps
  if isinstance(value, int | float) and is_word(kind):
    return text
  if (
    not isinstance(value, str | dict | tuple | None)
    and allows(kind, tuple)
    and not allows(kind, type(value))
  ):
    return (value,)
  return value


def literal(text: str) -> Any:
  """Numbers, tuples, dicts (also as dict(name="se")), True and None; else the text itself."""
  if text.lower() in ("true", "false"):
    return text.lower() == "true"
  try:
    return _literal(ast.parse(text.strip(), mode="eval").body)
  except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
    return text


def _literal(node: ast.expr) -> Any:
  if isinstance(node, ast.Call):
    if not (isinstance(node.func, ast.Name) and node.func.id == "dict") or node.args:
      raise ValueError
    if any(word.arg is None for word in node.keywords):
      raise ValueError
    return {word.arg: _literal(word.value) for word in node.keywords}
  if isinstance(node, ast.Dict):
    keys = [ast.literal_eval(key) for key in node.keys]
    return dict(zip(keys, map(_literal, node.values), strict=True))
  if isinstance(node, ast.Tuple | ast.List):
    return tuple(map(_literal, node.elts))
  return ast.literal_eval(node)
