"""StableHLO: the run's bits, a symbolic batch, and files that cannot be used told in words."""

import datetime
import json
import pathlib
import shutil
import zipfile

import jax
import numpy as np
import pytest
import run_folders

from jaxseg.inference import Case
from jaxseg.interop.exports import artefact, stablehlo
from jaxseg.interop.exports.window_program import window_program
from jaxseg.runs.load import load, open_runs

pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers: pip install flatbuffers")
NONE = np.zeros((4, 1), np.float32)


def exported(folder, rank=2, **options):
  place = run_folders.write(folder / f"run{rank}", rank=rank, normalisation={"name": "zscore"})
  runs = open_runs(place, devices=jax.local_devices()[:1])
  path = folder / f"artefact{rank}"
  stablehlo.write(path, window_program(runs, **options))
  return path, runs


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("plane"))


@pytest.mark.bits
@pytest.mark.parametrize("rank", [2, 3])
def test_logits_are_those_of_the_runs_apply_to_the_bit(tmp_path, rank):
  path, runs = exported(tmp_path, rank, normalised=True)
  loaded, (state,) = stablehlo.load(path), runs.states.values()
  apply = runs.layout.windowed(runs.scheme.apply)
  for batch in (1, 3):
    image = np.random.default_rng(batch).standard_normal((batch, *(16,) * rank, 1))
    image = image.astype(np.float32)
    expected = np.asarray(apply(state, {"image": image})["logits"])
    out = np.asarray(loaded.apply(image, NONE)["logits"])
    np.testing.assert_array_equal(out, expected)


def test_a_scan_is_segmented_as_by_predict(plane):
  """Larger than the patch along one axis, smaller along the other."""
  path, runs = plane
  scan = (100 + 7 * np.random.default_rng(0).standard_normal((29, 11, 1))).astype(np.float32)
  model = load(next(iter(runs.states)))
  raw = (scan - scan.mean()) / scan.std()
  case = {"image": raw, "spacing": np.ones(2, np.float32)}
  expected = model.logits(Case(case))
  loaded = stablehlo.load(path)
  np.testing.assert_allclose(loaded.scores(scan), expected, atol=1e-4)
  labels = loaded.labels(scan)
  sure = np.sort(expected, -1)
  sure = sure[..., -1] - sure[..., -2] > 1e-3
  np.testing.assert_array_equal(labels[sure], model.described.labels.decode(expected)[sure])


def test_the_file_tells_what_it_is_and_numpy_opens_it(plane):
  file = np.load(plane[0])
  told = json.loads(file["model.json"])
  day = datetime.date.fromisoformat(told["expires"]) - datetime.date.fromisoformat(told["made"])
  assert day.days == 180
  assert told["versions"]["jax"] == jax.__version__
  assert told["platforms"] == ["cpu", "cuda", "tpu"]
  assert (told["patch"], told["channels"]) == ([16, 16], ["brightness"])
  assert (told["values"], told["names"]) == ([0, 5, 9], ["background", "dim", "bright"])
  weights = [name for name in file.files if name.startswith("weights/")]
  # the optimiser's state and what predicts nothing stay behind
  assert weights
  assert all("/params/" in name or "/stats/" in name for name in weights)
  assert not any("aux" in name for name in weights)


def changed(path, target, told=None, member=None):
  """A copy with other words, or with other bytes of a member."""
  with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
    for name in old.namelist():
      content = old.read(name)
      if name == artefact.TOLD and told:
        content = json.dumps(json.loads(content) | told)
      if member and name == member[0]:
        content = member[1]
      new.writestr(name, content)
  return target


def test_an_artefact_past_its_date_is_refused_unless_allowed(plane, tmp_path):
  old = changed(plane[0], tmp_path / "old", {"expires": "2020-01-01", "made": "2019-07-05"})
  words = r"old: is past its date, 2020-01-01.*2019-07-05.*make a new one: jaxseg export-model run2"
  with pytest.raises(ValueError, match=words):
    stablehlo.load(old)
  assert stablehlo.load(old, past_date=True).told["expires"] == "2020-01-01"


