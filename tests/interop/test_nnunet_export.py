"""Runs become model folders of nnU-Net's: to the bit what was imported, or a refusal in words."""

import dataclasses
import json

import nnunet_models as models
import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.interop import torch_file
from jaxseg.interop.nnunet_export import export
from jaxseg.interop.nnunet_import import import_model
from jaxseg.runs import checkpoint, foreign
from jaxseg.runs import folder as run_folder

PLAIN = {
  "name": "plain_conv_unet",
  "widths": (4, 6),
  "kernels": 3,
  "strides": 2,
  "depth": 1,
  "decoder_depth": 1,
}


def leaves(value, place="") -> dict:
  """Nested dicts and sequences -> their leaves by place."""
  if isinstance(value, dict):
    return {k: v for key, of in value.items() for k, v in leaves(of, f"{place}/{key}").items()}
  if isinstance(value, list | tuple):
    return leaves(dict(enumerate(value)), place)
  return {place: value}


def tensors(folder, name="fold_0") -> dict[str, np.ndarray]:
  told = leaves(torch_file.load(folder / name / "checkpoint_final.pth"))
  return {place: of for place, of in told.items() if isinstance(of, np.ndarray)}


def same(a, b) -> bool:
  return a.keys() == b.keys() and all(
    a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key]) for key in a
  )


def read(folder, name):
  return json.loads((folder / name).read_text())


@pytest.mark.parametrize("model", ["plain2d", "plain3d", "resenc3d"])
def test_real_models_come_back_tensor_by_tensor_and_word_by_word(model, real_data, tmp_path):
  folder = real_data / "nnunet_models" / model
  export(import_model(folder, tmp_path / "run").folders, tmp_path / "out")
  assert same(tensors(folder), tensors(tmp_path / "out"))
  for name in ("plans.json", "dataset.json"):
    assert read(folder, name) == read(tmp_path / "out", name)
  before, now = (
    torch_file.load(of / "fold_0" / "checkpoint_final.pth") for of in (folder, tmp_path / "out")
  )
  assert before.keys() == now.keys()
  for field in ("init_args", "trainer_name", "inference_allowed_mirroring_axes", "current_epoch"):
    assert before[field] == now[field]
  assert before["optimizer_state"]["param_groups"] == now["optimizer_state"]["param_groups"]


def test_runs_of_one_fold_become_folds_of_their_own(tmp_path):
  """Seeds: by their own number the second would lie over the first."""
  split = {"name": "kfold", "fold": 1, "folds": 5}
  runs = [own(tmp_path / f"seed_{i}", data__split=split) for i in range(2)]
  export(runs, tmp_path / "out")
  assert sorted(of.parent.name for of in tmp_path.glob("out/*/*.pth")) == ["fold_0", "fold_1"]
  other = own(tmp_path / "fold_2", data__split=split | {"fold": 2})
  export([other, runs[0]], tmp_path / "numbered")
  assert sorted(of.parent.name for of in tmp_path.glob("numbered/*/*.pth")) == ["fold_1", "fold_2"]


def test_a_model_without_mirror_images_goes_out_as_nnunet_writes_it(tmp_path):
  """None: of an empty tuple its predictor asks for the largest axis, and stops."""
  told = {"trainer_name": "nnUNetTrainerNoMirroring", "inference_allowed_mirroring_axes": None}
  export(
    import_model(models.write(tmp_path / "m", **told), tmp_path / "run").folders, tmp_path / "x"
  )
  again = torch_file.load(tmp_path / "x" / "fold_0" / "checkpoint_final.pth")
  assert {field: again[field] for field in told} == told


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_readers_that_turn_scans_come_back(tmp_path, reader):
  plan = models.plans(rank=3) | {"image_reader_writer": reader}
  weights = models.state_dict(np.random.default_rng(0), rank=3)
  (run,) = import_model(
    models.write(tmp_path / "m", plan=plan, weights=weights), tmp_path / "run"
  ).folders
  assert run_folder.describe(run).preparation.orientation == "RAS"
  export((run,), tmp_path / "out")
  assert read(tmp_path / "out", "plans.json") == plan


