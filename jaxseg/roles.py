"""What a method's constructor is given, by its signature: networks, losses, optimisers, views.

`def adversarial(network: nn.Module, critic: nn.Module, loss: Loss, optimiser:
optax.GradientTransformation, critic_optimiser: optax.GradientTransformation, *, fool=0.1)` has
five roles and one option. A config fills a role by its name.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from flax import linen as nn

from jaxseg.augment.views import View
from jaxseg.config.option_values import parts_of
from jaxseg.losses import Loss
from jaxseg.networks.several import Several

NETWORK, LOSS, OPTIMISER, VIEW = "network", "loss", "optimiser", "view"
# kind -> the group of a config that has the roles of that kind, all or all but the first one
GROUPS = {NETWORK: "networks", LOSS: "losses", OPTIMISER: "optimisers", VIEW: "views"}
# those whose first role has a field of its own
FIRST = (NETWORK, LOSS, OPTIMISER)


class Role(NamedTuple):
  """A parameter of a method's constructor that a config's component fills.

  Attributes:
    kind: NETWORK, LOSS, OPTIMISER or VIEW.
    key: what the config calls it: "critic" for a network `critic`, for its `critic_optimiser`.
    required: the constructor has no default for it.
    several: networks of one kind may fill it together, see `networks.several`.
  """

  kind: str
  key: str
  required: bool
  several: bool = False

  @property
  def field(self) -> str:
    """The config's field: "optimiser", "optimisers.critic", "views.strong"."""
    return self.kind if self.first else f"{GROUPS[self.kind]}.{self.key}"

  @property
  def first(self) -> bool:
    """Whether it is the first of its kind, which has a field of its own."""
    return self.kind in FIRST and self.key == self.kind


def roles(constructor: Callable) -> dict[str, Role]:
  """Parameter -> role, of all before the `*`; raises TypeError for an annotation of no role."""
  parameters = inspect.signature(constructor, eval_str=True).parameters.values()
  return {p.name: _role(constructor, p) for p in parameters if p.kind is not p.KEYWORD_ONLY}


def of_kind(constructor: Callable, kind: str) -> dict[str, Role]:
  """The roles of one kind."""
  return {name: role for name, role in roles(constructor).items() if role.kind == kind}


def _role(constructor: Callable, parameter: inspect.Parameter) -> Role:
  for part in parts_of(parameter.annotation):
    kind = _kind(part)
    if kind:
      name = parameter.name
      # a network's learner has its role's whole name
      key = name if kind in (NETWORK, VIEW) else name.removesuffix(f"_{kind}")
      several = Several in parts_of(parameter.annotation)
      return Role(kind, key, parameter.default is parameter.empty, several)
  name = getattr(constructor, "__name__", constructor)
  raise TypeError(
    f"{name}: its parameter '{parameter.name}' is annotated {parameter.annotation!r}; expected "
    "nn.Module, losses.Loss, optax.GradientTransformation or views.View before the *, options "
    "after it."
  )


def _kind(annotation: Any) -> str | None:
  if annotation in (Loss, View):
    return LOSS if annotation == Loss else VIEW
  if not inspect.isclass(annotation):
    return None
  if issubclass(annotation, nn.Module):
    return NETWORK
  return OPTIMISER if issubclass(annotation, optax.GradientTransformation) else None
