"""Runs whose networks are fine-tuned on the one image that a user marks, see `methods.bifseg`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxseg import paths
from jaxseg.batch import Array, Batch
from jaxseg.config.roles import predicting
from jaxseg.inference.segmentation import seen_by
from jaxseg.interaction.places import MARKS, kind_of, positions_of
from jaxseg.method import State
from jaxseg.methods.averaged import SUFFIX
from jaxseg.methods.bifseg import fine_tuned
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
  paths.check(
    tuning.layers, paths.flatten(first.learners[learner].params), f"{folder}: fine-tuning"
  )
  tune = jax.jit(
    functools.partial(
      fine_tuned,
      opened.scheme.apply,
      layers=tuning.layers,
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


def marks_in(turns: Sequence[Sequence[Mapping[str, Any]]], window, classes: int) -> np.ndarray:
  """(*patch, classes) bool: the voxels of a window that placed prompts mark, of which class."""
  marks = np.zeros((*window.patch, classes), bool)
  for prompt in (prompt for turn in turns for prompt in turn):
    if kind_of(prompt) not in MARKS:
      continue
    whole = np.floor(window.inside(positions_of(prompt)) + 0.5).astype(int)
    inside = whole[((whole >= 0) & (whole < window.patch)).all(1)]
    marks[(*inside.T, prompt["class"])] = True
  return marks
