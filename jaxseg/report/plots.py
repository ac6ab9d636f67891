"""Curves and distributions of a report, as SVG text."""

import io

import numpy as np

from jaxseg.inference.pictures import COLOURS
from jaxseg.report.gather import Fold

_INK, _FAINT = "#1f2933", "#d9dee4"
_LINES = ("#1f5fa8", "#c8553d", "#3b8b5a", "#8059a8", "#b8860b", "#3a9ca6", "#a83e6c", "#6b7785")


def _axes(width: float, height: float, columns: int = 1):
  # a third of a second that no other part of a report needs
  from matplotlib.backends.backend_svg import FigureCanvasSVG
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), layout="constrained")
  FigureCanvasSVG(figure)
  axes = figure.subplots(1, columns, squeeze=False)[0]
  for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_FAINT)
    ax.tick_params(colors=_INK, labelsize=8, color=_FAINT)
    ax.grid(axis="y", color=_FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
  return figure, axes


def _svg(figure) -> str:
  text = io.StringIO()
  # no date: the same runs give the same page
  figure.savefig(text, format="svg", metadata={"Date": None})
  return text.getvalue()


def curves(folds: tuple[Fold, ...], metric: str, title: str) -> str:
  """Training loss and a metric of validation against the step, one line for each fold."""
  shown = (("loss", "training loss"), (f"validation/{metric}", f"validation {title} in training"))
  figure, axes = _axes(9, 2.8, len(shown))
  for ax, (name, title) in zip(axes, shown, strict=True):
    for i, fold in enumerate(folds):
      points = np.array(fold.curves.get(name, [])).reshape(-1, 2)
      points = points[np.isfinite(points).all(1)]
      few = "o-" if len(points) < 12 else "-"
      ax.plot(*points.T, few, color=_LINES[i % len(_LINES)], lw=1.4, ms=3, label=fold.name)
    ax.set_title(title, fontsize=9, color=_INK, loc="left")
    ax.set_xlabel("step", fontsize=8, color=_INK)
  if len(folds) > 1:
    figure.legend(
      *axes[0].get_legend_handles_labels(), fontsize=7, frameon=False, loc="outside center right"
    )
  return _svg(figure)


def distributions(values: dict[str, np.ndarray], title: str) -> str:
  """A box for each class, its cases beside it as points; what is not finite is left out.

  Args:
    values: class -> (cases,).
    title: of the plot, the metric.
  """
  figure, (ax,) = _axes(max(4.0, 1.2 + 0.75 * len(values)), 3.0)
  random = np.random.default_rng(0)
  for i, of in enumerate(values.values()):
    known = of[np.isfinite(of)]
    colour = COLOURS[i % (len(COLOURS) - 1) + 1] / 255
    if len(known):
      ax.boxplot(
        known,
        positions=[i],
        widths=0.5,
        showfliers=False,
        medianprops={"color": _INK, "linewidth": 1.4},
        boxprops={"color": _INK, "linewidth": 0.8},
        whiskerprops={"color": _INK, "linewidth": 0.8},
        capprops={"color": _INK, "linewidth": 0.8},
      )
    places = i + random.uniform(-0.16, 0.16, len(known))
    ax.scatter(places, known, s=11, color=colour, alpha=0.75, linewidths=0, zorder=3)
  crowded = len(values) > 6 or max(map(len, values)) > 12
  turned = {"rotation": 40, "ha": "right"} if crowded else {}
  ax.set_xticks(range(len(values)), list(values), **turned)
  ax.set_xlim(-0.6, len(values) - 0.4)
  ax.set_title(title, fontsize=9, color=_INK, loc="left")
  return _svg(figure)


def histograms(title: str, training: np.ndarray, made: np.ndarray) -> str:
  """Shares of a class in training cases and in made ones, in bins that both have."""
  figure, (ax,) = _axes(4.5, 2.4)
  edges = np.histogram_bin_edges(np.concatenate([training, made]), 12)
  for number, (name, values) in enumerate({"training": training, "made": made}.items()):
    ax.hist(values, edges, color=_LINES[number], alpha=0.55, label=name)
  ax.set_title(f"area of {title}, share of the voxels", fontsize=9, color=_INK, loc="left")
  ax.legend(fontsize=7, frameon=False)
  return _svg(figure)
