"""predict --missing, and evaluate-subsets: channels by name, files that are there or not."""

import json

import nibabel as nib
import numpy as np
import pytest
import tiny
from run_folders import state_of

from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.evaluation.subsets import as_table, evaluate_subsets
from jaxseg.inference.missing import learnt, numbers, placed, subsets, warning
from jaxseg.inference.segmentation import segment
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.verbs import evaluate_subsets as verb
from jaxseg.verbs import predict

CHANNELS = ("flair", "t1", "t1c")


def run_of(folder, **changes):
  """A run folder of random weights, on three channels."""
  changes = {"data.source": {"name": "phantom"}, **changes}
  run = tiny.experiment(**changes)
  preparation = Preparation(CHANNELS, 2, ({"name": "none"},) * 3)
  run = tiny.with_dataset(run, channels=CHANNELS, preparation=preparation)
  folder.mkdir(parents=True)
  run_folder.record(folder, run)
  state = state_of(run.method, {"image": np.zeros((1, *run.patch, 3), np.float32)}, seed=0)
  checkpoint.Checkpoints(folder, checkpoint.LATEST).save(state, {})
  return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  dropped = {"augment": {"modality_dropout": {}}}
  return run_of(tmp_path_factory.mktemp("runs") / "run", **dropped)


def channel(number, shape=(20, 17)):
  return np.random.default_rng(number).normal(size=shape).astype(np.float32)


def write(folder, held, name="scan"):
  folder.mkdir(exist_ok=True)
  for number in held:
    image = nib.Nifti1Image(channel(number), np.eye(4))
    nib.save(image, folder / f"{name}_{number:04d}.nii.gz")
  return folder


def segmented(run, source, output, *options):
  arguments = ["--workdir", str(run), "--input", str(source), "--output", str(output), *options]
  predict.main([*arguments, "--probabilities"])
  return np.load(output / "scan_probabilities.npz")["probabilities"]


@pytest.mark.parametrize("missing", [("t1c",), ("flair",), ("t1", "t1c"), ("flair", "t1")])
def test_it_is_the_same_whether_the_files_are_there_or_not(run, tmp_path, missing, capsys):
  left = [i for i, name in enumerate(CHANNELS) if name not in missing]
  whole, few = write(tmp_path / "whole", range(3)), write(tmp_path / "few", left)
  ours = segmented(run, whole, tmp_path / "a", "--missing", *missing)
  theirs = segmented(run, few, tmp_path / "b", "--missing", *missing)
  np.testing.assert_array_equal(ours, theirs)
  assert "complete cases" not in capsys.readouterr().err
  assert not np.allclose(ours, segmented(run, whole, tmp_path / "c"))
  if len(left) == 1:
    lone = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(channel(left[0]), np.eye(4)), lone)
    np.testing.assert_array_equal(segmented(run, lone, tmp_path / "d", "--missing", *missing), ours)


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (("t1d",), r"--missing t1d: the run has no such channel \(did you mean 't1'\?\); its .*flair"),
    (("pet",), "--missing pet: the run has no such channel; its channels: flair, t1, t1c"),
    (CHANNELS, "--missing flair t1 t1c: these are all channels of the run"),
  ],
)
def test_names_that_mean_nothing_are_refused(run, tmp_path, names, message):
  write(tmp_path / "in", range(3))
  with pytest.raises(SystemExit, match=message):
    segmented(run, tmp_path / "in", tmp_path / "out", "--missing", *names)


def test_a_file_that_is_not_there_is_told_with_the_way_out(run, tmp_path):
  write(tmp_path / "in", (0, 1))
  with pytest.raises(SystemExit, match=r"expected one per channel \(flair, t1, t1c\)"):
    segmented(run, tmp_path / "in", tmp_path / "out")
  write(tmp_path / "one", (0,))
  with pytest.raises(SystemExit, match=r"has 1 channel\(s\), .* or name with --missing what"):
    segmented(run, tmp_path / "one", tmp_path / "out")
  # another one is missing than the user says
  with pytest.raises(SystemExit, match="expected one per channel"):
    segmented(run, tmp_path / "in", tmp_path / "out", "--missing", "flair")


def test_a_run_that_never_saw_such_cases_says_so(tmp_path, capsys):
  run = run_of(tmp_path / "run")
  write(tmp_path / "in", range(3))
  segmented(run, tmp_path / "in", tmp_path / "out", "--missing", "t1")
  assert "note: the run was trained on complete cases alone" in capsys.readouterr().err


def test_who_has_learnt_from_cases_that_lack_channels():
  plain = {"augment": {}, "data": {"source": {"name": "phantom"}}, "streams": {}}
  assert not learnt(plain)
  assert "augment.modality_dropout" in warning(plain)
  named = {**plain, "augment": {"first": {"name": "modality_dropout"}}}
  incomplete = {**plain, "data": {"source": {"name": "nnunet_raw", "incomplete": True}}}
  for config in (named, incomplete):
    assert learnt(config)
    assert warning(config) == ""


