"""Domains that share convolutions: whose arrays a step touches, and what the variants are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from method_rows import batch_of, loss_of, small_unet

from jaxseg import paths
from jaxseg.batch import target
from jaxseg.losses.class_confusion import confusion, confusion_distance
from jaxseg.method import forward
from jaxseg.methods import by_domain
from jaxseg.methods.supervised import supervised
from jaxseg.methods.unpaired import unpaired
from jaxseg.networks import NETWORKS

TX = optax.sgd(0.1)
Y = ("norms", "encoder*")


def scheme(net=None, **options):
  return unpaired(net or small_unet(), loss_of(False), TX, **options)


@functools.cache
def two_domains(rank: int = 2):
  batch = batch_of(rank)
  return {name: of for name, of in batch.items() if name not in ("unlabelled", "architecture")}


def darker(batch):
  """The batch with other images of the further domain."""
  return {**batch, "other": {**batch["other"], "image": 0.5 * batch["other"]["image"] ** 2}}


@functools.cache
def compiled(function):
  return jax.jit(function)


def after(method, batch, state=None):
  state = state_of(method, batch) if state is None else state
  new, metrics = compiled(method.train_step)(state, batch, jax.random.key(1))
  return new.learners["network"], metrics


def arrays(learner, domain):
  """Path -> array of what a domain has of its own, of parameters and statistics."""
  found = {}
  for tree in (learner.params, learner.stats["batch_stats"]):
    whole = paths.flatten(by_domain.of_domain(tree, domain))
    found |= {path: whole[path] for path in paths.flatten(tree[by_domain.DOMAINS]["other"])}
  return found


@pytest.mark.parametrize("rank", [2, 3])
def test_a_step_on_one_domain_leaves_the_others_norms_as_they_are_to_the_bit(rank):
  method, batch = scheme(distillation=0.0), two_domains(rank)
  first, second = (after(method, of)[0] for of in (batch, darker(batch)))
  ours, theirs = ([arrays(of, name) for of in (first, second)] for name in ("main", "other"))
  statistics = [path for path in ours[0] if path.endswith(("/mean", "/var"))]
  assert len(statistics) == len(ours[0]) / 2 > 0
  for path in ours[0]:
    np.testing.assert_array_equal(ours[0][path], ours[1][path])
  for path in statistics:
    assert not np.array_equal(theirs[0][path], theirs[1][path])
    assert not np.array_equal(theirs[0][path], ours[0][path])


def test_the_norms_of_both_and_what_they_share_learn():
  batch = two_domains()
  method = scheme()
  state = state_of(method, batch)
  learner, _ = after(method, batch, state)
  before, now = (paths.flatten(of.params) for of in (state.learners["network"], learner))
  for path in before:
    # a norm follows each of these, so that they have no gradient
    if not path.endswith("conv/bias"):
      assert not np.array_equal(before[path], now[path]), path


def test_networks_of_their_own_are_two_runs_of_supervised():
  batch = two_domains()
  method, alone = scheme(own=("*",), distillation=0.0), supervised(small_unet(), loss_of(False), TX)
  state = jax.jit(method.init)(jax.random.key(0), batch)
  learner = state.learners["network"]
  for name in ("main", "other"):
    part = by_domain.part(batch, name)
    own = compiled(alone.init)(jax.random.key(0), {"image": part["image"]})
    ours, stats = by_domain.network_of(learner, jnp.full((4,), int(name == "other")))
    jax.tree.map(np.testing.assert_array_equal, ours, own.learners["network"].params)
    now, _ = after(method, batch, state)
    expected, _ = after(alone, part, own)
    ours = by_domain.of_domain(now.params, name)
    jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-6), ours, expected.params)
    stats = {kind: by_domain.of_domain(tree, name) for kind, tree in now.stats.items()}
    jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-6), stats, expected.stats)


def test_one_network_for_all_sees_all_samples_as_one_batch():
  batch = two_domains()
  method, alone = scheme(own=(), distillation=0.0), supervised(small_unet(), loss_of(False), TX)
  state = state_of(method, batch)
  assert by_domain.DOMAINS not in state.learners["network"].params
  learner, metrics = after(method, batch, state)
  images = jnp.concatenate([batch["image"], batch["other"]["image"]])
  _, stats = forward(
    small_unet(),
    state.learners["network"].params,
    state.learners["network"].stats,
    images,
    update_stats=True,
  )
  jax.tree.map(lambda a, b: assert_close(a, b, atol=1e-6), learner.stats, stats)
  assert_close(metrics["loss"], metrics["main_loss"] + metrics["other_loss"], rtol=1e-6)
  one = after(alone, batch, state_of(alone, batch))[0]
  assert jax.tree.map(np.shape, learner.params) == jax.tree.map(np.shape, one.params)


def test_the_loss_is_that_of_each_domain_and_the_distance_of_their_confusions():
  batch = two_domains()
  method = scheme(distillation=0.5, temperature=3.0)
  state = state_of(method, batch)
  current = state.learners["network"]
  logits, parts = [], [batch, batch["other"]]
  for number, part in enumerate(parts):
    params, stats = by_domain.network_of(current, jnp.full((4,), number))
    logits.append(forward(small_unet(), params, stats, part["image"], update_stats=True)[0])
  logits = [of["logits"] for of in logits]
  losses = [loss_of(False)(of, target(part)) for of, part in zip(logits, parts, strict=True)]
  pair = [confusion(of, target(part)) for of, part in zip(logits, parts, strict=True)]
  distance = confusion_distance(*pair, temperature=3.0)
  _, metrics = after(method, batch, state)
  assert_close(metrics["main_loss"], losses[0], rtol=1e-5)
  assert_close(metrics["other_loss"], losses[1], rtol=1e-5)
  assert_close(metrics["confusion_distance"], distance, rtol=1e-4)
  assert_close(metrics["loss"], sum(losses) + 0.5 * distance, rtol=1e-5)


def test_the_distance_is_a_mean_over_pairs_of_domains():
  batch = two_domains()
  three = {**batch, "more": batch["other"]}
  method = scheme()
  _, two = after(method, batch)
  learner, metrics = after(method, three)
  assert set(learner.params[by_domain.DOMAINS]) == {"more", "other"}
  # main with each of two alike, and these with each other
  assert_close(metrics["confusion_distance"], two["confusion_distance"] * 2 / 3, rtol=1e-4)


def test_what_is_applied_goes_by_the_domain():
  batch = two_domains()
  method = scheme()
  learner, _ = after(method, batch)
  state, apply = (
    state_of(method, batch).replace(learners={"network": learner}),
    compiled(method.apply),
  )
  image = batch["image"]
  outputs = [
    apply(state, {"image": image, "domain": jnp.full((4,), n, jnp.int32)})["logits"] for n in (0, 1)
  ]
  np.testing.assert_array_equal(apply(state, {"image": image})["logits"], outputs[0])
  for number, name in enumerate(("main", "other")):
    current = state.learners["network"]
    params, stats = (
      by_domain.of_domain(current.params, name),
      {k: by_domain.of_domain(tree, name) for k, tree in current.stats.items()},
    )
    expected = forward(small_unet(), params, stats, image)[0]["logits"]
    assert_close(outputs[number], expected, atol=1e-5)
  assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_the_shares_of_the_variants():
  """A Y shares its decoder, an X its middle."""
  batch = two_domains()
  counts = {}
  for own in (("norms",), Y, ("norms", "encoder1", "decoder1", "head"), ("*",), ()):
    shapes = jax.eval_shape(scheme(own=own).init, jax.random.key(0), batch)
    counts[own] = by_domain.shares(shapes.learners["network"])
  whole = sum(counts[()])
  assert all(sum(of) == whole for of in counts.values())
  assert counts[("*",)] == (0, whole)
  assert counts[()] == (whole, 0)
  assert 0 < counts[("norms",)][1] < counts[Y][1] < whole


def test_norms_are_less_than_a_thousandth_of_a_network_of_the_usual_widths():
  """The paper tells 0.05 % of its 39 million parameters: 20,192 of each modality's own."""
  net = NETWORKS["unet"](classes=5, widths=(64, 128, 256, 512, 1024), up="transpose")
  shape = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  labels = jax.ShapeDtypeStruct((1, 32, 32), jnp.int32)
  part = {"image": shape, "label": labels}
  shapes = jax.eval_shape(scheme(net).init, jax.random.key(0), {**part, "mr": part})
  shared, own = by_domain.shares(shapes.learners["network"])
  widths = (64, 128, 256, 512, 1024)
  # two norms a stage, scale and bias
  assert own == 2 * 2 * (sum(widths) + sum(widths[:-1]))
  assert 0.0003 < own / shared < 0.0005
  told = by_domain.note(shapes.learners["network"])
  expected = f"they share {shared:,} parameters, and each has {own:,} of its own, 0.038 % of them."
  assert told == f"Domains main, mr: {expected}"


