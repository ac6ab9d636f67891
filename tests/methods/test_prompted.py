"""Training with simulated users: who sees what, how often the user looks, what is refused."""

import functools

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from flax import linen as nn
from method_rows import batch_of, method, small_unet
from scipy import ndimage

from jaxseg.interaction import encoding
from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS, deepigeos, nninteractive, ritm, scribbleprompt

CLASSES = 2


class Probe(nn.Module):
  """Says class 0 of every voxel, however it is trained, and what it saw as "seen"."""

  classes: int = CLASSES

  def total_stride(self, rank):
    return (1,) * rank

  def margin(self, rank):
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    nothing = self.param("nothing", nn.initializers.zeros, ())
    logits = jnp.stack([jnp.ones(x.shape[:-1]), jnp.zeros(x.shape[:-1])], -1)
    # the channels themselves, so that a loss of this test's can look at them
    if train:
      logits = jnp.concatenate([logits, x], -1)
    return {"logits": logits + 0 * nothing}


def square(samples=4):
  label = np.zeros((samples, 16, 16), np.int32)
  label[:, 3:13, 3:13] = 1
  image = np.ones((*label.shape, 1), np.float32)
  return {"image": jnp.asarray(image), "label": jnp.asarray(label)}


def watched(constructor, look, *, samples=4, **options):
  """key -> what `look` makes of the channels (b, *space, k) that the network learns from."""

  def loss(logits, target):
    return look(logits[..., CLASSES + 1 :])

  scheme = constructor(Probe(), loss, optax.sgd(0.0), **options)
  batch = square(samples)
  state = scheme.init(jax.random.key(0), batch)
  step = jax.jit(lambda key: scheme.train_step(state, batch, key)[1]["loss"])
  return lambda number: np.array([step(jax.random.key(seed)) for seed in range(number)])


def samples_that_saw(channels):
  """A number whose bits are the samples that saw anything."""
  saw = (channels != 0).any((1, 2, 3)).astype(jnp.float32)
  return (saw * 2.0 ** jnp.arange(len(saw))).sum()


def test_each_sample_is_left_alone_by_itself():
  """MONAI's DeepEdit empties the first sample of a batch, or none."""
  look = watched(METHODS["deepedit"], samples_that_saw, clicks=1, automatic=0.5)
  bits = look(80).astype(int)
  saw = (bits[:, None] >> np.arange(4)) % 2
  assert_close(saw.mean(0), [0.5] * 4, atol=0.2)
  assert len(set(bits.tolist())) >= 12


@pytest.mark.parametrize(("share", "expected"), [(0.0, 15), (1.0, 0)])
def test_all_samples_see_their_marks_or_none_does(share, expected):
  look = watched(METHODS["deepedit"], samples_that_saw, clicks=1, automatic=share)
  assert (look(4) == expected).all()


def test_what_is_answered_without_marks_at_first_is_corrected_then():
  """As in a session that begins with the automatic segmentation."""

  class Marked(Probe):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
      # not the image, nor the answer before
      marks = x[..., 2:].sum(-1) * self.param("one", nn.initializers.ones, ())
      return {"logits": jnp.stack([jnp.full_like(marks, 1e3), marks], -1)}

  def loss(logits, target):
    return samples_that_saw(logits[..., 1:])

  options = {"answers": 3, "automatic": 1.0}
  scheme = METHODS["scribbleprompt"](Marked(), loss, optax.sgd(0.0), **options)
  state = scheme.init(jax.random.key(0), square())
  step = jax.jit(scheme.train_step)
  for seed in range(3):
    metrics = step(state, square(), jax.random.key(seed))[1]
    assert metrics["first_loss"] == 0
    assert metrics["last_loss"] == 15


def clicked(channel):
  """The mean number of clicks of a class, of their Gaussians' tops."""

  def look(channels):
    return (channels[..., channel] == 1).sum() / len(channels)

  return look


def test_deepedits_user_clicks_ever_less():
  """1 click at first, then with probability 1 - j / n at the j-th look: 1 + 1 + 3/4 + 1/2 + 1/4."""
  options = {"clicks": 4, "automatic": 0.0, "most": 1000}
  counts = watched(METHODS["deepedit"], clicked(1), samples=32, **options)(12)
  # two clicks may be at one voxel
  assert_close(counts.mean(), 3.5, atol=0.3)
  background = watched(METHODS["deepedit"], clicked(0), samples=32, **options)(2)
  assert_close(background, [1, 1], atol=0.05)


