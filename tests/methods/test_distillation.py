"""Distillation: who learns from whom, which teacher teaches which sample, and what stays frozen."""

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from scipy.special import expit

from jaxseg import sharding
from jaxseg.losses import LOSSES, distillation
from jaxseg.method import forward
from jaxseg.methods import METHODS, averaged, ensemble, lessons, rematerialised
from jaxseg.networks import NETWORKS
from jaxseg.networks.several import Several, placed

STUDENT = NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, decoder_depth=1)
TEACHER = NETWORKS["unet"](classes=3, widths=(6, 10), depth=1, decoder_depth=1, norm="instance")
BETWEEN = ("bottleneck", "decoder")


def scheme(teacher=TEACHER, student=STUDENT, loss="cross_entropy", **options):
  tx = optax.sgd(0.05)
  return METHODS["distillation"](student, teacher, LOSSES[loss], tx, tx, **options)


def batch_of(rank=2, samples=4, seed=0):
  rng = np.random.default_rng(seed)
  label = rng.integers(0, 3, (samples, *(8,) * rank)).astype(np.int32)
  image = label[..., None] + 0.1 * rng.standard_normal((*label.shape, 1))
  return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}


def same(a, b):
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


WAYS = [
  (2, {}),
  (2, {"logits": 0.0, "places": 3.0}),
  (2, {"attention": 100.0, "between": BETWEEN}),
  (3, {"supervised": 0.0, "features": 1.0, "between": {"decoder": "decoder"}}),
]


# of several networks that are one, features alone are more than those of a single network
@pytest.mark.parametrize(
  ("rank", "options", "number"),
  [*((*way, number) for way in WAYS for number in (None, 3)), (*WAYS[-1], 1)],
)
def test_the_student_learns_and_the_teacher_stays_as_it_was(rank, options, number):
  batch = batch_of(rank)
  if number:
    batch["fold"] = jnp.minimum(jnp.asarray([0, 2, 1, -1]), number - 1)
  method = scheme(Several(TEACHER, number) if number else TEACHER, **options)
  first, last, metrics = fixed_batch.train(method, batch)
  assert same(first.learners["teacher"], last.learners["teacher"])
  assert last.learners["teacher"].opt_state == ()
  learners = {name: of for name, of in first.learners.items() if name != "teacher"}
  assert ("regressor" in learners) == ("features" in options)
  for name, of in learners.items():
    for a, b in zip(
      jax.tree.leaves(of.params), jax.tree.leaves(last.learners[name].params), strict=True
    ):
      assert not np.array_equal(a, b), name
  weights = {"supervised": 1.0, "logits": 1.0, **options}
  parts = {f"{name}_distance": of for name, of in weights.items() if name != "supervised"}
  parts["supervised_loss"] = weights["supervised"]
  total = sum(weight * metrics[name] for name, weight in parts.items() if name in metrics)
  assert_close(metrics["loss"], total, rtol=1e-4)
  outputs = jax.eval_shape(method.apply, last, {"image": batch["image"]})
  assert outputs["logits"].shape == (*batch["label"].shape, 3)


def test_no_gradient_reaches_a_teacher():
  batch, method = batch_of(), scheme(attention=1.0, between=BETWEEN)
  state = state_of(method, batch)

  @jax.jit
  def run(params):
    def loss(params):
      teacher = state.learners["teacher"].replace(params=params)
      changed = state.replace(learners={**state.learners, "teacher": teacher})
      return method.train_step(changed, batch, jax.random.key(1))[1]["loss"]

    return jax.grad(loss)(params)

  assert all(
    not np.asarray(leaf).any() for leaf in jax.tree.leaves(run(state.learners["teacher"].params))
  )


def test_the_student_begins_as_one_without_a_teacher():
  batch = batch_of()
  alone = METHODS["supervised"](STUDENT, LOSSES["cross_entropy"], optax.sgd(0.05))
  ours, theirs = (
    jax.jit(method.init)(jax.random.key(3), batch).learners["network"]
    for method in (scheme(), alone)
  )
  assert same(ours.params, theirs.params)


def test_without_a_distance_that_counts_it_steps_as_supervised_does():
  batch = batch_of()
  # a schedule, so that the part is there, of weight 0
  method = scheme(logits=lambda step: 0.0 * step)
  alone = METHODS["supervised"](STUDENT, LOSSES["cross_entropy"], optax.sgd(0.05))
  after = []
  for of in (method, alone):
    state = state_of(of, batch)
    state, metrics = jax.jit(of.train_step)(state, batch, jax.random.key(1))
    after.append((state.learners["network"].params, metrics["gradient_norm"]))
  for a, b in zip(jax.tree.leaves(after[0]), jax.tree.leaves(after[1]), strict=True):
    assert_close(a, b, atol=1e-6)


