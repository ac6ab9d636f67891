"""How decided a search is: margins of every choice, choices that were never learnt, collapse."""

import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.search import cells, decisions, relaxation, topology

SMALL = cells.nas_unet(
  nodes=2, down=("max", "down_conv"), up=("up_conv",), normal=("none", "identity", "conv")
)


def weights_of(of, probabilities):
  """Weights whose softmax has these rows, even ones elsewhere."""
  out = {group: np.zeros(shape, np.float32) for group, shape in of.shapes.items()}
  for (group, row), values in probabilities.items():
    out[group][row] = np.log(values)
  return {group: jnp.asarray(value) for group, value in out.items()}


def test_each_choice_has_the_margin_of_its_probabilities():
  # edges of a cell: node 1 from inputs 1, 2; node 2 from inputs 1, 2 and node 1
  of = weights_of(
    SMALL,
    {
      ("down", 0): (0.7, 0.3),
      ("down", 1): (0.51, 0.49),
      ("down", 2): (0.8, 0.2),
      ("down", 3): (0.4, 0.6),
      ("normal", 4): (0.1, 0.62, 0.28),
    },
  )
  told = [one for one in decisions.decisions(SMALL, of, "darts") if one.cell == "down"]
  assert [one.place for one in told] == [
    "node 1 from input 1",
    "node 1 from input 2",
    "node 2 from input 1",
    "node 2 from node 1",
    "node 2, which edges",
  ]
  assert_close([one.margin for one in told[:4]], [0.4, 0.02, 0.6, 0.34], atol=1e-6)
  assert [one.chosen for one in told[:4]] == ["max", "max", "max", "identity"]
  assert [one.skip for one in told] == [False, False, False, True, False]
  # strengths of 2 operations count 2 / 3 of those of 3: 0.62 of node 1, then 0.8 * 2 / 3 of input
  # 1, then 0.6 * 2 / 3 of input 2
  assert told[4].rival == "that from input 2"
  assert_close(told[4].margin, (0.8 - 0.6) * 2 / 3, atol=1e-6)
  assert [one.undecided for one in told] == [False, True, False, False, False]
  assert str(told[1]) == (
    "down, node 1 from input 2: max 0.5100, then down_conv 0.4900 (margin 0.0200)"
  )


@pytest.mark.parametrize("method", ["darts", "gdas", "fairdarts"])
def test_weights_that_never_learnt_are_told(method):
  random = np.random.default_rng(0)
  of = {
    group: jnp.asarray(1e-3 * random.normal(size=shape), jnp.float32)
    for group, shape in SMALL.shapes.items()
  }
  told = decisions.notes(SMALL, of, method)
  assert "as open as before anything is learnt" in told[0]
  every = decisions.decisions(SMALL, of, method)
  close = [one for one in every if one.undecided]
  assert f"{len(close)} of {len(every)} choices are undecided" in told[1]
  assert told[2:] == [f"  {one}" for one in close]
  # of sigmoids the edges of more operations are stronger from the start
  assert len(close) == len(every) or method == "fairdarts"


def test_a_search_that_has_decided_is_told_nothing():
  random = np.random.default_rng(1)
  of = {
    group: jnp.asarray(8 * random.permuted(np.tile(np.arange(n), (rows, 1)), axis=1), jnp.float32)
    for group, (rows, n) in SMALL.shapes.items()
  }
  rows = {one.place for one in decisions.decisions(SMALL, of, "darts") if not one.undecided}
  told = decisions.notes(SMALL, of, "darts")
  assert not any("as open" in line for line in told)
  assert all("which edges" in line for line in told[1:])
  assert len(rows) > 2
  assert decisions.open_share(SMALL, of, "darts") < 0.1


def test_what_skips_took_over_is_told_with_what_would_have_been_instead():
  of = weights_of(SMALL, {("normal", 4): (0.1, 0.62, 0.28)})
  told = decisions.notes(SMALL, of, "darts", collapsed=["down"])
  assert told[0].startswith("The skip connections of the down cell")
  assert told[1] == "  down, node 2 from node 1: identity 0.6200, then conv 0.2800 (margin 0.3400)"


def test_paths_and_their_operations_have_margins_too():
  of = topology.topology(blocks=1, depths=2, rank=2)
  paths = np.full((1, 4), -4.0)
  paths[0, 0], paths[0, 1] = 0.02, 3.0
  operations = np.zeros((1, 4, 2))
  operations[0, 1] = (0.0, 2.0)
  weights = {
    relaxation.PATHS: jnp.asarray(paths, jnp.float32),
    "operations": jnp.asarray(operations, jnp.float32),
  }
  told = decisions.decisions(of, weights, "dints")
  by_place = {(one.place, one.chosen): one for one in told}
  used = by_place["path from resolution 1 to 1", "used"]
  assert_close(used.strength, 1 / (1 + np.exp(-0.02)), rtol=1e-5)
  assert used.undecided
  assert not by_place["path from resolution 2 to 1", "used"].undecided
  assert not by_place["path from resolution 1 to 2", "left out"].undecided
  chosen = by_place["path from resolution 2 to 1", "conv_3x3"]
  assert_close(chosen.strength, 1 / (1 + np.exp(-2.0)), rtol=1e-5)