def test_channels_are_put_in_their_places():
  image = np.ones((2, 2, 2), np.float32) * (1, 2)
  raw = RawCase(image, None, None, plain_geometry((2, 2)))
  out = placed(raw, (0, 2), 3, (1,))
  np.testing.assert_array_equal(out.image[0, 0], [1, 0, 2])
  assert out.missing == (1,)
  out = placed(raw, None, 4, (0, 2))
  np.testing.assert_array_equal(out.image[0, 0], [0, 1, 0, 2])
  assert out.missing == (0, 2)
  # a file of a channel that is said to be missing is not looked at
  out = placed(raw, (0, 1), 3, (1, 2))
  np.testing.assert_array_equal(out.image[0, 0], [1, 0, 0])
  np.testing.assert_array_equal(raw.image[0, 0], [1, 2])


def test_there_are_15_subsets_of_4_channels_the_whole_one_first():
  found = list(subsets(4))
  assert len(found) == len(set(found)) == 15
  assert found[0] == (0, 1, 2, 3)
  assert found[-4:] == [(0,), (1,), (2,), (3,)]
  assert numbers(("t1c",), CHANNELS) == (2,)


def raw_case(name):
  shape = (20, 17)
  label = np.zeros(shape, np.int32)
  label[4:9, 3:12], label[10:15, 5:9] = 5, 9
  image = np.stack([channel(i) + label for i in range(3)], -1).astype(np.float32)
  raw = RawCase(image, label, None, plain_geometry(shape))
  return raw.without((1,)) if name == "case_5" else raw


def test_every_subset_is_scored_as_a_prediction_without_the_others(run, tmp_path):
  report = evaluate_subsets([run], metrics=("dice",), read=raw_case)
  assert report["channels"] == list(CHANNELS)
  assert report["warning"] == ""
  rows = {tuple(of["channels"]): of for of in report["subsets"]}
  assert len(rows) == 7
  # a case without t1 has no say where t1 is
  validation = set(rows["flair",]["cases"])
  assert "case_5" in validation
  assert set(rows["flair", "t1"]["cases"]) == validation - {"case_5"}
  model = predict.load(run)
  for names, row in rows.items():
    for case, scores in row["cases"].items():
      lacking = [i for i, name in enumerate(CHANNELS) if name not in names]
      raw = raw_case(case).without(lacking)
      predicted = segment([model.configuration], raw).labels
      for label, value in (("dim", 5), ("bright", 9)):
        a, b = predicted == value, raw.label == value
        dice = 2 * (a & b).sum() / (a.sum() + b.sum())
        np.testing.assert_allclose(scores["dice"][label], dice, atol=1e-6)
    cases = row["cases"].values()
    means = [np.mean([of["dice"][name] for of in cases]) for name in ("dim", "bright")]
    np.testing.assert_allclose(row["dice"], np.mean(means), rtol=1e-6)
  lines = as_table(report).splitlines()
  assert lines[0].split() == ["channels", "dice", "dim", "dice", "bright", "dice", "mean"]
  assert lines[1].startswith("flair + t1 + t1c")
  assert len(lines) == 9


def test_a_distance_to_a_class_that_was_missed_is_told(run):
  report = evaluate_subsets([run], metrics=("hd95",), read=raw_case)
  for of in report["subsets"]:
    for label, count in of["infinite"]["hd95"].items():
      values = [case["hd95"][label] for case in of["cases"].values()]
      assert count == sum(np.isinf(values))
  # this run finds nothing of a class in some cases
  count = report["subsets"][0]["infinite"]["hd95"]["dim"]
  assert count > 0
  assert f" ({count} inf)" in as_table(report).splitlines()[1]


def test_the_verb_prints_the_table_and_keeps_it(run, monkeypatch, capsys):
  def report_of(folders, **options):
    return evaluate_subsets(folders, read=raw_case, **options)

  monkeypatch.setattr(verb, "evaluate_subsets", report_of)
  verb.main(["--workdir", str(run), "--metrics", "dice"])
  assert "flair + t1 + t1c" in capsys.readouterr().out
  stored = json.loads((run / "subsets.json").read_text())
  assert [of["channels"] for of in stored["subsets"]][-1] == ["t1c"]


def test_what_has_no_subsets_is_told(tmp_path):
  one = tmp_path / "one"
  one.mkdir()
  run_folder.record(one, tiny.experiment(**{"data.source": {"name": "phantom"}}))
  with pytest.raises(SystemExit, match=r"its network takes 1 channel\(s\) \(brightness\)"):
    verb.main(["--workdir", str(one)])
  with pytest.raises(SystemExit, match=r"--json x.txt: expected a file name that ends in .json"):
    verb.main(["--workdir", str(one), "--json", "x.txt"])
