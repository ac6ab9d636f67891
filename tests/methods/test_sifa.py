"""SIFA: what each update minimises and changes, from passes of the networks written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from method_rows import batch_of, loss_of, small_decoder, small_unet

from jaxseg import batch as batch_module
from jaxseg.method import forward
from jaxseg.methods import METHODS
from jaxseg.networks import CRITICS, GENERATORS

KEY = jax.random.key(0)
NET = small_unet(widths=(4, 4, 8), deep_supervision=1)
PARTS = {
  "network": NET,
  "generator": GENERATORS["resnet_generator"](widths=(4, 6), blocks=1),
  "decoder": small_decoder(widths=(4, 4, 4)),
  "critic": CRITICS["patch_critic"](widths=(4, 8), norm="instance"),
  "source_critic": CRITICS["patch_critic"](widths=(4, 8), norm="instance", scores=2),
  "mask_critic": CRITICS["patch_critic"](widths=(4, 8), norm="instance"),
  "inner_critic": CRITICS["patch_critic"](widths=(4,), norm="instance"),
}
LOSS = loss_of(False)
WEIGHTS = {"translation": 0.2, "masks": 0.3, "inner_masks": 0.4, "cycle_fool": 0.5, "cycle": 2.0}


def scheme(*, parts=(), **options):
  # the rate is part of the state, so that one program serves all tests
  rate = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
  rates = dict.fromkeys(("optimiser", "generator_optimiser", "critic_optimiser"), rate)
  heads = {"head_weights": (1.0, 0.1)}
  return METHODS["sifa"](
    **{**PARTS, **dict(parts)}, loss=LOSS, **rates, **{"pool": 4, **heads, **WEIGHTS, **options}
  )


@functools.cache
def program():
  method = scheme()
  return state_of(method, batch_of()), jax.jit(method.train_step)


def stepped(batch, rates=()):
  """(state before, after, metrics) of one step, learners with a rate of their own among `rates`."""
  before, step = program()
  learners = dict(before.learners)
  for name in rates:
    of = learners[name].opt_state
    faster = of._replace(hyperparams={"learning_rate": jnp.float32(rates[name])})
    learners[name] = learners[name].replace(opt_state=faster)
  before = before.replace(learners=learners)
  return before, *step(before, batch, KEY)


def moved(before, after):
  pairs = {name: (of.params, after.learners[name].params) for name, of in before.learners.items()}
  return {
    name
    for name, both in pairs.items()
    if not all(map(np.array_equal, *map(jax.tree.leaves, both)))
  }


@functools.cache
def applied(name):
  """One program for each network and size of its inputs."""
  return jax.jit(lambda own, *x: forward(PARTS[name], *own, *x, update_stats=True)[0])


def passes(state, batch):
  """What is made of both domains by a state's networks, as the docstring has it."""

  def of(name, *inputs):
    own = state.learners[name]
    return applied(name)((own.params, own.stats), *inputs)

  a, b = batch["image"], batch["target"]["image"]
  made = of("generator", a)["image"]
  of_made, of_b = of("network", made), of("network", b)
  back = of("decoder", of_b["bottleneck"], b)["image"]
  again = of("decoder", of_made["bottleneck"], made)["image"]
  forth = of("generator", back)["image"]
  return of, a, b, made, of_made, of_b, back, again, forth


def towards_one(score):
  return float(np.mean((np.asarray(score) - 1) ** 2))


