"""Networks inside networks: the stages of a cascade, the planes of a volume."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxseg import networks
from jaxseg.build import bind
from jaxseg.networks.blocks.options import named


def inner(
  spec: str | Mapping[str, Any], classes: int, *, option: str = "inner", **given
) -> nn.Module:
  """The network that `spec` names, a name of `NETWORKS` or a dict with the network's own options.

  Args:
    spec: "unet" or `dict(name="unet", widths=(16, 32))`.
    classes: number of scores per voxel.
    option: the outer network's option that holds `spec`, for messages.
    given: further options, passed on as far as the network takes them and `spec` doesn't set them;
      and Linen's `name` and `parent` (`parent=None` for a network that is only asked for its
      strides).

  Raises ValueError that lists the choices for an unknown name or option.
  """
  linen = {key: given.pop(key) for key in ("name", "parent") if key in given}
  spec = named(spec)
  # the table is read at the call: this module is imported while the table is being made
  make = bind(networks.NETWORKS, spec, f"network.{option}", classes=classes, **given)
  return make(**linen)


def keeps_size(net: nn.Module, rank: int, option: str) -> nn.Module:
  """The network itself; raises ValueError if its valid convolutions cut off a margin."""
  if any(net.margin(rank)):
    raise ValueError(
      f"network.{option}: '{type(net).__name__}' loses {net.margin(rank)} voxels per side; an "
      "inner network must keep the size: choose padding='same' or another network."
    )
  return net


def takes_slices(net: nn.Module, who: str, option: str) -> nn.Module:
  """The network itself; raises ValueError if it takes no images, as which it is given slices."""
  try:
    net.total_stride(2)
  except ValueError as error:
    raise ValueError(
      f"network.{option}: {who} gives slices of the volume to an inner network for images, and "
      f"this one refuses them ({str(error).rstrip('.')}); choose another."
    ) from error
  return net


def common_stride(nets: Sequence[nn.Module], rank: int) -> tuple[int, ...]:
  """Per axis the least size that is whole for each of the networks."""
  strides = [net.total_stride(rank) for net in nets]
  return tuple(math.lcm(*axis) for axis in zip(*strides, strict=True))
