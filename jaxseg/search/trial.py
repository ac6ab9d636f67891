"""One trial, in a process of its own: python -m jaxseg.search.trial REQUEST.json

The request has the trial's config, its run folder, the step up to which it is trained or what is
measured of the untrained network, and where the score is written. The exit code is that of train.
"""

import math
import pathlib
import sys
from typing import Any

from jaxseg import files, xla_flags
from jaxseg.build import plain
from jaxseg.verbs import train
from jaxseg.verbs.arguments import warn_in_words

_FIELDS = {"config": dict, "folder": str, "metric": str, "until": int, "measure": dict}
_FIELDS |= {"output": str}


def main(arguments: list[str]) -> None:
  request = files.read_json(
    arguments[0], what="the request of a trial", advice="search again", fields=_FIELDS
  )
  xla_flags.keep_programs()
  warn_in_words()
  from jaxseg.loop import Diverged

  try:
    score = _score(request)
  except (ValueError, OSError, Diverged) as error:
    sys.exit(f"trial: {error}")
  if score is None:
    sys.exit(train.LEFT)
  files.write_json(request["output"], {"score": score if math.isfinite(score) else str(score)})


def _score(request: dict[str, Any]) -> float | None:
  """The score; None where a signal ended the training."""
  config = plain(request["config"])
  if request["measure"]:
    # after the flags that JAX reads when it starts
    from jaxseg.search import measures

    return measures.measured(config, request["measure"])
  from ml_collections import ConfigDict

  folder = pathlib.Path(request["folder"])
  train.run(ConfigDict(config), folder, until=request["until"])
  return trained_score(folder, request["until"], request["metric"])


def trained_score(folder: pathlib.Path, step: int, metric: str) -> float | None:
  """What a run's log says of the watched cases at a step; None where it was not scored there."""
  from jaxseg.runs.writer import read_rows

  rows, _ = read_rows(folder / "metrics.jsonl")
  name = f"validation/{metric}"
  scores = [float(row[name]) for row in rows if row["step"] == step and name in row]
  return scores[-1] if scores else None


if __name__ == "__main__":
  main(sys.argv[1:])
