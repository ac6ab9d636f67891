"""Weights that start from other runs."""

import jax

from jaxseg.method import State
from jaxseg.runs import checkpoint


def initialised(state: State, folders: dict[str, str], places: State) -> State:
  """Replaces the weights of the learners that start from other runs, placed by `places`."""
  learners = dict(state.learners)
  for name, folder in folders.items():
    if name not in learners:
      raise ValueError(
        f"config.initialise.{name}: the method has no such learner; it has {', '.join(learners)}."
      )
    source, own = checkpoint.load_learner(folder), learners[name]
    # the steps that schedules count are a run's own
    stats = {where: tree for where, tree in source.stats.items() if where != "counts"}
    stats |= {where: tree for where, tree in own.stats.items() if where == "counts"}
    source = source.replace(stats=stats)
    loaded = {
      part: checkpoint.unflatten(
        checkpoint.flatten(getattr(source, part)), getattr(own, part), f"config.initialise.{name}"
      )
      for part in ("params", "stats")
    }
    where = {part: getattr(places.learners[name], part) for part in loaded}
    learners[name] = own.replace(**jax.device_put(loaded, where))
  return state.replace(learners=learners)
