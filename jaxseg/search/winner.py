"""The best trial of a search, as a file that a run is trained by."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg import defaults, files, sealed
from jaxseg.build import plain
from jaxseg.packages import OnDemand
from jaxseg.search.parameters import with_fields
from jaxseg.search.plan import Plan
from jaxseg.search.trials import FAILED, REFUSED, score_of

ml_collections = OnDemand("ml_collections")
FILE, CONFIG = "best.json", "best.py"
_ADVICE = "search again: the same command writes it anew from the trials"
_TEXT = '''"""The best candidate of a search: python train.py --config={path} --workdir=runs/best

Trained as the config that was searched, on the split that it has: what validates there had no part
in the search.
"""

import pathlib

from jaxseg.search.winner import config_of


def get_config():
  return config_of(pathlib.Path(__file__).with_name("{file}"))
'''


def best_row(rows: Sequence[Mapping[str, Any]], sign: int) -> Mapping[str, Any] | None:
  """The row with the best score among those that were trained longest; None without a score."""
  scored = [(row["steps"], score_of(row, sign), row) for row in rows]
  scored = [of for of in scored if of[1] is not None]
  if not scored:
    return None
  longest = max(steps for steps, _, _ in scored)
  # of equals the one that came first
  return max((of for of in scored if of[0] == longest), key=lambda of: (of[1], -of[2]["number"]))[2]


def write(plan: Plan, rows: Sequence[Mapping[str, Any]], workdir: pathlib.Path) -> dict[str, Any]:
  """Writes best.json and best.py; raises ValueError where no trial has a score."""
  row = best_row(rows, plan.sign)
  if row is None:
    why = [row[name] for row in rows for name in (FAILED, REFUSED) if name in row]
    raise ValueError(
      f"{workdir}: none of {len(rows)} trials has a score"
      + (f"; the first one: {why[0]}" if why else ".")
    )
  config = with_fields(plan.base, row["fields"])
  told = {name: row[name] for name in ("number", "steps", "score", "fields")}
  told |= {"metric": plan.metric, "evaluation": plan.evaluation.name, "config": config}
  sealed.write(workdir / FILE, told)
  files.write_text(workdir / CONFIG, _TEXT.format(path=workdir / CONFIG, file=FILE))
  return dict(row)


def read(path) -> dict[str, Any]:
  """best.json of a search; raises FileNotFoundError or ValueError in words."""
  kinds = {"score": (int, float), "fields": dict, "config": dict}
  return sealed.read(path, what="the best candidate of a search", advice=_ADVICE, fields=kinds)


def config_of(path) -> "ml_collections.ConfigDict":
  """The config of the best candidate in a best.json."""
  config = defaults.config()
  for name, value in plain(read(path)["config"]).items():
    grouped = name in ("data", "evaluate", "mesh")
    fields = {f"{name}.{key}": of for key, of in value.items()} if grouped else {name: value}
    defaults.assign(config, fields)
  return config
