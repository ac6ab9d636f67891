"""A plan as a table for people, with the reason of each value."""

import itertools
import textwrap

from jaxseg.planning.mirroring import Mirroring
from jaxseg.planning.plans import Configuration, Plan
from jaxseg.planning.presets import OURS

_FIELD, _VALUE, _REASON = 21, 35, 38


def as_text(plan: Plan) -> str:
  """The plan, one block per configuration: field, value, and why where it was planned here."""
  owner = "our own" if plan.planner in OURS else "nnU-Net's"
  lines = [f"{plan.name} for {plan.dataset} ({owner} {plan.planner})", ""]
  why = plan.reasons.get("", {})
  lines += _rows(
    [
      ("images as they are", f"{_times(plan.shape)} voxels of {_mm(plan.spacing)}", "medians"),
      ("order of axes", _numbers(plan.transpose), why.get("transpose", "")),
      ("configurations", ", ".join(plan.configurations), why.get("configurations", "")),
      *(
        (f"foreground, channel {i}", _intensities(statistics), "")
        for i, statistics in enumerate(plan.intensities)
      ),
      *_mirroring(plan.mirroring),
    ]
  )
  for name, configuration in plan.configurations.items():
    lines += ["", name]
    if configuration.inherits is not None:
      linked = f"as {configuration.inherits}, with the output of {configuration.previous_stage}"
      lines += _rows([("network and data", linked, "")])
      continue
    lines += _rows(_values(configuration, plan.reasons.get(name, {})))
  return "\n".join(lines)


def _mirroring(mirroring: Mirroring | None) -> list[tuple[str, str, str]]:
  if mirroring is None:
    return [("mirrored axes", "all", "as nnU-Net does: where classes lie was not measured")]
  stored = ", ".join(f"{count} x {code}" for code, count in mirroring.orientations.items())
  turned = ""
  if len(mirroring.orientations) > 1:
    turned = f"turned to {next(iter(mirroring.orientations))}; nnU-Net leaves them as they are"
  rows = [("orientation", stored or "the files don't tell", turned)]
  for letter, axis in zip("zyx"[-len(mirroring.axes) :], mirroring.axes, strict=True):
    pairs = ", ".join(f"{mirroring.names[a]} <-> {mirroring.names[b]}" for a, b in axis.swap)
    value = f"mirrored, {pairs}" if pairs else "mirrored" if axis.mirrored else "left alone"
    rows.append((f"mirroring along {letter}", value, axis.why))
  return rows


def _values(c: Configuration, why: dict[str, str]) -> list[tuple[str, str, str]]:
  masks = " (inside the mask)" if any(c.masked) else ""
  depth = f"{_numbers(c.depth)} down, {_numbers(c.decoder_depth)} up"
  rows = [
    ("spacing", _mm(c.spacing), "spacing"),
    ("median image", _times(c.median_shape), ""),
    ("patch", _times(c.patch), "patch"),
    ("batch", str(c.batch), "batch"),
    ("network", f"{c.network}, {len(c.widths)} stages", "stages"),
    ("widths", _numbers(c.widths), ""),
    ("layers per stage", depth, ""),
    ("kernels", " ".join(_times(kernel) for kernel in c.kernels), "kernels"),
    ("strides", " ".join(_times(stride) for stride in c.strides), ""),
    ("normalisation", ", ".join(c.normalisation) + masks, "normalisation"),
    ("mask for it", ", ".join("yes" if masked else "no" for masked in c.masked), "masked"),
    ("resampling", f"spline {c.image.order}, labels {c.label.order}", ""),
    ("Dice over the batch", "yes" if c.batch_dice else "no", "batch_dice"),
  ]
  return [(field, value, why.get(key, "")) for field, value, key in rows]


def _rows(rows: list[tuple[str, str, str]]) -> list[str]:
  """Field, value and reason side by side, each wrapped in its own column."""
  lines = []
  for field, value, why in rows:
    columns = [[field], textwrap.wrap(value, _VALUE), textwrap.wrap(why, _REASON)]
    for parts in itertools.zip_longest(*columns, fillvalue=""):
      lines.append(f"  {parts[0]:<{_FIELD}}  {parts[1]:<{_VALUE}}  {parts[2]}".rstrip())
  return lines


def _times(numbers) -> str:
  return "x".join(f"{n:g}" for n in numbers)


def _numbers(numbers) -> str:
  return " ".join(f"{n:g}" for n in numbers)


def _mm(spacing) -> str:
  return " x ".join(f"{s:.4g}" for s in spacing) + " mm"


def _intensities(s: dict[str, float]) -> str:
  return (
    f"mean {s['mean']:.4g}, std {s['std']:.4g}, 0.5 to 99.5 %: {s['percentile_00_5']:.4g} to "
    f"{s['percentile_99_5']:.4g}"
  )
