"""Methods of search: what learns from what, by one step and by two; collapse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from method_rows import batch_of, loss_of, small_supernet, small_unet

from jaxseg.batch import target
from jaxseg.methods import METHODS, SEARCHES, bilevel, searching
from jaxseg.networks import SUPERNETS
from jaxseg.networks.blocks.architecture import Architecture
from jaxseg.search import cells, choice, relaxation

SEARCHED = [name for name in SEARCHES if name != "dints"]
CELLS = cells.darts(nodes=1, operations=("none", "skip", "sep3"))


class Toy(nn.Module):
  """A supernet of two maps of each voxel, of which every edge chooses: nothing to compile."""

  classes: int = 3
  of: cells.Cells = CELLS

  def choices(self, rank):
    return self.of

  @nn.compact
  def __call__(self, x, mix=None, *, train=False):
    if mix is None:
      mix = relaxation.softmax(Architecture(self.of.shapes, name="architecture")())
    _, first, second = sum(of.sum(0) for of in mix.values())
    return {"logits": first * nn.Dense(3)(x) + second * nn.Dense(3)(jnp.square(x))}


def method(name="darts", rate=0.2, own=0.05, **options):
  return METHODS[name](Toy(), loss_of(False), optax.sgd(rate), optax.sgd(own), **options)


def stepped(scheme, steps=1, state=None, batch=None):
  batch = batch_of() if batch is None else batch
  state = state_of(scheme, batch) if state is None else state
  step = jax.jit(scheme.train_step)
  for number in range(steps):
    state, metrics = step(state, batch, jax.random.key(number))
  return state, metrics


def equal(a, b) -> bool:
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(x, y) for x, y in pairs)


def test_the_toy_of_the_sheet():
  """L_tr = (w - a)^2, L_val = (w - 1)^2, w = 2, a = 0.5, a step of 0.1."""
  train, judge = lambda w, a: (w - a) ** 2, lambda w, a: (w - 1) ** 2 + 0 * a
  w, a = jnp.array(2.0), jnp.array(0.5)
  assert_close(bilevel.descended(train, w, a, 0.1), 1.7)
  assert jax.grad(judge, 1)(w, a) == 0
  slope = jax.grad(lambda a: bilevel.unrolled(train, judge, w, a, 0.1))(a)
  assert_close(slope, 0.28, atol=1e-6)
  value, slope = bilevel.by_differences(train, judge, w, a, 0.1)
  assert_close(value, 0.49, atol=1e-6)
  assert_close(slope, 0.28, atol=1e-4)
  given = bilevel.with_gradient(value, slope, a)
  assert given == value


def test_second_order_equals_finite_differences():
  """Of the whole step: by the choices, of the loss after the weights have gone one step further."""
  batch = batch_of()
  scheme = method(order=2, inner_rate=0.1, rate=0.0, own=1.0)
  state = state_of(scheme, batch)
  chooser = state.learners["architecture"]
  slopes = jax.tree.map(
    jnp.subtract, chooser.params, stepped(scheme, state=state)[0].learners["architecture"].params
  )

  def loss(weights, choices, part):
    mix = relaxation.softmax(choices)
    logits = Toy().apply({"params": weights}, part["image"], mix)["logits"]
    return loss_of(False)(logits, target(part, 0))

  @jax.jit
  def after(choices):
    weights = state.learners["network"].params
    slope = jax.grad(loss)(weights, choices, batch)
    later = jax.tree.map(lambda w, g: w - 0.1 * g, weights, slope)
    return loss(later, choices, batch["architecture"])

  random = np.random.default_rng(0)
  way = jax.tree.map(lambda of: jnp.asarray(random.normal(size=of.shape), of.dtype), slopes)
  size = 1e-2
  ends = [
    after(jax.tree.map(lambda a, d, s=s: a + s * size * d, chooser.params, way)) for s in (1, -1)
  ]
  along = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slopes, way)), strict=True))
  assert_close(along, (ends[0] - ends[1]) / (2 * size), atol=1e-3)


def test_the_papers_differences_are_near_the_exact_gradient():
  batch = batch_of()
  moved = {}
  for hessian in ("exact", "finite"):
    scheme = method(order=2, inner_rate=0.1, hessian=hessian, own=1.0)
    moved[hessian] = stepped(scheme, batch=batch)[0].learners["architecture"].params
  jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-3), *moved.values())
  first = stepped(method(own=1.0), batch=batch)[0].learners["architecture"].params
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), moved["exact"], first)
  assert max(jax.tree.leaves(apart)) > 1e-5


@pytest.mark.parametrize(("space", "rank"), [("nas_unet", 2), ("nas_unet", 3)])
def test_a_step_ahead_is_differentiated_through_every_operation(space, rank):
  net = SUPERNETS["cell_supernet"](space=space, nodes=1, features=2, depth=1, norm="instance")
  tx = optax.sgd(0.1)
  scheme = METHODS["darts"](net, loss_of(False), tx, tx, order=2, inner_rate=0.1)
  state = jax.eval_shape(scheme.init, jax.random.key(0), batch_of(rank))
  after, _ = jax.eval_shape(scheme.train_step, state, batch_of(rank), jax.random.key(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("name", SEARCHED)
def test_neither_step_touches_what_the_other_learns(name):
  first = state_of(method(name), batch_of())
  still = stepped(method(name, rate=0.0), state=first)[0].learners
  assert equal(first.learners["network"].params, still["network"].params)
  assert not equal(first.learners["architecture"].params, still["architecture"].params)
  still = stepped(method(name, own=0.0), state=first)[0].learners
  assert not equal(first.learners["network"].params, still["network"].params)
  assert equal(first.learners["architecture"].params, still["architecture"].params)


@pytest.mark.parametrize("name", SEARCHED)
def test_choices_wait_for_the_end_of_the_warm_up(name):
  scheme = method(name, warm_up=1)
  first = state_of(scheme, batch_of())
  once, _ = stepped(scheme, state=first)
  assert equal(first.learners["architecture"], once.learners["architecture"])
  twice, _ = stepped(scheme, state=once)
  assert not equal(first.learners["architecture"].params, twice.learners["architecture"].params)


def test_choices_learn_from_their_own_stream_alone():
  """Of first order: other images of the main stream don't move them."""
  batch = batch_of()
  scheme = method(rate=0.0)
  other = {**batch, "image": batch["image"] + 1}
  moved = [stepped(scheme, batch=of)[0].learners["architecture"].params for of in (batch, other)]
  assert equal(*moved)
  changed = {**batch, "architecture": other}
  assert not equal(moved[0], stepped(scheme, batch=changed)[0].learners["architecture"].params)


