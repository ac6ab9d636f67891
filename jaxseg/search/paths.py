"""What DiNTS' weights say: probabilities of sets of paths, losses, and the network chosen.

Of blocks B, paths P of a block and its S = 2^P - 1 sets of one path or more, in the order of
`Topology.subsets`. Source: He et al., CVPR 2021, 2103.15954; numbers as MONAI's `TopologySearch`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.search.relaxation import PATHS, Mix, Weights, binary_entropy, entropy
from jaxseg.search.topology import SKIP, Topology

OPERATIONS = "operations"
# keeps logarithms finite, and the lengths of edges above 0
_SMALL, _LENGTH = 1e-5, 1e-3


@functools.lru_cache(maxsize=4)
def _used(topology: Topology) -> np.ndarray:
  """(S, P) of 0 and 1."""
  out = np.zeros((len(topology.subsets), len(topology.paths)), np.float32)
  for row, subset in enumerate(topology.subsets):
    out[row, list(subset)] = 1
  return out


def set_probabilities(topology: Topology, weights: jax.Array) -> jax.Array:
  """(B, P) weights -> (B, S): of each set of paths, given that one path or more are used."""
  each, used = jax.nn.sigmoid(weights)[:, None], _used(topology)[None]
  norm = 1 - jnp.prod(1 - each[:, 0], -1, keepdims=True)
  return jnp.prod(used * each + (1 - used) * (1 - each), -1) / norm


@functools.lru_cache(maxsize=4)
def _nodes(topology: Topology) -> tuple[np.ndarray, np.ndarray]:
  """Two (S, N) of 0 and 1: which set of resolutions each set of paths makes, and which it reads."""
  pattern = {frozenset(topology.paths[i].source for i in of) for of in topology.subsets}
  place = {of: i for i, of in enumerate(sorted(pattern, key=sorted))}
  made, read = (np.zeros((len(topology.subsets), len(place)), np.float32) for _ in range(2))
  for row, subset in enumerate(topology.subsets):
    made[row, place[topology.targets(subset)]] = 1
    read[row, place[topology.sources(subset)]] = 1
  return made, read


def topology_loss(topology: Topology, weights: jax.Array) -> jax.Array:
  """How little the resolutions that a block reads are those that the block before makes."""
  sets, (made, read) = set_probabilities(topology, weights), _nodes(topology)
  before, after = sets[:-1] @ made, sets[1:] @ read
  agree = before * jnp.log(after + _SMALL) + (1 - before) * jnp.log(1 - after + _SMALL)
  return -jnp.sum(agree)


def entropies(weights: Weights) -> tuple[jax.Array, jax.Array]:
  """Mean over paths of how open it is whether each is used, and over those of its operation.

  In nats: log 2 = 0.693147 where a path is as likely used as not.
  """
  paths = binary_entropy(jax.nn.sigmoid(weights[PATHS]))
  operations = entropy(jax.nn.softmax(weights[OPERATIONS], -1))
  return jnp.mean(paths), jnp.mean(operations)


def costs(topology: Topology, rank: int) -> np.ndarray:
  """(P, operations): arrays that an operation on a path makes, in those that come out of it."""
  out = np.zeros((len(topology.paths), len(topology.operations)), np.float32)
  for i, (source, target) in enumerate(topology.paths):
    # channels that come in for one that goes out
    ratio = 2.0 ** (source - target)
    before = {0: 0.0, 1: ratio * 2**rank + 3, -1: 2 * ratio + 2}[target - source]
    for j, name in enumerate(topology.operations):
      kernels = 2 if "1" in name else 1
      out[i, j] = before + (0.0 if name == SKIP else {1: 3.0, 2: 4.0}[kernels])
  return out


def memory_share(topology: Topology, mix: Mix, rank: int) -> jax.Array:
  """What a network of these probabilities holds, as a share of that of all paths."""
  # channels double and voxels are a 2^rank-th from one resolution to the next
  sizes = np.array([2.0 ** (i * (1 - rank)) for i in range(topology.depths)], np.float32)
  of_path = sizes[None, [path.target for path in topology.paths]]
  usage = 1 + jnp.sum(costs(topology, rank)[None] * mix[OPERATIONS], -1)
  return jnp.sum(mix[PATHS] * usage * of_path) / jnp.sum(usage * of_path)


def skip_share(topology: Topology, mix: Mix) -> jax.Array:
  """Of the operations that would be chosen on all paths, the share of skip connections."""
  if SKIP not in topology.operations:
    return jnp.zeros(())
  best = jnp.argmax(mix[OPERATIONS], -1)
  return jnp.mean((best == topology.operations.index(SKIP)).astype(jnp.float32))


def genotype(topology: Topology, weights: Weights) -> dict[str, Any]:
  """The most probable network in which each block reads all that the one before makes.

  The shortest way through the blocks, each set of paths as long as its probability is small; of
  every path its strongest operation. As JSON, see `genotypes`.
  """
  sets = np.asarray(set_probabilities(topology, jnp.asarray(weights[PATHS])), np.float64)
  lengths = -np.log(sets + _SMALL) + _LENGTH
  made = [topology.targets(of) for of in topology.subsets]
  read = [topology.sources(of) for of in topology.subsets]
  total, came = lengths[0], []
  for block in range(1, topology.blocks):
    # of each set of resolutions the shortest way that makes it
    best: dict[frozenset[int], int] = {}
    for number, target in enumerate(made):
      if target not in best or total[number] < total[best[target]]:
        best[target] = number
    came.append([best.get(of, -1) for of in read])
    before = np.array([total[i] if i >= 0 else np.inf for i in came[-1]])
    total = before + lengths[block]
  chosen = [int(np.argmin(total))]
  for steps in reversed(came):
    chosen.insert(0, steps[chosen[0]])
  strongest = np.argmax(np.asarray(weights[OPERATIONS]), -1)
  blocks = [
    [[path, topology.operations[strongest[block, path]]] for path in topology.subsets[number]]
    for block, number in enumerate(chosen)
  ]
  return {"space": "dints", "depths": topology.depths, "blocks": blocks}