def test_folds_regions_and_old_plans_come_back(tmp_path):
  labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
  described = models.dataset(labels, inputs=2, regions_class_order=[1, 2])
  weights = models.state_dict(np.random.default_rng(0), inputs=2)
  parts = {"described": described, "weights": weights, "folds": (0, 1)}
  folder = models.write(tmp_path / "m", plan=models.plans(inputs=2, old=True), **parts)
  export(import_model(folder, tmp_path / "run").folders, tmp_path / "out")
  assert read(tmp_path / "out", "plans.json") == models.plans(inputs=2)
  assert read(tmp_path / "out", "dataset.json") == described
  for fold in ("fold_0", "fold_1"):
    mine, theirs = (tensors(of, fold) for of in (tmp_path / "out", folder))
    assert all(np.array_equal(mine[name], of) for name, of in theirs.items())


def test_a_cascades_second_stage_comes_back_without_the_background(tmp_path):
  random = np.random.default_rng(0)
  import_model(models.write(tmp_path / "low"), tmp_path / "low run")
  plan = models.plans(previous_stage="2d")
  late = models.write(tmp_path / "m", plan=plan, weights=models.state_dict(random, inputs=2))
  done = import_model(late, tmp_path / "run", previous=str(tmp_path / "low run"))
  export(done.folders, tmp_path / "out")
  mine, theirs = tensors(tmp_path / "out"), tensors(late)
  assert all(np.array_equal(mine[name], of) for name, of in theirs.items())
  assert read(tmp_path / "out", "plans.json") == plan


def test_a_cascades_second_stage_on_regions_comes_back_for_its_labels(tmp_path):
  labels, random = {"background": 0, "whole": [1, 2], "core": 2}, np.random.default_rng(0)
  described = models.dataset(labels, regions_class_order=[1, 2])
  import_model(models.write(tmp_path / "low", described=described), tmp_path / "low run")
  weights = models.state_dict(random, inputs=3)
  buffers = {i: {"momentum_buffer": 2 * weights[name]} for i, name in enumerate(weights)}
  state = {"state": buffers, "param_groups": [{"lr": 0.01, "params": list(range(len(weights)))}]}
  parts = {"described": described, "weights": weights, "optimizer_state": state}
  late = models.write(tmp_path / "m", plan=models.plans(previous_stage="2d"), **parts)
  done = import_model(late, tmp_path / "run", previous=str(tmp_path / "low run"))
  export(done.folders, tmp_path / "out")
  for name, of in tensors(late).items():
    np.testing.assert_allclose(tensors(tmp_path / "out")[name], of, rtol=1e-5, atol=1e-6)


def own(folder, *, network=None, preparation=None, labels=None, momentum=None, **changes):
  """A run of random weights that no nnU-Net made, like an imported one but for the changes."""
  home = folder.with_name(f"{folder.name} before")
  (run,) = import_model(models.write(home / "m"), home / "run").folders
  told = run_folder.describe(run)
  config = {**told.config, "network": network or PLAIN}
  for path, value in changes.items():
    part, _, field = path.rpartition("__")
    config |= {part: {**config[part], field: value}} if part else {field: value}
  prepared = dataclasses.replace(told.preparation, **(preparation or {}))
  told = told._replace(config=config, preparation=prepared, labels=labels or told.labels)
  abstract, random = foreign.shapes(told), np.random.default_rng(0)
  shapes = foreign.weight_shapes(abstract)
  weights = {path: random.standard_normal(shape) for path, shape in shapes.items()}
  foreign.write(folder, told, foreign.state(abstract, weights, step=7, momentum=momentum))
  return folder


def test_frozen_parts_which_have_no_momentum_leave_that_of_the_others(tmp_path):
  momentum = {"head/bias": np.arange(1.0, 3.0)}
  run = own(tmp_path / "run", optimiser__scale={"encoder*": 0.0}, momentum=momentum)
  export((run,), tmp_path / "out")
  told = torch_file.load(tmp_path / "out" / "fold_0" / "checkpoint_final.pth")["optimizer_state"]
  ((number, buffer),) = told["state"].items()
  assert number == told["param_groups"][0]["params"][-1]
  np.testing.assert_array_equal(buffer["momentum_buffer"], momentum["head/bias"])