@pytest.mark.parametrize("name", SEARCHED)
def test_the_search_tells_skips_and_entropy(name):
  scheme = method(name)
  state, metrics = stepped(scheme)
  mix = relaxation.softmax(state.learners["architecture"].params)
  # one node: two kept edges in each cell
  assert_close(metrics["skip_share"], jnp.max(choice.skips(CELLS, mix)) / 2)
  assert 0 < metrics["entropy"] <= np.log(3)


def collapsing(scheme):
  """A state whose choices drift to skip connections, from choices that are none."""
  state = state_of(scheme, batch_of())
  params = jax.tree.map(jnp.zeros_like, state.learners["architecture"].params)
  params = {name: of.at[:, 2].set(1.0) for name, of in params.items()}
  chooser = state.learners["architecture"].replace(params=params)
  return state.replace(learners={**state.learners, "architecture": chooser})


def test_a_search_that_collapses_takes_its_choice_back_and_stops(monkeypatch):
  monkeypatch.setattr(searching, "PATIENCE", 2)
  scheme, batch = method(stop_share=0.4, own=0.0), batch_of()
  good, told = stepped(scheme, state=collapsing(scheme), batch=batch)
  assert told["stopped"] == 0
  assert told["skip_share"] == 0
  skip = good.learners["architecture"].params["normal"].at[:, 1].set(5.0)
  chooser = good.learners["architecture"]
  chooser = chooser.replace(params={**chooser.params, "normal": skip})
  bad = good.replace(learners={**good.learners, "architecture": chooser})
  once, told = stepped(scheme, state=bad, batch=batch)
  assert told["stopped"] == 0
  assert told["skip_share"] > 0.4
  twice, told = stepped(scheme, state=once, batch=batch)
  assert told["stopped"] == 1
  assert int(twice.extra["stopped"]) == 3
  assert equal(twice.learners["architecture"].params, good.learners["architecture"].params)
  # and stays, whatever the gradient
  later = stepped(method(stop_share=0.4, own=9.0), state=twice, batch=batch)[0].learners
  assert equal(later["architecture"].params, good.learners["architecture"].params)
  assert not equal(later["network"].params, twice.learners["network"].params)


