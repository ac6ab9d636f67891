"""One row per method through one battery: a new method is a new row of tests/method_rows.py."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from drawn_states import state_of
from method_rows import ROWS, batch_of, method, small_unet
from platforms import lower, lower_traced

from jaxseg import samples, sharding
from jaxseg.benchmark import collectives
from jaxseg.method import Method
from jaxseg.methods import FOLLOWERS, METHODS, averaged, ensemble
from jaxseg.methods.frozen_norms import Frozen, frozen_norms
from jaxseg.methods.rematerialised import rematerialised

TRAINED = [name for name, row in ROWS.items() if not row.elsewhere]
# what these do to volumes and not to images is more than that their networks do
SPATIAL = ("copy_paste", "unimatch")

# one of each name for all tests: what was traced of it isn't traced again
plain = functools.cache(method)


@functools.cache
def first_state(name):
  return jax.jit(plain(name).init)(jax.random.key(0), batch_of())


class Trained(NamedTuple):
  """A method, its name, and its step, which is compiled once."""

  name: str
  scheme: Method
  step: Callable


@pytest.fixture(scope="module", params=TRAINED)
def trained(request):
  """Of one method after the other, so that its tests share a process and a program."""
  scheme = plain(request.param)
  return Trained(request.param, scheme, fixed_batch.compiled_once(scheme))


def test_every_method_has_a_row():
  assert set(ROWS) == set(METHODS)


def test_what_follows_another_learner_begins_as_it():
  """So that weights for it alone (config.initialise) are refused, and the other's are its, too."""
  assert {name for name, row in ROWS.items() if row.follows} == set(FOLLOWERS)
  for name, followers in FOLLOWERS.items():
    assert set(followers) == set(ROWS[name].follows)
    state = first_state(name)
    for follower, first in followers.items():
      params = (state.learners[of].params for of in (follower, first))
      jax.tree.map(np.testing.assert_array_equal, *params)


def moved(before, after) -> bool:
  pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
  return not all(np.array_equal(a, b) for a, b in pairs)


def check_learners(name, first, state):
  row = ROWS[name]
  assert set(state.learners) == {*row.learns, *row.follows, *row.frozen}
  for learner, own in state.learners.items():
    assert moved(first.learners[learner].params, own.params) is (learner not in row.frozen), learner
    assert (own.opt_state == ()) is (learner not in row.learns), learner


def test_the_loss_falls_on_a_fixed_batch_and_the_right_learners_change(trained):
  name, scheme, step = trained
  first, state, _ = fixed_batch.train(scheme, batch_of(), first=first_state(name), step=step)
  check_learners(name, first, state)


@pytest.mark.parametrize("name", SPATIAL)
def test_the_loss_falls_on_volumes_and_the_right_learners_change(name):
  first, state, _ = fixed_batch.train(plain(name), batch_of(3))
  check_learners(name, first, state)


def test_a_step_and_an_output_lower_for_every_platform(trained):
  name, scheme, step = trained
  batch, start = batch_of(), first_state(name)
  lower_traced(step.trace(start, batch, jax.random.key(0)))
  prior = jax.ShapeDtypeStruct((*batch["label"].shape, 3), np.float32)
  lower(scheme.apply, start, {"image": batch["image"], "prior": prior})


def test_volumes_are_taken_as_images_are(trained):
  _, outputs = traced(trained.scheme, batch := batch_of(3))
  assert outputs["logits"].shape == (*batch["label"].shape, 3)


def first_weights(name):
  """Of its network; what its other learners begin with is not compiled."""
  scheme, batch = plain(name), batch_of()
  begin = jax.jit(lambda key: scheme.init(key, batch).learners["network"].params)
  return begin(jax.random.key(0))


def test_the_networks_of_one_seed_start_alike():
  """So that methods are compared with `supervised` by pairs of runs of the same seed."""
  reference, key, compared = first_weights("supervised"), jax.random.key(0), 0
  for name in ROWS:
    params = jax.eval_shape(plain(name).init, key, batch_of()).learners["network"].params
    if jax.tree.map(np.shape, params) == jax.tree.map(np.shape, reference):
      jax.tree.map(lambda a, b: assert_close(a, b, rtol=1e-6), first_weights(name), reference)
      compared += 1
  assert compared >= 12


