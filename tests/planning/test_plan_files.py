"""nnU-Net's files: what is written, what comes back, and what is refused in words."""

import json
import pathlib

import pytest
from nnunet_models import STATISTICS

from jaxseg import planning
from jaxseg.planning import Description, Fingerprint

LARGE = Fingerprint(((400, 512, 500),) * 20, ((1.0, 0.8, 0.8),) * 20, 0.6, (STATISTICS,))


@pytest.fixture
def plan():
  return planning.plan(LARGE, Description("Dataset007_Set", ("CT",), 3, 20))


@pytest.fixture
def written(plan, tmp_path):
  """The path of the plan as a file, and a function that changes it."""
  path = tmp_path / "nnUNetPlans.json"
  planning.write_plan(path, plan)

  def change(edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))

  return path, change


def test_a_plan_comes_back_as_it_was(plan, written):
  assert planning.read_plan(written[0]) == plan


def test_a_cascade_is_written_as_a_link(written):
  content = json.loads(written[0].read_text())
  assert content["configurations"]["3d_cascade_fullres"] == {
    "inherits_from": "3d_fullres",
    "previous_stage": "3d_lowres",
  }
  assert content["configurations"]["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
  assert content["transpose_backward"] == [0, 1, 2]


def test_axes_are_transposed_back_by_the_inverse_order(tmp_path):
  fingerprint = Fingerprint(((100, 120, 30),) * 4, ((1.0, 0.9, 3.0),) * 4, 1.0, (STATISTICS,))
  plan = planning.plan(fingerprint, Description("set", ("CT",), 2, 4))
  planning.write_plan(tmp_path / "p.json", plan)
  content = json.loads((tmp_path / "p.json").read_text())
  assert (content["transpose_forward"], content["transpose_backward"]) == ([2, 0, 1], [1, 2, 0])


def test_a_users_own_configuration_inherits_the_rest(plan, written):
  path, change = written
  mine = {"inherits_from": "3d_fullres", "batch_size": 5}
  change(lambda content: content["configurations"].update(mine=mine))
  read = planning.read_plan(path)
  assert read.configurations["mine"].batch == 5
  assert read.configurations["mine"].patch == plan.configurations["3d_fullres"].patch
  planning.write_plan(path, read)
  assert json.loads(path.read_text())["configurations"]["mine"] == mine


def test_plans_of_before_2_4_say_the_same(plan, written):
  path, change = written

  def age(content):
    for configuration in content["configurations"].values():
      if "architecture" in configuration:
        options = configuration.pop("architecture")["arch_kwargs"]
        configuration |= {
          "UNet_class_name": "PlainConvUNet",
          "UNet_base_num_features": 32,
          "unet_max_num_features": max(options["features_per_stage"]),
          "n_conv_per_stage_encoder": options["n_conv_per_stage"],
          "n_conv_per_stage_decoder": options["n_conv_per_stage_decoder"],
          "num_pool_per_axis": [5, 5, 5],
          "pool_op_kernel_sizes": options["strides"],
          "conv_kernel_sizes": options["kernel_sizes"],
        }
    statistics = content.pop("foreground_intensity_properties_per_channel")
    content["foreground_intensity_properties_by_modality"] = statistics

  change(age)
  assert planning.read_plan(path) == plan
  change(lambda c: c["configurations"]["2d"].update(UNet_class_name="MyUNet"))
  with pytest.raises(ValueError, match=r"2d: UNet_class_name is 'MyUNet'; expected one of Plain"):
    planning.read_plan(path)


def test_every_plan_of_nnunet_is_read_and_written_letter_for_letter(real_data, tmp_path):
  plans = sorted((pathlib.Path(real_data).parent / "spec/nnunet_plans").glob("*/nnU*.json"))
  if not plans:
    pytest.skip("no plans of nnU-Net beside the data")
  for path in plans:
    planning.write_plan(tmp_path / "again.json", planning.read_plan(path))
    assert (tmp_path / "again.json").read_text() == path.read_text()
    fingerprint = path.with_name("dataset_fingerprint.json")
    planning.write_fingerprint(tmp_path / "fp.json", planning.read_fingerprint(fingerprint))
    assert json.loads((tmp_path / "fp.json").read_text()) == json.loads(fingerprint.read_text())


def _of(content, *path):
  for name in path:
    content = content[name]
  return content


FULL = ("configurations", "3d_fullres")
NET = (*FULL, "architecture")
OPTIONS = (*NET, "arch_kwargs")


@pytest.mark.parametrize(
  ("edit", "words"),
  [
    (lambda c: c.update(colour=1), "the field 'colour' is unknown; expected the fields of nnU-Net"),
    (lambda c: c.pop("label_manager"), "the field 'label_manager' is missing"),
    (
      lambda c: _of(c, *FULL).update(patch=1),
      "configuration 3d_fullres: the field 'patch' is unknown",
    ),
    (lambda c: _of(c, *FULL).pop("spacing"), "'spacing' is missing"),
    (
      lambda c: (_of(c, *FULL).pop("architecture"), _of(c, *FULL).update(UNet_class_name="U")),
      "'UNet_base_num_features' is missing, which plans of an nnU-Net before 2.4",
    ),
    (lambda c: _of(c, *NET).update(network_class_name="a.Primus"), "'a.Primus' is unknown"),
    (lambda c: _of(c, *OPTIONS).update(dropout_op="torch.nn.Dropout"), "dropout_op is 'torch.nn"),
    (lambda c: _of(c, *OPTIONS).update(squeeze=True), "squeeze is True.*'no such option'"),
    (lambda c: _of(c, *OPTIONS).update(features_per_stage=[32]), "expected 6 entries, one per"),
    (
      lambda c: _of(c, *FULL).update(resampling_fn_data="resample_torch_fornnunet"),
      "resampling_fn_data is 'resample_torch_fornnunet'",
    ),
    (
      lambda c: _of(c, *FULL).update(normalization_schemes=["Mine"]),
      "'Mine'.*; expected one of CT",
    ),
    (lambda c: _of(c, *FULL).update(preprocessor_name="Mine"), "preprocessor_name 'Mine'"),
    (lambda c: _of(c, *FULL).update(patch_size=3), "patch_size is 3; expected one positive whole"),
    (lambda c: _of(c, *FULL).update(patch_size=[64, 64]), "expected one positive whole number per"),
    (
      lambda c: _of(c, *FULL).update(spacing=[1, 1, 0]),
      r"spacing is \[1, 1, 0\]; expected one pos",
    ),
    (lambda c: _of(c, *FULL).update(batch_size="two"), "batch_size is 'two'; expected a positive"),
    (lambda c: _of(c, *FULL).update(use_mask_for_norm=[1]), "true or false per channel"),
    (lambda c: _of(c, *FULL).update(normalization_schemes=[]), "for each of 1 channel"),
    (
      lambda c: _of(c, *FULL, "resampling_fn_data_kwargs").update(order=2),
      "resampling_fn_data_kwargs: order is 2; expected one of 0, 1, 3",
    ),
    (
      lambda c: c["foreground_intensity_properties_per_channel"]["0"].pop("mean"),
      "channel 0 lacks 'mean'; expected the channels '0', '1'",
    ),
    (lambda c: c.update(transpose_forward=[0, 0, 1]), "expected an order of the axes 0, 1 and 2"),
    (lambda c: c.update(configurations=[]), "configurations is .*; expected configurations by"),
    (lambda c: _of(c, *OPTIONS).update(n_stages=None), "n_stages is None; expected a positive"),
    (lambda c: _of(c, *OPTIONS).update(strides=[1] * 6), "strides holds 1; expected a positive"),
    (lambda c: _of(c, *NET).update(arch_kwargs=3), "arch_kwargs is 3; expected a network's"),
    (
      lambda c: _of(c, "configurations", "3d_cascade_fullres").update(inherits_from="4d"),
      "3d_cascade_fullres inherits from '4d', which is missing",
    ),
  ],
)
def test_plans_that_do_not_fit_are_refused_in_one_sentence(written, edit, words):
  path, change = written
  change(edit)
  with pytest.raises(ValueError, match=words) as refused:
    planning.read_plan(path)
  assert str(path) in str(refused.value)
  assert "\n" not in str(refused.value)


def test_a_fingerprint_comes_back_with_its_class_frequencies(tmp_path):
  fingerprint = LARGE._replace(classes={"background": 90, "liver": 10})
  planning.write_fingerprint(tmp_path / "f.json", fingerprint)
  assert planning.read_fingerprint(tmp_path / "f.json") == fingerprint
  planning.write_fingerprint(tmp_path / "f.json", LARGE)
  assert sorted(json.loads((tmp_path / "f.json").read_text())) == [
    "foreground_intensity_properties_per_channel",
    "median_relative_size_after_cropping",
    "shapes_after_crop",
    "spacings",
  ]


def test_splits_come_back(tmp_path):
  splits = ((("a", "b"), ("c",)), (("b", "c"), ("a",)))
  planning.write_splits(tmp_path / "splits_final.json", splits)
  assert planning.read_splits(tmp_path / "splits_final.json") == splits
  assert json.loads((tmp_path / "splits_final.json").read_text())[0] == {
    "train": ["a", "b"],
    "val": ["c"],
  }


@pytest.mark.parametrize("read", ["read_plan", "read_fingerprint", "read_splits"])
def test_what_is_no_such_file_is_told(tmp_path, read):
  read = getattr(planning, read)
  with pytest.raises(FileNotFoundError, match=r"missing.json: not found, expected nnU-Net's"):
    read(tmp_path / "missing.json")
  broken = tmp_path / "broken.json"
  broken.write_text("{")
  with pytest.raises(ValueError, match=r"broken.json: is damaged or no JSON .* expected nnU-Net's"):
    read(broken)
  broken.write_text('"words"')
  with pytest.raises(ValueError, match=r"broken.json: holds a text, expected (an object|a list)"):
    read(broken)