def test_of_deepedits_clicks_those_of_some_classes_stay():
  options = {"clicks": 1, "automatic": 0.0, "most": 1}
  both = watched(METHODS["deepedit"], lambda x: (x == 1).sum() / len(x), samples=32, **options)(3)
  # one of the two classes, with its clicks
  assert both.max() <= 2
  look = watched(METHODS["deepedit"], clicked(0), samples=32, **options)(3)
  assert 0.1 < look.mean() < 0.5


def test_ritms_user_looks_as_often_as_was_drawn_for_the_batch():
  """Disks of radius 0 are the clicks; the network always misses the object, whatever it sees."""
  prompts = {"points": {"name": "disk", "radius": 0.5}, "previous": "probabilities"}
  spread = watched(
    METHODS["ritm"],
    lambda x: x[..., 2].sum((1, 2)).max() - x[..., 2].sum((1, 2)).min(),
    prompts=prompts,
    points=1,
    turns=3,
  )(12)
  counts = watched(
    METHODS["ritm"], lambda x: x[..., 2].sum((1, 2)).max(), prompts=prompts, points=1, turns=3
  )(40)
  assert set(counts.astype(int).tolist()) == {1, 2, 3, 4}
  # the same for all, but for clicks at one voxel
  assert (spread <= 1).all()
  assert (spread == 0).sum() >= 6


def test_the_answer_before_is_seen_once_there_was_one():
  prompts = {"points": "disk", "previous": "probabilities"}
  look = functools.partial(watched, METHODS["ritm"], lambda x: x[..., 0].max(), prompts=prompts)
  assert (look(turns=0)(3) == 0).all()
  # its share of the object by softmax(1, 0)
  seen = look(turns=3)(20).astype(np.float64)
  assert {0.0, round(float(jax.nn.sigmoid(-1.0)), 4)} == set(np.round(seen, 4).tolist())


@pytest.mark.parametrize("name", ["deepedit", "nninteractive", "scribbleprompt"])
def test_the_loss_falls_on_a_fixed_batch(name):
  _, state, metrics = fixed_batch.train(method(name), batch_of(), steps=12)
  assert set(state.learners) == {"network"}
  if name == "scribbleprompt":
    assert_close(metrics["loss"], (metrics["first_loss"] + metrics["last_loss"]) / 2)


@pytest.mark.parametrize("name", ["ritm", "deepedit", "nninteractive", "scribbleprompt"])
def test_volumes_are_taken_and_a_step_is_a_function_of_its_key(name):
  batch, scheme = batch_of(3), method(name)
  key = jax.eval_shape(lambda: jax.random.key(0))
  state = jax.eval_shape(scheme.init, key, batch)
  after, _ = jax.eval_shape(scheme.train_step, state, batch, key)
  assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  out = jax.eval_shape(scheme.apply, state, {"image": batch["image"]})
  assert out["logits"].shape == (*batch["label"].shape, 3)


@pytest.mark.parametrize(
  ("page", "channels"), [(nninteractive, 7), (scribbleprompt, 4), (ritm, 3)], ids=str
)
def test_of_two_classes_the_network_sees_the_published_channels(page, channels):
  assert encoding.channels(encoding.encoding_of(page.PROMPTS), 2) == channels


def test_ritms_auxiliary_head_has_a_loss_of_its_own():
  """1 * 3 + 0.4 * 7 by the paper's weights; else all heads share one, 2/3 and 1/3 of it."""

  class Headed(Probe):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
      scores = jnp.stack([x[..., 0]] * 2, -1) * self.param("a", nn.initializers.ones, ())
      return {"logits": scores, **({"aux": (scores,)} if train else {})}

  def constant(number):
    return lambda logits, target: number + 0 * logits.sum()

  batch, key = square(), jax.random.key(0)
  for options, expected in (
    ({"auxiliary_loss": constant(7.0), "head_weights": (1.0, 0.4)}, 5.8),
    ({}, 3.0),
  ):
    users = {"turns": 0, "points": 1}
    scheme = METHODS["ritm"](Headed(), constant(3.0), optax.sgd(0.1), **users, **options)
    _, metrics = jax.jit(scheme.train_step)(scheme.init(key, batch), batch, key)
    assert_close(metrics["loss"], expected)


@pytest.mark.parametrize(
  ("name", "options", "words"),
  [
    ("ritm", {"sigmoid": True}, "regions that overlap"),
    ("ritm", {"prompts": {"boxes": "all"}}, "config.method.prompts shows none"),
    ("scribbleprompt", {"prompts": {"points": "disk"}}, "boxes='foreground'"),
    ("nninteractive", {"kinds": ("point", "circle")}, "'circle'"),
    ("ritm", {"prompts": {"points": "disc"}}, "disk"),
  ],
)
def test_what_has_no_meaning_is_refused(name, options, words):
  with pytest.raises(ValueError, match=words):
    METHODS[name](small_unet(), LOSSES["cross_entropy"], optax.sgd(0.1), **options)


