"""Where runs are unsure of a whole scan: methods of (scan, *, options) -> maps by name."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxseg.batch import Array
from jaxseg.explain import noise, uncertainty, windows
from jaxseg.explain.scan import Scan, answer
from jaxseg.explain.temperature import calibrate

Maps = tuple[dict[str, np.ndarray], dict[str, float]]


def _regions(scan: Scan) -> bool:
  return scan.subject.labels.regions is not None


def entropy(scan: Scan) -> Maps:
  """Entropy of the runs' probabilities, 0 (sure) to 1 (all classes alike)."""
  regions = _regions(scan)
  shares = uncertainty.probabilities(scan.logits, regions)
  return {"entropy": uncertainty.entropy(shares, regions)}, {}


def monte_carlo_dropout(scan: Scan, *, samples: int = 20, seed: int = 0) -> Maps:
  """What the same network says with its dropout on (Gal, Ghahramani, arXiv 1506.02142).

  Args:
    scan: of a network with dropout, DropBlock or stochastic depth.
    samples: passes, shared by the runs.
    seed: of the noise.
  """
  if samples < 2:
    raise ValueError(f"monte_carlo_dropout: samples={samples}; expected two or more.")
  (state, case), *_ = scan.members
  frame = windows.frame(scan.subject.opened.predict, case)
  first = windows.Window((0,) * len(case.space), np.ones(frame.scores, bool))
  fields = windows.fields_of(frame, first)
  image = fields.pop("image")
  if not noise.sources(scan.subject.apply, (state, fields), image):
    raise ValueError(
      "monte_carlo_dropout: the network has no dropout, DropBlock or stochastic depth, so that all "
      "passes are alike; train it with config.network.dropout, or use ensemble or entropy."
    )
  members, root = len(scan.members), jax.random.key(seed)
  passes = (answer(scan, i % members, jax.random.fold_in(root, i)) for i in range(samples))
  return uncertainty.disagreement(passes, _regions(scan)), {"samples": samples}


def ensemble(scan: Scan) -> Maps:
  """What several runs, such as the folds of a cross-validation, disagree about."""
  members = len(scan.members)
  if members < 2:
    raise ValueError(
      "ensemble: needs two runs or more of one configuration; give the folder of the folds, or "
      "monte_carlo_dropout for a run alone."
    )
  answers = (answer(scan, i) for i in range(members))
  return uncertainty.disagreement(answers, _regions(scan)), {"runs": members}


def temperature(
  scan: Scan, *, calibration: Callable[[], Sequence[tuple[Array, Array]]], voxels: int = 100_000
) -> Maps:
  """Entropy after temperature calibration (Guo et al., arXiv 1706.04599).

  Args:
    scan: what is looked at.
    calibration: () -> the logits and labels of cases that did not train the runs.
    voxels: drawn from each of these.
  """
  found, regions = calibrate(calibration(), voxels=voxels), _regions(scan)
  shares = uncertainty.probabilities(scan.logits / np.float32(found.temperature), regions)
  numbers = {
    "temperature": found.temperature,
    "calibration_error_before": found.error[0],
    "calibration_error_after": found.error[1],
    "likelihood_before": found.likelihood[0],
    "likelihood_after": found.likelihood[1],
  }
  return {"entropy": uncertainty.entropy(shares, regions)}, numbers
