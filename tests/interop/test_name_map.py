"""Names and layouts by a table of rules."""

import numpy as np
import pytest

from jaxseg.interop.name_map import CONV, NORM, TRANSPOSED, Layer, Rule, listed, renamed

RULES = (
  Rule(r"conv(\d)", r"layer\1/conv", CONV),
  Rule(r"bn(?P<n>\d)", lambda match: f"layer{int(match['n']) + 1}/norm", NORM),
  Rule(r"up", "up", TRANSPOSED),
  Rule(r"unused", None),
  Rule(r"", "", Layer({"scale": "scale", "index": None})),
)


def test_the_first_rule_that_names_a_module_counts():
  kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float64).reshape(2, 3, 5, 7)
  found = renamed(
    {
      "conv1.weight": kernel,
      "conv1.bias": np.ones(2),
      "bn0.running_var": np.ones(2),
      "bn0.num_batches_tracked": np.array(3),
      "up.weight": kernel,
      "unused.weight": kernel,
      "scale": np.ones(1),
      "index": np.ones(1),
    },
    RULES,
    "x.npz",
    "a net",
  )
  shapes = {"layer1/conv/kernel": (5, 7, 3, 2), "layer1/conv/bias": (2,), "layer1/norm/var": (2,)}
  assert {path: of.shape for path, of in found.items()} == {
    **shapes,
    "up/kernel": (5, 7, 2, 3),
    "scale": (1,),
  }
  assert {of.dtype for of in found.values()} == {np.dtype(np.float32)}
  assert found["layer1/conv/kernel"][4, 6, 2, 1] == kernel[1, 2, 4, 6]
  assert found["up/kernel"][4, 6, 1, 2] == kernel[1, 2, 4, 6]


@pytest.mark.parametrize("name", ["conv10.weight", "conv1.gamma", "other.conv1.weight"])
def test_what_no_rule_knows_is_listed(name):
  arrays = {name: np.ones(1), "conv1.bias": np.ones(1)}
  with pytest.raises(
    ValueError, match=rf"^x\.npz: '{name}' of its 2 tensors are no part of a net;"
  ):
    renamed(arrays, RULES, "x.npz", "a net")


def test_two_tensors_of_one_place_are_refused():
  both = {"a.weight": np.ones(1), "b.weight": np.ones(1)}
  with pytest.raises(
    ValueError, match=r"x\.npz: 'b\.weight' is a second 'a/kernel'; expected a net"
  ):
    renamed(both, (Rule(r"[ab]", "a"),), "x.npz", "a net")


def test_at_most_ten_names_are_shown():
  assert listed("ab") == "'a', 'b'"
  assert listed(map(str, range(12))).endswith("'9' and 2 more")
