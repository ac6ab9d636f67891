"""nnU-Net's model folders become run folders that predict what nnU-Net does, and go on."""

import itertools
import json

import jax.numpy as jnp
import nnunet_models as models
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.inference import Case
from jaxseg.interop.nnunet_export import export
from jaxseg.interop.nnunet_import import import_model
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import load

FIRST = "encoder.stages.0.0.convs.0.conv.weight"


def logits(run, image, *, mirror=False):
  """(*space, channels) -> what a run's predictor says of one image."""
  spacing = np.ones(image.ndim - 1, np.float32)
  return load(run, mirror=mirror).logits(Case({"image": image, "spacing": spacing}))


def expected_logits(weights, image, axes=()):
  """PyTorch's rules, averaged over all mirror images along these axes."""
  total = []
  for flips in itertools.chain.from_iterable(
    itertools.combinations(axes, n) for n in range(len(axes) + 1)
  ):
    x = jnp.moveaxis(jnp.flip(image, flips), -1, 0)[None]
    total.append(jnp.flip(jnp.moveaxis(models.logits_of(weights, x)[0], 0, -1), flips))
  return sum(total) / len(total)


@pytest.mark.parametrize(("mirrored", "axes"), [((0, 1), (0, 1)), ((1,), (1,)), (None, ())])
def test_a_run_predicts_by_pytorchs_rules_mirrored_as_the_checkpoint_says(tmp_path, mirrored, axes):
  random = np.random.default_rng(0)
  weights = models.state_dict(random)
  model = models.write(
    tmp_path / "model", weights=weights, inference_allowed_mirroring_axes=mirrored
  )
  (run,) = import_model(model, tmp_path / "run").folders
  assert run == tmp_path / "run"
  image = random.standard_normal((8, 8, 1)).astype(np.float32)
  assert_close(logits(run, image), expected_logits(weights, image), rtol=1e-4)
  assert_close(logits(run, image, mirror=True), expected_logits(weights, image, axes), rtol=1e-4)


def test_folds_are_averaged_and_the_best_checkpoints_lie_beside(tmp_path):
  random = np.random.default_rng(0)
  best = models.state_dict(random)
  model = models.write(tmp_path / "model", folds=(0, 1))
  models.write(model, folds=(0, 1), weights=best, name="checkpoint_best.pth", current_epoch=900)
  runs = import_model(model, tmp_path / "run").folders
  assert (
    [run.name for run in runs]
    == ["fold_0", "fold_1"]
    == [run.name for run in run_folder.run_folders(tmp_path / "run")]
  )
  image = random.standard_normal((8, 8, 1)).astype(np.float32)
  weights = [models.state_dict(np.random.default_rng(ord(fold))) for fold in "01"]
  mean = sum(expected_logits(of, image) for of in weights) / 2
  assert_close(logits(runs, image), mean, rtol=1e-4)
  spacing = np.ones(2, np.float32)
  got = load(runs[0], kind=checkpoint.BEST).logits(Case({"image": image, "spacing": spacing}))
  assert_close(got, expected_logits(best, image), rtol=1e-4)
  assert run_folder.steps_done(runs[0]) == 250_000 == run_folder.read_config(runs[0])["steps"]


def test_plans_of_before_2_4_make_the_same_run(tmp_path):
  weights = models.state_dict(np.random.default_rng(0), rank=3)
  described = models.dataset()
  configs = []
  for old in (False, True):
    plan = models.plans(rank=3, old=old)
    folder = models.write(tmp_path / f"{old}", plan=plan, described=described, weights=weights)
    (run,) = import_model(folder, tmp_path / f"run {old}").folders
    configs.append((run_folder.read_config(run), run_folder.describe(run).preparation))
  assert configs[0] == configs[1]
  assert configs[0][0]["network"]["widths"] == (2, 3)


