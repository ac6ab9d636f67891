"""Graph convolution: golden values, dense and edge lists alike, padding, pooling, builders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks import NETWORKS
from jaxseg.networks.blocks.graph import (
  Edges,
  GraphConv,
  GraphPool,
  dense,
  graph_unpool,
  grid_edges,
  knn_adjacency,
  propagate,
)
from jaxseg.networks.blocks.graph_reasoning import GraphReasoning
from jaxseg.networks.blocks.graph_unet import GraphUNet

PATH = Edges(np.array([0, 1, 1, 2]), np.array([1, 0, 2, 1]))
GOLDEN = {"symmetric": (1.316497, 2.299660, 2.316497), "mean": (1.5, 2.0, 2.5)}


@pytest.mark.parametrize("graph", ["edges", "dense"])
@pytest.mark.parametrize("normalisation", GOLDEN)
def test_the_path_graph_has_the_fact_sheets_values(graph, normalisation):
  x = jnp.asarray([[[1.0], [2.0], [3.0]]])
  given = PATH if graph == "edges" else dense(PATH, 3)
  net = GraphConv(1, normalisation, use_bias=False)
  got = net.apply({"params": {"weight": {"kernel": jnp.ones((1, 1))}}}, x, given)
  assert_close(got[0, :, 0], GOLDEN[normalisation], atol=1e-6)


@pytest.mark.parametrize("normalisation", GOLDEN)
def test_padding_changes_nothing(normalisation):
  """Filled up with two nodes and two edges of weight 0, three nodes have the same values."""
  x = jnp.asarray([[[1.0], [2.0], [3.0], [7.0], [-9.0]]])
  mask = jnp.asarray([[True, True, True, False, False]])
  joined = Edges(
    np.array([0, 1, 1, 2, 3, 0]), np.array([1, 0, 2, 1, 0, 4]), jnp.asarray([1.0, 1, 1, 1, 1, 0])
  )

  @jax.jit
  def run(x):
    graphs = joined, dense(joined, 5)
    return [propagate(x, graph, normalisation=normalisation, mask=mask) for graph in graphs]

  for got in run(x):
    got = got[0, :, 0]
    assert_close(got[:3], GOLDEN[normalisation], atol=1e-6)
    np.testing.assert_array_equal(got[3:], 0)


def test_dense_and_edges_agree_with_weights_and_per_sample_masks():
  rng = np.random.default_rng(0)
  adjacency = np.triu(rng.uniform(size=(6, 6)) * (rng.uniform(size=(6, 6)) > 0.4), 1)
  adjacency = (adjacency + adjacency.T).astype(np.float32)
  receivers, senders = np.nonzero(adjacency)
  edges = Edges(senders, receivers, jnp.asarray(adjacency[receivers, senders]))
  assert_close(dense(edges, 6), adjacency)
  x = rng.normal(size=(2, 6, 3)).astype(np.float32)
  mask = jnp.asarray([[True] * 6, [True, True, False, True, True, False]])

  @jax.jit
  def run(x):
    return [
      propagate(x, graph, normalisation=normalisation, mask=mask)
      for normalisation in GOLDEN
      for graph in (edges, adjacency)
    ]

  a, b, c, d = run(x)
  assert_close(a, b, atol=1e-5)
  assert_close(c, d, atol=1e-5)
  # numpy's own matrix product, for the sample without padding
  full = adjacency + np.eye(6)
  scale = np.diag(full.sum(1) ** -0.5)
  assert_close(a[0], scale @ full @ scale @ x[0], atol=1e-5)


def test_attention_is_a_softmax_over_the_neighbours_and_oneself():
  x = jnp.asarray([[[1.0], [2.0], [3.0]]])
  params = {"weight": {"kernel": jnp.ones((1, 1))}, "attention": {"kernel": jnp.zeros((1, 2))}}
  net = GraphConv(1, "attention", use_bias=False)
  attend = jax.jit(net.apply)
  # equal scores: the mean over the neighbourhood
  got = attend({"params": params}, x, dense(PATH, 3))
  assert_close(got[0, :, 0], GOLDEN["mean"], atol=1e-6)
  params["attention"]["kernel"] = jnp.asarray([[0.0, 1.0]])
  weights = np.exp([1.0, 2.0])
  got = attend({"params": params}, x, dense(PATH, 3))
  assert_close(got[0, 0, 0], (weights * [1, 2]).sum() / weights.sum())
  masked = attend({"params": params}, x, dense(PATH, 3), jnp.asarray([[True, True, False]]))
  assert_close(masked[0, 1, 0], got[0, 0, 0])
  with pytest.raises(ValueError, match="takes a dense adjacency"):
    net.apply({"params": params}, x, PATH)
  with pytest.raises(ValueError, match=r"unknown; choices: symmetric, mean, attention"):
    GraphConv(1, "max").init(jax.random.key(0), x, PATH)


def test_pooling_keeps_the_largest_projections_and_gates_them():
  x = jnp.asarray([[[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [1.0, 0.0]]])
  adjacency = dense(Edges(np.array([0, 1, 1, 2, 2, 3]), np.array([1, 0, 2, 1, 3, 2])), 4)
  params = {"params": {"vector": jnp.asarray([3.0, 4.0])}}
  mask = jnp.asarray([[True, True, False, False]])

  @jax.jit
  def run(x):
    pooled = GraphPool(2).apply(params, x, adjacency)
    direct = GraphPool(2, power=1).apply(params, x, adjacency)
    masked = GraphPool(3).apply(params, x, adjacency, mask)
    return pooled, direct, masked, graph_unpool(pooled[0], pooled[2], 4)

  # projections on (3, 4) / 5: 5, 0, 10, 0.6
  (pooled, coarse, index, kept), direct, masked, back = jax.tree.map(np.asarray, run(x))
  np.testing.assert_array_equal(index, [[2, 0]])
  gate = 1 / (1 + np.exp([-10.0, -5.0]))
  assert_close(pooled[0], [[6 * gate[0], 8 * gate[0]], [3 * gate[1], 4 * gate[1]]])
  # 0 and 2 are two steps apart, by way of the dropped 1
  np.testing.assert_array_equal(coarse, [[[0, 1], [1, 0]]])
  np.testing.assert_array_equal(direct[1], 0)
  np.testing.assert_array_equal(kept, True)
  back = graph_unpool(pooled, index, 4)
  np.testing.assert_array_equal(back[0, [1, 3]], 0)
  np.testing.assert_array_equal(back[0, [2, 0]], pooled[0])
  pooled, coarse, index, kept = masked
  np.testing.assert_array_equal(index[0, :2], [0, 1])
  np.testing.assert_array_equal(kept, [[True, True, False]])
  np.testing.assert_array_equal(pooled[0, 2], 0)
  np.testing.assert_array_equal(coarse[0], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
  with pytest.raises(ValueError, match="nodes=5 of 4; expected 1 to 4"):
    GraphPool(5).init(jax.random.key(0), x, adjacency)


def test_the_projection_vector_learns_through_the_gate():
  x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
  pool = GraphPool(3)

  def total(vector):
    return pool.apply({"params": {"vector": vector}}, x, jnp.zeros((6, 6)))[0].sum()

  assert np.abs(jax.jit(jax.grad(total))(jnp.asarray([1.0, 2.0, 3.0]))).min() > 0


@pytest.mark.parametrize(
  ("space", "diagonal", "edges"),
  [
    ((5,), False, 2 * 4),
    ((3, 4), False, 2 * 17),
    ((3, 4), True, 2 * (17 + 12)),
    ((2, 3, 4), False, 2 * 46),
  ],
)
def test_the_grid_joins_each_voxel_with_its_neighbours(space, diagonal, edges):
  grid = grid_edges(space, diagonal=diagonal)
  assert len(grid.senders) == edges
  adjacency = np.asarray(dense(grid, int(np.prod(space))))
  np.testing.assert_array_equal(adjacency, adjacency.T)
  assert adjacency.max() == 1
  points = np.argwhere(np.ones(space))
  steps = np.abs(points[:, None] - points[None])
  near = steps.max(-1) == 1 if diagonal else steps.sum(-1) == 1
  np.testing.assert_array_equal(adjacency > 0, near)


def test_nearest_neighbours_are_those_of_numpy_in_both_directions():
  x = np.random.default_rng(1).normal(size=(2, 7, 3)).astype(np.float32)
  got = jax.jit(lambda x: knn_adjacency(x, 2))(x)
  for i in range(2):
    distance = np.linalg.norm(x[i][:, None] - x[i][None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    expected = np.zeros((7, 7))
    expected[np.arange(7)[:, None], np.argsort(distance, 1)[:, :2]] = 1
    np.testing.assert_array_equal(got[i], np.maximum(expected, expected.T))
  mask = jnp.asarray([[True] * 3 + [False] * 4] * 2)
  masked = np.asarray(jax.jit(lambda x: knn_adjacency(x, 4, mask=mask))(x))
  assert not masked[:, 3:].any()
  assert not masked[:, :, 3:].any()
  np.testing.assert_array_equal(masked[:, :3, :3], np.broadcast_to(1 - np.eye(3), (2, 3, 3)))


def test_graph_reasoning_has_the_papers_layers():
  c, n, s = 64, 16, 32
  shapes = jax.eval_shape(GraphReasoning().init, jax.random.key(0), jnp.zeros((1, 4, 5, c)))
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
  # state, assignment, adjacency (with biases), update and extension (without), norm
  assert count == (c * s + s) + (c * n + n) + (n * n + n) + s * s + s * c + 2 * c


def drawn(block, x):
  """Parameters of that block, by numpy: nothing to compile."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(block.init, jax.random.key(0), x)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize(
  ("block", "space"),
  [
    (GraphReasoning(nodes=3, norm="instance"), (5, 4)),
    (GraphReasoning(nodes=3, norm="none"), (5, 4)),
    (GraphUNet(levels=1, activation="elu"), (3, 2, 4)),
    (GraphUNet(graph="knn", neighbours=3, activation="elu"), (5, 4)),
  ],
)
def test_graph_blocks_start_as_the_identity_and_all_their_parameters_learn(block, space):
  x = np.random.default_rng(1).normal(size=(2, *space, 8)).astype(np.float32)

  @jax.jit
  def run(params, key):
    gradient = jax.grad(lambda p: jnp.square(block.apply(p, x)).sum())(params)
    return block.apply(block.init(key, x), x), gradient

  start, gradient = run(drawn(block, x), jax.random.key(1))
  np.testing.assert_array_equal(start, x)
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0, path


