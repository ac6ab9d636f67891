"""A run folder's learning curve as a picture: python benchmarks/learning_curve.py RUN OUTPUT.png

Left: training loss; right: Dice of each class on the watched validation cases; below: steps.
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot

from jaxseg import files


def curve(run: pathlib.Path, output: pathlib.Path) -> None:
  rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
  training = [row for row in rows if "loss" in row]
  left.plot([row["step"] for row in training], [row["loss"] for row in training], lw=1)
  left.set(xlabel="step", ylabel="training loss", title=run.name)
  scored = [row for row in rows if "validation/dice" in row]
  names = [name for name in scored[0] if name.startswith("validation/dice")]
  for name in names:
    label = name.removeprefix("validation/dice").strip("/") or "mean"
    style = {"lw": 2, "color": "black"} if label == "mean" else {"lw": 1}
    right.plot([r["step"] for r in scored], [r[name] for r in scored], label=label, **style)
  right.set(xlabel="step", ylabel="validation Dice")
  right.legend(fontsize="small")
  for axes in (left, right):
    axes.grid(alpha=0.3)
  with files.replacing(output) as temporary:
    figure.savefig(temporary, dpi=110)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("run", type=pathlib.Path)
  parser.add_argument("output", type=pathlib.Path)
  wanted = parser.parse_args()
  curve(wanted.run, wanted.output)


if __name__ == "__main__":
  main()