def test_regions_ignored_labels_and_channels_come_along(tmp_path):
  labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
  described = models.dataset(labels, inputs=2, channel="CT", regions_class_order=[1, 2])
  plan = models.plans(inputs=2, scheme="CTNormalization")
  weights = models.state_dict(np.random.default_rng(0), inputs=2)
  folder = models.write(tmp_path / "m", plan=plan, described=described, weights=weights)
  (run,) = import_model(folder, tmp_path / "run").folders
  told = run_folder.describe(run)
  assert told.labels.regions == ((1, 2), (2,))
  assert (told.labels.ignore, told.labels.names, told.channels) == (
    3,
    ("whole", "core"),
    ("CT",) * 2,
  )
  numbers = {"lower": 0.0, "upper": 8.0, "mean": 4.0, "std": 2.0}
  assert told.preparation.normalisation == ({"name": "ct", **numbers},) * 2


def test_a_cascade_is_given_the_classes_of_its_first_stage_alone(tmp_path):
  labels, random = {"background": 0, "a": 1, "b": 2}, np.random.default_rng(0)
  described = models.dataset(labels)
  early = models.write(
    tmp_path / "low", described=described, weights=models.state_dict(random, outputs=3)
  )
  import_model(early, tmp_path / "low run")
  weights = models.state_dict(random, inputs=3, outputs=3)
  plan = models.plans(previous_stage="2d")
  late = models.write(tmp_path / "full", plan=plan, described=described, weights=weights)
  (run,) = import_model(late, tmp_path / "full run", previous=str(tmp_path / "low run")).folders
  image = random.standard_normal((8, 8, 1)).astype(np.float32)
  classes = random.integers(0, 3, (8, 8))
  prior = (classes[..., None] == np.arange(3)).astype(np.float32)
  case = Case({"image": image, "spacing": np.ones(2, np.float32), "prior": prior})
  seen = np.concatenate([image, prior[..., 1:]], -1)
  assert_close(load(run).logits(case), expected_logits(weights, seen), rtol=1e-4)


def test_momentum_and_the_count_of_steps_come_along(tmp_path):
  # in the order in which PyTorch counts the parameters
  weights = models.state_dict(np.random.default_rng(0))
  buffers = {i: {"momentum_buffer": 2 * weights[name]} for i, name in enumerate(weights)}
  state = {"state": buffers, "param_groups": [{"lr": 0.01, "params": list(range(len(weights)))}]}
  folder = models.write(
    tmp_path / "m",
    weights=weights,
    optimizer_state=state,
    current_epoch=3,
    name="checkpoint_latest.pth",
  )
  (run,) = import_model(folder, tmp_path / "run", checkpoint="checkpoint_latest.pth").folders
  _, flat = checkpoint.newest(run)
  kernel = np.asarray(flat["learners/network/params/encoder2/layer1/conv/kernel"])
  trace = [of for name, of in flat.items() if name.endswith("trace/encoder2/layer1/conv/kernel")]
  np.testing.assert_array_equal(np.asarray(trace[0]), 2 * kernel)
  counts = {int(of) for name, of in flat.items() if name.endswith("count")}
  assert counts == {750}
  assert (int(flat["step"]), run_folder.read_config(run)["steps"]) == (750, 250_000)


def refused(tmp_path, words, *, error=ValueError, **options):
  """An import that is refused in one sentence, and leaves nothing."""
  with pytest.raises(error, match=words) as told:
    import_model(tmp_path / "m", tmp_path / "run", **options)
  assert "\n" not in str(told.value)
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_what_is_missing_of_a_folder_is_told(tmp_path, name):
  models.write(tmp_path / "m")
  (tmp_path / "m" / name).unlink()
  refused(tmp_path, rf"m/{name}: not found, expected", error=FileNotFoundError)


def test_other_folders_are_told_from_model_folders(tmp_path):
  refused(tmp_path, r"m: is no folder; expected a model folder", error=FileNotFoundError)
  models.write(tmp_path / "m" / "nnUNetTrainer__nnUNetPlans__2d")
  refused(tmp_path, r"not found, .* give one of .*/nnUNetTrainer__", error=FileNotFoundError)
  (tmp_path / "m" / "plans.pkl").touch()
  refused(tmp_path, r"m: is a model of nnU-Net 1 \(plans\.pkl\)")


