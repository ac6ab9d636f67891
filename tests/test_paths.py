"""Parameters by path, and patterns that name them."""

import jax
import numpy as np
import pytest

from jaxseg import method, paths

TREE = {
  "encoder1": {"conv": {"kernel": 1, "bias": 2}, "norm": {"scale": 3}},
  "encoder2": {"conv": {"kernel": 4}},
  "head": {"kernel": 5},
}


@pytest.mark.parametrize(
  ("pattern", "named"),
  [
    ("encoder1", {1, 2, 3}),
    ("encoder*", {1, 2, 3, 4}),
    ("encoder1/conv", {1, 2}),
    ("*/norm/scale", {3}),
    ("*norm*", {3}),
    ("*kernel", {1, 4, 5}),
    ("encoder?/conv/kernel", {1, 4}),
    ("encoder", set()),
    ("Head", set()),
  ],
)
def test_a_pattern_names_what_lies_at_a_path_and_below(pattern, named):
  leaves = paths.flatten(TREE)
  assert {leaf for path, leaf in leaves.items() if paths.match(path, (pattern,))} == named


def test_the_pattern_that_says_the_most_counts_whatever_their_order():
  for scale in (("encoder*", "encoder*norm*"), ("encoder*norm*", "encoder*")):
    assert paths.match("encoder1/conv/kernel", scale) == "encoder*"
    assert paths.match("encoder1/norm/scale", scale) == "encoder*norm*"
    assert paths.match("head/kernel", scale) is None
    paths.check_apart(scale, paths.flatten(TREE), "scale")
  with pytest.raises(
    ValueError,
    match=r"^scale: the patterns '\*norm' and 'enc\*/\*' both name 'encoder1/norm/scale'",
  ):
    paths.check_apart(("*norm", "enc*/*"), paths.flatten(TREE), "scale")


@pytest.mark.parametrize(
  ("pattern", "target", "renamed"),
  [
    ("*", "*", "encoder1/conv/kernel"),
    ("encoder1", "backbone", "backbone/conv/kernel"),
    ("encoder*", "stage*", "stage1/conv/kernel"),
    ("encoder?/*", "stage/*", "stage/conv/kernel"),
    ("encoder1/*", "*", "conv/kernel"),
    ("encoder1/*", "a/encoder1/*", "a/encoder1/conv/kernel"),
    ("encoder*/conv", "layer*", "layer1/kernel"),
    ("*/kernel", "*/weight", "encoder1/conv/weight"),
  ],
)
def test_a_path_is_renamed_by_the_stars_of_its_pattern(pattern, target, renamed):
  assert paths.rename("encoder1/conv/kernel", pattern, target) == renamed


def test_a_target_has_no_more_stars_than_its_pattern():
  with pytest.raises(ValueError, match=r"'\*/a\*' has more \* than 'encoder\*'"):
    paths.rename("encoder1/conv/kernel", "encoder*", "*/a*")


def test_a_pattern_that_names_nothing_is_refused():
  with pytest.raises(
    ValueError,
    match=r"^split: the pattern 'encodr1' names no parameter \(did you mean 'encoder1'\?\); .* of "
    r"encoder1, encoder2, head\.$",
  ):
    method.split(TREE, ("head", "encodr1"))


def test_a_split_merges_to_what_it_was():
  norms, rest = method.split(TREE, ("*norm", "head"))
  assert norms == {"encoder1": {"norm": {"scale": 3}}, "head": {"kernel": 5}}
  assert "norm" not in rest["encoder1"]
  assert method.merge(norms, rest) == method.merge(rest, norms) == TREE
  assert method.merge(*method.split(TREE, ())) == TREE
  with pytest.raises(ValueError, match="'head/kernel' is in two of the parts"):
    method.merge(TREE, {"head": TREE["head"]})


def test_a_gradient_of_a_part_leaves_the_rest():
  tree = jax.tree.map(np.float32, TREE)
  part, rest = method.split(tree, ("encoder1",))
  gradient = jax.grad(lambda part: sum(jax.tree.leaves(method.merge(part, rest))) ** 2)(part)
  # 2 * (1 + 2 + 3 + 4 + 5)
  assert paths.flatten(gradient) == dict.fromkeys(paths.flatten(part), 30.0)
