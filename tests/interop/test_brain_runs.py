"""deepbrain as a run folder: its mask is what its network says of the scan."""

import jax
import nibabel
import numpy as np
import pytest
import state_dicts
from brain_graphs import deepbrain_graph

from jaxseg import paths
from jaxseg.interop import FORMATS, brain_runs, packages
from jaxseg.networks import DeepBrain
from jaxseg.runs import folder as run_folder
from jaxseg.verbs import import_model, predict


def logits_of(graph, scan) -> np.ndarray:
  unit = (scan - scan.min()) / (scan.max() - scan.min())
  variables = {"params": paths.unflatten(FORMATS["deepbrain"].read(graph))}
  x = unit[None, ..., None].astype(np.float32)
  return np.asarray(jax.jit(DeepBrain(1).apply)(variables, x)["logits"])[0, ..., 0]


def test_a_scan_is_segmented_with_two_commands(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(brain_runs, "_SIZE", (16, 24, 8))
  # x first, as files have it, of the size that the network wants
  scan, graph, arrays = 40 + 9 * state_dicts.image(16, 24, 8), tmp_path / "x.npz", deepbrain_graph()
  np.savez(graph, **arrays)
  # half of the scan is brain
  arrays["conv3d_9/bias"] -= np.median(logits_of(graph, scan))
  np.savez(graph, **arrays)
  monkeypatch.setattr(packages, "file_of", lambda name: graph)
  import_model.main(["deepbrain", "--output", str(tmp_path / "run")])
  assert capsys.readouterr().out.rstrip().endswith("--output SEGMENTATIONS")
  nibabel.save(nibabel.Nifti1Image(scan, np.diag([2, 2, 3, 1])), tmp_path / "scan.nii.gz")
  words = ["--workdir", tmp_path / "run", "--input", tmp_path / "scan.nii.gz"]
  predict.main([*map(str, words), "--output", str(tmp_path / "out")])
  mask = np.asarray(nibabel.load(tmp_path / "out" / "scan.nii.gz").dataobj)
  logits = logits_of(graph, scan)
  sure = np.abs(logits) > 1e-3 * np.abs(logits).max()
  np.testing.assert_array_equal(mask[sure], (logits > 0)[sure])
  assert 0.4 < mask.mean() < 0.6


def test_a_package_that_is_not_there_is_told(tmp_path, monkeypatch):
  own = packages.PACKAGES["deepbrain"]._replace(module="no_such_module")
  monkeypatch.setitem(packages.PACKAGES, "deepbrain", own)
  with pytest.raises(
    SystemExit, match=r"^import-model: the package deepbrain, .* is not installed"
  ):
    import_model.main(["deepbrain", "--output", str(tmp_path / "run")])
  assert not (tmp_path / "run").exists()


def test_other_layers_are_refused(tmp_path):
  arrays = deepbrain_graph()
  arrays["conv3d/kernel"] = np.ones((3, 3, 3, 2, 8), np.float32)
  np.savez(tmp_path / "x.npz", **arrays)
  with pytest.raises(ValueError, match=r"x\.npz: 'encoder1_layer1/conv/kernel' are not as in deep"):
    brain_runs.import_brain(tmp_path / "run", tmp_path / "x.npz")
  assert not (tmp_path / "run").exists()


def test_the_run_tells_what_it_is(tmp_path):
  np.savez(tmp_path / "graph.npz", **deepbrain_graph())
  told = run_folder.describe(brain_runs.import_brain(tmp_path / "run", tmp_path / "graph.npz"))
  assert told.labels.regions == ((1,),)
  assert told.preparation.transpose == (2, 1, 0)
  assert told.preparation.resampling["size"] == (128, 128, 128)
