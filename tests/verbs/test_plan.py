"""jaxseg plan: a folder of scans -> nnU-Net's files, which nnU-Net's rules confirm."""

import functools
import json
import pathlib

import h5py
import nibabel as nib
import numpy as np
import pytest

from jaxseg import planning
from jaxseg.data import nnunet_raw
from jaxseg.planning.planned_config import find_data, plan_for, write_plans
from jaxseg.verbs.plan import main


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
  """A sample of 6,000 voxels in place of nnU-Net's 100 million."""
  quick = functools.partial(planning.fingerprint, draws=6000)
  monkeypatch.setattr(planning, "fingerprint", quick)


@pytest.fixture
def decathlon(tmp_path):
  """Six cases in the Medical Segmentation Decathlon's format."""
  root, training = tmp_path / "Task99_Tiny", []
  for number in range(6):
    random = np.random.default_rng(number)
    image = random.normal(100, 20, (24, 20, 16)).astype(np.float32)
    label = (image > 110).astype(np.uint8)
    for folder, array in (("imagesTr", image), ("labelsTr", label)):
      (root / folder).mkdir(parents=True, exist_ok=True)
      nib.save(nib.Nifti1Image(array, np.eye(4)), root / folder / f"tiny_{number}.nii.gz")
    name = f"tiny_{number}.nii.gz"
    training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
  description = {
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "organ"},
    "training": training,
    "numTraining": 6,
  }
  (root / "dataset.json").write_text(json.dumps(description))
  return root


def test_a_folder_of_hdf5_volumes_is_planned_by_its_config(tmp_path, capsys):
  """It has no dataset.json, and need not."""
  for case in range(6):
    label = np.zeros((8, 16, 16), np.uint8)
    label[2:6, 4:12, 4:8], label[2:6, 4:12, 8:12] = 1, 2
    with h5py.File(tmp_path / f"{case}.h5", "w") as file:
      file["image"] = np.random.default_rng(case).random(label.shape).astype(np.float32)
      file["label"] = label
  config = tmp_path / "config.py"
  config.write_text(
    "from jaxseg import defaults\n\n\ndef get_config():\n  config = defaults.config()\n"
    f"  config.data.source = dict(name='h5', path='{tmp_path}', names=('rest', 'cap', 'stem'))\n"
    "  return config\n"
  )
  plan(config, "--output", tmp_path / "plans")
  printed = capsys.readouterr().out
  assert "stem lies further along it than cap in 6 of 6 cases" in " ".join(printed.split())


def plan(*arguments):
  main([str(a) for a in ("--workers", 1, *arguments)])


def test_a_decathlon_folder_is_planned_beside_the_default(decathlon, tmp_path, capsys):
  output = tmp_path / "plans"
  plan(decathlon, "--output", output, "--preset", "resenc_m")
  printed = capsys.readouterr().out
  assert "nnUNetResEncUNetMPlans for Task99_Tiny" in printed
  assert "3d_fullres" in printed
  made = {file.name for file in output.iterdir()}
  assert made == {
    "dataset.json",
    "dataset_fingerprint.json",
    "mirroring.json",
    "nnUNetPlans.json",
    "nnUNetResEncUNetMPlans.json",
    "splits_final.json",
  }
  full = planning.read_plan(output / "nnUNetPlans.json").configurations["3d_fullres"]
  # 16x20x24 in our order: halved to 4x5x6 by two poolings
  assert (full.patch, len(full.widths)) == ((16, 20, 24), 3)
  assert full.normalisation == ("ct",)
  folds = planning.read_splits(output / "splits_final.json")
  assert len(folds) == 5
  assert sorted(case for _, held in folds for case in held) == [f"tiny_{i}" for i in range(6)]


def test_a_configs_data_set_is_planned(decathlon, tmp_path):
  config = tmp_path / "config.py"
  source = {"name": "nnunet_raw", "path": str(decathlon)}
  lines = ("from jaxseg import defaults", "def get_config():", "  c = defaults.config()")
  config.write_text("\n".join([*lines, f"  c.data.source = dict({source})", "  return c"]))
  plan(config, "--output", tmp_path / "plans")
  plan(decathlon, "--output", tmp_path / "others")
  one, other = (planning.read_plan(tmp_path / f / "nnUNetPlans.json") for f in ("plans", "others"))
  assert one == other


