"""Several learners that one loss moves: one gradient is cheaper than one for each."""

from collections.abc import Callable, Mapping

import optax

from jaxseg.method import Learner, Metrics, descend
from jaxseg.optimisers import without_frozen


def descend_jointly(
  optimisers: Mapping[str, optax.GradientTransformation],
  learners: Mapping[str, Learner],
  objective: Callable,
) -> tuple[dict[str, Learner], Metrics]:
  """One gradient step of several learners, each by its own optimiser.

  Args:
    optimisers: learner -> its own.
    learners: those that learn.
    objective: {learner: params} -> (loss, ({learner: stats}, metrics)).

  Returns:
    The updated learners, and the metrics as `descend` gives them: the norm is of all gradients
    together, the rate the first learner's.
  """
  names = list(learners)
  transforms = [optimisers[name] for name in names]

  def each(function, *parts):
    return [function(*of) for of in zip(*parts, strict=True)]

  def update(updates, states, params):
    own = each(lambda tx, *of: tx.update(*of), transforms, updates, states, params)
    return tuple(map(list, zip(*own, strict=True)))

  def of_all(params):
    of = each(without_frozen, transforms, params)
    loss, (stats, metrics) = objective(dict(zip(names, of, strict=True)))
    return loss, ([stats[name] for name in names], metrics)

  several = [learners[name] for name in names]
  owned = ([getattr(of, part) for of in several] for part in ("params", "stats", "opt_state"))
  joint, metrics = descend(
    optax.GradientTransformation(lambda params: None, update), Learner(*owned), of_all
  )
  parts = each(Learner, joint.params, joint.stats, joint.opt_state)
  return dict(zip(names, parts, strict=True)), metrics
