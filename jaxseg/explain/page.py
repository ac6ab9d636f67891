"""Explanations as one HTML page that needs nothing else."""

from collections.abc import Sequence
from typing import Any

from jaxseg.explain.sheet import Tile
from jaxseg.report.page import TEMPLATES, png


def page(title: str, cases: Sequence[dict[str, Any]]) -> str:
  """The page.

  Args:
    title: its title.
    cases: of each "name", "words" (what was explained), "plane" (which slice is shown), "tiles",
      "maps" ([{"name", "numbers", ...}]) and "notes".
  """
  return TEMPLATES.get_template("explain.html.j2").render(
    title=title,
    cases=[
      {
        "name": case["name"],
        "words": case["words"],
        "plane": case["plane"],
        "tiles": [_tile(tile) for tile in case["tiles"]],
        "rows": [
          {"map": of["name"], "number": number.replace("_", " "), "value": _short(value)}
          for of in case["maps"]
          for number, value in of["numbers"].items()
        ],
        "notes": case["notes"],
      }
      for case in cases
    ],
  )


def _tile(tile: Tile) -> dict[str, str]:
  return {"name": tile.name, "png": png(tile.picture)}


def _short(value: Any) -> str:
  if isinstance(value, bool):
    return "yes" if value else "no"
  return f"{value:.4g}" if isinstance(value, int | float) else str(value)
