"""Methods with simulated users in runs that are killed: what they go on as."""

import numpy as np
import pytest
import run_folders
import tiny

from jaxseg import loop
from jaxseg.runs import checkpoint

SMALL = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1}
RUNS = {
  "ritm": {"turns": 1, "points": 2},
  "deepedit": {"clicks": 1},
  # the proposal learns in the three first steps: killed within these
  "deepigeos": {"least": 1, "every": 4, "proposal_steps": 3},
  "nninteractive": {"turns": 1},
  "scribbleprompt": {"answers": 2, "most": 1},
}


def run_of(name):
  further = {"proposal": SMALL} if name == "deepigeos" else {}
  return tiny.experiment(
    method={"name": name, **RUNS[name]},
    networks=further,
    steps=4,
    checkpoint_every=2,
    **{"evaluate.every": 4},
  )


@pytest.mark.bits
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_killed_goes_on_as_the_uninterrupted_one(name, tmp_path):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  loop.train(run_of(name), whole)
  assert loop.train(run_of(name), run_folders.back_at(2, whole, parts))["step"] == 4
  tables = []
  for folder in (whole, parts):
    kept = checkpoint.Checkpoints(folder)
    assert kept.steps[0] == 4
    tables.append(kept.arrays(4))
  assert tables[0].keys() == tables[1].keys()
  before = checkpoint.Checkpoints(whole).arrays(2)
  assert any(not np.array_equal(before[of], tables[0][of]) for of in before if "params" in of)
  for array, values in tables[0].items():
    np.testing.assert_array_equal(values, tables[1][array], err_msg=array)
