"""Metrics of a run -> progress bar, JSONL, TensorBoard, picture panels."""

import json
import pathlib
import sys
import time

import imageio.v3 as imageio
import numpy as np
import tqdm

from jaxseg import files


class Writer:
  """Everything that a run shows and records; in a multi-process run only process 0 makes one.

  Args:
    workdir: run folder; `metrics.jsonl`, `tensorboard/` and `panels/` are written there.
    first_step: where training starts. Rows of later steps, written before a crash and not
      covered by the checkpoint resumed from, are dropped, so that the log is that of one run.
    last_step: where it ends, for the bar.
    images: images per step, for the speed shown.
  """

  def __init__(self, workdir, *, first_step: int, last_step: int, images: int):
    self._workdir = pathlib.Path(workdir)
    self._jsonl = self._workdir / "metrics.jsonl"
    self._keep_until(first_step)
    self._file = self._jsonl.open("a", encoding="utf-8")
    # slow to import: it brings PyTorch along where that is installed
    from tensorboardX import SummaryWriter

    self._tensorboard = SummaryWriter(
      str(self._workdir / "tensorboard"), purge_step=first_step + 1 if first_step else None
    )
    self._images, self._first, self._last = images, first_step, last_step
    self._shown = {}
    # without a terminal a bar is noise: whole lines, now and then, read better in a log
    self._live = sys.stderr.isatty()
    self._bar = tqdm.tqdm(
      total=last_step,
      initial=first_step,
      unit="step",
      dynamic_ncols=True,
      smoothing=0.1,
      disable=not self._live,
    )
    self._line_due = 0.0

  def _keep_until(self, step: int) -> None:
    if not self._jsonl.exists():
      return
    kept = []
    for line in self._jsonl.read_text(encoding="utf-8").splitlines():
      try:
        row = json.loads(line)
      except json.JSONDecodeError:  # half a line, from a kill in mid-write
        continue
      if row["step"] <= step:
        kept.append(line + "\n")
    files.write_text(self._jsonl, "".join(kept))

  def say(self, text: str) -> None:
    """A line to the user, above the bar."""
    if self._live:
      self._bar.write(text, file=sys.stderr)
    else:
      print(text, file=sys.stderr, flush=True)

  def advance(self, steps: int = 1) -> None:
    self._bar.update(steps)

  def scalars(self, step: int, values: dict[str, float], *, speed: float | None = None) -> None:
    """Records scalars, and shows the important ones."""
    values = {name: float(value) for name, value in values.items()}
    row = {"step": step, **{k: (v if np.isfinite(v) else str(v)) for k, v in values.items()}}
    self._file.write(json.dumps(row) + "\n")
    self._file.flush()
    for name, value in values.items():
      self._tensorboard.add_scalar(name, value, step)
    self._show(step, values, speed)

  def _show(self, step, values, speed) -> None:
    short = {"loss": "loss", "learning_rate": "lr", "validation/dice": "dice"}
    for name, label in short.items():
      if name in values:
        self._shown[label] = f"{values[name]:.4g}"
    if speed is not None:
      self._shown["images/s"] = f"{speed * self._images:.3g}"
    if self._live:
      self._bar.set_postfix(self._shown, refresh=False)
    elif time.monotonic() >= self._line_due or step == self._last:
      self._line_due = time.monotonic() + 10
      left = "" if not speed else f"  {(self._last - step) / speed / 60:.1f} min left"
      words = "  ".join(f"{k} {v}" for k, v in self._shown.items())
      self.say(f"step {step}/{self._last}  {words}{left}")

  def picture(self, name: str, picture: np.ndarray) -> pathlib.Path:
    """Writes panels/<name>.png, an (h, w, 3) uint8 array."""
    path = self._workdir / "panels" / f"{name}.png"
    with files.replacing(path) as temporary:
      imageio.imwrite(temporary, picture)
    return path

  def close(self) -> None:
    self._bar.close()
    self._file.close()
    self._tensorboard.close()
