"""Genotypes in configs, supernets and who trains them."""

import pytest

from jaxseg import defaults
from jaxseg.build import plain
from jaxseg.compose import complete, networks_by_role
from jaxseg.config import search
from jaxseg.search import genotypes

V2 = genotypes.PUBLISHED["nas_unet_v2"]
ELASTIC = {"space": "elastic", "widths": [4, 8], "kernels": [3, 5], "depth": [1, 2]}
SUPERNET = dict(name="cell_supernet")


def config(**changes):
  c = defaults.config()
  defaults.assign(c, changes)
  return c


def searching(**changes):
  fields = {
    "method": dict(name="darts"),
    "network": SUPERNET,
    "streams": dict(architecture=dict(cases="held_back")),
    "data.split": dict(name="kfold", labelled=0.5),
  }
  return config(**{**fields, **changes})


def test_a_genotype_is_spelled_out_whatever_names_it(tmp_path):
  genotypes.write(tmp_path / "genotype.json", V2)
  for value in ("nas_unet_v2", str(tmp_path / "genotype.json"), V2):
    of = complete(config(network=dict(name="cell_unet", genotype=value)))
    assert of["network"]["genotype"] == V2


def test_a_genotype_of_widths_is_a_plain_network(tmp_path):
  genotypes.write(tmp_path / "genotype.json", ELASTIC)
  spec = dict(name="plain_conv_unet", genotype=str(tmp_path / "genotype.json"))
  assert complete(config(network=spec))["network"] == {
    "name": "plain_conv_unet",
    "widths": (4, 8),
    "kernels": (3, 5),
    "depth": (1, 2),
    "decoder_depth": (1,),
  }


def test_a_search_is_a_config():
  assert complete(searching())["network"] == SUPERNET


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    (dict(network=dict(name="cell_unet", genotype="lost.json")), "genotype: lost.json: not found"),
    (dict(network=dict(name="cell_unet", genotype="v2")), "'v2' is no genotype"),
    (dict(network=dict(name="cell_unet", genotype={**V2, "up": []})), "as many in one"),
    (dict(network=dict(name="cell_unet")), "needs genotype"),
    (dict(network=dict(name="plain_conv_unet", genotype=V2)), 'name="cell_unet"'),
    (dict(network=dict(name="cell_unet", genotype=ELASTIC)), 'name="plain_conv_unet"'),
    (
      dict(network=dict(name="plain_conv_unet", genotype=ELASTIC, widths=(8, 8))),
      "beside a genotype",
    ),
    (dict(network=SUPERNET), "the method 'supervised' chooses none"),
  ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(changes, words):
  with pytest.raises((ValueError, FileNotFoundError), match=r"^config\.network") as caught:
    complete(config(**changes))
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    (dict(network=dict(name="unet")), "config.network: 'unet' has nothing to choose"),
    (dict(network=dict(SUPERNET, nodes=0)), "config.network.nodes"),
    (dict(network=dict(SUPERNET, operations=dict(up=("up",)))), "'up' is no operation"),
    (dict(method=dict(name="darts", warm_up=1000)), "nothing would be chosen"),
    (dict(streams=dict()), "config.streams.architecture: is missing"),
    (dict(streams=dict(architecture=dict())), "has cases='training'"),
    (dict(streams=dict(architecture=dict(cases="unlabelled"))), "has cases='unlabelled'"),
    (dict(streams=dict(architecture=dict(cases="rest"))), "'held_back', with their labels"),
  ],
)
def test_searches_that_cannot_be_are_refused_in_a_sentence(changes, words):
  with pytest.raises(ValueError, match=r"^config\.") as caught:
    # what a network says of itself is told when it is built
    networks_by_role(complete(searching(**changes)), 2)
  assert words in str(caught.value)


def test_further_roles_take_no_supernet():
  of = plain(config())
  of["networks"] = {"teacher": SUPERNET}
  with pytest.raises(ValueError, match=r"config\.networks\.teacher"):
    search.check(of)
