"""RSTN: what the fine network sees, what is pasted back, when the rounds stop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from flax import linen as nn
from flax.core import freeze

from jaxseg import samples, sharding
from jaxseg.benchmark import collectives
from jaxseg.networks import NETWORKS, RecurrentSaliency
from jaxseg.networks.recurrent_saliency import Refinement, SaliencyTransformation

TINY = dict(name="unet", widths=(4, 6), depth=1, decoder_depth=1)


class Scores(nn.Module):
  """A fine network that only scores what it sees: background 0, foreground `gain` * image."""

  gain: float = 1.0

  @nn.compact
  def __call__(self, x, *, train=False):
    self.param("unused", nn.initializers.zeros, ())
    return {"logits": jnp.concatenate([jnp.zeros_like(x), self.gain * x], -1)}


def refinement(space, **options):
  given = dict(
    fine=Scores(), mode="fixed_point", crop=space, box_margin=1, threshold=0.5, joint=True,
    posterior="softmax", dtype="float32",
  )  # fmt: skip
  return Refinement(**{**given, **options})


def scores(mask):
  """Logits of two classes that are sure of a mask."""
  sign = np.where(mask, 4.0, -4.0)[..., None].astype(np.float32)
  return np.concatenate([np.zeros_like(sign), sign], -1)


def apply(net, x, logits):
  @jax.jit
  def run(x, logits):
    return net.apply(net.init(jax.random.key(0), x, logits), x, logits)

  return np.asarray(run(x, logits))


def test_a_round_sees_the_box_with_its_margin_and_leaves_background_outside():
  x = np.random.default_rng(0).normal(size=(2, 9, 8, 1)).astype(np.float32)
  mask = np.zeros((2, 9, 8), bool)
  mask[0, 3:5, 0:2] = True
  for crop in ((9, 8), (4, 3)):
    got = apply(refinement((9, 8), crop=crop), x, scores(mask))
    expected = np.broadcast_to(np.float32([0, -10]), (9, 8, 2)).copy()
    expected[2:6, 0:3, 1] = x[0, 2:6, 0:3, 0]
    expected[2:6, 0:3, 0] = 0
    assert_close(got[0], expected)
  # an empty mask: the whole image, of which the window holds the centre
  assert_close(got[1, 2:6, 2:5, 1], x[1, 2:6, 2:5, 0])
  kept = np.ones((9, 8), bool)
  kept[2:6, 2:5] = False
  np.testing.assert_array_equal(got[1][kept], scores(mask)[1][kept])
  whole = apply(refinement((9, 8)), x, scores(mask))
  assert_close(whole[1, ..., 1], x[1, ..., 0])


def test_the_box_may_be_that_of_the_largest_component_alone():
  x = np.random.default_rng(0).normal(size=(1, 9, 8, 1)).astype(np.float32)
  mask = np.zeros((1, 9, 8), bool)
  mask[0, 1:3, 1:3] = mask[0, 8, 7] = True
  for alone, box in ((True, (slice(0, 4), slice(0, 4))), (False, (slice(0, 9), slice(0, 8)))):
    got = apply(refinement((9, 8), largest_component=alone), x, scores(mask))[0]
    expected = np.broadcast_to(np.float32([0, -10]), (9, 8, 2)).copy()
    expected[box] = np.stack([np.zeros((9, 8)), x[0, ..., 0]], -1)[box]
    assert_close(got, expected)


def test_the_saliency_transformation_starts_as_a_pass_through_and_has_the_releases_kernels():
  maps = np.random.default_rng(0).uniform(size=(1, 6, 5, 2)).astype(np.float32)
  net = SaliencyTransformation(3, "float32")
  params = jax.jit(net.init)(jax.random.key(0), maps)
  np.testing.assert_array_equal(net.apply(params, maps), np.ones((1, 6, 5, 3)))
  shapes = jax.tree.map(jnp.shape, params["params"])
  assert shapes["conv1"] == {"kernel": (3, 3, 2, 2), "bias": (2,)}
  assert shapes["conv2"] == {"kernel": (5, 5, 2, 3), "bias": (3,)}
  x = np.random.default_rng(1).normal(size=(1, 6, 5, 1)).astype(np.float32)
  mask = np.zeros((1, 6, 5), bool)
  mask[:, 2:4, 1:3] = True
  hard = apply(refinement((6, 5)), x, scores(mask))
  assert_close(apply(refinement((6, 5), mode="saliency"), x, scores(mask)), hard)


def variables_of(net, x):
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return np.ones(leaf.shape, np.float32)
    return (rng.normal(size=leaf.shape) * 0.3).astype(np.float32)

  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=True))
  return jax.tree_util.tree_map_with_path(draw, dict(shapes))


@pytest.mark.parametrize("joint", [True, False])
def test_the_fine_networks_loss_reaches_the_coarse_one_through_the_saliency_only_if_joint(joint):
  net = RecurrentSaliency(coarse=TINY, fine=TINY, box_margin=1, joint=joint)
  x = np.random.default_rng(1).normal(size=(2, 8, 6, 1)).astype(np.float32)
  variables = variables_of(net, x)

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      return jnp.square(out["logits"]).sum()

    return jax.grad(loss)(params)

  got = gradient(variables["params"])
  largest = {name: max(np.abs(g).max() for g in jax.tree.leaves(got[name])) for name in got}
  assert largest["fine"] > 0
  assert largest["refine"] > 0
  assert (largest["coarse"] > 0) == joint


def test_training_supervises_every_round_and_the_rounds_share_the_fine_network():
  x = jnp.zeros((2, 9, 7, 2))

  def run(rounds):
    net = RecurrentSaliency(coarse=TINY, fine=TINY, rounds=rounds, crop=8)
    return jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x, train=True))

  out, variables = run(2)
  assert [a.shape for a in out["aux"]] == [(2, 9, 7, 3)] * 2
  assert set(out) == {"coarse", "round1", "round2", "logits", "aux"}
  _, once = run(1)
  assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, once["params"])
  assert set(variables["params"]) == {"coarse", "fine", "refine"}


def test_inference_repeats_until_the_mask_is_stable_each_sample_for_itself():
  net = RecurrentSaliency(coarse=TINY, fine=TINY, box_margin=1, max_rounds=4, stop=0.999)
  x = np.random.default_rng(3).normal(size=(3, 8, 6, 1)).astype(np.float32)
  x[2] = 0
  variables = variables_of(net, x)
  parts = {k: {n: v[n] for n in ("fine", "refine") if n in v} for k, v in variables.items()}
  tiny = {k: v for k, v in TINY.items() if k != "name"}

  class Round(nn.Module):
    """One round with the same parameters, to go through them by hand."""

    @nn.compact
    def __call__(self, x, logits):
      fine = NETWORKS["unet"](**tiny, name="fine")
      return refinement((8, 6), fine=fine, mode="saliency", name="refine")(x, logits)

  out = jax.jit(net.apply)(variables, x)
  one = jax.jit(lambda x, logits: Round().apply(freeze(parts), x, logits))

  def mask(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return (p[..., 1:].sum(-1) / p.sum(-1)) > 0.5

  for i in range(3):
    before, taken = np.asarray(out["coarse"])[i], 0
    stable = False
    while taken < 4 and not stable:
      after = np.asarray(one(x[i : i + 1], before[None]))[0]
      a, b = mask(before), mask(after)
      stable = (2 * (a & b).sum() / max(a.sum() + b.sum(), 1) if (a | b).any() else 1) >= 0.999
      before, taken = after, taken + 1
      np.testing.assert_allclose(out[f"round{taken}"][i], after, rtol=1e-3, atol=1e-4)
    assert int(out["rounds"][i]) == taken
    np.testing.assert_allclose(out["logits"][i], before, rtol=1e-3, atol=1e-4)


def test_devices_do_not_ask_each_other_whether_all_is_stable():
  net = RecurrentSaliency(coarse=TINY, fine=TINY, box_margin=1, max_rounds=3, stop=0.999)
  x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
  variables = variables_of(net, x)
  places = sharding.layout(batches={}, devices=jax.devices()[:2])

  def logits(x):
    with samples.split_over(places.mesh):
      return net.apply(variables, x)["logits"]

  split = jax.device_put(x, places.split)
  program = jax.jit(logits).lower(split).compile()
  assert not collectives.read(program.as_text(), 2)
  alone = jax.jit(lambda x: net.apply(variables, x)["logits"])(x)
  assert_close(program(split), alone, atol=1e-5)


def test_the_rounds_of_inference_keep_the_count_of_a_schedule():
  fine = dict(
    name="unet", widths=(2, 2), depth=1, dropout=dict(rate=0.1, kind="block", size=2, ramp=9)
  )
  net = RecurrentSaliency(2, coarse=dict(fine, dropout=0.0), fine=fine, crop=4, max_rounds=3)
  x = jnp.zeros((1, 8, 8, 1))
  variables = jax.jit(lambda key: net.init(key, x, train=True))(jax.random.key(0))
  rngs = {"dropout": jax.random.key(1)}
  after = jax.jit(lambda v: net.apply(v, x, rngs=rngs, mutable=list(v))[1])(variables)
  (count,) = {float(leaf) for leaf in jax.tree.leaves(after["counts"])}
  assert 1 <= count <= net.max_rounds
  frozen = jax.eval_shape(lambda v: net.apply(v, x, rngs=rngs), variables)
  assert frozen["logits"].shape == (1, 8, 8, 2)


def test_inference_has_gradients_and_volumes_work():
  net = RecurrentSaliency(
    coarse=TINY,
    fine=TINY,
    mode="fixed_point",
    box_margin=1,
    crop=4,
    max_rounds=2,
    largest_component=True,
  )
  x = np.random.default_rng(3).normal(size=(1, 4, 6, 5, 1)).astype(np.float32)
  variables = variables_of(net, x)
  gradient = jax.jit(jax.grad(lambda x: net.apply(variables, x)["logits"].sum()))(x)
  assert np.isfinite(gradient).all()
  assert np.abs(gradient).max() > 0
  assert "saliency" not in variables["params"].get("refine", {})


def test_bad_options_are_told():
  with pytest.raises(ValueError, match="mode='soft' is unknown; choices: saliency, fixed_point"):
    RecurrentSaliency(mode="soft")
  with pytest.raises(ValueError, match="rounds=0 and max_rounds=10; expected at least one"):
    RecurrentSaliency(rounds=0)
  with pytest.raises(ValueError, match=r"network.fine.name: 'fcn' is unknown"):
    RecurrentSaliency(fine="fcn")
  with pytest.raises(ValueError, match="set posterior='sigmoid'"):
    RecurrentSaliency(classes=1)
