"""U-Net++: nodes, heads and modes, published counts, pruning bit for bit, bad options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count
from closeness import assert_close

from jaxseg.method import forward
from jaxseg.networks import UNetPP
from jaxseg.networks.unetpp import prune

SMALL = {"widths": (2, 3, 4), "depth": 1}


def shapes(net, *shape, train=True):
  def run(x):
    variables = net.init(jax.random.key(0), x, train=True)
    mutable = ["batch_stats"] if train else []
    return variables, net.apply(variables, x, train=train, mutable=mutable)[0]

  return jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32))


def real(net, *shape):
  """An input, parameters and statistics, drawn by numpy: nothing to compile."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1].key in ("scale", "var"):
      return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    fan = max(1, leaf.size // leaf.shape[-1])
    return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan)).astype(np.float32)

  stats = dict(jax.tree_util.tree_map_with_path(draw, shapes(net, *shape)[0]))
  return rng.normal(size=shape).astype(np.float32), stats.pop("params"), stats


@functools.partial(jax.jit, static_argnums=0)
def infer(net, params, stats, x):
  return forward(net, params, stats, x)[0]


def test_a_node_sees_all_nodes_to_its_left_and_the_one_below():
  params = shapes(UNetPP(), 1, 16, 16, 3)[0]["params"]
  assert sum(name.startswith("x") for name in params) == 15
  inputs = {
    name: params[name]["layer1"]["conv"]["kernel"].shape[2] for name in params if "_" in name
  }
  assert inputs["x0_0"] == 3
  assert inputs["x4_0"] == 256
  assert inputs["x0_1"] == 32 + 64
  assert inputs["x1_2"] == 2 * 64 + 128
  assert inputs["x0_4"] == 4 * 32 + 64


def test_pruning_leaves_the_published_counts():
  net = UNetPP(classes=2, deep_supervision=True)
  trained = dict(shapes(net, 1, 16, 16, 1)[0])
  params = trained.pop("params")
  for level, parameters in ((1, 102_498), (2, 518_562), (3, 2_235_618), (4, 9_162_786)):
    assert count(prune(params, trained, level)[0]) == parameters


@pytest.mark.parametrize("level", [1, 2])
def test_pruning_leaves_what_the_network_of_that_level_needs(level):
  options = {"widths": (2, 3, 4), "depth": 1, "up": "transpose", "attention": "se"}
  trained = dict(shapes(UNetPP(**options, deep_supervision=True), 1, 8, 8, 1)[0])
  params, stats = prune(trained.pop("params"), trained, level)
  alone = dict(shapes(UNetPP(**options, level=level), 1, 8, 8, 1)[0])
  assert jax.tree.structure(params) == jax.tree.structure(alone.pop("params"))
  assert jax.tree.structure(stats) == jax.tree.structure(alone)


@pytest.mark.parametrize(
  ("options", "space", "levels"),
  [
    # odd sizes: zero-padding and aligned corners at the border must not change a bit either
    ({"widths": (2, 3, 4, 5)}, (21, 26), (1, 2)),
    ({"norm": "instance", "up": "transpose", "attention": "se"}, (9, 14), (1,)),
    ({}, (7, 9, 6), (1,)),
  ],
  ids=["published", "transposed", "volume"],
)
def test_a_pruned_network_gives_the_bits_of_the_full_networks_head(options, space, levels):
  options = {**SMALL, **options}
  net = UNetPP(**options, deep_supervision=True)
  x, params, stats = real(net, 2, *space, 1)
  full = infer(net, params, stats, x)
  for level in levels:
    logits = infer(UNetPP(**options, level=level), *prune(params, stats, level), x)["logits"]
    np.testing.assert_array_equal(logits, full[f"logits{level}"])
    assert np.ptp(logits) > 0


def test_accurate_averages_the_heads_and_fast_is_one_of_them():
  net = UNetPP(**SMALL, deep_supervision=True)
  x, params, stats = real(net, 1, 8, 8, 1)
  accurate = infer(net, params, stats, x)
  heads = [accurate[f"logits{d}"] for d in (1, 2)]
  assert_close(accurate["logits"], np.mean(heads, 0), atol=1e-6)
  for head in (1, None):
    fast = infer(net.clone(mode="fast", head=head), params, stats, x)
    np.testing.assert_array_equal(fast["logits"], heads[(head or 2) - 1])