def test_checkpoints_of_another_name_are_told(tmp_path):
  models.write(tmp_path / "m", name="checkpoint_best.pth")
  refused(
    tmp_path,
    r"checkpoint_final\.pth: not found, .* there are fold_0/checkpoint_best\.pth",
    error=FileNotFoundError,
  )
  refused(tmp_path, r"fold_3/.*: there is no such file", error=FileNotFoundError, folds=("3",))


def test_a_truncated_checkpoint_is_refused(tmp_path):
  file = models.write(tmp_path / "m") / "fold_0" / "checkpoint_final.pth"
  file.write_bytes(file.read_bytes()[:-200])
  refused(tmp_path, r"checkpoint_final\.pth: is no file of torch\.save, or damaged")


def test_a_checkpoint_that_names_code_is_refused_by_the_name(tmp_path):
  models.write(tmp_path / "m", logging=models.torch_files.Call("posix", "system", ("false",)))
  refused(tmp_path, r"checkpoint_final\.pth: holds 'posix\.system'; only tensors and plain values")


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"trainer_name": ...}, r"'trainer_name' is missing, so that it is of an unknown nnU-Net"),
    ({"init_args": {"plans": {}}}, r"init_args: 'configuration' is missing"),
    ({"current_epoch": "last"}, r"'current_epoch' is 'last', so that"),
    ({"network_weights": ..., "state_dict": {}}, r"is a checkpoint of nnU-Net 1 \(it holds state"),
    ({"inference_allowed_mirroring_axes": (5,)}, r"inference_allowed_mirroring_axes are \(5,\)"),
    ({"inference_allowed_mirroring_axes": (2,)}, r"mirrored along the axes \(2,\), but its patch"),
    ({"trainer_name": "nnUNetTrainerBN"}, r"by nnUNetTrainerBN, whose network \(batch norm\)"),
    ({"trainer_name": "nnUNet_Primus_M_Trainer"}, r"whose network \(the transformer Primus\)"),
    ({"trainer_name": "MyTrainer"}, r"by MyTrainer, which is none of nnU-Net 2\.8\.1's trainers"),
  ],
)
def test_checkpoints_of_unknown_versions_and_trainers_are_refused_by_name(tmp_path, changes, words):
  models.write(tmp_path / "m", **changes)
  refused(tmp_path, words)


def test_ones_own_trainer_is_taken_for_one_that_is_known_its_network_checked(tmp_path):
  weights = models.state_dict(np.random.default_rng(0))
  models.write(tmp_path / "m", weights=weights, trainer_name="MyTrainer")
  refused(tmp_path, r"--trainer Mine: is none of nnU-Net", trainer="Mine")
  import_model(tmp_path / "m", tmp_path / "other", trainer="nnUNetTrainer")
  del weights[FIRST]
  models.write(tmp_path / "m", weights=weights, trainer_name="MyTrainer")
  refused(tmp_path, rf"1 tensor\(s\) are missing: '{FIRST}'", trainer="nnUNetTrainer")


def test_missing_and_superfluous_tensors_are_listed_ten_at_most(tmp_path):
  weights = models.state_dict(np.random.default_rng(0))
  more = {name.replace("convs.0", "convs.1"): of for name, of in weights.items()}
  models.write(tmp_path / "m", weights={**more, **weights})
  refused(
    tmp_path, r"14 tensor\(s\) are superfluous: 'encoder\.stages\.0\.0\.convs\.1.* and 4 more"
  )
  fewer = {name: of for name, of in weights.items() if "stages.0.0" not in name}
  models.write(tmp_path / "m", weights=fewer | {FIRST: weights[FIRST][..., :1]})
  refused(
    tmp_path,
    r"3 tensor\(s\) are missing: .*; 1 tensor\(s\) have another shape: .*"
    r"\(3, 1, 1, 2\), not \(3, 3, 1, 2\)",
  )


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"labels": {"background": 0, "b": 1}}, r"on the classes background, a, .* has background, b"),
    (
      {"labels": {"background": 0, "a": 2}},
      r"the labels have the values \[0, 2\]; nnU-Net numbers",
    ),
    ({"channel_names": {"0": "a", "1": "b"}}, r"names 2 channel\(s\), plans\.json plans for 1"),
  ],
)
def test_a_dataset_of_another_model_is_refused(tmp_path, change, words):
  models.write(tmp_path / "m")
  (tmp_path / "m" / "dataset.json").write_text(json.dumps(models.dataset() | change))
  refused(tmp_path, words)


