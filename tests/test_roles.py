"""Roles: what the signature of a method's constructor says."""

import pytest
from flax import linen as nn
from two_networks import distilled

from jaxseg import methods, roles
from jaxseg.roles import LOSS, NETWORK, OPTIMISER, VIEW, Role


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_has_the_network_that_predicts(name):
  known = roles.roles(methods.METHODS[name])
  assert known["network"] == Role(NETWORK, "network", True)
  assert {role.kind for role in known.values()} <= {NETWORK, LOSS, OPTIMISER, VIEW}


def test_a_signature_tells_roles_by_annotation():
  fields = {name: role.field for name, role in roles.roles(distilled).items()}
  assert fields == {
    "network": "network",
    "teacher": "networks.teacher",
    "loss": "loss",
    "distance_loss": "losses.distance",
    "optimiser": "optimiser",
    "head_optimiser": "optimisers.head",
  }
  optional = {name for name, role in roles.roles(distilled).items() if not role.required}
  assert optional == {"head_optimiser"}


def test_what_is_no_role_stands_after_the_star():
  def careless(network: nn.Module, rate: float):
    return network, rate

  with pytest.raises(TypeError, match=r"careless: its parameter 'rate' is annotated .*after it\."):
    roles.roles(careless)
