"""Spaces as data: sizes, draws, changes."""

import itertools
import json

import numpy as np
import pytest

from jaxseg.search import genotypes, spaces

SMALL = {
  "darts": dict(nodes=2),
  "nas_unet": dict(nodes=2, down=("avg", "max"), up=("up_conv",), normal=("none", "dil", "conv")),
  "dints": dict(blocks=2, depths=2, rank=2),
  "elastic": dict(widths=((4, 8), (8,)), kernels=(1, 3), depth=(1,)),
}


def space(name):
  return spaces.build({"name": name, **SMALL[name]})


def every(of):
  """All choices, one after another, by trying all options."""
  some = [{}]
  for name in of.choices:
    some = [{**start, name: value} for start in some for value in spaces.options(of, name, start)]
  return some


def test_every_space_has_a_row():
  assert set(SMALL) == set(spaces.SPACES) == set(genotypes.KINDS)


@pytest.mark.parametrize("name", ["nas_unet", "dints", "elastic"])
def test_the_size_is_the_number_of_different_genotypes(name):
  of = space(name)
  different = {json.dumps(spaces.genotype(of, chosen)) for chosen in every(of)}
  assert len(different) == of.size


def test_sizes_are_those_of_the_papers():
  # 1806.09055: (k+1) k / 2 pairs of inputs and 7^2 operations for each of four nodes, two cells
  pairs = [(k + 1) * k // 2 for k in range(1, 5)]
  assert spaces.build(dict(name="darts")).size == (np.prod(pairs).item() * 7**8) ** 2
  # down: 36 * (3 * 36) * (6 * 36); up: nodes of one edge up (4) and others (6)
  down, up = 36 * 108 * 216, 24 * (24 + 36 + 24) * (3 * 24 + 3 * 36)
  assert spaces.build(dict(name="nas_unet")).size == down * up
  # one block of ten paths, five operations each: every choice but that of no path
  assert spaces.build(dict(name="dints", blocks=1)).size == 6**10 - 1


@pytest.mark.parametrize("name", SMALL)
def test_draws_and_changes_are_genotypes_that_pass_the_check(name):
  of, random = space(name), np.random.default_rng(0)
  chosen = spaces.draw(of, random)
  for _ in range(10):
    genotype = spaces.genotype(of, chosen)
    assert genotypes.check(json.loads(json.dumps(genotype)), "genotype") == genotype
    assert of.decode(genotype) == chosen
    before, chosen = chosen, spaces.changed(of, chosen, random)
    assert before != chosen


def test_a_change_touches_one_choice_where_choices_are_independent():
  of, random = space("nas_unet"), np.random.default_rng(1)
  chosen = spaces.draw(of, random)
  new = spaces.changed(of, chosen, random)
  assert sum(chosen[name] != new[name] for name in of.choices) == 1


def test_draws_reach_every_option():
  of, random = space("elastic"), np.random.default_rng(0)
  drawn = [spaces.draw(of, random) for _ in range(60)]
  for name, options in of.choices.items():
    assert {chosen[name] for chosen in drawn} == set(options)


def test_fields_of_a_config_are_a_space():
  of = spaces.of_fields({"network.kernels": (3, 5), "loss.dice.weight": (0.5, 1.0, 2.0)})
  assert of.size == 6
  values = itertools.product((3, 5), (0.5, 1.0, 2.0))
  named = [dict(zip(of.choices, pair, strict=True)) for pair in values]
  assert [of.decode(spaces.genotype(of, chosen)) for chosen in named] == named


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    (dict(name="darts", operations=("none",)), "one or more operations beside 'none'"),
    (dict(name="darts", operations=("sep7",)), "'sep7' is no operation"),
    (dict(name="darts", nodes=0), "from 1"),
    (dict(name="nas_unet", down=("conv",)), "'conv' is no operation of the edges of 'down'"),
    (dict(name="nas_unet", normal=("up_conv",)), "'up_conv' is no operation"),
    (dict(name="dints", depths=1), "2 to 5 resolutions"),
    (dict(name="dints", operations=()), "one or more of 3D's"),
    (dict(name="dints", rank=2, operations=("conv_3x3x3",)), "one or more of 2D's"),
    (dict(name="elastic", kernels=()), "one option or more"),
    (dict(name="elastic", widths=((8,), ())), "one option or more"),
    (dict(name="cells"), "'cells' is unknown"),
  ],
)
def test_a_space_that_cannot_be_is_refused_in_a_sentence(spec, words):
  with pytest.raises(ValueError, match=r"^config\.space") as caught:
    spaces.build(spec)
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


def test_an_empty_space_is_refused():
  with pytest.raises(ValueError, match="'kernels' has no option"):
    spaces.check(spaces.of_fields({"kernels": ()}))
  with pytest.raises(ValueError, match="nothing is to be chosen"):
    spaces.check(spaces.of_fields({}))
  alone = spaces.of_fields({"kernels": (3,)})
  with pytest.raises(ValueError, match="one architecture"):
    spaces.changed(alone, {"kernels": 3}, np.random.default_rng(0))
