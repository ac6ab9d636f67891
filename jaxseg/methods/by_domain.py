"""One network for several domains: which of its arrays each has of its own, and which all share.

The main stream's domain has the tree as the network knows it; what the others have of their own
lies beside it: "domains/mr/encoder1/layer1/norm/scale". So a run of one domain's network is a start
for all of them, and patterns of paths name the main domain's arrays as ever.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg import paths
from jaxseg.batch import Array, Batch, Target
from jaxseg.losses import Loss
from jaxseg.method import Learner

PyTree = Any
DOMAINS, NORMS, STATISTICS = "domains", "norms", "batch_stats"
# what the main stream's domain is called
MAIN = "main"
_LABELS = ("label", "soft_label", "scribble")


class Losses(NamedTuple):
  """A loss that weighs classes in each domain by how often they occur there.

  Attributes:
    main: the main stream's.
    further: name of a domain -> its own.
  """

  main: Loss
  further: Mapping[str, Loss]

  def __call__(self, logits: Array, target: Target) -> Array:
    return self.main(logits, target)

  def of(self, name: str) -> Loss:
    return self.further.get(name, self.main)


def loss_of(loss: Loss, name: str) -> Loss:
  """A domain's own loss; one that all share is that of each."""
  return loss.of(name) if isinstance(loss, Losses) else loss


def names(batch: Batch) -> tuple[str, ...]:
  """The domains of a batch: the main stream's, and the further streams with labels by their names.

  A domain's number, which the field `domain` of a case holds, is its place here.
  """
  further = [name for name, part in batch.items() if isinstance(part, Mapping)]
  return (MAIN, *sorted(name for name in further if set(_LABELS) & set(batch[name])))


def part(batch: Batch, name: str) -> Batch:
  """What a batch has of a domain."""
  return batch if name == MAIN else batch[name]


def ownership(learner: Learner, own: Sequence[str], where: str) -> Callable[[str], bool]:
  """Path of a parameter or of a norm's statistics -> whether each domain has its own.

  Args:
    learner: of one domain.
    own: patterns of paths; "norms" stands for scale, bias and statistics of every norm.
    where: begins what is said of them.

  Raises ValueError for a pattern that names nothing, "norms" of a network without any, and batch
  norms that are shared where others are not.
  """
  statistics = paths.flatten(learner.stats.get(STATISTICS, {}))
  known = {**paths.flatten(learner.params), **statistics}
  patterns = [pattern for pattern in own if pattern != NORMS]
  paths.check(patterns, known, where)
  norms = {_module(path) for path in known if path in statistics or path.endswith("/scale")}
  if NORMS in own and not norms:
    raise ValueError(
      f"{where}: '{NORMS}', but the network has none; expected a network with norms, or patterns "
      "of the paths that each domain has of its own."
    )

  def is_own(path: str) -> bool:
    by_norm = NORMS in own and _module(path) in norms
    return by_norm or paths.match(path, patterns) is not None

  shared = [path for path in statistics if own and not is_own(path)]
  if shared:
    raise ValueError(
      f"{where}: the batch norm '{_module(shared[0])}' would be shared by domains that go through "
      f"the network one by one, and its statistics would fit none of them; expected '{NORMS}' too, "
      "another norm (config.network.norm), or () for one network that sees all as one batch."
    )
  return is_own


def _module(path: str) -> str:
  return path.rpartition("/")[0]


def arranged(tree: PyTree, others: Collection[str], is_own: Callable[[str], bool]) -> PyTree:
  """A network's tree with what further domains have of their own, which begins as the main's."""
  own = {path: leaf for path, leaf in paths.flatten(tree).items() if is_own(path)}
  if not own:
    return tree
  # copies, because two leaves of a donated state must not share one buffer
  return {**tree, DOMAINS: {name: jax.tree.map(jnp.copy, paths.unflatten(own)) for name in others}}


def of_domain(tree: PyTree, name: str) -> PyTree:
  """An arranged tree -> the network's, for a domain."""
  base = {key: of for key, of in tree.items() if key != DOMAINS}
  if name == MAIN or DOMAINS not in tree:
    return base
  return paths.unflatten({**paths.flatten(base), **paths.flatten(tree[DOMAINS][name])})


def put(tree: PyTree, name: str, after: PyTree) -> PyTree:
  """An arranged tree with what a domain has of its own as it is in the network's tree `after`.

  What all share is the main domain's.
  """
  if name == MAIN:
    return {**tree, **after}
  own = tree.get(DOMAINS, {}).get(name)
  if own is None:
    return tree
  leaves = paths.flatten(after)
  changed = paths.unflatten({path: leaves[path] for path in paths.flatten(own)})
  return {**tree, DOMAINS: {**tree[DOMAINS], name: changed}}


def network_of(learner: Learner, domain: Array | None) -> tuple[PyTree, PyTree]:
  """(params, stats) for the domain of a batch of windows, (b,) int32 of one case; None is 0."""
  trees = (learner.params, learner.stats)
  known = [set(tree.get(DOMAINS, {})) for tree in (learner.params, *learner.stats.values())]
  everyone = (MAIN, *sorted(set().union(*known)))

  def tree_of(name):
    stats = {kind: of_domain(tree, name) for kind, tree in trees[1].items()}
    return of_domain(trees[0], name), stats

  if domain is None or len(everyone) == 1:
    return tree_of(MAIN)
  return jax.lax.switch(
    domain.reshape(-1)[0], [lambda name=name: tree_of(name) for name in everyone]
  )


def shares(learner: Learner) -> tuple[int, int]:
  """How many parameters all domains share, and how many each has of its own."""
  sizes = {path: of.size for path, of in paths.flatten(learner.params).items()}
  further = [path for path in sizes if path.startswith(f"{DOMAINS}/")]
  domains = {path.split("/")[1] for path in further}
  own = sum(sizes[path] for path in further) // max(len(domains), 1)
  return sum(sizes.values()) - own * (len(domains) + 1), own


def note(learner: Learner) -> str:
  """A sentence about what is shared."""
  shared, own = shares(learner)
  known = (MAIN, *sorted(learner.params.get(DOMAINS, ())))
  if not own:
    return f"All domains share one network of {shared:,} parameters."
  per_cent = f", {100 * own / shared:.2g} % of them" if shared else ""
  return (
    f"Domains {', '.join(known)}: they share {shared:,} parameters, and each has {own:,} of its "
    f"own{per_cent}."
  )
