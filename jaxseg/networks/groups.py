"""Options that belong together: `dropout=dict(rate=0.2, kind="channel")`, or a shorthand, `0.2`.

The shorthand is the value of the first option. Names, values and ranges are checked as those of a
component of a config.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.build import check_options
from jaxseg.config.option_values import check_values
from jaxseg.networks.blocks import NORMS, choice

# what a config of earlier versions had beside each other, and what to give instead
MOVED = {
  "norm_groups": "norm=dict(name='group', groups=...)",
  "up_kernels": "up=dict(name='transpose', kernels=...)",
  "up_norm": "up=dict(name='transpose', norm=...)",
  "up_bias": "up=dict(name='transpose', bias=...)",
  "spatial_dropout": "dropout=dict(rate=..., kind='channel')",
  "drop_block": "dropout=dict(rate=..., kind='block', size=...)",
  "drop_block_ramp": "dropout=dict(rate=..., kind='block', ramp=...)",
  "conv_bias": "bias=dict(conv=...)",
  "head_bias": "bias=dict(head=...)",
  "encoder_block": "block=dict(encoder=..., decoder=...)",
  "attention_at": "attention=dict(encoder=...) or dict(decoder=...)",
  "gating": "name='attention_unet', which has it",
}


class Normalisation(NamedTuple):
  """`norm`: a name of `blocks.NORMS`, and the number of groups of "group"."""

  name: str = "batch"
  groups: int = 8


class Dropout(NamedTuple):
  """`dropout`: at the end of each stage.

  Attributes:
    rate: one for all stages or one for each; a decoder stage takes its encoder's.
    kind: drops each "voxel" by itself, whole "channel"s or a "block" of neighbouring voxels.
    size: sides of a block, one or one per axis.
    ramp: steps over which the rate of blocks grows from 0; 0: constant.
  """

  rate: float | Sequence[float] = 0.0
  kind: str = "voxel"
  size: int | Sequence[int] = 7
  ramp: int = 0

  def of_stage(self, rate: float) -> dict[str, Any]:
    """What a block of `parts.BLOCKS` calls these, for a stage's rate."""
    block = self.kind == "block"
    return {
      "dropout": rate,
      "spatial_dropout": self.kind == "channel",
      "drop_block": self.size if block else 0,
      "drop_block_ramp": self.ramp,
    }


class Up(NamedTuple):
  """`up`: from a stage's resolution and width to the finer one's.

  Attributes:
    name: "linear" or "nearest" (interpolation, convolution, norm, activation), "transpose"
      (transposed convolution), "unpool" (convolution, norm, activation, max-unpooling with the
      encoder's indices).
    kernels: of "transpose", per stride and at least as large; None: the strides themselves.
    norm: norm and activation follow "transpose".
    bias: "transpose" has one.
  """

  name: str = "linear"
  kernels: int | Sequence[Any] | None = None
  norm: bool = False
  bias: bool = True


class Bias(NamedTuple):
  """`bias`: True or False for all, or of the convolutions, and of the last 1x1 convolution."""

  conv: bool = False
  head: bool = False


def spelled_out(options: Mapping[str, Any]) -> dict[str, Any]:
  """A network's options, those of groups as dicts with all of theirs; a shorthand means one."""
  kinds = {"norm": Normalisation, "dropout": Dropout, "up": Up}
  whole = {name: group(of, options[name], name) for name, of in kinds.items() if name in options}
  if "bias" in options:
    whole["bias"] = bias_of(options["bias"])
  return {**options, **{name: of._asdict() for name, of in whole.items()}}


def group(kind: type[NamedTuple], value: Any, option: str) -> Any:
  """The options of a group, which a config gives as a dict or by their shorthand.

  Raises ValueError that names the option for one that there is not, and for values of other types
  or beyond their range.
  """
  if not isinstance(value, Mapping):
    return kind(value)
  known = inspect.signature(kind).parameters
  check_options(option, value, known, f"network.{option}")
  check_values(option, value, known, f"network.{option}")
  return kind(**value)


def norm_of(value: Any, who: str) -> Normalisation:
  """`norm`, refused in words if there is no such one."""
  norm = group(Normalisation, value, "norm")
  choice(norm.name, NORMS, f"{who}: norm")
  if norm.name != "group" and isinstance(value, Mapping) and "groups" in value:
    raise ValueError(
      f"{who}: norm.groups={norm.groups} belongs to norm='group', but norm='{norm.name}'; leave "
      "one of them out."
    )
  return norm


def dropout_of(value: Any, who: str) -> Dropout:
  """`dropout`, refused in words if its options contradict each other."""
  dropout = group(Dropout, value, "dropout")
  choice(dropout.kind, ("voxel", "channel", "block"), f"{who}: dropout.kind")
  for option in ("size", "ramp"):
    if dropout.kind != "block" and isinstance(value, Mapping) and option in value:
      raise ValueError(
        f"{who}: dropout.{option}={value[option]} belongs to kind='block', but kind="
        f"'{dropout.kind}'; leave one of them out."
      )
  if isinstance(value, Mapping) and value and "rate" not in value:
    raise ValueError(
      f"{who}: dropout={dict(value)} has no rate, so that nothing would be dropped; expected one, "
      "as rate=0.2, or dropout=0.0."
    )
  return dropout


def up_of(value: Any, who: str, choices: Sequence[str]) -> Up:
  """`up`, refused in words if its options contradict each other."""
  up = group(Up, value, "up")
  choice(up.name, choices, f"{who}: up")
  for option in ("kernels", "norm", "bias"):
    if up.name != "transpose" and isinstance(value, Mapping) and option in value:
      raise ValueError(
        f"{who}: up.{option}={value[option]} belongs to up='transpose', but up='{up.name}'; leave "
        "one of them out."
      )
  return up


def bias_of(value: Any) -> Bias:
  """`bias`; True and False are for all of them."""
  return Bias(value, value) if isinstance(value, bool) else group(Bias, value, "bias")


def by_side(value: Any, option: str, default: Any) -> dict[str, Any]:
  """An option of both sides, or of each: `dict(encoder="se")` leaves the decoder its default."""
  if not isinstance(value, Mapping) or "name" in value:
    return {"encoder": value, "decoder": value}
  sides = {"encoder": default, "decoder": default}
  check_options(option, value, sides, f"network.{option}")
  return {**sides, **value}
