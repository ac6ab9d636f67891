"""interact: prompts played and users simulated on files, and what it refuses in words."""

import json
import re

import imageio.v3 as imageio
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pointer
import pytest
import run_folders
import tiny
from flax import linen as nn
from pointer import pointer_tables  # noqa: F401

from jaxseg import networks
from jaxseg.batch import LabelSpec
from jaxseg.verbs import interact

pytestmark = pytest.mark.usefixtures("pointer_tables")
AFFINE = np.array([[0, 0, 2.0, 5], [-1.5, 0.2, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])
SHAPE = (12, 11, 20)  # as nibabel has it: x, y, z


@pytest.fixture(scope="module")
def run(tmp_path_factory, pointer_tables):  # noqa: F811
  return pointer.write(tmp_path_factory.mktemp("run") / "run", rank=3)


@pytest.fixture(scope="module")
def flat(tmp_path_factory, pointer_tables):  # noqa: F811
  return pointer.write(tmp_path_factory.mktemp("flat") / "run")


@pytest.fixture
def scan(tmp_path):
  voxels = -1 - np.random.default_rng(0).random(SHAPE).astype(np.float32)
  nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "scan.nii.gz")
  return tmp_path / "scan.nii.gz"


@pytest.fixture
def label(tmp_path):
  values = np.zeros(SHAPE, np.uint8)
  values[3:8, 3:8, 3:8] = 5
  values[2:5, 8:11, 14:18] = 9
  (tmp_path / "labels").mkdir()
  nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "labels" / "scan.nii.gz")
  return tmp_path / "labels" / "scan.nii.gz"


def prompts(tmp_path, *steps, **more):
  told = {"scan": {"shape": list(SHAPE[::-1])}, "steps": list(steps), **more}
  (tmp_path / "p.json").write_text(json.dumps(told))
  return tmp_path / "p.json"


def main(run, source, output, *options):
  words = [str(run), "--input", str(source), "--output", str(output), *map(str, options)]
  interact.main(words)


def refused(capsys, run, source, output, *options):
  with pytest.raises(SystemExit) as ended:
    main(run, source, output, *options)
  words = capsys.readouterr().err if isinstance(ended.value.code, int) else str(ended.value.code)
  assert words.startswith("interact: ")
  assert "\n" not in words.strip()
  assert "Traceback" not in words
  return words


def ball(at, radius=2):
  grid = np.indices(SHAPE)
  return sum((axis - i) ** 2 for axis, i in zip(grid, at, strict=True)) <= radius**2


def test_voxels_and_millimetres_of_the_scan_are_the_same_places(run, scan, tmp_path):
  # z, y, x of the array, and the affine written out
  x, y, z = 8, 6, 13
  mm = [2.0 * z + 5, -1.5 * x + 0.2 * y + 7, y - 3.0]
  steps = {"class": "dim", "point": [z, y, x]}, {"class": "bright", "point": [3, 2, 2]}
  main(run, scan, tmp_path / "a", "--prompts", prompts(tmp_path, *steps), "--each-step")
  made = nib.load(tmp_path / "a" / "scan.nii.gz")
  np.testing.assert_allclose(made.affine, AFFINE, atol=1e-6)
  values = np.asarray(made.dataobj)
  expected = np.where(ball((2, 2, 3)), 9, np.where(ball((x, y, z)), 5, 0))
  np.testing.assert_array_equal(values, expected)
  first = np.asarray(nib.load(tmp_path / "a" / "scan_step01.nii.gz").dataobj)
  np.testing.assert_array_equal(first, np.where(ball((x, y, z)), 5, 0))
  other = prompts(tmp_path, {"class": 5, "point": mm}, steps[1], coordinates="mm")
  # what is written of the second step is in voxels
  assert other.exists()
  with pytest.raises(SystemExit, match=r"steps\[1\]"):
    main(
      run,
      scan,
      tmp_path / "b",
      "--prompts",
      prompts(
        tmp_path, {"class": 5, "point": mm}, {"class": 5, "point": [900, 0, 0]}, coordinates="mm"
      ),
    )
  main(
    run,
    scan,
    tmp_path / "b",
    "--prompts",
    prompts(tmp_path, {"class": 5, "point": mm}, coordinates="mm"),
  )
  again = np.asarray(nib.load(tmp_path / "b" / "scan.nii.gz").dataobj)
  np.testing.assert_array_equal(again, first)


