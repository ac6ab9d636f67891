"""What a step consists of: the calls of networks that are found while it is traced."""

import pathlib

import jax
import numpy as np
import pytest
from drawn_states import state_of
from method_rows import batch_of, method, small_unet


@pytest.fixture
def step_time(monkeypatch):
  monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
  import step_time

  return step_time


# (images, whether its parameters learn, the inputs that are differentiated, how often)
@pytest.mark.parametrize(
  ("name", "options", "expected"),
  [
    ("supervised", {}, [(4, True, (), 1)]),
    ("mean_teacher", {}, [(4, False, (), 1), (8, True, (), 1)]),
    (
      "uncertainty_mean_teacher",
      {"passes": 5},
      [(4, False, (), 1), (4, False, (), 5), (8, True, (), 1)],
    ),
    # the network's pass, the critic's of what it makes, and of labels and that, still, to learn
    (
      "adversarial",
      {},
      [(4, True, (), 1), (4, False, (0,), 1), (4, True, (), 1), (4, True, (), 1)],
    ),
  ],
)
def test_the_passes_of_a_step_are_found(step_time, name, options, expected):
  scheme, batch = method(name, **options), batch_of()
  state = state_of(scheme, batch)
  calls = step_time.passes(scheme.train_step, state, batch, jax.random.key(0))
  found = [(len(of.inputs[0]), of.learns, of.through, of.times) for of in calls]
  assert found == [((expected_row[0]), *expected_row[1:]) for expected_row in expected]


def test_what_is_asked_for_its_shapes_alone_is_no_pass(step_time):
  net, x = small_unet(), batch_of()["image"]
  variables = jax.eval_shape(net.init, jax.random.key(0), x)

  def step(variables, x):
    jax.eval_shape(net.apply, variables, x)
    return net.apply(variables, x)["logits"]

  assert len(step_time.passes(step, variables, x)) == 1


def test_a_pass_is_timed_by_itself(step_time):
  scheme, batch = method("mean_teacher"), batch_of()
  calls = step_time.passes(scheme.train_step, state_of(scheme, batch), batch, jax.random.key(0))
  (teacher, arguments), (student, given) = map(step_time.program, calls)
  outputs, stats = teacher(*arguments)
  assert outputs["logits"].shape == (4, 8, 8, 3)
  assert "batch_stats" in stats
  (_, _), (slopes,) = student(*given)
  assert jax.tree.structure(slopes) == jax.tree.structure(given[0])
  assert any(np.any(of) for of in jax.tree.leaves(slopes))


def test_the_table_has_the_rows_that_are_there(step_time):
  row = {"step": 0.5, "passes": 0.4, "ratio": 1.25, "forward": 1, "backward": 2, "rounds": 5}
  text = step_time.table({"b": row}, ["a", "b"])
  assert text.splitlines()[-1] == "| `b` | 1 | 2 | 400 | 500 | 1.25 |"
  assert "`a`" not in text


def test_every_method_of_few_labels_is_timed(step_time, monkeypatch):
  monkeypatch.chdir(step_time.ROOT)
  assert {"supervised", "unimatch", "dan", "adversarial", "distillation"} <= set(
    step_time.configs()
  )
