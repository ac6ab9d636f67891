"""Results for people: the one row in full, or a line for each of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.benchmark import training
from jaxseg.benchmark.parts import PARTS, part


def show(results: Mapping[str, Any]) -> str:
  """Machine and rows as text."""
  rows = [_together(row) for row in results["rows"]]
  head = _machine(results["machine"])
  if len(rows) == 1:
    return f"{head}\n{_in_full(rows[0])}"
  return f"{head}\n\n{_lines(rows)}"


def _together(row: Mapping[str, Any]) -> Mapping[str, Any]:
  """The row with the times of all the processes that measured it."""
  if not row.get("repeats"):
    return row
  return {**row, "training": training.together(row["training"], row["repeats"])}


def _machine(machine: Mapping[str, Any]) -> str:
  versions = machine["versions"]
  lines = [
    ("machine", f"{machine['cpu_model']}, {machine['cpu_cores']} core(s)"),
    ("devices", f"{machine['device_count']} x {machine['device_kind']} ({machine['platform']})"),
    ("versions", f"jax {versions['jax']}, jaxlib {versions['jaxlib']}, Python {machine['python']}"),
  ]
  if machine["xla_flags"]:
    lines.append(("XLA flags", machine["xla_flags"]))
  return _aligned(lines)


def _in_full(row: Mapping[str, Any]) -> str:
  if row["failed"]:
    return _aligned([(row["label"] or "failed", row["failed"])])
  conditions = row["conditions"]
  patch = "x".join(map(str, conditions["patch"]))
  lines = [
    ("network", f"{conditions['network']}, {conditions['dtype']}"),
    ("batch", f"{conditions['batch']} x {patch} on {conditions['devices']} device(s)"),
    (
      "load",
      f"{_load(conditions['load_average_begin'])} to {_load(conditions['load_average_end'])}",
    ),
  ]
  for name in PARTS:
    if name in row:
      lines += part(name).lines(row[name])
  notes = [conditions.get("note"), *conditions.get("notes", ())]
  lines += [("note", text) for text in notes if text]
  return _aligned(lines)


def _load(value: float | None) -> str:
  return "-" if value is None else f"{value:.1f}"


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
  width = max(20, *(len(name) for name, _ in lines))
  return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


# column -> the text of a row's cell, "-" where it wasn't measured
COLUMNS = {
  "step ms": lambda row: f"{1e3 * row['training']['step_seconds']['median']:.4g}",
  "p10": lambda row: f"{1e3 * row['training']['step_seconds']['p10']:.4g}",
  "p90": lambda row: f"{1e3 * row['training']['step_seconds']['p90']:.4g}",
  "images/s": lambda row: f"{row['training']['images_per_second']:.4g}",
  "GFLOP": lambda row: f"{row['flops']['model_flops_per_step'] / 1e9:.4g}",
  "MiB": lambda row: f"{row['memory']['compiler']['peak_bytes'] / 2**20:.0f}",
  "cold s": lambda row: f"{sum(row['compile']['cold'].values()):.1f}",
  "warm s": lambda row: f"{sum(row['compile']['warm'].values()):.1f}",
}

# of steps that were made for other devices than those there are
COLUMNS_ELSEWHERE = {
  "target": lambda row: row["compiled_for"]["target"],
  "MiB/device": lambda row: f"{row['compiled_for']['memory']['peak_bytes'] / 2**20:.4g}",
  "GFLOP": lambda row: f"{row['compiled_for']['flops'] / 1e9:.4g}",
  "GB moved": lambda row: f"{row['compiled_for']['memory_traffic_bytes'] / 1e9:.4g}",
  "MB sent": lambda row: f"{row['compiled_for']['sent_bytes'] / 1e6:.4g}",
  "roofline ms": lambda row: f"{1e3 * row['compiled_for']['roofline']['seconds']:.3g}",
  "bound": lambda row: row["compiled_for"]["roofline"]["bound"],
}


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
  elsewhere = any("compiled_for" in row for row in rows)
  columns = COLUMNS_ELSEWHERE if elsewhere else COLUMNS
  table = [("", *columns)]
  for row in rows:
    label = row["label"] or "the config"
    if row["failed"]:
      table.append((label, f"failed: {row['failed']}"))
      continue
    table.append((label, *(_cell(column, row) for column in columns.values())))
  whole = [cells for cells in table if len(cells) == len(columns) + 1]
  widths = [max(len(cells[i]) for cells in whole) for i in range(len(columns) + 1)]
  widths[0] = max(len(cells[0]) for cells in table)
  return "\n".join(
    "  ".join(
      f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
      for i, (cell, width) in enumerate(zip(cells, widths, strict=False))
    )
    for cells in table
  )


def _cell(column, row) -> str:
  try:
    return column(row)
  except KeyError:
    return "-"
