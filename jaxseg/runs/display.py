"""What a user sees of a training: a bar on a terminal, whole lines now and then elsewhere."""

import sys
import time
from collections.abc import Mapping

import tqdm


class Display:
  """The progress of a run, or of several that are trained together.

  Args:
    first_step, last_step: where training starts and ends.
    images: images per step of each run, for the speed shown.
    runs: how many; each shows its numbers side by side with the others'.
  """

  def __init__(self, *, first_step: int, last_step: int, images: int, runs: int = 1):
    self._images, self._last, self._runs = images, last_step, runs
    self._shown: dict[str, list[str]] = {}
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

  def say(self, text: str) -> None:
    """A line to the user, above the bar."""
    if self._live:
      self._bar.write(text, file=sys.stderr)
    else:
      print(text, file=sys.stderr, flush=True)

  def advance(self, steps: int = 1) -> None:
    self._bar.update(steps)

  def show(
    self, step: int, values: Mapping[str, float], speed: float | None = None, *, run: int = 0
  ) -> None:
    """Shows the important scalars of a run, once the last one has told its own."""
    short = {"loss": "loss", "learning_rate": "lr"}
    # the mean of the metric that judges; those of classes have a further name
    judged = [name for name in values if name.startswith("validation/") and name.count("/") == 1]
    short |= {name: name.removeprefix("validation/") for name in judged}
    for name, label in short.items():
      if name in values:
        self._shown.setdefault(label, [""] * self._runs)[run] = f"{values[name]:.4g}"
    if run < self._runs - 1:
      return
    # what all do alike, as the rate, is told once
    shown = {label: " ".join(dict.fromkeys(of)) for label, of in self._shown.items()}
    if speed is not None:
      self._shown["images/s"] = [f"{speed * self._images * self._runs:.3g}"]
      shown["images/s"] = self._shown["images/s"][0]
    if self._live:
      self._bar.set_postfix(shown, refresh=False)
    elif time.monotonic() >= self._line_due or step == self._last:
      self._line_due = time.monotonic() + 10
      left = "" if not speed else f"  {(self._last - step) / speed / 60:.1f} min left"
      words = "  ".join(f"{k} {v}" for k, v in shown.items())
      self.say(f"step {step}/{self._last}  {words}{left}")

  def close(self) -> None:
    self._bar.close()
