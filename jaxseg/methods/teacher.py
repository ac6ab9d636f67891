"""Teachers: networks that follow another one's weights, and are taught by nothing else."""

import math

import jax
import jax.numpy as jnp

from jaxseg.batch import Array
from jaxseg.method import Learner, State
from jaxseg.networks.blocks.options import choice

# the learners of a method that has both
STUDENT, TEACHER = "network", "teacher"
PREDICT_WITH = ("student", "teacher")


def teacher_of(student: Learner) -> Learner:
  """A frozen copy of a learner, to begin with."""
  # a copy, because two leaves of a donated state must not share one buffer
  return jax.tree.map(jnp.copy, student.replace(opt_state=()))


def follow(
  teacher: Learner, student: Learner, step, *, decay: float, statistics: bool = False
) -> Learner:
  """teacher <- d * teacher + (1 - d) * student, with d = min(decay, 1 - 1 / (step + 1)).

  At step 0 the teacher is the student, whatever it was before.

  Args:
    teacher: frozen.
    student: after its own step.
    step: of training, before it is counted up.
    decay: the d that is reached.
    statistics: also averages the statistics of batch norm; else they are left as they are: those
      that the teacher's own passes made.

  Source: Tarvainen and Valpola 2017, 1703.01780.
  """
  d = jnp.minimum(decay, 1 - 1 / (jnp.asarray(step, jnp.float32) + 1))

  def mix(old, new):
    return jax.tree.map(lambda a, b: d * a + (1 - d) * b, old, new)

  params, stats = mix(teacher.params, student.params), teacher.stats
  if statistics:
    # counts of steps are no averages
    stats = {
      kind: own if kind == "counts" else mix(teacher.stats[kind], own)
      for kind, own in student.stats.items()
    }
  return teacher.replace(params=params, stats=stats)


def perturbed(key, images: Array, noise: float, limit: float) -> Array:
  """Images with Gaussian noise of standard deviation `noise`, clipped to +-limit."""
  # drawn flat: XLA compiles random numbers of a 3D shape up to ten times slower
  drawn = jax.random.normal(key, (math.prod(images.shape),)).reshape(images.shape)
  return images + jnp.clip(noise * drawn, -limit, limit).astype(images.dtype)


def check_options(*, decay: float, predict_with: str) -> None:
  """Raises ValueError for a decay or a `predict_with` that there is not."""
  choice(predict_with, PREDICT_WITH, "teacher: predict_with")
  if not 0 <= decay < 1:
    raise ValueError(f"teacher: decay must lie between 0 and below 1, got {decay}.")


def predicting(state: State, predict_with: str) -> Learner:
  """The learner that predicts: the "student" or the "teacher"."""
  return state.learners[STUDENT if predict_with == "student" else TEACHER]
