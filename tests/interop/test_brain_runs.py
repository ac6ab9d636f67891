"""deepbrain and deepbet as run folders: their masks are what their networks say of the scan."""

import jax
import nibabel
import numpy as np
import pytest
import state_dicts
import torch_files
from brain_graphs import deepbet_shapes, deepbrain_graph, module

from jaxseg import paths
from jaxseg.inference import Case, boxed
from jaxseg.interop import FORMATS, brain_runs, packages
from jaxseg.networks import DeepBet, DeepBrain
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.verbs import export_model, import_model, predict


def logits_of(graph, scan) -> np.ndarray:
  unit = (scan - scan.min()) / (scan.max() - scan.min())
  variables = {"params": paths.unflatten(FORMATS["deepbrain"].read(graph))}
  x = unit[None, ..., None].astype(np.float32)
  return np.asarray(jax.jit(DeepBrain(1).apply)(variables, x)["logits"])[0, ..., 0]


def test_a_scan_is_segmented_with_two_commands(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(brain_runs, "_DEEPBRAIN", (16, 24, 8))
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


def test_deepbets_two_networks_are_one_run(tmp_path, monkeypatch):
  monkeypatch.setattr(brain_runs, "_DEEPBET", (64, 32, 32))
  monkeypatch.setattr(brain_runs, "_DEEPBET_BOX", 32)
  files, weights = {}, {}
  for seed, (part, name) in enumerate({"box": "deepbet_box", "brain": "deepbet"}.items()):
    arrays = {k: of + 0.01 * seed for k, of in state_dicts.numbers(deepbet_shapes()).items()}
    torch_files.write(tmp_path / f"{name}.pt", module(arrays))
    files[name] = tmp_path / f"{name}.pt"
    read = FORMATS["deepbet"].read(files[name])
    weights |= {f"{part}/{path}": of for path, of in read.items()}
  monkeypatch.setattr(packages, "file_of", files.get)
  import_model.main(["deepbet", "--output", str(tmp_path / "run")])
  told = run_folder.describe(tmp_path / "run")
  assert (told.preparation.orientation, told.preparation.transpose) == ("RAS", (2, 1, 0))
  held = paths.flatten(checkpoint.load_learners(tmp_path / "run")["network"].params)
  assert sum(of.size for of in held.values()) == 2 * 2_126_258
  for path, of in weights.items():
    np.testing.assert_array_equal(held[path], of)
  # stored with y first and turned about: the networks see RAS, and the mask comes back as stored
  scan = state_dicts.image(20, 24, 28)
  affine = np.array([[0, 0, 2, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
  nibabel.save(nibabel.Nifti1Image(scan, affine), tmp_path / "scan.nii.gz")
  words = ["--workdir", tmp_path / "run", "--input", tmp_path / "scan.nii.gz"]
  predict.main([*map(str, words), "--output", str(tmp_path / "out")])
  written = nibabel.load(tmp_path / "out" / "scan.nii.gz")
  turned = nibabel.as_closest_canonical(nibabel.load(tmp_path / "scan.nii.gz")).get_fdata()
  net, variables = DeepBet(2, box_size=32), {"params": paths.unflatten(held)}
  apply = jax.jit(lambda batch: {"logits": net.apply(variables, batch["image"])["logits"]})
  fields = {"image": np.float32(turned)[..., None], "spacing": np.ones(3, np.float32)}
  scores = boxed(apply, Case(fields), patch=(64, 32, 32), box_size=32)
  mask = nibabel.as_closest_canonical(written).get_fdata()
  sure = np.abs(scores[..., 1] - scores[..., 0]) > 1e-3
  np.testing.assert_array_equal(mask[sure], (scores[..., 1] > scores[..., 0])[sure])
  assert 0.1 < mask.mean() < 0.9
  words = [str(tmp_path / "run"), "--format", "stablehlo", "--output", str(tmp_path / "x")]
  with pytest.raises(SystemExit, match=r"looks at the whole scan to find the box"):
    export_model.main(words)


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
    brain_runs.import_brain("deepbrain", tmp_path / "run", {"deepbrain": tmp_path / "x.npz"})
  assert not (tmp_path / "run").exists()


def test_the_run_tells_what_it_is(tmp_path):
  np.savez(tmp_path / "graph.npz", **deepbrain_graph())
  files = {"deepbrain": tmp_path / "graph.npz"}
  told = run_folder.describe(brain_runs.import_brain("deepbrain", tmp_path / "run", files))
  assert told.labels.regions == ((1,),)
  assert told.preparation.transpose == (2, 1, 0)
  assert told.preparation.resampling["size"] == (128, 128, 128)
