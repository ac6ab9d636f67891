"""Further streams with labels that a method learns from as from the main one."""

from collections.abc import Collection, Mapping

import jax.numpy as jnp

from jaxseg import samples
from jaxseg.batch import Batch
from jaxseg.method import Method

# how a stream joins that stands in the main one's place; another one lies beside it in the batch
INSTEAD = "instead"
# what every voxel counts where a stream doesn't tell
_ONES = "weight"


def joined(method: Method, streams: Mapping[str, str]) -> Method:
  """The method, fed with the samples of some streams beside the main one's, or in their place.

  A batch norm's statistics are those of all samples of the batch. Where one stream has weights and
  another none, all voxels of the latter count. What is applied stays as it is.

  Args:
    method: learns from the main stream.
    streams: name -> "beside" or "instead"; with one of the latter the main one validates alone.
  """
  if not streams:
    return method

  def train_step(state, batch, key):
    return method.train_step(state, together(batch, streams), key)

  def init(key, batch):
    return method.init(key, {name: of for name, of in batch.items() if name not in streams})

  return Method(init, train_step, method.apply)


def together(batch: Batch, streams: Mapping[str, str]) -> Batch:
  """The batch whose main samples are those of all that join, the other streams as they are.

  Raises ValueError for a field of one that another lacks.
  """
  others = {name: of for name, of in batch.items() if name in streams}
  rest = {n: of for n, of in batch.items() if isinstance(of, Mapping) and n not in streams}
  main = {name: of for name, of in batch.items() if not isinstance(of, Mapping)}
  parts = {name: dict(of) for name, of in others.items()}
  if INSTEAD not in streams.values():
    parts = {"": main, **parts}
  fields = set().union(*parts.values())
  for name, part in parts.items():
    _fill(part, fields, name)
  merged = {field: samples.joined(*(part[field] for part in parts.values())) for field in fields}
  return {**merged, **rest}


def _fill(part: Batch, fields: Collection[str], name: str) -> None:
  """Adds weights of 1 where they are missing; raises ValueError for any other field."""
  for field in fields - part.keys():
    if field != _ONES:
      where = f"config.streams.{name}" if name else "config.data"
      raise ValueError(
        f"{where}: its cases have no '{field}', which those that they are joined with have "
        "(config.streams, joins); expected the same fields, or a method that is fed from each "
        "stream by itself."
      )
    part[field] = jnp.ones(part["image"].shape[:-1], jnp.float32)