def test_each_sample_is_taught_by_its_own_network():
  several, batch = Several(TEACHER, 3), batch_of(samples=5)
  variables = jax.jit(several.init)(jax.random.key(0), batch["image"])
  shares = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1 / 3] * 3, [0.5, 0.5, 0]], np.float32)
  describe = lambda outputs: distillation.softened(outputs["logits"])  # noqa: E731
  run = jax.jit(lambda v, x, s: several.described(v, x, s, describe))
  got = run(variables, batch["image"], shares)
  each = []
  for k in range(3):
    own = jax.tree.map(lambda x, k=k: x[k], variables)
    each.append(describe(jax.jit(TEACHER.apply)(own, batch["image"])))
  assert not np.allclose(each[0], each[1], atol=1e-3)
  assert_close(got, np.einsum("bk,kb...->b...", shares, np.stack(each)))


CALLS: list[int] = []


class Counted(nn.Module):
  """Counts how often it is applied, outside of its initialisation."""

  @nn.compact
  def __call__(self, x, *, train=False):
    if not self.is_initializing():
      jax.debug.callback(lambda: CALLS.append(1))
    return {"logits": nn.Dense(3)(x)}


def test_a_network_runs_once_for_a_sample_that_has_one_teacher():
  CALLS.clear()
  several, image = Several(Counted(), 4), batch_of(samples=3)["image"]
  variables = several.init(jax.random.key(0), image)
  run = jax.jit(lambda s: several.described(variables, image, s, lambda o: o["logits"]))
  jax.block_until_ready(run(np.eye(4, dtype=np.float32)[:3]))
  jax.effects_barrier()
  assert len(CALLS) == 3
  jax.block_until_ready(run(np.full((3, 4), 0.25, np.float32)))
  jax.effects_barrier()
  assert len(CALLS) == 3 + 12


def test_samples_that_are_split_over_devices_are_taught_alike():
  image = batch_of()["image"]
  several = Several(TEACHER, 2)
  variables = jax.jit(several.init)(jax.random.key(0), image)
  shares = np.array([[0, 1], [1, 0], [0.5, 0.5], [0, 1]], np.float32)
  mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
  split = jax.NamedSharding(mesh, jax.P("batch"))

  def run(of, *samples):
    return jax.jit(lambda v, x, s: of.described(v, x, s, lambda o: o["logits"]))(
      variables, *samples
    )

  got = run(several._replace(mesh=mesh), *(jax.device_put(x, split) for x in (image, shares)))
  assert got.sharding.spec == jax.P("batch")
  assert_close(got, run(several, image, shares))


def test_one_and_two_devices_agree():
  batch = {**batch_of(), "fold": jnp.asarray([0, 1, -1, 0])}
  start, results = None, []
  for devices in (jax.devices()[:1], jax.devices()[:2]):
    layout = sharding.layout(batches={}, devices=devices)
    teacher = placed({"teacher": Several(TEACHER, 2)}, layout)["teacher"]
    assert (teacher.mesh is None) == (len(devices) == 1)
    method = scheme(teacher, attention=1.0, between=BETWEEN)
    start = start or state_of(method, batch)
    state = jax.device_put(start, layout.replicated)
    split = sharding.place(batch, layout.split)
    key = jax.device_put(jax.random.key(1), layout.replicated)
    state, metrics = jax.jit(method.train_step)(state, split, key)
    results.append((state.learners["network"].params, metrics["loss"]))
  for a, b in zip(*(jax.tree.leaves(r) for r in results), strict=True):
    assert_close(a, b, atol=2e-6)


@pytest.mark.parametrize(
  ("teachers", "expected"),
  [
    ("held_out", [[0, 1, 0], [1 / 3] * 3, [1, 0, 0]]),
    ("mean", [[1 / 3] * 3] * 3),
  ],
)
def test_who_teaches_a_sample(teachers, expected):
  options = {"number": 3, "teachers": teachers, "otherwise": "mean"}
  got = lessons.shares(jax.random.key(0), jnp.asarray([1, -1, 0]), **options)
  assert_close(got, expected)


def test_a_teacher_that_is_drawn_is_any_of_them_and_one():
  options = {"number": 3, "teachers": "held_out", "otherwise": "drawn"}
  got = np.asarray(lessons.shares(jax.random.key(0), jnp.asarray([-1] * 300 + [2]), **options))
  np.testing.assert_array_equal(got.max(1), 1)
  np.testing.assert_array_equal(got.sum(1), 1)
  assert (got[:-1].sum(0) > 60).all()
  np.testing.assert_array_equal(got[-1], [0, 0, 1])


