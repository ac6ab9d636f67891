"""A search's space: what a config's dicts mean, its size, draws, neighbours, what is refused."""

import itertools
import math

import numpy as np
import pytest

from jaxseg.search import parameters, spaces

WIDTHS = dict(choices=((8, 16), (16, 32), (32, 64)))
RATE = dict(low=1e-4, high=1e-2, log=True)
SPEC = dict(
  network=dict(widths=WIDTHS, depth=dict(low=1, high=4, whole=True)),
  optimiser=dict(learning_rate=RATE),
  loss=dict(surrogate=dict(theta=dict(low=0.0, high=1.0, count=3))),
)
CELLS = dict(network=dict(genotype=dict(space=dict(name="nas_unet", nodes=2))))


def draws(space, count=200, seed=0):
  random = np.random.default_rng(seed)
  return [parameters.draw(space, random) for _ in range(count)]


def test_the_fields_of_a_space_are_named_by_their_paths():
  space = parameters.space(SPEC)
  assert set(space.parameters) == {
    "network.widths",
    "network.depth",
    "optimiser.learning_rate",
    *(f"loss.surrogate.theta[{i}]" for i in range(3)),
  }
  assert space.size == math.inf
  assert parameters.space(dict(network=SPEC["network"])).size == 12


def test_a_draw_sets_fields_of_the_config():
  space = parameters.space(SPEC)
  values = parameters.values(space, draws(space, 1)[0])
  assert values["network.widths"] in WIDTHS["choices"]
  assert values["network.depth"] in (1, 2, 3, 4)
  assert 1e-4 <= values["optimiser.learning_rate"] <= 1e-2
  assert len(values["loss.surrogate.theta"]) == 3
  config = {"network": {"name": "unet", "widths": (4,)}, "seed": 3}
  after = parameters.with_fields(config, values)
  assert after["network"]["name"] == "unet"
  assert after["network"]["widths"] == values["network.widths"]
  assert after["loss"]["surrogate"]["theta"] == values["loss.surrogate.theta"]
  assert config == {"network": {"name": "unet", "widths": (4,)}, "seed": 3}
  assert after["seed"] == 3


def test_draws_fill_the_space_evenly_by_logarithm_where_that_is_said():
  of = draws(parameters.space(SPEC), 2000)
  rates = np.log10([one["optimiser.learning_rate"] for one in of])
  assert abs(np.mean(rates) + 3) < 0.05
  assert {one["network.depth"] for one in of} == {1, 2, 3, 4}
  assert np.bincount([one["network.widths"] for one in of]).min() > 550


def test_a_neighbour_differs_in_one_parameter():
  space, random = parameters.space(SPEC), np.random.default_rng(1)
  for candidate in draws(space, 100):
    other = parameters.mutated(space, candidate, random)
    changed = [name for name in candidate if candidate[name] != other[name]]
    assert len(changed) == 1
    parameters.place(space, parameters.values(space, other), "config.search.first[0]")


def test_a_narrow_change_of_a_whole_number_ends_and_goes_to_the_next_one():
  space = parameters.space(dict(steps=dict(low=1, high=5, whole=True)))
  random = np.random.default_rng(0)
  for value in (1, 3, 5):
    # a step is 1000 of these deviations
    new = {
      parameters.mutated(space, {"steps": value}, random, width=2.5e-4)["steps"] for _ in range(20)
    }
    assert new == {1: {2}, 3: {2, 4}, 5: {4}}[value]
    assert all(isinstance(number, int) for number in new)


def test_a_change_is_as_wide_as_it_is_told():
  space = parameters.space(dict(average=dict(low=0.0, high=10.0)))
  random = np.random.default_rng(0)
  for width in (0.001, 0.05):
    moved = [
      parameters.mutated(space, {"average": 5.0}, random, width=width)["average"] - 5
      for _ in range(400)
    ]
    assert 0.85 < np.std(moved) / (10 * width) < 1.15


def test_what_a_candidate_sets_leads_back_to_it():
  for spec in (SPEC, CELLS):
    space = parameters.space(spec)
    for candidate in draws(space, 20):
      assert parameters.place(space, parameters.values(space, candidate), "where") == candidate


