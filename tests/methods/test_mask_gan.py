"""Label maps from noise: who learns from what, what the critic sees, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from critic_rows import SMALL
from drawn_states import state_of

from jaxseg.method import forward
from jaxseg.methods import METHODS, critics, draws
from jaxseg.networks import CRITICS, GENERATORS, NETWORKS


def generator(**options):
  return GENERATORS["mask_generator"](**{"classes": 3, "widths": (4, 6), "latent": 5, **options})


def judge(name="patch_critic", **options):
  return CRITICS[name](**{**SMALL[name], "norm": "instance", **options})


def scheme(net=None, critic=None, *, rates=(0.1, 0.1), **options):
  return with_optimisers(map(optax.sgd, rates), net, critic, **options)


def with_optimisers(optimisers, net=None, critic=None, **options):
  return METHODS["mask_gan"](net or generator(), critic or judge(), *optimisers, **options)


@functools.cache
def program():
  """The method and its step, whose rates lie in the state: one program serves several tests."""
  method = with_optimisers([optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)] * 2)
  return method, jax.jit(method.train_step)


def stepped(batch, *, change=lambda params: params, network=0.1, critic=0.1):
  """(state before, after, metrics) of a step at those rates; `change` of the network's weights."""
  method, step = program()
  before = state_of(method, batch)
  learners = {}
  for name, rate in (("network", network), ("critic", critic)):
    of = before.learners[name]
    opt_state = of.opt_state._replace(hyperparams={"learning_rate": jnp.float32(rate)})
    learners[name] = of.replace(opt_state=opt_state)
  net = learners["network"]
  learners["network"] = net.replace(params=change(net.params))
  before = before.replace(learners=learners)
  return before, *step(before, batch, jax.random.key(1))


def batch_of(seed=0, space=(8, 8)):
  random = np.random.default_rng(seed)
  label = jnp.asarray(random.integers(0, 3, (4, *space)), jnp.int32)
  image = jnp.asarray(random.standard_normal((4, *space, 2)), jnp.float32)
  return {"image": image, "label": label, "spacing": jnp.ones((4, len(space)))}


def one_step(method, batch, key=1):
  before = state_of(method, batch)
  return before, *jax.jit(method.train_step)(before, batch, jax.random.key(key))


def same(before, after, name):
  pairs = (before.learners[name].params, after.learners[name].params)
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, *pairs)))


@pytest.mark.parametrize("still", ["network", "critic"])
def test_with_one_frozen_only_the_other_changes(still):
  before, after, _ = stepped(batch_of(), **{still: 0.0})
  for learner in ("network", "critic"):
    assert same(before, after, learner) is (learner == still), learner


def test_images_say_nothing_but_how_large_maps_are():
  batch = batch_of()
  other = {**batch, "image": batch["image"] * 3 + 1}
  states = [stepped(of)[1] for of in (batch, other)]
  for a, b in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  "options",
  [
    {"mode": "lsgan"},
    {"mode": "hinge", "critic_steps": 2, "critic": judge(spectral=True)},
    {"mode": "wgan", "gradient_penalty": 10.0},
    {"mode": "wgan", "clip_weights": 0.01},
    {"straight_through": False},
  ],
)
def test_every_mode_trains_both(options):
  before, after, metrics = one_step(scheme(**options), batch_of())
  assert not same(before, after, "network")
  assert not same(before, after, "critic")
  assert 0 <= metrics["critic_accuracy"] <= 1
  assert all(np.isfinite(value) for value in metrics.values())


def test_the_critic_sees_decided_maps_of_which_the_gradient_reaches_the_network(monkeypatch):
  seen = []

  def ask(critic, params, stats, inputs, key=None):
    jax.debug.callback(lambda x: seen.append(np.asarray(x)), inputs[0])
    return forward(critic, params, stats, *inputs, key=key, update_stats=True)

  monkeypatch.setattr(critics, "ask", ask)
  one_step(scheme(rates=(0.1, 0.0)), batch_of())
  assert len(seen) == 3  # fooled by the fake, then real and fake
  for maps in seen:
    np.testing.assert_allclose(np.sort(maps, -1), np.broadcast_to([0, 0, 1], maps.shape), atol=1e-6)


def test_scores_that_are_sure_of_themselves_still_learn():
  """Of a softmax near 0 or 1 nothing would come back."""

  def sure(params):
    return {**params, "up1": jax.tree.map(lambda w: 1e4 * w, params["up1"])}

  _, _, metrics = stepped(batch_of(), change=sure, critic=0.0)
  assert metrics["gradient_norm"] > 1e-3


def test_instance_noise_lies_on_both_kinds_of_maps_and_may_end(monkeypatch):
  seen = []

  def ask(critic, params, stats, inputs, key=None):
    jax.debug.callback(lambda x: seen.append(np.asarray(x)), inputs[0])
    return forward(critic, params, stats, *inputs, key=key, update_stats=True)

  monkeypatch.setattr(critics, "ask", ask)
  one_step(scheme(rates=(0.1, 0.0), instance_noise=0.5), batch_of())
  decided = [np.round(maps).clip(0, 1) for maps in seen]
  # the map that is to fool is the one that is judged, and the real one has noise of its own
  assert len({maps.tobytes() for maps in seen}) == 2
  assert all(np.abs(maps - of).max() > 0.3 for maps, of in zip(seen, decided, strict=True))
  seen.clear()
  one_step(scheme(rates=(0.1, 0.0), instance_noise=lambda step: 0.5 * (step > 0)), batch_of())
  for maps in seen:
    np.testing.assert_allclose(np.sort(maps, -1), np.broadcast_to([0, 0, 1], maps.shape), atol=1e-6)


