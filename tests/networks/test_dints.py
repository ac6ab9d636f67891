"""DiNTS: counts of MONAI 1.6.1, sizes, refusals."""

import jax.numpy as jnp
import pytest
from abstract import count, traced, trained_shapes
from published_options import dints_genotype

from jaxseg.networks import Dints, DintsSupernet


def test_the_supernet_has_the_parameters_of_monai():
  """TopologySearch(0.5, 12, 4) in 3D, and DiNTS around it with its stems, of 1 channel."""
  params, _ = traced(DintsSupernet(features=16), 1, 32, 32, 32, 1)
  assert count(params["topology"]) + count(params["architecture"]) == 148_246_992
  assert count(params) == 150_612_467
  alphas = {name: of.shape for name, of in params["architecture"].items()}
  assert alphas == {"paths": (12, 10), "operations": (12, 10, 5)}


@pytest.mark.parametrize(
  ("halve", "search", "whole"), [(True, 335_775, 385_730), (False, 84_591, 92_226)]
)
def test_images_have_two_operations_and_a_stem_that_halves_or_not(halve, search, whole):
  """TopologySearch(0.25, 3, 3, 2D), use_downsample as halve."""
  net = DintsSupernet(features=8, blocks=3, depths=3, halve=halve)
  params, _ = traced(net, 1, 16, 16, 1)
  assert params["architecture"]["operations"].shape == (3, 7, 2)
  assert count(params["topology"]) + count(params["architecture"]) == search
  assert count(params) == whole


def test_a_derived_network_has_the_parameters_of_monais_instance():
  """TopologyInstance(0.25, 3 blocks, 3 depths, 3D) of a drawn code, stems aside."""
  five = ("skip", "conv_3x3x3", "conv_3x3x1", "conv_3x1x3", "conv_1x3x3")
  code = (((0, 0), (1, 1), (2, 0), (6, 3)), ((1, 1), (2, 0), (4, 1), (5, 2), (6, 3)))
  code += (((0, 4), (1, 4), (4, 2)),)
  blocks = [[[path, five[number]] for path, number in block] for block in code]
  net = Dints(genotype={"space": "dints", "depths": 3, "blocks": blocks}, features=8)
  params, _ = traced(net, 1, 16, 16, 16, 1)
  assert count(params["topology"]) == 217_184


def test_networks_keep_odd_sizes_and_ranks():
  supernet = DintsSupernet(blocks=2, depths=2, features=4)
  for size, operation in (((13, 10), "conv_3x3"), ((13, 10, 7), "conv_1x3x3")):
    for net in (supernet, Dints(genotype=dints_genotype(operation), features=4)):
      _, outputs = trained_shapes(net, 2, *size, 2)
      assert outputs["logits"].shape == (2, *size, 3)
      assert outputs["logits"].dtype == jnp.float32


def test_a_genotype_of_another_rank_is_refused():
  net = Dints(genotype=dints_genotype("conv_3x3x3"), features=4)
  with pytest.raises(ValueError, match="searched in 2D"):
    traced(net, 1, 8, 8, 1)
  with pytest.raises(ValueError, match="expected dints"):
    Dints(genotype={"space": "elastic"})
  with pytest.raises(ValueError, match="2 to 5 resolutions"):
    DintsSupernet(depths=1)
