"""What config.optimiser.accumulate does not make one large batch of, in words."""

from collections.abc import Mapping
from typing import Any

from jaxseg.losses import Loss
from jaxseg.losses.batch_dependence import depends_on_batch


def notes(
  config: Mapping[str, Any],
  losses: Mapping[str, Loss],
  stats: Mapping[str, Mapping],
  **of_batch,
) -> tuple[str, ...]:
  """A sentence if gradients are averaged over batches that are not as one large batch.

  Means over samples (cross entropy, Dice of each sample) with a norm of each sample are the same in
  k batches as in one of k times the size; what looks at a batch as a whole is not.

  Args:
    config: checked.
    losses: config field -> loss, of all parts of all losses.
    stats: learner -> its statistics, of which "batch_stats" are those of batch norms.
    of_batch: `depends_on_batch`'s further arguments.
  """
  further = {f"optimisers.{name}": spec for name, spec in config["optimisers"].items()}
  each = {"optimiser": config["optimiser"], **further}
  field, count = max(
    ((name, spec.get("accumulate", 1)) for name, spec in each.items()), key=lambda pair: pair[1]
  )
  if count == 1:
    return ()
  whole = [f"config.{name}" for name, loss in losses.items() if depends_on_batch(loss, **of_batch)]
  frozen = config["method"].get("freeze_statistics", False)
  norms = [name for name, of in stats.items() if "batch_stats" in of and not frozen]
  if not whole and not norms:
    return ()
  batch = config["data"]["batch"]
  what = [", ".join(whole)] if whole else []
  what += [f"the batch norm of '{name}'" for name in norms]
  return (
    f"config.{field}.accumulate: {count} batches of {batch} are not one of {count * batch} for "
    f"{' and '.join(what)}, which see {batch} at a time; losses of each sample (batch=False) and "
    "norms of each sample (instance, group) are the same either way.",
  )
