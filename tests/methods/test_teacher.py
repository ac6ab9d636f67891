"""Teachers: how their weights follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.method import Learner
from jaxseg.methods import teacher


def learner(value: float, **of) -> Learner:
  stats = {"batch_stats": {"mean": jnp.full(2, value)}, "counts": {"steps": jnp.asarray(value)}}
  return Learner({"kernel": jnp.full(3, value)}, stats, of.get("opt_state", ()))


@pytest.mark.parametrize(("step", "decay"), [(0, 0.0), (1, 0.5), (9, 0.9), (99, 0.99), (999, 0.99)])
def test_a_teacher_follows_with_a_decay_that_rises(step, decay):
  """The fact sheet's values: 1 - 1 / (step + 1), at most 0.99."""
  after = jax.jit(teacher.follow, static_argnames=("decay", "statistics"))(
    learner(1.0), learner(3.0), jnp.asarray(step), decay=0.99
  )
  assert_close(after.params["kernel"], np.full(3, decay * 1 + (1 - decay) * 3))


def test_the_statistics_of_the_student_are_averaged_on_request():
  own = teacher.follow(learner(1.0), learner(3.0), 1, decay=0.99)
  assert_close(own.stats["batch_stats"]["mean"], np.full(2, 1.0))
  assert own.stats["counts"]["steps"] == 1
  both = teacher.follow(learner(1.0), learner(3.0), 1, decay=0.99, statistics=True)
  assert_close(both.stats["batch_stats"]["mean"], np.full(2, 2.0))
  assert both.stats["counts"]["steps"] == 3


def test_a_teacher_begins_as_a_frozen_copy():
  student = learner(2.0, opt_state=(jnp.zeros(3),))
  first = teacher.teacher_of(student)
  assert first.opt_state == ()
  assert_close(first.params["kernel"], student.params["kernel"])
  pairs = zip(jax.tree.leaves(first.params), jax.tree.leaves(student.params), strict=True)
  assert all(a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer() for a, b in pairs)


def test_options_that_there_are_not_are_told():
  with pytest.raises(ValueError, match=r"teacher: decay must lie between 0 and below 1, got 1"):
    teacher.check_options(decay=1.0, predict_with="student")
  with pytest.raises(
    ValueError, match=r"predict_with=.both. is unknown; choices: student, teacher"
  ):
    teacher.check_options(decay=0.9, predict_with="both")
