"""Run folders of weights from elsewhere: whole or not at all."""

import nnunet_models as models
import numpy as np
import pytest

from jaxseg.interop.nnunet_import import import_model
from jaxseg.runs import checkpoint, foreign
from jaxseg.runs import folder as run_folder


@pytest.fixture
def told(tmp_path):
  (run,) = import_model(models.write(tmp_path / "m"), tmp_path / "run").folders
  return run_folder.describe(run)


def test_weights_come_back_and_the_steps_count(told, tmp_path):
  abstract = foreign.shapes(told)
  shapes = foreign.weight_shapes(abstract)
  weights = {path: np.full(shape, i, np.float32) for i, (path, shape) in enumerate(shapes.items())}
  foreign.write(tmp_path / "new", told, foreign.state(abstract, weights, step=9), training=("a",))
  _, flat = checkpoint.newest(tmp_path / "new")
  for path, of in weights.items():
    np.testing.assert_array_equal(flat[f"learners/network/params/{path}"], of)
  assert {int(of) for name, of in flat.items() if name.endswith("count")} == {9}
  assert all(not np.any(of) for name, of in flat.items() if "/trace/" in name)
  assert run_folder.describe(tmp_path / "new") == told
  assert foreign.config_of(tmp_path / "new").steps == told.config["steps"]


def test_nothing_is_left_of_a_folder_that_cannot_be_written(told, tmp_path, monkeypatch):
  abstract = foreign.shapes(told)
  weights = {path: np.zeros(shape) for path, shape in foreign.weight_shapes(abstract).items()}
  state = foreign.state(abstract, weights, step=1)

  def full(*_, **__):
    raise OSError("no room")

  monkeypatch.setattr(checkpoint.Checkpoints, "save", full)
  with pytest.raises(OSError, match="no room"):
    foreign.write(tmp_path / "new", told, state)
  assert not list(tmp_path.glob("*new*"))


def test_a_folder_that_holds_something_is_refused(told, tmp_path):
  abstract = foreign.shapes(told)
  with pytest.raises(ValueError, match=r"run: is not empty; choose another folder"):
    foreign.write(tmp_path / "run", told, abstract)
