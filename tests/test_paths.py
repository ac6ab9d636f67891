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


def test_the_last_pattern_that_fits_counts():
  scale = {"encoder*": 0.1, "*norm*": 0.0}
  assert paths.match("encoder1/conv/kernel", scale) == "encoder*"
  assert paths.match("encoder1/norm/scale", scale) == "*norm*"
  assert paths.match("head/kernel", scale) is None


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
