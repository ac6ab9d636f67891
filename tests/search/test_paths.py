"""DiNTS' terms and what is chosen: values of MONAI 1.6.1 for drawn weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.search import genotypes, paths, relaxation
from jaxseg.search.topology import topology

random = np.random.RandomState(3)
PATHS = (random.randn(3, 7) * 2).astype(np.float32)
TWO = random.randn(3, 7, 2).astype(np.float32)
FIVE = random.randn(3, 7, 5).astype(np.float32)


def weights(operations):
  return {"paths": jnp.asarray(PATHS), "operations": jnp.asarray(operations)}


def test_probabilities_are_of_one_path_or_more():
  mix = relaxation.softmax(weights(TWO))
  first = [0.9736010, 0.7059488, 0.5485465, 0.0235189, 0.3650544, 0.3299742, 0.4590975]
  assert_close(mix["paths"][0], first, atol=1e-6)
  of = topology(blocks=3, depths=3)
  sets = paths.set_probabilities(of, jnp.asarray(PATHS))
  assert sets.shape == (3, 2**7 - 1)
  assert_close(sets.sum(-1), jnp.ones(3), atol=1e-5)


def test_the_topology_loss_is_monais():
  of = topology(blocks=3, depths=3)
  assert_close(paths.topology_loss(of, jnp.asarray(PATHS)), 7.2124691, rtol=1e-5)


@pytest.mark.parametrize(
  ("rank", "operations", "share"),
  [(2, TWO, 1.1218433380 / 2.2569606304), (3, FIVE, 1.8715312481 / 3.8590965270)],
)
def test_the_memory_is_monais(rank, operations, share):
  of = topology(blocks=3, depths=3, rank=rank)
  mix = relaxation.softmax(weights(operations))
  assert_close(paths.memory_share(of, mix, rank), share, rtol=1e-5)


def test_entropies_of_nothing_learnt():
  start = {"paths": jnp.zeros((12, 10)), "operations": jnp.zeros((12, 10, 5))}
  ours, theirs = paths.entropies(start)
  assert_close(ours, 0.693147, atol=1e-6)
  assert_close(theirs, np.log(5), atol=1e-6)


def test_the_network_that_is_chosen_is_monais():
  of = topology(blocks=3, depths=3, rank=3)
  chosen = paths.genotype(of, weights(FIVE))
  used = [[path for path, _ in block] for block in chosen["blocks"]]
  assert used == [[0, 1, 2, 6], [1, 2, 4, 5, 6], [0, 1, 4]]
  first = [name for _, name in chosen["blocks"][0]]
  assert first == ["skip", "conv_3x3x3", "skip", "conv_3x1x3"]
  assert genotypes.check(chosen, "genotype") == chosen


@pytest.mark.parametrize(
  ("seed", "used"),
  [
    (10, [[0, 1, 4, 6, 7, 8], [0, 1, 3, 4, 5, 7, 8], [2, 3, 4, 5, 6, 7, 9], [4, 5, 6, 7, 8]]),
    (11, [[0, 4, 7, 8], [1, 2, 3, 6, 7], [0, 2, 3, 4, 5, 6, 8], [2, 4, 5, 6, 7, 9]]),
    (12, [[0, 2, 4, 6, 9], [1, 2, 4, 9], [0, 1, 2, 3, 9], [2, 5, 9]]),
    (13, [[1, 3, 4, 5, 6, 7, 8], [0, 2, 4, 5, 6, 7, 8], [1, 2, 5, 7, 8], [0, 1, 4, 5, 6, 9]]),
  ],
)
def test_the_shortest_way_is_monais(seed, used):
  of = topology(blocks=4, depths=4, rank=2)
  drawn = np.random.RandomState(seed).randn(4, 10).astype(np.float32) * 2
  chosen = paths.genotype(of, {"paths": drawn, "operations": np.zeros((4, 10, 2))})
  assert [[path for path, _ in block] for block in chosen["blocks"]] == used


def test_terms_have_gradients():
  of = topology(blocks=3, depths=3)

  def total(weights):
    mix = relaxation.softmax(weights)
    terms = (*paths.entropies(weights), paths.memory_share(of, mix, 3))
    return sum(terms) + paths.topology_loss(of, weights["paths"])

  slopes = jax.grad(total)(weights(FIVE))
  assert all(np.isfinite(of).all() and np.abs(of).max() > 0 for of in jax.tree.leaves(slopes))


def test_the_share_of_skips():
  of = topology(blocks=1, depths=2, rank=2)
  mix = {"operations": jnp.array([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]])}
  assert_close(paths.skip_share(of, mix), 0.5)