def test_splits_that_are_there_stay(decathlon, tmp_path):
  mine = ((("tiny_0", "tiny_1"), ("tiny_2",)),)
  planning.write_splits(tmp_path / "splits_final.json", mine)
  plan(decathlon, "--output", tmp_path, "--gpu-memory", "24")
  assert planning.read_splits(tmp_path / "splits_final.json") == mine
  assert (tmp_path / "nnUNetPlans_24G.json").is_file()


def test_splits_of_other_data_of_the_same_name_are_told_before_any_case_is_read(
  decathlon, tmp_path, monkeypatch
):
  planning.write_splits(tmp_path / "splits_final.json", ((("tiny_0", "huge_1"), ("tiny_2",)),))
  before = (tmp_path / "splits_final.json").read_text()
  monkeypatch.setattr(planning, "fingerprint", None)
  words = "splits_final.json: names case 'huge_1', which data set 'Task99_Tiny' doesn't have"
  with pytest.raises(SystemExit, match=words):
    plan(decathlon, "--output", tmp_path)
  assert [file.name for file in tmp_path.glob("*.json")] == ["splits_final.json"]
  assert (tmp_path / "splits_final.json").read_text() == before


def test_a_plan_that_lies_there_is_taken_unless_it_is_of_other_data(decathlon, tmp_path):
  source = nnunet_raw(str(decathlon))
  assert plan_for(source, tmp_path, "default").configurations["3d_fullres"].batch == 2
  file = tmp_path / "nnUNetPlans.json"
  file.write_text(file.read_text().replace('"batch_size": 2', '"batch_size": 7'))
  assert plan_for(source, tmp_path, "default").configurations["3d_fullres"].batch == 7
  with pytest.raises(ValueError, match=r"names case 'tiny_\d', which data set 'other' doesn't"):
    plan_for(source._replace(name="other", cases=("a", "b")), tmp_path, "default")
  with pytest.raises(ValueError, match=r"is for 1 channel\(s\), but data set .* has 2 \(CT, PET\)"):
    plan_for(source._replace(channels=("CT", "PET")), tmp_path, "default")


def test_one_case_is_planned_for_but_cannot_train(decathlon, tmp_path):
  source = nnunet_raw(str(decathlon))._replace(cases=("tiny_0",))
  (made,) = write_plans(source, tmp_path, ("default",))
  assert made.configurations["3d_fullres"].batch == 2
  with pytest.raises(ValueError, match="Task99_Tiny: has one case; expected two or more"):
    plan_for(source, tmp_path, "default")


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
  with pytest.raises(SystemExit, match=r"plan: .*dataset.json: not found"):
    plan(tmp_path, "--output", tmp_path / "plans")


def test_a_bad_case_ends_the_verb_with_its_name(decathlon, tmp_path):
  path = decathlon / "labelsTr/tiny_3.nii.gz"
  nib.save(nib.Nifti1Image(np.ones((24, 20, 15), np.uint8), np.eye(4)), path)
  with pytest.raises(SystemExit, match=r"tiny_3.nii.gz: the image has shape \(16, 20, 24\)"):
    plan(decathlon, "--output", tmp_path / "plans")
  assert not list((tmp_path / "plans").glob("*.json"))


def test_what_is_no_data_set_is_refused_in_a_sentence(tmp_path):
  with pytest.raises(SystemExit, match="nowhere: no such folder; expected one in nnU-Net's raw"):
    plan("nowhere", "--output", tmp_path)


def test_a_task_of_the_decathlon_is_known_by_name():
  with pytest.raises(ValueError, match=r"config\.task: makes images, but plans are of segment"):
    find_data(str(pathlib.Path(__file__).parents[2] / "configs" / "synthesis_phantom2d.py"))
  assert find_data("hippocampus") == {"source": {"name": "msd", "task": "Task04_Hippocampus"}}


def test_the_plan_for_a_cpu_has_half_the_widths_and_a_batch_that_two_cores_do_in_a_second(
  decathlon, tmp_path, capsys
):
  plan(decathlon, "--output", tmp_path, "--preset", "cpu")
  assert "(our own jaxsegPlannerCPU)" in capsys.readouterr().out
  told = planning.read_plan(tmp_path / "jaxsegCPUPlans.json").configurations["3d_fullres"]
  # 16x20x24 voxels are too few to be cut; 24 * 20 * 16 * 6 of them, of which 5 % in a batch
  assert (told.patch, told.widths, told.batch) == ((16, 20, 24), (16, 32, 64), 2)
  with pytest.raises(SystemExit, match="saves time, not memory"):
    plan(decathlon, "--output", tmp_path, "--preset", "cpu", "--gpu-memory", 8)
