"""Genotypes: read, written, refused."""

import copy

import pytest

from jaxseg.search import genotypes

V2 = genotypes.PUBLISHED["nas_unet_v2"]
DINTS = {"space": "dints", "depths": 2, "blocks": [[[0, "skip"]], [[0, "conv_3x3"], [2, "skip"]]]}
ELASTIC = {"space": "elastic", "widths": [8, 16], "kernels": [3, 5], "depth": [1, 2]}


def altered(genotype, *path, value):
  """A copy with another value at a path."""
  out = copy.deepcopy(genotype)
  at = out
  for step in path[:-1]:
    at = at[step]
  at[path[-1]] = value
  return out


@pytest.mark.parametrize("genotype", [*genotypes.PUBLISHED.values(), DINTS, ELASTIC])
def test_what_is_written_is_read(tmp_path, genotype):
  genotypes.write(tmp_path / "genotype.json", genotype)
  assert genotypes.read(tmp_path / "genotype.json") == genotype
  assert genotypes.resolve(str(tmp_path / "genotype.json"), "config.network.genotype") == genotype


def test_a_genotype_of_a_config_may_have_parentheses():
  as_tuples = {"space": "elastic", "widths": (8, 16), "kernels": (3, 5), "depth": (1, 2)}
  assert genotypes.check(as_tuples, "genotype") == ELASTIC


def test_published_ones_go_by_their_names():
  assert genotypes.resolve("nas_unet_v2", "config.network.genotype") is V2
  with pytest.raises(ValueError, match="did you mean 'nas_unet_v2'"):
    genotypes.resolve("nas_unet_v3", "config.network.genotype")


@pytest.mark.parametrize(
  ("genotype", "words"),
  [
    ([], "no genotype"),
    ({"space": "cells"}, "'cells'; expected darts"),
    (altered(V2, "down", 0, 0, 0, value="down_conf"), "'down_conf' is unknown (did you mean"),
    (altered(V2, "down", 1, 0, 0, value="conv"), "'conv' doesn't fit its edge from input 1"),
    (altered(V2, "up", 0, 1, 0, value="down_conv"), "'down_conv' doesn't fit its edge"),
    (altered(V2, "up", 0, 0, 0, value="none"), "'none' is unknown"),
    (altered(V2, "down", 0, 0, 1, value=2), "reads input 2; expected 0 or 1, the cell's inputs"),
    (altered(V2, "up", 2, 0, 1, value=-1), "reads input -1"),
    (altered(V2, "down", 0, 0, value=["down_conv", 0]), "both of its edges come from input 0"),
    (altered(V2, "down", 0, value=[["down_conv", 0]]), "expected two edges"),
    (altered(V2, "down", 0, 0, value="down_conv"), "expected two edges"),
    (altered(V2, "up", value=V2["up"][:2]), "as many in one as in the other"),
    (altered(V2, "up", value="conv"), "as many in one as in the other"),
    (altered(V2, "normal", value=[]), "has no such entry"),
    ({"space": "darts", "normal": []}, "lacks 'reduce'"),
    (altered(DINTS, "blocks", 1, 0, value=[3, "skip"]), "reads the resolutions [0, 1]"),
    (altered(DINTS, "blocks", 0, 0, 0, value=4), "path 4; expected numbers from 0 to 3"),
    (altered(DINTS, "blocks", 0, 0, 1, value="conv"), "operation 'conv' is unknown"),
    (altered(DINTS, "blocks", 0, 0, 1, value="conv_3x3x3"), "operations of 2D and of 3D"),
    (altered(DINTS, "depths", value=True), "depths from 2 to 5"),
    (altered(ELASTIC, "kernels", value=[3, 4]), "odd ones of kernels"),
    (altered(ELASTIC, "depth", value=[1]), "one for each of two stages"),
    (altered(ELASTIC, "widths", value=[8, 1.5]), "whole numbers"),
  ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(genotype, words):
  with pytest.raises(ValueError, match=r"^config\.network\.genotype") as caught:
    genotypes.check(genotype, "config.network.genotype")
  assert words in str(caught.value)
  assert "\n" not in str(caught.value)


def test_files_that_are_none_are_told(tmp_path):
  damaged = tmp_path / "genotype.json"
  damaged.write_text("{")
  for path in (damaged, tmp_path / "missing.json"):
    with pytest.raises((ValueError, FileNotFoundError), match=path.name) as caught:
      genotypes.resolve(str(path), "config.network.genotype")
    assert "jaxseg derive" in str(caught.value)