def test_a_truncated_artefact_is_refused_wherever_it_ends(plane, tmp_path):
  whole = plane[0].read_bytes()
  for length in (0, 10, len(whole) // 2, len(whole) - 30):
    (tmp_path / "cut").write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r"cut: is cut off, damaged or another kind of file"):
      stablehlo.load(tmp_path / "cut")


def test_damaged_weights_are_refused(plane, tmp_path):
  whole = bytearray(plane[0].read_bytes())
  at = whole.index(b"NUMPY") + 200
  whole[at] ^= 1
  (tmp_path / "bad").write_bytes(whole)
  with pytest.raises(ValueError, match=r"bad: is damaged.*CRC"):
    stablehlo.load(tmp_path / "bad")


def test_a_program_that_this_jax_cannot_load_is_told_with_the_way_out(plane, tmp_path):
  bad = changed(plane[0], tmp_path / "bad", member=("program", b"nothing of the kind"))
  with pytest.raises(ValueError, match=r"this jax .* cannot load it .*make a new one"):
    stablehlo.load(bad)


def test_other_files_are_refused(plane, tmp_path):
  with pytest.raises(FileNotFoundError, match="none: not found"):
    stablehlo.load(tmp_path / "none")
  with pytest.raises(ValueError, match="is a folder"):
    stablehlo.load(tmp_path)
  np.savez(tmp_path / "other.npz", a=np.zeros(3))
  with pytest.raises(ValueError, match=r"other.npz: is damaged or no export of jaxseg"):
    stablehlo.load(tmp_path / "other.npz")
  with pytest.raises(ValueError, match=r"is of the format 'onnx', expected 'stablehlo'"):
    stablehlo.load(changed(plane[0], tmp_path / "onnx", {"format": "onnx"}))
  with pytest.raises(ValueError, match=r"'patch' is a text, expected a list"):
    stablehlo.load(changed(plane[0], tmp_path / "patch", {"patch": "16"}))
  with pytest.raises(ValueError, match=r"was exported for tpu, this process computes on cpu"):
    stablehlo.load(changed(plane[0], tmp_path / "tpu", {"platforms": ["tpu"]}))


def test_arrays_that_do_not_fit_are_refused(plane):
  loaded = stablehlo.load(plane[0])
  for shape in ((20, 20), (20, 20, 3), (9, 20, 20, 1)):
    with pytest.raises(ValueError, match=r"expected 2 spatial axes.*1 channel\(s\) \(brightness\)"):
      loaded.labels(np.zeros(shape, np.float32))
  with pytest.raises(
    ValueError, match=r"was given windows \(1, 16, 17, 1\); expected \('batch', 16"
  ):
    loaded.apply(np.zeros((1, 16, 17, 1)), NONE)
  with pytest.raises(ValueError, match=r"was given statistics \(1,\); expected \(4, 1\): minimum"):
    loaded.apply(np.zeros((1, 16, 16, 1)), np.zeros(1))


def test_infinite_intensities_are_refused_as_predict_does(plane):
  """Their logits are NaN, which would be decoded as background without a word."""
  scan = np.ones((20, 20, 1), np.float32)
  scan[3, 3] = np.inf
  with pytest.raises(ValueError, match=r"the scan holds infinite \(or beyond float32\) values"):
    stablehlo.load(plane[0]).labels(scan)


def test_a_missing_package_is_told_with_the_pip_line(plane, monkeypatch):
  monkeypatch.setattr(stablehlo.needs.packages, "installed", lambda name: False)
  with pytest.raises(ValueError, match=r"needs the package flatbuffers.*pip install flatbuffers"):
    stablehlo.load(plane[0])


def test_another_process_needs_no_jaxseg(plane, tmp_path):
  """What is moved alone to another folder still loads: nothing but the file is read."""
  alone = pathlib.Path(shutil.copy(plane[0], tmp_path / "alone"))
  assert stablehlo.load(alone).labels(np.zeros((20, 20, 1), np.float32)).shape == (20, 20)