def test_classes_that_are_not_the_networks_are_refused(tmp_path):
  weights = models.state_dict(np.random.default_rng(0), outputs=4)
  models.write(tmp_path / "m", weights=weights)
  refused(
    tmp_path, r"2 tensor\(s\) have another shape: .*'decoder\.seg_layers\.0\.weight \(1, 1, 2, 4"
  )


def test_folds_of_different_plans_are_refused(tmp_path):
  models.write(tmp_path / "m", folds=(0,), plan=models.plans(patch_size=[16, 16]))
  models.write(tmp_path / "m", folds=(1,))
  refused(tmp_path, r"fold_0/.*: was trained by other plans than plans\.json beside: its patch is")
  models.write(tmp_path / "m", folds=(0,), trainer_name="nnUNetTrainerNoMirroring")
  refused(tmp_path, r"fold_1/.*: its trainer nnUNetTrainer is not nnUNetTrainerNoMirroring")


def test_networks_and_schemes_that_are_unknown_are_refused_by_name(tmp_path):
  plan = models.plans(scheme="HistogramNormalization")
  models.write(tmp_path / "m", plan=plan)
  refused(
    tmp_path, r"normalization_schemes is \['HistogramNormalization'\]; expected one of CTNorm"
  )
  plan = models.plans()
  plan["configurations"]["2d"]["architecture"]["network_class_name"] = "mine.Transformer"
  models.write(tmp_path / "m", plan=plan)
  refused(tmp_path, r"network_class_name 'mine\.Transformer' is unknown; expected one of")
  models.write(tmp_path / "m", configuration="3d_fullres")
  refused(tmp_path, r"plans\.json: has no configuration '3d_fullres'; it holds 2d")


def test_the_axes_of_pictures_may_be_turned(tmp_path):
  turned = {"transpose_forward": [0, 2, 1], "transpose_backward": [0, 2, 1]}
  weights = models.state_dict(np.random.default_rng(0))
  model = models.write(tmp_path / "m", plan=models.plans() | turned, weights=weights)
  (run,) = import_model(model, tmp_path / "run").folders
  assert run_folder.describe(run).preparation.transpose == (1, 0)
  export((run,), tmp_path / "out")
  assert json.loads((tmp_path / "out" / "plans.json").read_text()) == models.plans() | turned
  models.write(tmp_path / "m", plan=models.plans() | {"transpose_forward": [1, 0, 2]})
  with pytest.raises(ValueError, match=r"transpose_forward \[1, 0, 2\] takes another axis"):
    import_model(tmp_path / "m", tmp_path / "other")


def test_weights_of_a_training_that_diverged_are_refused(tmp_path):
  weights = models.state_dict(np.random.default_rng(0))
  weights[FIRST][0] = np.nan
  models.write(tmp_path / "m", weights=weights)
  refused(tmp_path, rf"1 tensor\(s\) hold NaN or infinity \('{FIRST}'\): training diverged")


def test_a_mask_counts_for_z_scores_alone(tmp_path):
  """nnU-Net's other schemes take no notice of it."""
  schemes = ["ZScoreNormalization", "RescaleTo01Normalization", "NoNormalization"]
  plan = models.plans(inputs=3, normalization_schemes=schemes, use_mask_for_norm=[True] * 3)
  weights = models.state_dict(np.random.default_rng(0), inputs=3)
  parts = {"plan": plan, "weights": weights, "described": models.dataset(inputs=3)}
  (run,) = import_model(models.write(tmp_path / "m", **parts), tmp_path / "run").folders
  assert run_folder.describe(run).preparation.normalisation == (
    {"name": "zscore", "nonzero": True},
    {"name": "minmax"},
    {"name": "none"},
  )