def test_training_gives_every_head_at_full_resolution_deepest_first():
  net = UNetPP(widths=(2, 3, 4, 5), depth=1, deep_supervision=True, mode="fast", head=1)
  train = shapes(net, 2, 13, 10, 1)[1]
  assert [a.shape for a in (train["logits"], *train["aux"])] == [(2, 13, 10, 3)] * 3
  assert "aux" not in shapes(net, 2, 13, 10, 1, train=False)[1]
  net = net.clone(widths=(2, 3, 4))
  x, params, stats = real(net, 1, 8, 8, 1)
  train = jax.jit(lambda params: forward(net, params, stats, x, update_stats=True)[0])(params)
  np.testing.assert_array_equal(train["logits"], train["logits2"])
  np.testing.assert_array_equal(train["aux"][0], train["logits1"])


def wave(shape, phase, factor=1.0):
  return (factor * np.sin(1.7 * np.arange(np.prod(shape)) + phase)).reshape(shape)


def test_nodes_follow_the_public_code_in_pytorch():
  # the same sines as parameters, in PyTorch's layout and order of the concatenations
  net = UNetPP(classes=2, widths=(2, 3, 4), deep_supervision=True)
  tree = dict(shapes(net, 1, 8, 8, 1)[0])
  params = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), tree.pop("params"))
  stats = jax.tree_util.tree_map_with_path(
    lambda path, s: np.full(s.shape, float(path[-1].key == "var"), np.float32), tree
  )
  for phase, name in enumerate(("x0_0", "x1_0", "x0_1", "x2_0", "x1_1", "x0_2")):
    for q, layer in enumerate(("layer1", "layer2")):
      p, target = phase + 10 * q, params[name][layer]
      a, b = target["conv"]["kernel"].shape[2:]
      kernel = wave((b, a, 3, 3), p, np.sqrt(2 / (9 * a)))
      target["conv"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": wave(b, p + 1, 0.1)}
      target["norm"] = {"scale": 1 + wave(b, p + 2, 0.1), "bias": 0.3 + wave(b, p + 3, 0.1)}
  for d in (1, 2):
    params[f"head{d}"]["kernel"][0, 0] = np.eye(2)
  params = jax.tree.map(np.float32, params)
  x = wave((1, 8, 8, 1), 0.5).astype(np.float32)
  out = infer(net, params, stats, x)
  for name, (total, squares, first, inner, last) in EXPECTED.items():
    logits = np.asarray(out[name], np.float64)
    np.testing.assert_allclose([logits.sum(), (logits**2).sum()], [total, squares], rtol=1e-4)
    assert_close(logits[0, 0, 0], first, atol=1e-5)
    assert_close(logits[0, 3, 5], inner, atol=1e-5)
    assert_close(logits[0, 7, 7], last, atol=1e-5)


# x01 and x02 of the public code's topology, computed in PyTorch 2.13 in double precision: their
# sum, sum of squares, and the features of three pixels
EXPECTED = {
  "logits1": (
    50.91560766,
    23.05476556,
    (0.61142321, 0.42161558),
    (0.59483049, 0.32438975),
    (0.48221615, 0.39158995),
  ),
  "logits2": (
    26.15043576,
    5.94683563,
    (0.11657367, 0.23190918),
    (0.16526823, 0.29493323),
    (0.10910101, 0.26685834),
  ),
}


@pytest.mark.parametrize(
  ("options", "space"),
  [
    ({"up": "linear", "align_corners": False}, (6, 5, 7)),
    ({"up": "nearest", "norm": {"name": "group", "groups": 1}, "dtype": "bfloat16"}, (13, 10)),
    ({"up": "transpose", "block": dict(name="recurrent", t=1), "attention": "se"}, (6, 5, 7)),
  ],
  ids=["corners", "bfloat16", "parts"],
)
def test_any_size_and_mixture_gives_logits_of_that_size(options, space):
  net = UNetPP(widths=(4, 4, 8), **options, deep_supervision=True)
  outputs = shapes(net, 2, *space, 1)[1]
  for logits in (outputs["logits"], *outputs["aux"]):
    assert logits.shape == (2, *space, 3)
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"level": 3}, "level=3; 3 rows have levels 1 to 2"),
    ({"head": 1}, r"head=1; this network has the heads \[2\]"),
    ({"mode": "quick"}, "mode='quick' is unknown; choices: accurate, fast"),
    ({"up": "unpool"}, "up='unpool' is unknown; choices: linear, nearest, transpose"),
    ({"strides": (2,)}, r"strides=\(2,\) has 1 entries but 2 are needed"),
    ({"widths": (8,)}, "two rows"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    UNetPP(**{**SMALL, **options})


def test_pruning_needs_a_head_on_that_level():
  stats = dict(shapes(UNetPP(**SMALL), 1, 8, 8, 1)[0])
  with pytest.raises(ValueError, match="level=1, but this network has only head2; train it with"):
    prune(stats.pop("params"), stats, 1)
