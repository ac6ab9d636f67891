"""An option that networks had once."""

import pytest

from jaxseg import defaults
from jaxseg.config import checks
from jaxseg.config.earlier_remat import replaced
from jaxseg.runs import same_run

DENSE = dict(name="encoder_unet", encoder=dict(name="resnet34", remat=True))


def stored(network, **fields):
  return {**defaults.fields(), "network": network, **fields}


@pytest.mark.parametrize(
  ("network", "field"),
  [(dict(name="unet", remat=False), "network.remat"), (DENSE, "network.encoder.remat")],
)
def test_a_network_that_is_given_the_option_is_refused_with_the_field_to_give(network, field):
  config = defaults.config()
  config.network = network
  with pytest.raises(ValueError, match=rf"config.{field}: (True|False).*config.remat='blocks'"):
    checks.fields(config)


def test_a_stored_run_whose_network_had_the_option_has_the_field():
  config = same_run.completed({name: of for name, of in stored(DENSE).items() if name != "remat"})
  assert config["network"] == dict(name="encoder_unet", encoder=dict(name="resnet34"))
  assert config["remat"] == "blocks"
  checks.fields(config)


def test_one_that_had_it_switched_off_keeps_everything():
  config = same_run.completed(
    {n: of for n, of in stored(dict(name="unet", remat=False)).items() if n != "remat"}
  )
  assert config["network"] == dict(name="unet")
  assert config["remat"] == "none"


def test_the_field_goes_before_the_option():
  both = stored(dict(name="unet", remat=True), remat="products")
  assert replaced(both)["remat"] == "products"


def test_a_resumed_run_is_the_same_with_and_without():
  before = {n: of for n, of in stored(dict(name="unet", remat=True)).items() if n != "remat"}
  now = stored(dict(name="unet"))
  assert same_run.differences(before, now, same_run.RESUME) == {}
  assert same_run.completed(same_run.updated(before, now))["remat"] == "none"