def test_a_network_without_norms_is_refused():
  with pytest.raises(ValueError, match=r"config.method.own: 'norms', but the network has none"):
    jax.eval_shape(scheme(small_unet(norm="none")).init, jax.random.key(0), two_domains())


def test_batch_norms_that_domains_would_share_one_by_one_are_refused():
  def init(net, own):
    return jax.eval_shape(scheme(net, own=own).init, jax.random.key(0), two_domains())

  with pytest.raises(ValueError, match=r"config.method.own: the batch norm 'up1/norm' would"):
    init(small_unet(), ("encoder*",))
  # their numbers are each image's own
  state = init(small_unet(norm="instance"), ("encoder*",))
  own = paths.flatten(state.learners["network"].params[by_domain.DOMAINS]["other"])
  assert {path.split("/")[0] for path in own} == {"encoder1", "encoder2"}


def test_a_pattern_that_names_nothing_is_refused():
  with pytest.raises(ValueError, match=r"config.method.own: the pattern 'encoders\*' names no"):
    jax.eval_shape(scheme(own=("norms", "encoders*")).init, jax.random.key(0), two_domains())


def test_domains_that_one_network_cannot_take_are_refused():
  batch = two_domains()
  alone = {name: of for name, of in batch.items() if name != "other"}
  wide = {**batch["other"], "image": jnp.zeros((4, 8, 8, 2))}
  deep = {**batch["other"], "image": jnp.zeros((4, 8, 8, 8, 1))}
  for changed, words in (
    (alone, "learns from several domains, each a stream with labels"),
    ({**batch, "other": wide}, "config.streams.other: its images have 2 channel"),
    ({**batch, "other": deep}, "config.streams.other: its patches have 3 axes"),
  ):
    with pytest.raises(ValueError, match=words):
      jax.eval_shape(scheme().init, jax.random.key(0), changed)


def test_patches_of_another_size_are_for_domains_that_go_one_by_one():
  batch = two_domains()
  small = {name: of[:, :4] if of.ndim > 2 else of for name, of in batch["other"].items()}
  changed = {**batch, "other": small}
  key = jax.random.key(0)
  state = jax.eval_shape(scheme().init, key, changed)
  jax.eval_shape(scheme().train_step, state, changed, key)
  with pytest.raises(ValueError, match=r"config.streams.other.patch: \(4, 8\), the main stream's"):
    jax.eval_shape(scheme(own=()).init, key, changed)


def test_each_domain_may_have_a_loss_of_its_own():
  batch, shared = two_domains(), loss_of(False)
  own = by_domain.Losses(shared, {"other": lambda logits, target: 3 * shared(logits, target)})
  _, alike = after(scheme(), batch)
  _, apart = after(unpaired(small_unet(), own, TX), batch)
  assert_close(apart["main_loss"], alike["main_loss"], rtol=1e-6)
  assert_close(apart["other_loss"], 3 * alike["other_loss"], rtol=1e-6)