def test_soft_labels_and_networks_with_a_margin_are_refused():
  scheme, batch = method("ritm"), batch_of()
  key = jax.eval_shape(lambda: jax.random.key(0))
  soft = {"image": batch["image"], "soft_label": jax.nn.one_hot(batch["label"], 3)}
  state = jax.eval_shape(scheme.init, key, batch)
  with pytest.raises(ValueError, match="mixup"):
    jax.eval_shape(scheme.train_step, state, soft, key)

  class Narrow(Probe):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
      return {"logits": x[:, 1:-1, 1:-1, :2] * self.param("a", nn.initializers.ones, ())}

  scheme = METHODS["ritm"](Narrow(), LOSSES["cross_entropy"], optax.sgd(0.1))
  batch = square()
  state = jax.eval_shape(scheme.init, key, batch)
  with pytest.raises(ValueError, match="keeps the size"):
    jax.eval_shape(scheme.train_step, state, batch, key)


def test_geodesic_seeds_are_as_many_as_the_published_rule_says():
  random = np.random.default_rng(0)
  truth = random.integers(0, 2, (40, 40)).astype(np.int32)
  truth[:, :20] = 0
  wrong = ndimage.gaussian_filter(random.standard_normal((40, 40)), 2) > 0.02
  seeds = jax.jit(functools.partial(deepigeos.seeds_in, classes=2, least=6, every=20))(
    jax.random.key(0), wrong, truth
  )
  for index in range(2):
    parts, number = ndimage.label(wrong & (truth == index), np.ones((3, 3)))
    assert number > 3
    of = np.asarray(seeds[..., index])
    assert not of[parts == 0].any()
    for part in range(1, number + 1):
      size = (parts == part).sum()
      assert of[parts == part].sum() == (np.ceil(size / 20) if size >= 6 else 0)


def test_a_user_who_is_not_done_has_made_1_to_all_of_the_marks():
  seeds = (np.random.default_rng(0).uniform(size=(20, 20, 3)) < 0.1).astype(np.float32)
  total = int(seeds.sum())
  keys = jax.random.split(jax.random.key(0), 400)
  some = jax.jit(jax.vmap(lambda key, chance: deepigeos.some_of(key, seeds, chance), (0, None)))
  kept = np.asarray(some(keys, 1.0))
  assert set(np.unique(kept)) == {0, 1}
  assert not (kept > seeds).any()
  numbers = kept.sum((1, 2, 3))
  assert numbers.max() <= total
  for number in (1, 2, 10, 50):
    expected = np.log(number + 1) / np.log(total + 1)
    assert (numbers <= number).mean() == pytest.approx(expected, abs=0.08)
  np.testing.assert_array_equal(some(keys, 0.0), np.broadcast_to(seeds, kept.shape))
  done = np.asarray(some(keys, 0.25)).sum((1, 2, 3)) == total
  assert done.mean() == pytest.approx(0.75, abs=0.08)
  nothing = deepigeos.some_of(keys[0], np.zeros_like(seeds), 1.0)
  assert not np.asarray(nothing).any()


def test_the_proposal_answers_where_nothing_is_marked_and_learns_alone_at_first():
  nets = small_unet(), small_unet()
  loss, tx = LOSSES["cross_entropy"], optax.sgd(0.1)
  scheme = METHODS["deepigeos"](*nets, loss, tx, tx, proposal_steps=1, least=1)
  batch = batch_of()
  state = scheme.init(jax.random.key(0), batch)
  step = jax.jit(scheme.train_step)
  after = [state]
  for seed in range(2):
    new, metrics = step(after[-1], batch, jax.random.key(seed))
    assert (metrics["loss"] == 0) == (seed == 0)
    after.append(new)

  def moved(name, a, b):
    pairs = zip(*(jax.tree.leaves(of.learners[name].params) for of in (a, b)), strict=True)
    return not all(np.array_equal(*pair) for pair in pairs)

  assert moved("proposal", *after[:2])
  assert not moved("network", *after[:2])
  assert moved("network", *after[1:])
  assert not moved("proposal", *after[1:])
  automatic = scheme.apply(state, {"image": batch["image"]})["logits"]
  own = state.learners["proposal"]
  expected = nets[1].apply({"params": own.params, **own.stats}, batch["image"])["logits"]
  np.testing.assert_array_equal(automatic, expected)