def test_ct_without_its_statistics_is_refused(tmp_path):
  plan = models.plans(scheme="CTNormalization")
  statistics = {name: of for name, of in models.STATISTICS.items() if name != "std"}
  plan["foreground_intensity_properties_per_channel"] = {"0": statistics}
  models.write(tmp_path / "m", plan=plan, described=models.dataset(channel="CT"))
  refused(
    tmp_path, r"channel 0 lacks 'std'; expected the channels '0', .* of which CTNormalization"
  )


def test_a_cascade_without_its_first_stage_is_refused(tmp_path):
  models.write(tmp_path / "m", plan=models.plans(previous_stage="3d_lowres"))
  refused(tmp_path, r"second stage of a cascade \(2d\), the first of which is 3d_lowres; import")
  refused(tmp_path, r"nowhere/config\.json: not found", error=FileNotFoundError, previous="nowhere")
  models.write(tmp_path / "n")
  with pytest.raises(ValueError, match=r"--previous x: .*n \(2d\) is no second stage"):
    import_model(tmp_path / "n", tmp_path / "run", previous="x")
  import_model(tmp_path / "n", tmp_path / "other")
  words = r"--previous .*other: is of 2d on MR; expected the run of the 3d_lowres of .*m, on MR"
  refused(tmp_path, words, previous=str(tmp_path / "other"))


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
  models.write(tmp_path / "m")
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "notes.txt").touch()
  with pytest.raises(ValueError, match=r"--output .*run: is not empty; choose another folder"):
    import_model(tmp_path / "m", tmp_path / "run")
  assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("model", ["plain2d", "plain3d", "resenc3d"])
def test_real_models_predict_what_nnunet_predicted(model, real_data, tmp_path):
  folder = real_data / "nnunet_models" / model
  (run,) = import_model(folder, tmp_path / "run").folders
  reference = np.load(folder / "reference.npz")
  patch, expected = (np.moveaxis(reference[name][0], 0, -1) for name in ("patch", "patch_logits"))
  assert np.abs(logits(run, patch) - expected).max() < 1e-4
  volume, expected = (np.moveaxis(reference[name], 0, -1) for name in ("volume", "volume_logits"))
  if model == "plain2d":
    # a model of pictures: each slice is one
    got = np.stack([logits(run, picture, mirror=True) for picture in volume])
  else:
    got = logits(run, volume, mirror=True)
  difference = np.abs(got - expected).max(-1)
  # nnU-Net adds up in half precision, where a window's weights are small at its border as well
  inside = tuple(slice(None if n < 8 else 4, n if n < 8 else -4) for n in difference.shape)
  assert difference[inside].max() < 1e-2


def test_a_2d_model_of_volumes_goes_slice_by_slice_and_back(tmp_path):
  random = np.random.default_rng(0)
  weights, plan = models.state_dict(random), models.plans()
  plan |= {
    "original_median_spacing_after_transp": [3.0, 1.0, 1.0],
    "original_median_shape_after_transp": [20, 8, 8],
    "image_reader_writer": "SimpleITKIO",
  }
  described = models.dataset(file_ending=".nii.gz")
  model = models.write(tmp_path / "m", plan=plan, described=described, weights=weights)
  (run,) = import_model(model, tmp_path / "run").folders
  assert run_folder.describe(run).rank == 3
  volume = random.standard_normal((3, 8, 8, 1)).astype(np.float32)
  expected = np.stack([expected_logits(weights, image, (0, 1)) for image in volume])
  assert_close(logits(run, volume, mirror=True), expected, rtol=1e-4)
  export((run,), tmp_path / "out")
  assert json.loads((tmp_path / "out" / "plans.json").read_text()) == plan
