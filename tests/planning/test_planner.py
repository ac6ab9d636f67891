"""Our plans against nnU-Net's, from its own fingerprints, and a few of its numbers always."""

import json
import math
import pathlib

import pytest

from jaxseg import planning
from jaxseg.planning import Description, Fingerprint

PRESETS = {
  "nnUNetPlans": "default",
  "nnUNetResEncUNetMPlans": "resenc_m",
  "nnUNetResEncUNetLPlans": "resenc_l",
}
NOTHING = dict.fromkeys(
  ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 0.0
)


@pytest.fixture
def reference(real_data):
  folder = pathlib.Path(real_data).parent / "spec" / "nnunet_plans"
  if not folder.is_dir():
    pytest.skip(f"no plans of nnU-Net at {folder}")
  return folder


def alike(shape, spacing, cases, *, channels=1, relative_size=1.0):
  """The fingerprint of cases that are all alike."""
  return Fingerprint((shape,) * cases, (spacing,) * cases, relative_size, (NOTHING,) * channels)


def described(cases, labels, channels=("MRI",)):
  return Description("set", tuple(channels), labels, cases)


@pytest.mark.parametrize(
  ("name", "file"),
  [
    *((name, "nnUNetPlans") for name in ("brats", "isbi", "drive")),
    *((name, file) for name in ("hippocampus", "abdomenmr", "abdomenct") for file in PRESETS),
  ],
)
def test_every_field_is_what_nnunet_plans(reference, tmp_path, name, file):
  folder = reference / name
  told = json.loads((folder / "dataset.json").read_text())
  theirs = json.loads((folder / f"{file}.json").read_text())
  description = Description(
    theirs["dataset_name"],
    tuple(told["channel_names"].values()),
    len(told["labels"]),
    told["numTraining"],
    theirs["image_reader_writer"],
  )
  fingerprint = planning.read_fingerprint(folder / "dataset_fingerprint.json")
  plan = planning.plan(fingerprint, description, preset=PRESETS[file])
  planning.write_plan(tmp_path / "plans.json", plan)
  assert json.loads((tmp_path / "plans.json").read_text()) == theirs


def test_nnunets_plan_for_three_brain_tumours():
  fingerprint = alike((155, 240, 240), (1.0, 1.0, 1.0), 3, channels=2)
  plan = planning.plan(fingerprint, described(3, 5, ("FLAIR", "T1c")))
  assert list(plan.configurations) == ["2d", "3d_fullres"]
  flat, full = plan.configurations.values()
  assert (flat.patch, flat.batch, flat.widths) == (
    (256, 256),
    20,
    (32, 64, 128, 256, 512, 512, 512),
  )
  assert (full.patch, full.batch, full.batch_dice) == ((96, 160, 160), 2, False)
  assert full.strides == ((1, 1, 1), *((2, 2, 2),) * 4, (1, 2, 2))
  assert full.widths == (32, 64, 128, 256, 320, 320)
  assert full.depth == (2,) * 6
  assert full.normalisation == ("zscore", "zscore")


# patch, batch and low-resolution spacing that nnU-Net 2.8.1 plans for these sizes
@pytest.mark.parametrize(
  ("preset", "patch", "batch_2d", "low_patch", "low_spacing"),
  [
    ("default", (112, 160, 128), 12, (112, 160, 128), (2.2879276757, 1.8303421406, 1.8303421406)),
    ("resenc_l", (160, 224, 192), 35, (160, 224, 192), (1.5579674166, 1.2463739333, 1.2463739333)),
  ],
)
def test_large_images_get_a_low_resolution_and_a_cascade(
  preset, patch, batch_2d, low_patch, low_spacing
):
  fingerprint = alike((400, 512, 500), (1.0, 0.8, 0.8), 20, relative_size=0.6)
  plan = planning.plan(fingerprint, described(20, 3), preset=preset)
  assert list(plan.configurations) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
  flat, low, full, cascade = plan.configurations.values()
  assert (flat.patch, flat.batch) == ((512, 512), batch_2d)
  assert (full.patch, full.batch, full.batch_dice) == (patch, 2, True)
  assert (low.patch, low.batch, low.batch_dice) == (low_patch, 2, False)
  assert low.spacing == pytest.approx(low_spacing)
  assert low.next_stage == "3d_cascade_fullres"
  assert (cascade.previous_stage, cascade.inherits) == ("3d_lowres", "3d_fullres")
  assert cascade.patch == full.patch
  # cropping leaves less than three quarters, so that z-scores look inside the mask
  assert low.masked == full.masked == (True,)


