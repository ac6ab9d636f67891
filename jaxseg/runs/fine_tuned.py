"""Runs whose networks are fine-tuned on the one image that a user marks, see `methods.bifseg`."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxseg import paths
from jaxseg.batch import Array, Batch
from jaxseg.config import domains
from jaxseg.config.roles import predicting
from jaxseg.inference.segmentation import seen_by
from jaxseg.interaction.places import MARKS, kind_of, positions_of, voxels_within
from jaxseg.method import State
from jaxseg.methods import by_domain
from jaxseg.methods.averaged import SUFFIX
from jaxseg.methods.bifseg import fine_tuned
from jaxseg.runs.folder import Described
from jaxseg.runs.load import Opened

ROUNDS = 4
MOMENTUM = 0.9


class Tuning(NamedTuple):
  """How networks are fine-tuned; BIFSeg's numbers (1710.04043) are the defaults.

  Attributes:
    steps: of gradient descent in each of four rounds.
    rate: its rate; its momentum is 0.9.
    layers: patterns of paths of the parameters that learn.
  """

  steps: int = 20
  rate: float = 0.01
  layers: tuple[str, ...] = ("head*",)


# (a window as the runs are given it, (*window, classes) bool marks) -> the runs' states
Tune = Callable[[Batch, Array], list[State]]


def tune_of(opened: Opened, tuning: Tuning) -> Tune:
  """What fine-tunes each of the runs from its trained weights, which stay as they are.

  Raises ValueError for layers that a network doesn't have.
  """
  (folder, first), *_ = opened.states.items()
  learner = predicting(opened.told[0].config)
  # an average of weights is what predicts
  learner = f"{learner}{SUFFIX}" if f"{learner}{SUFFIX}" in first.learners else learner
  known = paths.flatten(first.learners[learner].params)
  paths.check(tuning.layers, known, f"{folder}: fine-tuning")
  tune = jax.jit(
    functools.partial(
      fine_tuned,
      opened.scheme.apply,
      layers=_of_domain(tuning.layers, known, opened.told[0]),
      learner=learner,
      optimiser=optax.sgd(tuning.rate, momentum=MOMENTUM),
      rounds=ROUNDS,
      steps=tuning.steps,
    )
  )

  def of_each(batch, marks):
    pairs = zip(opened.states.values(), opened.own, strict=True)
    return [tune(state, seen_by(own, batch), marks) for state, own in pairs]

  return of_each


def _of_domain(layers: Sequence[str], known: Collection[str], told: Described) -> tuple[str, ...]:
  """The patterns, and those of what the scans' domain has of its own in the place of the main's."""
  if not told.domain:
    return tuple(layers)
  place = f"{by_domain.DOMAINS}/{domains.numbered_names(told.config)[told.domain]}"
  own = (f"{place}/{pattern}" for pattern in layers)
  return (*layers, *(of for of in own if any(paths.match(path, (of,)) for path in known)))


def marks_in(turns: Sequence[Sequence[Mapping[str, Any]]], window, classes: int) -> np.ndarray:
  """(*patch, classes) bool: the voxels of a window that placed prompts mark, of which class."""
  marks = np.zeros((*window.patch, classes), bool)
  for prompt in (prompt for turn in turns for prompt in turn):
    if kind_of(prompt) not in MARKS:
      continue
    inside = voxels_within(window.inside(positions_of(prompt)), window.patch)
    marks[(*inside.T, prompt["class"])] = True
  return marks