def test_what_was_played_can_be_played_again(run, scan, label, tmp_path, capsys):
  steps = {"class": "dim", "point": [5, 5, 5]}, {"class": 0, "point": [0, 0, 0]}, {"undo": 1}
  main(run, scan, tmp_path / "a", "--prompts", prompts(tmp_path, *steps), "--label", label)
  report = json.loads((tmp_path / "a" / "interact.json").read_text())
  curve = report["cases"]["scan"]["dice"]["dim"]
  truth = np.asarray(nib.load(label).dataobj) == 5
  inside = ball((5, 5, 5))
  expected = 2 * (inside & truth).sum() / (inside.sum() + truth.sum())
  np.testing.assert_allclose(curve, [0, expected, expected, expected], rtol=1e-5)
  words = capsys.readouterr().out
  assert "Dice after steps 0: 0.000, 1: " in words
  assert "an answer took" in words
  # to undo is no answer: of the automatic segmentation, and of two prompts
  assert len(report["cases"]["scan"]["seconds"]) == 3
  assert report["seconds"]["answers"] == 2
  main(run, scan, tmp_path / "b", "--prompts", tmp_path / "a" / "scan_prompts.json")
  both = [(tmp_path / f / "scan.nii.gz") for f in "ab"]
  np.testing.assert_array_equal(*(np.asarray(nib.load(f).dataobj) for f in both))
  assert json.loads((tmp_path / "b" / "interact.json").read_text())["cases"]["scan"]["seconds"]


def test_a_simulated_user_gets_to_the_label(run, scan, label, tmp_path, capsys):
  main(run, scan, tmp_path / "a", "--label", label.parent, "--simulate", 12)
  report = json.loads((tmp_path / "a" / "interact.json").read_text())
  of = report["cases"]["scan"]
  assert len(of["prompts"]) == 12
  assert len(of["dice"]["mean"]) == len(of["seconds"]) == 13
  # the middle of the larger box first, in the order of the array
  assert of["prompts"][0] == {"class": "dim", "point": [5, 5, 5]}
  assert of["dice"]["mean"][0] == 0
  assert max(of["dice"]["mean"]) > 0.4
  assert report["dice"]["10"]["mean"] == of["dice"]["mean"][10]
  assert set(report["noc"]) == {"0.8", "0.85", "0.9"}
  assert report["noc"]["0.9"]["ritm"]["mean"] == 12
  assert report["area_under"]["mean"] > 0
  assert "Dice after prompts 0: 0.000, 1:" in capsys.readouterr().out


def test_one_class_alone_is_clicked(run, scan, label, tmp_path):
  main(run, scan, tmp_path / "a", "--label", label, "--simulate", 3, "--class", "bright")
  of = json.loads((tmp_path / "a" / "interact.json").read_text())["cases"]["scan"]
  assert {click["class"] for click in of["prompts"]} <= {"bright", "background"}
  assert set(of["dice"]) == {"bright", "mean"}


class Faint(nn.Module):
  """Of two classes: the second one's share is 0.4 everywhere, whatever is clicked."""

  classes: int = 2

  def total_stride(self, rank):
    return (1,) * rank

  def margin(self, rank):
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train=False):
    scale = self.param("scale", nn.initializers.ones, ())
    return {"logits": scale * jnp.broadcast_to(jnp.log(jnp.array([0.6, 0.4])), (*x.shape[:-1], 2))}


@pytest.fixture(scope="module")
def faint(tmp_path_factory, pointer_tables):  # noqa: F811
  config = {"network": {"name": "faint"}, "method": {"name": "pointed"}}
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(networks.NETWORKS, "faint", Faint)
    with pytest.MonkeyPatch.context() as meanwhile:
      meanwhile.setattr(tiny, "LABELS", LabelSpec(("background", "organ"), (0, 7)))
      folder = run_folders.write(tmp_path_factory.mktemp("faint") / "run", rank=3, **config)
    yield folder