def test_skips_of_before_the_choices_have_learnt_stop_nothing(monkeypatch):
  monkeypatch.setattr(searching, "PATIENCE", 1)
  scheme = method(stop_share=0.4, own=0.0)
  state = collapsing(scheme)
  chooser = state.learners["architecture"]
  skip = chooser.params["normal"].at[:, 1].set(5.0)
  chooser = chooser.replace(params={**chooser.params, "normal": skip})
  state = state.replace(learners={**state.learners, "architecture": chooser})
  _, told = stepped(scheme, 3, state=state)
  assert told["skip_share"] > 0.4
  assert told["stopped"] == 0


def test_fair_darts_draws_each_operation_to_one_or_to_nothing():
  _, metrics = stepped(method("fairdarts"))
  assert -0.25 <= metrics["zero_one"] <= 0
  shares = {"normal": jnp.array([[0.0, 30.0, -30.0]])}
  assert_close(relaxation.sigmoid(shares)["normal"][0], [0.5, 1.0, 0.0], atol=1e-6)


def test_fair_darts_draws_no_weight_that_is_of_no_operation():
  of = cells.nas_unet(
    nodes=2,
    down=("avg", "max", "down_conv"),
    up=("up_cweight", "up_dep", "up_conv"),
    normal=("none", "identity", "conv"),
  )
  scheme = METHODS["fairdarts"](Toy(of=of), loss_of(False), optax.sgd(0.2), optax.sgd(0.0))
  state = state_of(scheme, batch_of())
  chooser = state.learners["architecture"]
  used = choice.acting(of)
  # operations beside none: 2 of 3 edges that keep their size, 3 of 4 that halve, 3 of 2 that double
  assert sum(where.sum() for where in used.values()) == 6 + 12 + 6
  for inside, expected in ((0.0, 0.0), (np.log(3), -0.0625)):
    params = {group: jnp.where(where, inside, 30.0) for group, where in used.items()}
    learners = {**state.learners, "architecture": chooser.replace(params=params)}
    _, metrics = stepped(scheme, state=state.replace(learners=learners))
    assert_close(metrics["zero_one"], expected, atol=1e-6)


def test_dints_terms_are_told():
  net = small_supernet("dints", blocks=1, features=2)
  scheme = METHODS["dints"](net, loss_of(False), optax.sgd(0.1), optax.sgd(0.1))
  _, metrics = stepped(scheme)
  told = {"path_entropy", "operation_entropy", "topology_loss", "memory_share"}
  assert told <= set(metrics)
  assert 0 < metrics["memory_share"] < 1


def init(scheme):
  return jax.eval_shape(scheme.init, jax.random.key(0), batch_of())


def test_what_cannot_be_searched_is_refused():
  loss, tx = loss_of(False), optax.sgd(0.1)
  with pytest.raises(ValueError, match="UNet has nothing to choose"):
    init(METHODS["darts"](small_unet(), loss, tx, tx))
  with pytest.raises(ValueError, match="chooses cells"):
    init(METHODS["gdas"](small_supernet("dints"), loss, tx, tx))
  with pytest.raises(ValueError, match="chooses topology"):
    init(METHODS["dints"](small_supernet("cells"), loss, tx, tx))
  with pytest.raises(ValueError, match="order=3"):
    method(order=3)
  with pytest.raises(ValueError, match="inner_rate: is of the step that order=2"):
    method(inner_rate=0.1)
  with pytest.raises(ValueError, match="hessian: is of the step"):
    method(hessian="finite")
  scheme = method(order=2)
  with pytest.raises(ValueError, match=r"config\.method\.inner_rate: is missing"):
    jax.eval_shape(scheme.train_step, init(scheme), batch_of(), jax.random.key(0))