def mask(logits):
  e = np.exp(logits - np.max(logits, -1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def test_the_segmenters_loss_is_the_papers_sum():
  before, _, metrics = stepped(batch := batch_of())
  of, a, b, _, of_made, of_b, back, again, forth = passes(before, batch)
  target = batch_module.target(batch)
  small = of_made["aux"][0]
  labels = jax.image.resize(target.labels, small.shape[:-1], "nearest")
  known, coarse = (
    jax.jit(LOSS)(*of)
    for of in ((of_made["logits"], target), (small, target._replace(labels=labels)))
  )
  whole = known + 0.1 * coarse
  assert_close(metrics["supervised_loss"], whole, rtol=1e-5)
  cycle = 2.0 * (np.abs(again - a).mean() + np.abs(forth - b).mean())
  judged = of("source_critic", back)["score"]
  wide = jax.image.resize(of_b["aux"][0], of_b["logits"].shape, "linear")
  expected = (
    whole
    + 0.2 * (cycle + towards_one(judged[..., :1]))
    + 0.3 * towards_one(of("mask_critic", jnp.asarray(mask(of_b["logits"])))["score"])
    + 0.4 * towards_one(of("inner_critic", jnp.asarray(mask(wide)))["score"])
    + 0.5 * towards_one(judged[..., 1:])
  )
  assert_close(metrics["loss"], expected, rtol=1e-4)
  assert_close(metrics["cycle_loss"], cycle / 2.0, rtol=1e-4)


def test_critics_tell_what_is_real_from_what_is_made_and_cycles_from_both():
  before, _, metrics = stepped(batch := batch_of())
  of, a, b, made, of_made, of_b, back, again, _ = passes(before, batch)

  def game(name, real, fake, question=0):
    real, fake = (np.asarray(of(name, x)["score"])[..., question] for x in (real, fake))
    return 0.5 * (np.mean((real - 1) ** 2) + np.mean(fake**2))

  # the pool has room for all that is made
  assert_close(metrics["critic_loss"], game("critic", b, made), rtol=1e-4)
  twice = game("source_critic", a, back) + game("source_critic", again, back, 1)
  assert_close(metrics["source_critic_loss"], twice, rtol=1e-4)
  maps = [jnp.asarray(mask(x["logits"])) for x in (of_made, of_b)]
  assert_close(metrics["mask_critic_loss"], game("mask_critic", *maps), rtol=1e-4)


def test_nothing_moves_by_another_ones_optimiser():
  for name in PARTS:
    before, after, _ = stepped(batch_of(), {name: 0.1})
    assert moved(before, after) == {name}


def test_labels_move_the_segmenter_and_what_learns_after_it_in_the_step():
  batch, other = batch_of(), batch_of()
  other["label"] = (other["label"] + 1) % 3
  rates = dict.fromkeys(PARTS, 0.1)
  _, one, _ = stepped(batch, rates)
  _, two, _ = stepped(other, rates)
  # these see its new encoder; the generator and the critic of what it makes do not
  later = {"decoder", "source_critic", "mask_critic", "inner_critic"}
  assert moved(one, two) == {"network", *later}
  del rates["network"]
  _, one, _ = stepped(batch, rates)
  _, two, _ = stepped(other, rates)
  assert not moved(one, two)


def test_the_pools_keep_what_was_made_before_generator_and_decoder_learnt():
  before, after, _ = stepped(batch := batch_of(), dict.fromkeys(("generator", "decoder"), 0.5))
  assert moved(before, after) == {"generator", "decoder"}
  assert_close(after.extra["critic"].images, passes(before, batch)[3], atol=1e-5)
  # the decoder's images come after the generator's step, in which they have no part
  assert_close(after.extra["source_critic"].images, passes(before, batch)[6], atol=1e-5)


def test_the_loss_falls_on_a_fixed_batch():
  rates = {"network": 0.1, "generator": 0.02, "decoder": 0.02}
  state, _, first = stepped(batch := batch_of(), rates)
  _, step = program()
  for _ in range(8):
    state, metrics = step(state, batch, KEY)
  assert metrics["loss"] < 0.95 * first["loss"]


def test_volumes_are_taken_as_images_are():
  batch, method = batch_of(3), scheme(parts={"decoder": small_decoder(widths=(4, 4, 4))})
  state = jax.eval_shape(method.init, KEY, batch)
  outputs = jax.eval_shape(method.apply, state, {"image": batch["image"]})
  assert outputs["logits"].shape == (*batch["label"].shape, 3)


def test_the_decoder_sees_features_and_the_image_that_they_are_of():
  net = small_decoder()
  features, image = jnp.ones((1, 4, 5, 3)), jnp.full((1, 8, 10, 2), 0.3)
  variables = net.init(KEY, features, image)
  out = net.apply(variables, features, image)["image"]
  assert out.shape == image.shape
  zero = jax.tree.map(jnp.zeros_like, variables)
  assert_close(net.apply(zero, features, image)["image"], np.tanh(0.3), rtol=1e-6)
  plain = small_decoder(skip=False)
  assert_close(plain.apply(zero, features, image)["image"], 0.0)
  volume = small_decoder(widths=(4, 4, 4))
  deep, scan = jnp.ones((1, 4, 2, 2, 3)), jnp.ones((1, 4, 8, 8, 1))
  assert volume.init_with_output(KEY, deep, scan)[0]["image"].shape == scan.shape


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"parts": {"decoder": small_decoder()}}, r"feature_decoder: 2 widths .*networks.decoder.wid"),
    (
      {"parts": {"source_critic": PARTS["critic"]}},
      r"source_critic\) gives 1 .* scores=2",
    ),
    ({"cycle_fool": 0.0}, r"networks.source_critic\) gives 2 .* scores=1"),
    ({"parts": {"network": small_unet(widths=(4, 4, 8))}}, "inner_critic looks at an auxiliary"),
    ({"features": "deepest"}, "config.method.features: 'deepest'"),
    ({"mode": "wgan"}, "mode='wgan'; expected one of"),
    (
      {"parts": {"mask_critic": CRITICS["two_input_critic"](widths=(4, 8))}},
      r"networks.mask_critic\) takes a map and an image",
    ),
  ],
)
def test_networks_that_do_not_fit_are_told(changes, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(scheme(**changes).init, KEY, batch_of())


def test_regions_are_shown_to_the_critics_as_probabilities_of_their_own():
  seen = []

  class Watching(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
      jax.debug.callback(lambda x: seen.append(np.asarray(x)), x)
      return {"score": nn.Conv(1, (1, 1))(x)}

  parts = {"mask_critic": Watching(), "inner_critic": Watching()}
  batch = batch_of()
  method = METHODS["sifa"](
    **{**PARTS, **parts},
    loss=loss_of(True),
    **dict.fromkeys(("optimiser", "generator_optimiser", "critic_optimiser"), optax.sgd(0.0)),
    pool=0,
    sigmoid=True,
  )
  truth = jax.nn.one_hot(batch["label"], 3)
  batch = {**batch, "label": truth}
  state = state_of(method, batch)
  jax.block_until_ready(jax.jit(method.train_step)(state, batch, KEY))
  jax.effects_barrier()
  maps = [x for x in seen if x.any()]
  assert maps
  # of classes every sum would be 1
  assert all(abs(x.sum(-1) - 1).max() > 1e-3 for x in maps)
