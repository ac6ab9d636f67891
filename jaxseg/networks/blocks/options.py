"""Reads options that are one value for all, or one per axis or per stage."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def per_axis(value: int | Sequence[int], rank: int, option: str) -> tuple[int, ...]:
  """One integer per spatial axis; raises ValueError if the option has another number of axes."""
  if not isinstance(value, Sequence):
    return (int(value),) * rank
  if len(value) != rank:
    raise ValueError(
      f"{option}={tuple(value)} has {len(value)} entries but the input has {rank} spatial axes; "
      f"give one integer, or {rank} in the order {('z', 'y', 'x')[-rank:]}."
    )
  return tuple(int(v) for v in value)


def per_stage(value: Any, stages: int, option: str) -> tuple:
  """One value per stage; raises ValueError if the option has another number of stages."""
  if not isinstance(value, Sequence) or isinstance(value, str):
    return (value,) * stages
  if len(value) != stages:
    raise ValueError(
      f"{option}={tuple(value)} has {len(value)} entries but {stages} are needed; "
      "give one value for all, or one per stage."
    )
  return tuple(value)


def total_per_axis(strides: Iterable[Sequence[int]]) -> tuple[int, ...]:
  """The product, per axis, of the strides of one level after the other."""
  return tuple(math.prod(axis) for axis in zip(*strides, strict=True))


def named(spec: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
  """A part's options with its name, of an option that is a name, such a dict, or None for none."""
  spec = "none" if spec is None else spec
  return {"name": spec} if isinstance(spec, str) else spec


def choice(name: str, choices: Mapping[str, Any] | Sequence[str], option: str) -> str:
  """The name itself; raises ValueError that lists the choices if it is none of them."""
  if name not in choices:
    raise ValueError(f"{option}='{name}' is unknown; choices: {', '.join(choices)}.")
  return name


def need_rank(rank: int, ranks: Sequence[int], who: str) -> int:
  """The rank itself; raises ValueError if `who` takes no inputs with that many spatial axes."""
  if rank not in ranks:
    kinds = {1: "(batch, x, channels)", 2: "images (batch, y, x, channels)"}
    kinds[3] = "volumes (batch, z, y, x, channels)"
    raise ValueError(
      f"{who}: an input with {rank} spatial axes; expected {' or '.join(kinds[r] for r in ranks)}."
    )
  return rank