def test_one_threshold_is_that_of_the_user_of_what_is_written_and_of_what_is_played(
  faint, scan, tmp_path
):
  label = tmp_path / "label.nii.gz"
  nib.save(nib.Nifti1Image(np.full(SHAPE, 7, np.uint8), AFFINE), label)
  simulated = ("--label", label, "--simulate", 1)
  main(faint, scan, tmp_path / "a", *simulated)
  report = json.loads((tmp_path / "a" / "interact.json").read_text())
  assert report["threshold"] == 0.5
  assert report["cases"]["scan"]["dice"]["mean"][0] == 0
  assert not np.asarray(nib.load(tmp_path / "a" / "scan.nii.gz").dataobj).any()
  main(faint, scan, tmp_path / "b", *simulated, "--threshold", 0.39)
  report = json.loads((tmp_path / "b" / "interact.json").read_text())
  assert report["threshold"] == 0.39
  assert report["cases"]["scan"]["dice"]["mean"] == [1.0]
  assert (np.asarray(nib.load(tmp_path / "b" / "scan.nii.gz").dataobj) == 7).all()
  played = tmp_path / "b" / "scan_prompts.json"
  assert json.loads(played.read_text())["threshold"] == 0.39
  main(faint, scan, tmp_path / "c", "--prompts", played)
  assert (np.asarray(nib.load(tmp_path / "c" / "scan.nii.gz").dataobj) == 7).all()


def test_a_threshold_of_several_classes_is_refused_before_a_scan_is_read(
  run, scan, label, tmp_path, capsys
):
  simulated = ("--label", label, "--simulate", 1)
  words = refused(capsys, run, scan, tmp_path / "a", *simulated, "--threshold", 0.3)
  assert "--threshold 0.3: is of runs with one class, but this one tells dim, bright apart" in words
  assert not (tmp_path / "a").exists()


def test_labels_of_scans_that_share_a_name_are_refused(run, scan, label, tmp_path, capsys):
  """labels/scan_1.nii.gz: of scans/scan_1.nii.gz, or of scans/scan/1.nii.gz?"""
  scans = tmp_path / "scans"
  (scans / "scan").mkdir(parents=True)
  for name in ("scan_1.nii.gz", "scan/1.nii.gz"):
    (scans / name).write_bytes(scan.read_bytes())
  label.rename(label.with_name("scan_1.nii.gz"))
  (label.parent / "scan_1-2.nii.gz").write_bytes((label.parent / "scan_1.nii.gz").read_bytes())
  words = refused(capsys, run, scans, tmp_path / "a", "--label", label.parent, "--simulate", 1)
  assert "another scan of --input is called 'scan_1', too, and this one is 'scan_1-2' here" in words


def test_a_run_of_any_method_is_fine_tuned_on_each_scan_and_says_how(tmp_path, scan, capsys):
  plain = run_folders.write(tmp_path / "plain", rank=3)
  at = [4, 5, 6]
  told = {"scan": {"shape": list(SHAPE[::-1])}, "steps": [{"class": "dim", "point": at}]}
  (tmp_path / "scans").mkdir()
  (tmp_path / "prompts").mkdir()
  for name in "ab":
    (tmp_path / "scans" / f"{name}.nii.gz").write_bytes(scan.read_bytes())
    (tmp_path / "prompts" / f"{name}.json").write_text(json.dumps(told))
  options = ("--fine-tune", 3, "--fine-tune-rate", 0.1, "--fine-tune-layers", "head*")
  main(plain, tmp_path / "scans", tmp_path / "o", "--prompts", tmp_path / "prompts", *options)
  report = json.loads((tmp_path / "o" / "interact.json").read_text())
  assert report["fine_tuning"] == {"steps": 3, "rate": 0.1, "layers": ["head*"]}
  a, b = (np.asarray(nib.load(tmp_path / "o" / f"{name}.nii.gz").dataobj) for name in "ab")
  # the second scan, the same, begins with the weights that the first one began with
  np.testing.assert_array_equal(a, b)
  assert a[tuple(at[::-1])] == 5
  # what was answered so is played again so alone
  file = tmp_path / "o" / "a_prompts.json"
  assert json.loads(file.read_text())["fine_tuning"] == report["fine_tuning"]
  play = (plain, tmp_path / "scans" / "a.nii.gz", tmp_path / "p", "--prompts", file)
  words = refused(capsys, *play, "--fine-tune", 3)
  assert "give --fine-tune 3 --fine-tune-rate 0.1 --fine-tune-layers head*, or remove" in words
  main(*play, *options)
  again = np.asarray(nib.load(tmp_path / "p" / "a.nii.gz").dataobj)
  np.testing.assert_array_equal(again, a)