@pytest.mark.parametrize("name", ROWS)
def test_a_single_patch_gives_the_shapes_that_a_run_folder_is_checked_by(name):
  """As `runs.load` does, whatever the batch that was trained on."""
  batch = batch_of()
  shapes = [
    jax.eval_shape(plain(name).init, jax.random.key(0), of).learners
    for of in (batch, jax.tree.map(lambda x: x[:1], batch))
  ]
  params = [{of: own.params for of, own in learners.items()} for learners in shapes]
  assert jax.tree.map(np.shape, params[0]) == jax.tree.map(np.shape, params[1])


def frozen_at_first(name: str, **options):
  """The method, the statistics of whose norms are kept in the first step."""
  net = small_unet()
  return frozen_norms(method(name, net=net, **options), [Frozen(net, lambda path: 1)])


# with what makes a loop or a branch of a program
BRANCHING = {
  "adversarial": lambda name: method(name, critic_steps=2),
  "copy_paste": lambda name: method(
    name, unlabelled_weight=lambda step: jnp.where(step < 1, 0.5, 0.0)
  ),
  "entropy_minimisation": frozen_at_first,
  "uncertainty_mean_teacher": lambda name: method(name, passes=2),
}


def test_one_and_two_devices_agree_and_send_nothing_within_loops_and_branches(trained):
  """What is sent there may meet what is sent elsewhere out of turn: XLA then ends the process."""
  name, scheme, whole = trained
  batch, key = batch_of(), jax.random.key(1)
  if name in BRANCHING:
    scheme = BRANCHING[name](name)
    start, whole = state_of(scheme, batch), jax.jit(scheme.train_step)
  else:
    start = first_state(name)
  alone, _ = whole(start, batch, key)
  layout = sharding.layout(batches={}, devices=jax.devices()[:2])

  def step(*arguments):
    with samples.split_over(layout.mesh):
      return scheme.train_step(*arguments)

  state, key = (jax.device_put(x, layout.replicated) for x in (start, key))
  arguments = state, sharding.place(batch, layout.split), key
  program = jax.jit(step).lower(*arguments).compile()
  both, _ = program(*arguments)
  params = [{of: own.params for of, own in s.learners.items()} for s in (alone, both)]
  for a, b in zip(*map(jax.tree.leaves, params), strict=True):
    assert_close(a, b, atol=2e-6)
  parts, _, main = program.as_text().partition("\nENTRY ")
  assert collectives.read(main, 2)
  assert not collectives.read(parts, 2)


def traced(scheme, batch):
  """Shapes before and after a step, and of what is applied."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  before = jax.eval_shape(scheme.init, key, batch)
  after, metrics = jax.eval_shape(scheme.train_step, before, batch, key)
  assert jax.tree.structure(after) == jax.tree.structure(before)
  assert all(value.shape == () for value in metrics.values())
  return before, jax.eval_shape(scheme.apply, before, {"image": batch["image"]})


@pytest.mark.parametrize("name", ROWS)
def test_averages_members_and_activations_that_are_computed_again_go_on_working(name):
  scheme, batch = plain(name), batch_of()
  wrapped = averaged.averaged(rematerialised(scheme, policy="blocks"), decay=0.9)
  state, outputs = traced(ensemble.ensemble(wrapped, members=2), batch)
  averages = {of for of in state.learners if of.endswith("_average")}
  assert averages == {f"{of}_average" for of in ROWS[name].learns}
  assert {"logits", "image"} & set(outputs)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.regions])
def test_regions_are_learnt_by_sigmoids(name):
  batch = batch_of(regions=True)
  scheme = method(name, sigmoid=True)
  state = state_of(scheme, batch)
  told = jax.jit(lambda *step: scheme.train_step(*step)[1])
  assert all(np.isfinite(value) for value in told(state, batch, jax.random.key(1)).values())


HALF = ("entropy_minimisation", "mean_teacher", "uncertainty_mean_teacher", "fixmatch", "unimatch")
HALF += ("cross_pseudo", "copy_paste", "adversarial", "hung", "dan")
HALF += ("adabn", "restyled", "mmd", "feature_alignment", "synseg")


@pytest.mark.parametrize("name", HALF)
def test_half_precision_and_deep_supervision_go_on_working(name):
  net = small_unet(widths=(4, 6, 8), deep_supervision=1, dtype="bfloat16")
  _, outputs = traced(method(name, net=net), batch_of())
  assert outputs["logits"].dtype == np.float32
