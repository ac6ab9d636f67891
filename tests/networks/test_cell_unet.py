"""Networks of cells and their supernet: counts, sizes, what an operation computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count, shapes, traced, trained_shapes
from closeness import assert_close
from gradients import drawn

from jaxseg.networks import SUPERNETS, CellSupernet, CellUNet
from jaxseg.networks.blocks import operations
from jaxseg.networks.blocks.cell import Cell
from jaxseg.search import cells, choice, genotypes

V2 = genotypes.PUBLISHED["nas_unet_v2"]
SMALL = {
  "down": ("max", "down_cweight", "down_dil", "down_dep"),
  "up": ("up_cweight", "up_dep", "up_conv", "up_dil"),
  "normal": ("identity", "none", "cweight", "dep", "shuffle"),
}


def small(**options):
  return CellSupernet(**{"nodes": 2, "features": 4, "depth": 1, "operations": SMALL, **options})


def test_the_supernet_of_nas_unet_has_the_published_parameters():
  net = CellSupernet(classes=2, features=16, depth=4, unused_norms=True)
  params, _ = traced(net, 1, 32, 32, 1)
  assert count(params) == 612_334
  alphas = {name: of.shape for name, of in params["architecture"].items()}
  assert alphas == {"normal": (9, 7), "down": (9, 6), "up": (9, 4)}
  assert count(params["architecture"]) == 153
  # scale and bias of every "none", and of the head, that nothing uses
  plain, _ = traced(net.clone(unused_norms=False), 1, 32, 32, 1)
  assert count(params) - count(plain) == 1_344 + 4


def test_without_sharing_the_up_cell_chooses_by_weights_of_its_own():
  params, _ = traced(small(sharing=False), 1, 8, 8, 1)
  assert set(params["architecture"]) == {"down", "up", "normal_down", "normal_up"}


def test_the_supernet_of_darts_has_the_published_choices():
  params, _ = traced(CellSupernet(space="darts", depth=1, features=4), 1, 8, 8, 1)
  alphas = {name: of.shape for name, of in params["architecture"].items()}
  assert alphas == {"normal": (14, 8), "reduce": (14, 8)}


@pytest.mark.parametrize(
  ("name", "parameters"), [("conv", 2_336), ("dep", 432), ("cweight", 49), ("down_cweight", 2_385)]
)
def test_operations_have_the_published_parameters(name, parameters):
  operation = operations.of_nas_unet(name, 16, name="operation")
  assert count(traced(operation, 1, 8, 8, 16)[0]) == parameters


def darts_cells(features, layers, edges):
  """The parameters of DARTS' classifier but for its stem and its last layer: of its schedule."""
  total, before, last = 0, (3 * features, 3 * features), False

  @functools.cache
  def parameters(name, features, before, last):
    of = cells.FULL["darts"]
    cell = Cell(of, name, features, edges and edges[name], last, norm="batch")
    sizes = (16 if last else 8, 8)
    shapes = [(1, n, n, channels) for n, channels in zip(sizes, before, strict=True)]
    key, *inputs = jax.eval_shape(lambda: (jax.random.key(0), *map(jnp.zeros, shapes)))
    mix = jax.eval_shape(lambda: {group: jnp.zeros(shape) for group, shape in of.shapes.items()})
    made = jax.eval_shape(cell.init, key, *inputs, None if edges else mix)
    return count(made.get("params", {}))

  for layer in range(layers):
    reduces = layer in (layers // 3, 2 * layers // 3)
    features = 2 * features if reduces else features
    total += parameters("reduce" if reduces else "normal", features, before, last)
    before, last = (before[1], 4 * features), reduces
  return total


def test_cells_of_darts_have_the_parameters_of_its_classifiers():
  # CIFAR-10: the search network of 16 channels and 8 layers, 1.930618 million by its log, the
  # network that was chosen of 36 channels and 20 layers, 3.349342 million
  stem, last = 3 * 9 * 48 + 2 * 48, 256 * 10 + 10
  assert darts_cells(16, 8, None) + stem + last == 1_930_618
  edges = genotypes.PUBLISHED["darts_v2"]
  stem, last = 3 * 9 * 108 + 2 * 108, 576 * 10 + 10
  assert darts_cells(36, 20, edges) + stem + last == 3_349_342


@pytest.mark.parametrize("space", ["nas_unet", "darts"])
def test_supernets_keep_odd_sizes_and_ranks(space):
  few = {"operations": ("none", "skip", "max3", "sep3")}
  net = small(space=space, operations=few if space == "darts" else SMALL)
  for size in ((13, 10), (13, 10, 7)):
    variables, outputs = trained_shapes(net, 2, *size, 2)
    assert outputs["logits"].shape == (2, *size, 3)
    assert outputs["logits"].dtype == jnp.float32
    assert len(net.total_stride(len(size))) == len(size)
    assert "architecture" in variables["params"]


def test_half_precision_keeps_what_is_chosen_in_full():
  variables, outputs = trained_shapes(small(dtype="bfloat16"), 2, 8, 8, 1)
  assert outputs["logits"].dtype == jnp.float32
  assert {of.dtype for of in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}


def test_a_mix_of_one_genotype_computes_its_network():
  """Weights that are shared: the operations of the genotype are those of the supernet."""
  net = small(norm="instance", operations=None)
  chosen = {
    "space": "nas_unet",
    "down": [[["down_conv", 0], ["max", 1]], [["avg", 0], ["conv", 2]]],
    "up": [[["identity", 0], ["up_conv", 1]], [["up_dep", 1], ["dil", 2]]],
  }
  own = CellUNet(genotype=chosen, features=4, depth=1, norm="instance", stem=2)
  x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
  shared = drawn(shapes(net, 1, 8, 8, 1)[1]["params"])

  def pick(path, leaf):
    at = shared
    for key in path:
      at = at.get(key.key, {})
    # the supernet's norms have no scale and bias
    missing = isinstance(at, dict)
    return np.full(leaf.shape, path[-1].key == "scale", np.float32) if missing else at

  params = jax.tree_util.tree_map_with_path(pick, shapes(own, 1, 8, 8, 1)[1]["params"])
  mix = choice.one_hot(net.choices(2), chosen)
  ours = net.apply({"params": shared}, x, mix)["logits"]
  assert_close(ours, own.apply({"params": params}, x)["logits"], atol=1e-4)


def transposed(x, kernel, dilation):
  """PyTorch's rule: stride 2, a voxel more at the end, of one channel in and out."""
  n, k = len(x), len(kernel)
  pad = dilation * (k // 2)
  out = np.zeros((n - 1) * 2 + dilation * (k - 1) + 1 + 1)
  for i, value in enumerate(x):
    for j, weight in enumerate(kernel):
      out[2 * i + dilation * j] += value * weight
  return out[pad : pad + 2 * n]


def test_the_dilated_transposed_convolution_is_one_between_zeros():
  """As PyTorch's, whose kernel is ours from the other end."""
  module = operations.Convolution(1, "dilated", "up", norm="none")
  x = np.random.default_rng(0).uniform(0.5, 1.5, 6).astype(np.float32)
  kernel = np.array([0.5, 1.0, 0.25], np.float32)
  params = {"conv": {"kernel": kernel[:, None, None]}}
  ours = module.apply({"params": params}, x[None, :, None])[0, :, 0]
  assert_close(ours, transposed(x, kernel[::-1], 2), atol=1e-6)
  assert not ours[1::2].any()


def test_averages_of_pools_are_of_the_voxels_that_there_are():
  x = jnp.arange(16.0).reshape(1, 4, 4, 1)
  out = operations.Pool("avg").apply({}, x)[0, :, :, 0]
  # a corner has four voxels, an edge six
  assert_close(out[0, :2], [(0 + 1 + 4 + 5) / 4, (0 + 1 + 2 + 4 + 5 + 6) / 6])


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda: CellUNet(genotype={**V2, "up": []}), "as many in one as in the other"),
    (lambda: CellUNet(genotype="nas_unet_v9"), "no genotype"),
    (lambda: CellUNet(genotype={"space": "dints"}), "expected nas_unet or darts"),
    (lambda: CellUNet(genotype=V2, depth=0), "at least one"),
    (lambda: small(operations={"down": ("conv",)}), "no operation of the edges of 'down'"),
    (lambda: small(operations={"up": ()}), "one or more"),
    (lambda: small(operations={"reduce": ("max3",)}), "expected those of down, up, normal"),
    (lambda: small(space="cells"), "unknown"),
    (lambda: small(norm="layer"), "unknown"),
  ],
)
def test_what_cannot_be_is_refused(make, words):
  with pytest.raises(ValueError, match=words):
    make()


def test_every_supernet_tells_its_choices():
  for make in SUPERNETS.values():
    for rank in (2, 3):
      assert make().choices(rank)