def test_pictures_are_written_as_pictures(flat, tmp_path):
  imageio.imwrite(tmp_path / "scan.png", np.zeros((30, 40), np.uint8))
  told = {"scan": {"shape": [30, 40]}, "steps": [{"class": "dim", "point": [10, 20]}]}
  (tmp_path / "p.json").write_text(json.dumps(told))
  main(flat, tmp_path / "scan.png", tmp_path / "a", "--prompts", tmp_path / "p.json", "--overlay")
  made = imageio.imread(tmp_path / "a" / "scan.png")
  assert made[10, 20] == 5
  assert (made == 5).sum() == 13
  assert (tmp_path / "a" / "scan_overlay.png").exists()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ((), "are missing"),
    (("--simulate", "3"), "needs --label"),
    (("--simulate", "0"), "from 1"),
    (("--prompts", "p.json", "--simulate", "3"), "exclude one another"),
    (("--prompts", "p.json", "--enough", "0.9"), "--enough: is of --simulate"),
    (("--prompts", "p.json", "--no-automatic"), "'automatic' tells that"),
    (("--prompts", "p.json", "--threshold", "0.3"), "'threshold' tells that"),
    (("--prompts", "p.json", "--fine-tune-rate", "0.1"), "--fine-tune-rate: is of --fine-tune"),
    (("--prompts", "p.json", "--fine-tune", "0"), "from 1"),
    (("--prompts", "nowhere.json"), "not found"),
  ],
)
def test_options_that_do_not_fit_are_refused(run, scan, tmp_path, capsys, options, words):
  assert words in refused(capsys, run, scan, tmp_path / "a", *options)


@pytest.mark.parametrize(
  ("step", "words"),
  [
    ({"class": "dim", "point": [20, 0, 0]}, "(20.0, 0.0, 0.0) is outside of the image"),
    ({"class": 0, "point": [5, 5, 5]}, "leave one of them out"),
    ({"class": "liver", "point": [5, 5, 5]}, "no class 'liver'"),
    ({"class": "dim", "stroke": [[5, 5, 5]]}, "is a stroke, but the run was trained without"),
  ],
)
def test_prompts_that_are_wrong_are_refused(run, scan, tmp_path, capsys, step, words):
  file = prompts(tmp_path, {"class": "dim", "point": [5, 5, 5]}, step)
  assert words in refused(capsys, run, scan, tmp_path / "a", "--prompts", file)


def test_prompts_of_another_scan_and_runs_without_prompts_are_refused(
  run, scan, label, tmp_path, capsys
):
  file = prompts(tmp_path)
  file.write_text(file.read_text().replace("20", "21", 1))
  words = refused(capsys, run, scan, tmp_path / "a", "--prompts", file)
  assert "is of another scan" in words
  plain = run_folders.write(tmp_path / "plain", rank=3)
  words = refused(capsys, plain, scan, tmp_path / "a", "--prompts", prompts(tmp_path))
  assert "is shown no prompts" in words
  assert not (tmp_path / "a").exists() or not list((tmp_path / "a").glob("*.nii.gz"))


def test_a_class_that_the_label_lacks_cannot_be_clicked(run, scan, label, tmp_path, capsys):
  values = np.asarray(nib.load(label).dataobj).copy()
  values[values == 9] = 0
  nib.save(nib.Nifti1Image(values, AFFINE), label)
  simulated = ("--label", label, "--simulate", 3)
  words = refused(capsys, run, scan, tmp_path / "a", *simulated, "--class", "bright")
  assert re.search("class 'bright' is absent from it, which has dim", words)
  words = refused(capsys, run, scan, tmp_path / "a", *simulated, "--class", "brigth")
  assert "no class 'brigth'" in words
  nib.save(nib.Nifti1Image(np.zeros_like(values), AFFINE), label)
  words = refused(capsys, run, scan, tmp_path / "a", *simulated)
  assert "background everywhere" in words
  words = refused(capsys, run, scan.parent, tmp_path / "a", "--label", label, "--simulate", 3)
  assert "--input has" in words or "holds nothing" in words