def test_graph_reasoning_sees_the_whole_image_at_once():
  """A change in one corner changes the opposite one; the order of the voxels doesn't matter."""
  block = GraphReasoning(nodes=3, norm="none")
  x = np.random.default_rng(1).normal(size=(1, 4, 4, 8)).astype(np.float32)
  changed = x.copy()
  changed[0, 0, 0] += 1
  # three images in one call: nothing is mixed across the batch
  images = np.concatenate([x, changed, x[:, ::-1]])
  plain, moved, mirrored = np.split(np.asarray(jax.jit(block.apply)(drawn(block, x), images)), 3)
  assert np.abs(plain - moved)[0, 3, 3].max() > 1e-4
  np.testing.assert_allclose(mirrored[:, ::-1], plain, rtol=1e-4, atol=1e-4)


def test_a_bad_option_of_the_graph_unet_is_told():
  x = jnp.zeros((1, 2, 2, 4))
  with pytest.raises(ValueError, match="graph='mesh' is unknown; choices: grid, knn"):
    GraphUNet(graph="mesh").init(jax.random.key(0), x)
  with pytest.raises(ValueError, match="ratio=0; expected more than 0"):
    GraphUNet(ratio=0).init(jax.random.key(0), x)


@pytest.mark.parametrize(
  ("option", "name"),
  [
    ("bottleneck", "graph_reasoning"),
    ("bottleneck", "graph_unet"),
    ("attention", "graph_reasoning"),
  ],
)
@pytest.mark.parametrize("size", [(17, 12), (9, 12, 7)])
def test_the_unet_takes_graph_blocks_by_name(option, name, size):
  net = NETWORKS["unet"](widths=(4, 8, 8), **{option: name})
  x = jax.ShapeDtypeStruct((2, *size, 1), jnp.float32)
  out, variables = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x), x)
  assert out["logits"].shape == (2, *size, 3)
  assert any({"assignment", "pool1"} & set(part) for part in variables["params"].values())