def test_channels_choose_their_normalisation_and_only_z_scores_are_masked():
  fingerprint = alike((64, 64, 64), (1.0, 1.0, 1.0), 4, channels=5, relative_size=0.5)
  channels = ("CT", "T1", "noNorm", "rescale_to_0_1", "rgb_to_0_1")
  full = planning.plan(fingerprint, described(4, 2, channels)).configurations["3d_fullres"]
  assert full.normalisation == ("ct", "zscore", "none", "minmax", "rgb")
  assert full.masked == (False, True, False, False, False)


def test_the_coarsest_axis_is_transposed_to_the_front():
  plan = planning.plan(alike((100, 120, 30), (1.0, 0.9, 3.0), 10), described(10, 2))
  assert plan.transpose == (2, 0, 1)
  assert plan.spacing == (3.0, 1.0, 0.9)
  assert plan.shape == (30, 100, 120)
  assert plan.configurations["3d_fullres"].spacing == (3.0, 1.0, 0.9)
  assert plan.configurations["2d"].spacing == (1.0, 0.9)


def test_the_spacing_can_be_asked_for():
  fingerprint = alike((100, 100, 100), (1.0, 1.0, 1.0), 10)
  full = planning.plan(fingerprint, described(10, 2), spacing=(2.0, 1.0, 1.0)).configurations
  assert full["3d_fullres"].spacing == (2.0, 1.0, 1.0)
  assert full["3d_fullres"].median_shape == (50, 100, 100)


def test_more_memory_gives_larger_patches_under_another_name():
  fingerprint = alike((300, 400, 400), (1.0, 1.0, 1.0), 30)
  sizes = []
  for gigabytes in (8, 24, 80):
    plan = planning.plan(fingerprint, described(30, 3), gpu_memory=gigabytes)
    sizes.append(math.prod(plan.configurations["3d_fullres"].patch))
  assert sizes[0] < sizes[1] < sizes[2]
  assert plan.name == "nnUNetPlans_80G"
  names = {name: preset.name for name, preset in planning.PRESETS.items()}
  assert names["resenc_80gb"] == "nnUNetResEncUNetXLPlans_80G"
  assert planning.PRESETS["resenc_80gb"].features_3d == 2 * 3600e6


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"preset": "resenc_s"}, "preset 'resenc_s' is unknown"),
    ({"gpu_memory": 0.0}, "GPU memory of 0.0 GB; expected 1 or more"),
    ({"spacing": (1.0, 0.0, 1.0)}, "three positive numbers"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    planning.plan(alike((64, 64, 64), (1.0, 1.0, 1.0), 4), described(4, 2), **options)


def test_labels_without_room_and_another_sets_fingerprint_are_refused():
  fingerprint = alike((64, 64, 64), (1.0, 1.0, 1.0), 4)
  with pytest.raises(ValueError, match="no patch fits into 8 GB for 1000000000 labels"):
    planning.plan(fingerprint, described(4, 10**9))
  with pytest.raises(ValueError, match=r"fingerprint is of 1 channel\(s\), the data set has 2"):
    planning.plan(fingerprint, described(4, 2, ("a", "b")))


def test_the_table_tells_values_and_reasons():
  fingerprint = alike((400, 512, 500), (1.0, 0.8, 0.8), 20)
  text = planning.as_text(planning.plan(fingerprint, described(20, 3)))
  assert max(len(line) for line in text.splitlines()) <= 100
  flat = " ".join(text.split())
  for words in ("112x160x128", "median of 20 cases", "low resolution and a cascade", "8 GB"):
    assert words in flat