def test_architectures_are_drawn_with_their_genotypes():
  space = parameters.space(CELLS)
  own = spaces.build(dict(name="nas_unet", nodes=2))
  assert space.size == own.size
  random = np.random.default_rng(0)
  for candidate in draws(space, 20):
    genotype = parameters.values(space, candidate)["network.genotype"]
    assert genotype["space"] == "nas_unet"
    assert parameters.settled(space, candidate) == candidate
    other = parameters.values(space, parameters.mutated(space, candidate, random))
    assert other["network.genotype"] != genotype


def test_choices_that_do_not_go_together_are_settled():
  space = parameters.space(
    dict(network=dict(genotype=dict(space=dict(name="dints", blocks=2, depths=2, rank=2))))
  )
  random, seen = np.random.default_rng(0), set()
  for _ in range(200):
    loose = {n: int(random.integers(len(of.values))) for n, of in space.parameters.items()}
    candidate = parameters.settled(space, loose)
    assert parameters.settled(space, candidate) == candidate
    fields = parameters.values(space, candidate)
    assert parameters.place(space, fields, "where") == candidate
    seen.add(parameters.key(candidate))
  assert 1 < len(seen) <= space.size


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    ({}, "is empty; expected fields"),
    (dict(network=dict()), "tells no values"),
    (dict(seed=dict(choices=())), "expected several values"),
    (dict(seed=dict(choices=(1,))), "single candidate"),
    (dict(seed=dict(choices=(1, 1))), "a value twice"),
    (dict(seed=(1, 2)), "expected dict"),
    (dict(average=dict(low=0.5, high=0.1)), "low below high"),
    (dict(average=dict(low=0.0, high=0.1, log=True)), "above 0"),
    (dict(average=dict(low=0.0)), "high"),
    (dict(average=dict(low=0.0, high=1.0, hihg=2)), "no such option"),
    (dict(steps=dict(low=1.5, high=3.0, whole=True)), "whole numbers"),
    (dict(network=dict(genotype=dict(space=dict(name="nasunet")))), "nas_unet"),
    (
      dict(network=dict(genotype=dict(space=dict(name="nas_unet", down=())))),
      "down",
    ),
  ],
  ids=itertools.count(),
)
def test_a_space_that_is_none_is_refused_in_words(spec, words):
  with pytest.raises(ValueError, match=words) as error:
    parameters.space(spec)
  assert "config.search.space" in str(error.value)


def test_a_first_candidate_must_be_of_the_space():
  space = parameters.space(dict(network=SPEC["network"]))
  for fields, words in (
    ({"network.widths": (8, 16)}, "lacks network.depth"),
    ({"network.widths": (8, 17), "network.depth": 1}, "none of the choices"),
    ({"network.widths": (8, 16), "network.depth": 9}, "from 1 to 4"),
    ({"network.widths": (8, 16), "network.depth": 1, "seed": 2}, "is no field"),
  ):
    with pytest.raises(ValueError, match=words):
      parameters.place(space, fields, "config.search.first[0]")


def test_a_first_genotype_or_tuple_that_the_space_does_not_hold_is_refused_in_words():
  cells = parameters.space(dict(network=dict(genotype=dict(space=dict(name="nas_unet", nodes=3)))))
  parameters.place(cells, {"network.genotype": "nas_unet_v2"}, "first")
  elastic = dict(name="elastic", widths=((4, 8), (8, 16)))
  stages = parameters.space(dict(network=dict(genotype=dict(space=elastic))))
  longer = dict(space="elastic", widths=(4, 8, 16), kernels=(3, 3, 3), depth=(1, 1, 1))
  for space, genotype in ((cells, "darts_v2"), (cells, longer), (stages, longer)):
    with pytest.raises(ValueError, match="does not lie in the space"):
      parameters.place(space, {"network.genotype": genotype}, "first")
  two = parameters.space(dict(network=dict(widths=dict(low=2, high=8, whole=True, count=2))))
  with pytest.raises(ValueError, match="expected 2 numbers"):
    parameters.place(two, {"network.widths": (4, 4, 4)}, "first")