def test_images_without_labels_teach_too():
  batch, more = batch_of(), batch_of(seed=1)
  zeros = {"fold": jnp.zeros(4, jnp.int32)}
  batches = [batch | zeros, more | zeros, batch | zeros]
  batches[2]["unlabelled"] = {"image": more["image"], **zeros}
  method = scheme(Several(TEACHER, 2), freeze_statistics=True)
  state = state_of(method, batch)
  step = jax.jit(method.train_step)
  first, second, both = (step(state, of, jax.random.key(1))[1] for of in batches)
  mean = (first["logits_distance"] + second["logits_distance"]) / 2
  assert_close(both["logits_distance"], mean, rtol=1e-4)
  assert_close(both["supervised_loss"], first["supervised_loss"], rtol=1e-4)
  odd = {**batch, "unlabelled": {"image": jnp.zeros((4, 8, 16, 1))}}
  with pytest.raises(ValueError, match=r"streams\.unlabelled\.patch: \(8, 16\) .* \(8, 8\)"):
    jax.eval_shape(method.train_step, state, odd, jax.random.key(1))


def test_regions_are_compared_by_sigmoids():
  batch = batch_of()
  batch["soft_label"] = jax.nn.one_hot(batch.pop("label"), 3)
  method = scheme(sigmoid=True, temperature=1.0, freeze_statistics=True)
  state = state_of(method, batch)
  told = jax.jit(lambda *step: method.train_step(*step)[1]["logits_distance"])
  distance = told(state, batch, jax.random.key(1))

  def scores(name, net):
    own = state.learners[name]
    run = jax.jit(lambda own, x: forward(net, own.params, own.stats, x)[0]["logits"])
    return expit(run(own, batch["image"]))

  p, q = scores("teacher", TEACHER), scores("network", STUDENT)
  expected = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
  assert_close(distance, expected, rtol=1e-4)


def test_a_network_of_valid_convolutions_is_compared_at_the_centre():
  valid = NETWORKS["unet2015"](classes=3, widths=(4, 8))
  batch = batch_of()
  margin = valid.margin(2)[0]
  side = 8 + 2 * margin
  batch = {
    "image": jnp.zeros((2, side, side, 1)),
    "label": jnp.zeros((2, side, side), jnp.int32),
  }
  for student, teacher in ((valid, TEACHER), (STUDENT, valid)):
    method = scheme(teacher, student)
    state = jax.eval_shape(method.init, jax.random.key(0), batch)
    jax.eval_shape(method.train_step, state, batch, jax.random.key(0))


@pytest.mark.parametrize("wrap", ["average", "blocks", "products", "members"])
def test_wrappers_go_around_it(wrap):
  method = scheme(Several(TEACHER, 2), features=1.0, between=BETWEEN)
  method = {
    "average": lambda: averaged.averaged(method, decay=0.9),
    "blocks": lambda: rematerialised.rematerialised(method, policy="blocks"),
    "products": lambda: rematerialised.rematerialised(method, policy="products"),
    "members": lambda: ensemble.ensemble(method, members=2),
  }[wrap]()
  batch = {**batch_of(), "fold": jnp.asarray([0, 1, -1, 0])}
  state = jax.eval_shape(method.init, jax.random.key(0), batch)
  after, _ = jax.eval_shape(method.train_step, state, batch, jax.random.key(0))
  assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  assert ("network_average" in state.learners) == (wrap == "average")
  assert "teacher_average" not in state.learners
  assert jax.eval_shape(method.apply, state, batch)["logits"].shape == (4, 8, 8, 3)


def test_bad_options_are_told():
  for options, words in (
    ({"logits": 0.0}, "all weigh 0, so that nothing is learnt from the teacher"),
    ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
    ({"attention": 1.0}, "attention without between; expected the outputs"),
    ({"between": BETWEEN}, "attention and features weigh 0"),
    ({"logits": -1.0}, "logits weighs -1.0; expected a number from 0"),
    ({"teachers": "drawn"}, "teachers='drawn', but there is one; expected networks.teacher=dict"),
    ({"teachers": "best"}, "teachers='best' is unknown; choices: held_out, mean, drawn"),
  ):
    with pytest.raises(ValueError, match=words):
      scheme(**options)
  with pytest.raises(ValueError, match="teachers='mean' with features"):
    scheme(Several(TEACHER, 2), features=1.0, between=BETWEEN, teachers="mean")
  deeper = NETWORKS["unet"](classes=3, widths=(4, 6, 8), depth=1, decoder_depth=1)
  for between, words in (
    (("decode",), r"between: the network gives no 'decode' \(did you mean 'decoder'\?\); it gives"),
    ({"decoder": "stage1"}, r"the teacher gives no 'stage1'.*; it gives bottleneck, decoder"),
    (("bottleneck",), r"'bottleneck' of the network has \(4, 4\) voxels .* teacher \(2, 2\)"),
  ):
    method = scheme(deeper, attention=1.0, between=between)
    state = jax.eval_shape(method.init, jax.random.key(0), batch_of())
    with pytest.raises(ValueError, match=words):
      jax.eval_shape(method.train_step, state, batch_of(), jax.random.key(0))
