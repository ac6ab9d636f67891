"""What becomes of single arrays: taken, adapted or left, of learners that are made by hand."""

import jax
import numpy as np
import pytest

from jaxseg.config.weights import Weights
from jaxseg.method import Learner, State
from jaxseg.runs import checkpoint, initialise
from jaxseg.runs.initialise import CLASSES, INPUTS, Start, initialised, plan


def learners(*, classes=2, channels=1) -> dict[str, Learner]:
  """Layers whose inputs are channels, those of a patch of 4 voxels, and channels beside others."""
  sizes = {"stem": channels, "embedding": 4 * channels, "late": 6 + channels}
  sizes["judge"] = classes + channels
  params = {name: {"kernel": np.zeros((size, 3), np.float32)} for name, size in sizes.items()}
  return {"network": Learner(params=params, stats={}, opt_state=())}


def start(tmp_path, *names, channels, **spec):
  """The kernels of a network with one channel, from a file of one with `channels`."""
  of = learners(channels=channels)["network"].params
  theirs = {
    f"{n}/kernel": np.arange(k["kernel"].size).reshape(k["kernel"].shape) for n, k in of.items()
  }
  np.savez(tmp_path / "x.npz", **{name: of.astype(np.float32) for name, of in theirs.items()})
  varied = {CLASSES: learners(classes=3), INPUTS: learners(channels=2)}
  take = {name: name for name in names} | {name: None for name in of if name not in names}
  source = {"file": str(tmp_path / "x.npz"), "format": "plain", "take": take, **spec}
  starts = plan({"network": source}, learners(), lambda: varied)
  state, tables = initialised(State(step=0, learners=learners(), extra={}), starts)
  kernels = {n: np.asarray(k["kernel"]) for n, k in state.learners["network"].params.items()}
  return kernels, {name: theirs[f"{name}/kernel"] for name in names}, tables[0]


def test_a_layer_of_patches_has_the_sum_of_each_voxels_channels(tmp_path):
  ours, theirs, table = start(tmp_path, "stem", "embedding", channels=3)
  np.testing.assert_array_equal(ours["stem"], theirs["stem"].sum(0, keepdims=True))
  np.testing.assert_array_equal(ours["embedding"], theirs["embedding"].reshape(4, 3, 3).sum(1))
  assert table.count("reshaped: 3 input channel(s) there, 1 here, inputs='mean'") == 2


@pytest.mark.parametrize("name", ["late", "judge"])
def test_channels_beside_features_or_classes_are_not_mixed_with_them(tmp_path, name):
  with pytest.raises(ValueError, match=rf"'{name}/kernel' is \(.*expected shapes that differ"):
    start(tmp_path, "stem", name, channels=3)


def test_inflation_without_a_kernel_to_inflate_is_told(tmp_path):
  with pytest.raises(ValueError, match=r"\.inflate: 'mean', but no kernel of images goes into"):
    start(tmp_path, "stem", channels=1, inflate="mean")


def test_a_files_head_of_other_classes_is_made_anew_as_a_runs(tmp_path):
  def of(classes):
    params = {"body": {"kernel": np.ones((2, 3))}, "head": {"kernel": np.ones((3, classes))}}
    return {"network": Learner(params, {}, ())}

  np.savez(tmp_path / "x.npz", **{"body/kernel": np.zeros((2, 3)), "head/kernel": np.zeros((3, 5))})
  source = {"file": str(tmp_path / "x.npz"), "format": "plain"}
  starts = plan({"network": source}, of(2), lambda: {CLASSES: of(3), INPUTS: of(2)})
  after, (table,) = initialised(State(0, of(2)), starts)
  assert not np.asarray(after.learners["network"].params["body"]["kernel"]).any()
  np.testing.assert_array_equal(after.learners["network"].params["head"]["kernel"], 1)
  assert "left as initialised: 5 class(es) there, 2 here" in table


@pytest.mark.parametrize("counted", [{}, {"counts": {"steps": np.float32(7)}}])
def test_a_start_from_another_run_counts_its_own_steps(counted, monkeypatch):
  stats = {"batch_stats": {"mean": np.ones(2, np.float32)}}
  source = Learner({"kernel": np.ones(3, np.float32)}, stats | counted, ())
  monkeypatch.setattr(checkpoint, "load_learners", lambda folder: {"network": source})
  monkeypatch.setattr(initialise.run_folder, "steps_done", lambda folder: 1)
  for own in ({}, {"counts": {"steps": np.float32(0)}}):
    zeros = jax.tree.map(np.zeros_like, (source.params, stats))
    learners = {"network": Learner(zeros[0], zeros[1] | own, ())}
    after, _ = initialised(State(0, learners), {"network": Start(Weights(run="."))})
    after = after.learners["network"]
    np.testing.assert_array_equal(after.params["kernel"], 1)
    np.testing.assert_array_equal(after.stats["batch_stats"]["mean"], 1)
    assert after.stats.get("counts") == own.get("counts")
