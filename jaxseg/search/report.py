"""What came of a search: its trials as a table, their scores as a picture."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxseg import files
from jaxseg.search.plan import Plan
from jaxseg.search.proposals import worst_last
from jaxseg.search.trials import (
  FAILED,
  FAILURES,
  REFUSED,
  STOPPED,
  WARNINGS,
  score_of,
  trial_name,
)

PAGE, PICTURE = "search.md", "search.png"
_WORDS, _PANELS = 60, 3


def line(name: str, row: Mapping[str, Any], metric: str) -> str:
  """A trial in a line of text."""
  what = outcome(row, metric)
  cost = f" ({row['cpu_seconds']:.0f} CPU-s)" if "cpu_seconds" in row else ""
  return f"trial {name}: {what}{cost}: {fields_text(row['fields'])}"


def outcome(row: Mapping[str, Any], metric: str) -> str:
  """Its score, or why there is none."""
  for kind in (FAILED, REFUSED):
    if kind in row:
      return f"{kind}: {row[kind]}"
  if STOPPED in row:
    return "stopped, goes on"
  score = row["score"]
  before = f" (failed before: {'; '.join(row[FAILURES])})" if FAILURES in row else ""
  return f"{metric} {score if isinstance(score, str) else format(score, '.4f')}{before}"


def new_warnings(name: str, row: Mapping[str, Any], known: dict[str, str]) -> Iterator[str]:
  """What warned a trial, a sentence each; of what another one said first that trial's name alone.

  `known` is sentence -> the name of the trial that said it first, and is filled in.
  """
  for sentence in row.get(WARNINGS, ()):
    first = known.setdefault(sentence, name)
    yield f"trial {name}: {sentence if first == name else f'warned as trial {first}.'}"


def warnings(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """The search's own warnings, then those of its trials with their names, each once."""
  names: dict[str, list[str]] = {}
  for row in rows:
    for sentence in row.get(WARNINGS, ()):
      names.setdefault(sentence, []).append(trial_name(row))
  own = [note for note in plan.notes if note.startswith("Warning")]
  return [*own, *(f"{sentence} (trial {', '.join(of)})" for sentence, of in names.items())]


def fields_text(fields: Mapping[str, Any], most: int = 200) -> str:
  """The fields of a candidate, shortened where they are long."""
  text = ", ".join(f"{name}={_value(value)}" for name, value in fields.items())
  return text if len(text) <= most else f"{text[: most - 3]}..."


def _value(value: Any) -> str:
  if isinstance(value, float):
    return f"{value:.4g}"
  if isinstance(value, list | tuple) and value and all(isinstance(x, float) for x in value):
    return f"({', '.join(f'{x:.3g}' for x in value)})"
  return str(value)


def write(
  plan: Plan, rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any], workdir: pathlib.Path
) -> None:
  """Writes search.md and search.png."""
  files.write_text(workdir / PAGE, page(plan, rows, best))
  picture(plan, rows, workdir / PICTURE)


def page(plan: Plan, rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> str:
  """The table of all trials, the best first."""
  minutes = sum(row.get("cpu_seconds", 0.0) for row in rows) / 60
  failed = sum(FAILED in row or REFUSED in row for row in rows)
  size = f"{plan.space.size:,.0f}" if plan.space.size < float("inf") else "infinitely many"
  spec, how = plan.spec["strategy"]["name"], plan.evaluation.name
  told = "".join(f"- {sentence}\n" for sentence in warnings(plan, rows))
  told = f"{told}\n" if told else ""
  text = (
    f"# Search\n\nStrategy `{spec}`, evaluation `{how}`; the space has {size} candidates. "
    f"{len(rows)} trials, {failed} of them without a score, {minutes:.1f} minutes of processor "
    f"time. Scores are `{plan.metric}` on {plan.score_cases} cases "
    f"of the training set; the {len(plan.test)} cases that the config's split holds back had no "
    f"part in it.\n\nBest: trial {best['number']}, {outcome(best, plan.metric)}: "
    f"`{fields_text(best['fields'])}`.\n\n{told}![scores]({PICTURE})\n\n"
    "| trial | steps | outcome | CPU-s | fields |\n|---|---|---|---|---|\n"
  )
  order = sorted(rows, key=lambda row: (-row["steps"], -worst_last(score_of(row, plan.sign))))
  for row in order:
    cells = [row["number"], row["steps"], outcome(row, plan.metric)]
    cells += [f"{row.get('cpu_seconds', 0.0):.0f}", f"`{fields_text(row['fields'])}`"]
    text += f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |\n"
  return text


def picture(plan: Plan, rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Scores against processor time, and against the parameters that tell most about them."""
  from matplotlib.figure import Figure

  scored = [(row, score_of(row, 1)) for row in rows]
  scored = [(row, score) for row, score in scored if score is not None]
  numbers = _telling(plan, scored)
  columns = 1 + len(numbers)
  figure = Figure(figsize=(4.2 * columns, 3.2), layout="constrained")
  axes = figure.subplots(1, columns, squeeze=False)
  first, *others = axes[0]
  spent, at = 0.0, {}
  for row in rows:
    spent += row.get("cpu_seconds", 0.0) / 60
    at[row["number"], row["steps"]] = spent
  longest = max((row["steps"] for row, _ in scored), default=0)
  for full, mark in ((False, "x"), (True, "o")):
    these = [(at[r["number"], r["steps"]], s) for r, s in scored if (r["steps"] == longest) == full]
    if these:
      label = f"for {longest} steps" if full else "for fewer"
      first.plot(*zip(*these, strict=True), mark, markersize=4, label=label)
  reached, curve = None, []
  for row, score in scored:
    if row["steps"] == longest:
      better = reached is None or plan.sign * score > plan.sign * reached
      reached = score if better else reached
      curve.append((at[row["number"], row["steps"]], reached))
  if curve:
    first.step(*zip(*curve, strict=True), where="post", color="black", label="best so far")
  first.set_xlabel("processor time, minutes")
  first.set_ylabel(plan.metric)
  if scored:
    first.legend(fontsize=7)
  for ax, name in zip(others, numbers, strict=True):
    values = [row["candidate"][name] for row, _ in scored]
    ax.plot(values, [score for _, score in scored], "o", markersize=4)
    ax.set_xlabel(name, fontsize=8)
    if getattr(plan.space.parameters[name], "log", False):
      ax.set_xscale("log")
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=100, format="png")


def _telling(plan: Plan, scored) -> list[str]:
  """The parameters whose order agrees best with that of the scores."""
  from scipy import stats

  if len(scored) < 4:
    return []
  agreement = {}
  for name in plan.space.parameters:
    values = [row["candidate"][name] for row, _ in scored]
    if len(set(values)) > 1 and len({score for _, score in scored}) > 1:
      agreement[name] = abs(stats.kendalltau(values, [score for _, score in scored])[0])
  return sorted(agreement, key=lambda name: -agreement[name])[:_PANELS]