def test_a_run_of_ones_own_becomes_the_plan_that_it_followed(tmp_path):
  run = own(tmp_path / "run", data__patch=(16, 8))
  assert "nnUNetv2_predict_from_modelfolder" in export((run,), tmp_path / "out")
  plan = read(tmp_path / "out", "plans.json")
  assert plan["configurations"]["2d"]["patch_size"] == [16, 8]
  options = plan["configurations"]["2d"]["architecture"]["arch_kwargs"]
  assert (options["features_per_stage"], options["n_conv_per_stage"]) == ([4, 6], [1, 1])
  assert options["kernel_sizes"] == [[3, 3], [3, 3]]
  assert options["strides"] == [[1, 1], [2, 2]]
  (again,) = import_model(tmp_path / "out", tmp_path / "again").folders
  export((again,), tmp_path / "back")
  weights = tensors(tmp_path / "out")
  assert same(weights, tensors(tmp_path / "back"))
  kernel = checkpoint.newest(run)[1]["learners/network/params/encoder1/layer1/conv/kernel"]
  theirs = weights["/network_weights/encoder.stages.0.0.convs.0.conv.weight"]
  np.testing.assert_array_equal(np.transpose(theirs, (2, 3, 1, 0)), kernel)


def test_an_option_that_is_spelled_out_as_it_is_by_default_is_nnunets(tmp_path):
  run = own(tmp_path / "run", network={**PLAIN, "norm": "instance", "classes": 2})
  export((run,), tmp_path / "out")
  (again,) = import_model(tmp_path / "out", tmp_path / "again").folders
  assert run_folder.read_config(again)["network"]["widths"] == PLAIN["widths"]


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    (
      {"network": {"name": "unet", "widths": (4, 6)}},
      r"network\.name is 'unet', .* expected one of",
    ),
    ({"network": {**PLAIN, "norm": "batch"}}, r"network\.norm is 'batch', which nnU-Net cannot do"),
    (
      {"network": {**PLAIN, "widths": (4, 6, 8), "deep_supervision": 0}},
      r"network\.deep_supervision is 0, .* a head at every level",
    ),
    ({"members": 2}, r"members is 2, which nnU-Net cannot do; expected 1"),
    ({"preparation": {"crop_nonzero": False}}, r"data\.crop_nonzero is False.* expected True"),
    ({"preparation": {"orientation": "RAS"}}, r"data\.orientation is 'RAS'"),
    ({"preparation": {"spacing": ()}}, r"data\.spacing is \(\), .* 2 numbers of millimetres"),
    (
      {"preparation": {"normalisation": ({"name": "window", "lower": 0, "upper": 1},)}},
      r"data\.normalise is 'window', .* one of ct, zscore, minmax, rgb, none",
    ),
    (
      {"preparation": {"normalisation": ({"name": "minmax", "signed": True},)}},
      r"data\.normalise is .*'signed': True.* expected 0 to 1",
    ),
    (
      {"preparation": {"resampling": {"corners": True}}},
      r"data\.resampling\.corners is True, .* expected none",
    ),
    (
      {"labels": LabelSpec(("background", "a"), (0, 255))},
      r"its labels have the values \[0, 255\], but nnU-Net writes 0, 1, 2",
    ),
    (
      {"labels": LabelSpec(("a", "b"), (0, 1, 2), ((1,), (2,)))},
      r"its regions a, b unite no values, which nnU-Net takes for labels",
    ),
  ],
)
def test_what_nnunet_cannot_do_is_refused_by_its_field(tmp_path, changes, words):
  members = changes.pop("members", 1) if "members" in changes else 1
  run = own(tmp_path / "run", **changes)
  if members > 1:
    told = json.loads((run / "config.json").read_text())
    del told["digests"]
    (run / "config.json").write_text(json.dumps(told | {"members": members}))
  with pytest.raises(ValueError, match=words) as refused:
    export((run,), tmp_path / "out")
  assert str(refused.value).startswith(str(run))
  assert not (tmp_path / "out").exists()


def test_folds_with_numbers_of_their_own_are_not_one_model(tmp_path):
  runs = own(tmp_path / "fold_0"), own(tmp_path / "fold_1", data__patch=(16, 16))
  with pytest.raises(ValueError, match=r"fold_1: its plan or labels are not those of .*fold_0"):
    export(runs, tmp_path / "out")


def test_a_cascade_that_has_learnt_from_the_background_is_refused(tmp_path):
  run = own(tmp_path / "run", data__prior={"run": "low"})
  with pytest.raises(ValueError, match=r"run: is a cascade that has learnt from the background"):
    export((run,), tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
  run = own(tmp_path / "run")
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "notes.txt").touch()
  with pytest.raises(ValueError, match=r"--output .*out: is not empty"):
    export((run,), tmp_path / "out")