def test_volumes_are_made_too():
  _, after, _ = one_step(scheme(), batch_of(space=(8, 8, 8)))
  assert int(after.step) == 1


def test_what_is_applied_is_alike_for_a_draw_and_another_for_another():
  batch, method = batch_of(), scheme()
  state = state_of(method, batch)
  image, apply = batch["image"][:1], jax.jit(method.apply)

  def made(draw, image=image):
    return np.asarray(apply(state, {"image": image, "draw": jnp.array([draw])})["logits"])

  np.testing.assert_array_equal(made(3), made(3, image * 2))
  assert not np.array_equal(made(3), made(4))
  alone = [np.asarray(apply(state, {"image": of})["logits"]) for of in (image, image, -image)]
  np.testing.assert_array_equal(*alone[:2])
  assert not np.array_equal(alone[0], alone[2])


def test_a_case_without_a_draw_has_the_key_of_its_bits_and_their_places():
  def number(image):
    return int(jax.random.key_data(draws.key_of({"image": jnp.asarray(image)}))[1])

  image = np.array([1.0, -2.5, 3.25], np.float32).reshape(1, 3, 1)
  expected = 0
  for place, bits in enumerate(image.view(np.uint32).reshape(-1).tolist()):
    mixed = (bits ^ (bits >> 15)) * 2654435761 % 2**32
    expected += (mixed ^ (mixed >> 13)) * (2 * place + 1)
  assert number(image) == expected % 2**32
  others = (-image, image[:, ::-1].copy(), np.float32([1.0, 2.5, -3.25]).reshape(1, 3, 1))
  assert len({number(of) for of in (image, *others)}) == 4


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda: scheme(mode="wgan"), "lets the critic grow without end"),
    (lambda: scheme(mode="bcee"), "bcee"),
    (lambda: scheme(critic=CRITICS["two_input_critic"]()), "there are maps alone"),
    (
      lambda: state_of(scheme(GENERATORS["unet_generator"](widths=(4, 6))), batch_of()),
      "UNetGenerator .* makes what it gives of the image, and label maps are made of noise",
    ),
    (
      lambda: state_of(scheme(NETWORKS["unet"](classes=3, widths=(4, 6))), batch_of()),
      "UNet .* label maps are made of noise; expected mask_generator",
    ),
    (
      lambda: state_of(
        scheme(critic=judge(norm="batch"), mode="wgan", gradient_penalty=1.0), batch_of()
      ),
      "batch norm mixes them",
    ),
  ],
)
def test_what_cannot_be_is_refused(make, words):
  with pytest.raises(ValueError, match=words):
    make()


def vae(net=None, encoder=None, **options):
  from jaxseg.losses import LOSSES

  encoder = encoder or GENERATORS["mask_encoder"](latent=5, widths=(4, 6))
  roles = net or generator(), encoder, LOSSES["cross_entropy"], optax.sgd(0.1)
  return METHODS["mask_vae"](*roles, **options)


def test_a_vae_minimises_reconstruction_and_divergence():
  batch = batch_of()
  method = vae(divergence=0.5)
  state = state_of(method, batch)
  step, losses = jax.jit(method.train_step), []
  for _ in range(8):
    state, metrics = step(state, batch, jax.random.key(0))
    losses.append(float(metrics["loss"]))
    total = metrics["reconstruction"] + 0.5 * metrics["divergence"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
  assert losses[-1] < losses[0]
  made = method.apply(state, {"image": batch["image"], "draw": jnp.array([1])})["logits"]
  assert made.shape == (4, 8, 8, 3)


def test_the_divergence_is_that_of_the_codes_normal_distribution():
  """0 of N(0, 1); by SciPy's rule written out: (mean^2 + variance - 1 - log variance) / 2."""
  from flax import linen as nn

  class Told(nn.Module):
    latent: int = 5

    @nn.compact
    def __call__(self, x, *, train=False):
      scale = self.param("scale", nn.initializers.ones, ())
      of = jnp.ones((len(x), 5)) * scale
      return {"mean": 2 * of, "log_variance": of}

  _, _, metrics = one_step(vae(encoder=Told()), batch_of())
  expected = 5 * (2.0**2 + np.e - 1 - 1) / 2
  np.testing.assert_allclose(metrics["divergence"], expected, rtol=1e-5)


def test_a_vae_of_two_lengths_of_noise_is_refused():
  with pytest.raises(ValueError, match="latent"):
    state_of(vae(generator(latent=4)), batch_of())
  with pytest.raises(ValueError, match="latent"):
    state_of(vae(NETWORKS["unet"](classes=3, widths=(4, 6))), batch_of())
