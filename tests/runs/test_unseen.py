"""The folds of a cross-validation teach one student: each case by the fold that never saw it."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import run_folders
from drawn_states import state_of

from jaxseg import compose, data, defaults, loop, sealed
from jaxseg.build import plain
from jaxseg.config import networks
from jaxseg.data.prepared.fields import without_labels
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.stream import Feeder, sample
from jaxseg.experiment import experiment
from jaxseg.report.gather import gather
from jaxseg.runs import checkpoint, folder, load, unseen

SMALL = {"name": "unet", "widths": (4, 8), "depth": 1, "decoder_depth": 1}
STUDENT = {"name": "unet", "widths": (4, 6, 8), "depth": 1, "decoder_depth": 1}
FOLDS = 3


def config_of(home, **fields):
  config = plain(defaults.config())
  config["network"] = SMALL
  config["steps"] = 2
  config["data"] |= {
    "source": {"name": "phantom", "cases": 6, "size": (32, 32)},
    "split": {"name": "kfold", "fold": 0, "folds": FOLDS},
    "patch": (16, 16),
    "batch": 2,
    "folder": str(home / "prepared"),
    "workers": 1,
  }
  return config | fields


def write(home, name, *, seed=0, steps=2, split=None, **fields):
  """A run folder as training leaves it, with weights of its seed."""
  config = config_of(home, seed=seed, **fields)
  config["data"]["split"] = config["data"]["split"] | (split or {})
  run = experiment(config)
  (home / name).mkdir(parents=True)
  folder.record(home / name, run)
  state = state_of(run.method, {"image": np.zeros((1, 16, 16, 1), np.float32)}, seed=seed)
  state = state.replace(step=jnp.asarray(steps))
  checkpoint.Checkpoints(home / name, checkpoint.LATEST).save(state, {})
  return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with a cross-validation of three folds, and their experiments' sides."""
  home = tmp_path_factory.mktemp("runs")
  for fold in range(FOLDS):
    write(home, f"all/fold_{fold}", seed=fold, split={"fold": fold})
  return home


def student(home, runs=None, **fields):
  runs = str(home / "all") if runs is None else runs
  config = config_of(home, **{"network": STUDENT, "method": {"name": "distillation"}, **fields})
  config["networks"] = {"teacher": {"runs": runs}}
  if "data" not in fields:
    config["data"]["split"] = {}
  return config


def sides(home, fold):
  told = json.loads((home / "all" / f"fold_{fold}" / folder.DATASET).read_text())
  return told["training"], told["validation"]


def test_the_run_folder_tells_every_fold(home):
  config = compose.complete(student(home))
  runs = tuple(str(home / "all" / f"fold_{fold}") for fold in range(FOLDS))
  assert config["networks"]["teacher"] == {"runs": runs, **SMALL}
  assert compose.complete(config) == config
  assert compose.networks_by_role(config, 3)["teacher"].number == FOLDS


def test_every_case_has_the_number_of_the_fold_that_never_saw_it(home):
  held = unseen.folds([home / "all" / f"fold_{fold}" for fold in range(FOLDS)])
  assert len(held) == 6
  for case, fold in held.items():
    training, validation = sides(home, fold)
    assert case in validation
    assert case not in training


def test_a_student_keeps_what_its_teachers_have_learnt_from(home, tmp_path):
  folder.record(tmp_path, experiment(student(home)))
  (told,) = folder.read_dataset(tmp_path, {"handed_down": list})["handed_down"]
  assert told["cases"] == sorted({case for fold in range(FOLDS) for case in sides(home, fold)[0]})
  assert told["labelled"]
  # a run that goes on is not asked again
  assert folder.record(tmp_path, experiment(student(home))._replace(handed_down=())) == []


@pytest.mark.parametrize("cache", ["device", "host", "disk"])
def test_samples_tell_the_fold_of_their_case(home, cache):
  config = student(home)
  config["data"] |= {"cache": cache}
  run = experiment(config)
  assert "Teachers: 6 of 6 training cases have a teacher that never saw them." in run.notes
  held = unseen.folds([home / "all" / f"fold_{fold}" for fold in range(FOLDS)])
  feeder = Feeder(run.streams, cache=cache)
  store = jax.tree.map(jnp.asarray, feeder.store())
  seen = set()
  for step in range(3):
    batch = sample(run.streams, store, feeder.element(step))[""]
    for image, fold in zip(np.asarray(batch["image"]), np.asarray(batch["fold"]), strict=True):
      # the case whose voxels these are
      names = [n for i, n in enumerate(run.main.dataset.names) if _is_of(image, run, i)]
      assert [held[name] for name in names] == [fold]
      seen.add(names[0])
  assert seen == set(run.main.dataset.names)


def test_images_without_labels_tell_their_fold_and_those_of_another_set_have_none(home):
  run = experiment(student(home))
  bare = run.main._replace(dataset=without_labels(run.main.dataset))
  other = bare._replace(dataset=bare.dataset._replace(folder=home / "elsewhere"))
  streams = {"": run.main, "unlabelled": bare, "other": other}
  held = dict.fromkeys(run.main.dataset.names[:2], 1)
  words = unseen.shared(streams, held, own=run.main.dataset, number=FOLDS)
  assert words.startswith("Teachers: 2 of 6 training cases have a teacher that never saw them; the")
  crop = ((0, 0), (1, 1))
  for name, expected in (("", [1, -1]), ("unlabelled", [1, -1]), ("other", [-1, -1])):
    dataset = streams[name].dataset
    assert [dataset.load(case)["fold"] for case in (1, 2)] == expected
    assert [dataset.crop(case, *crop)["fold"] for case in (1, 2)] == expected
    assert ("label" in dataset.load(0)) == (name == "")


def _is_of(patch, run, case):
  whole = run.main.dataset.load(case)["image"][..., 0]
  middle = patch[8, 4:12, 0]
  windows = np.lib.stride_tricks.sliding_window_view(whole, (1, 8))
  return bool((np.abs(windows[..., 0, :] - middle) < 1e-6).all(-1).any())


def test_a_student_trains_resumes_and_predicts_without_its_teachers(home, tmp_path):
  shutil.copytree(home / "all", tmp_path / "all")
  config = student(home, runs=str(tmp_path / "all"), steps=3, checkpoint_every=2)
  run = experiment(config)
  report = loop.train(run, tmp_path / "whole")
  assert report["validation"]["cases"] == 0
  with pytest.raises(ValueError, match="trains on all cases and validates on none"):
    gather(tmp_path / "whole")
  held = checkpoint.load_learners(tmp_path / "whole")
  for fold in range(FOLDS):
    theirs = checkpoint.load_learners(tmp_path / "all" / f"fold_{fold}")["network"]
    ours = jax.tree.map(lambda x, fold=fold: x[fold], held["teacher"])
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
    jax.tree.map(np.testing.assert_array_equal, ours.stats, theirs.stats)
  assert held["network"].params.keys() != held["teacher"].params.keys()
  assert (
    loop.train(run, run_folders.back_at(2, tmp_path / "whole", tmp_path / "pupil"))["step"] == 3
  )
  kept = [checkpoint.Checkpoints(tmp_path / name).arrays(3) for name in ("pupil", "whole")]
  assert kept[0].keys() == kept[1].keys()
  for name, array in kept[0].items():
    np.testing.assert_array_equal(array, kept[1][name], err_msg=name)
  shutil.rmtree(tmp_path / "all")
  model = load.load(tmp_path / "pupil")
  image = {"image": np.zeros((20, 20, 1), np.float32), "spacing": np.ones(2, np.float32)}
  assert model.logits(load.inference.Case(image)).shape == (20, 20, model.described.labels.channels)


def test_the_rest_of_a_split_teaches_a_student_that_has_few_labels(home, tmp_path):
  write(tmp_path, "few", split={"labelled": 2})
  config = student(home, runs=(str(tmp_path / "few"),))
  config["data"]["split"] = {"name": "kfold", "fold": 0, "folds": FOLDS, "labelled": 2}
  with pytest.raises(ValueError, match=r"config\.streams\.rest: the method makes no use of it"):
    experiment(config | {"streams": {"rest": {"cases": "unlabelled"}}})
  run = experiment(config | {"streams": {"unlabelled": {"cases": "unlabelled"}}})
  loop.train(run, tmp_path / "pupil")
  rows = (tmp_path / "pupil" / "metrics.jsonl").read_text().splitlines()
  assert {"logits_distance", "agreement", "supervised_loss"} <= json.loads(rows[0]).keys()


def test_members_share_their_teachers(home, tmp_path):
  loop.train(experiment(student(home, members=2)), tmp_path / "pupil")
  held = checkpoint.load_learners(tmp_path / "pupil")
  leaves = zip(jax.tree.leaves(held["teacher"]), jax.tree.leaves(held["network"]), strict=False)
  for teacher, own in leaves:
    assert teacher.shape[:2] == (2, FOLDS)
    np.testing.assert_array_equal(teacher[0], teacher[1])
    assert own.shape[0] == 2


@pytest.fixture
def nothing_prepared(monkeypatch):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))


@pytest.mark.usefixtures("nothing_prepared")
def test_teachers_that_saw_a_validation_case_are_refused(home):
  config = student(home)
  config["data"]["split"] = {"name": "kfold", "fold": 1, "folds": FOLDS}
  words = r"config\.networks\.teacher: .*fold_0: has learnt from 2 of this run's validation cases"
  with pytest.raises(ValueError, match=words):
    experiment(config)
  config["networks"]["teacher"] = {"run": str(home / "all" / "fold_2")}
  with pytest.raises(ValueError, match=r"fold_2: has learnt from 2 of"):
    experiment(config)


def test_weights_that_have_learnt_from_validation_cases_are_told(home):
  config = config_of(home)
  config["data"]["split"] = {"name": "kfold", "fold": 1, "folds": FOLDS}
  for fold, words in ((1, []), (0, ["has learnt from 2 of this run's validation cases, as "])):
    run = home / "all" / f"fold_{fold}"
    for spec in (str(run), {"run": str(run), "take": {"*": "*"}}):
      notes = experiment(config | {"initialise": {"network": spec}}).notes
      warnings = [note for note in notes if note.startswith("Warning: config.initialise.network: ")]
      assert len(warnings) == len(words)
      assert all(part in note for part, note in zip(words, warnings, strict=True))


def test_weights_that_have_learnt_from_validation_cases_by_a_further_stream_are_told(home):
  config, other = config_of(home), {"name": "phantom", "cases": 6, "size": (32, 32), "seed": 5}
  stream = {"source": config["data"]["source"], "joins": "beside", "split": {}}
  write(home, "joint", streams={"further": stream}, data=config["data"] | {"source": other})
  notes = experiment(config | {"initialise": {"network": str(home / "joint")}}).notes
  assert any("initialise.network" in note and "has learnt from 2 of" in note for note in notes)


def test_a_teacher_of_another_set_whose_cases_have_the_same_names_is_told(home):
  config = student(home)
  config["data"] |= {"split": {"name": "kfold", "fold": 1, "folds": FOLDS}}
  config["data"]["source"] = config["data"]["source"] | {"seed": 5}
  run = experiment(config)
  assert any(
    "Warning: config.networks.teacher:" in note and "same" not in note for note in run.notes
  )


@pytest.mark.usefixtures("nothing_prepared")
def test_folds_that_are_missing_or_unfinished_are_told(home, tmp_path):
  shutil.copytree(home / "all", tmp_path / "all")
  shutil.rmtree(tmp_path / "all" / "fold_1")
  words = r"config\.networks\.teacher\.runs: .*all: fold_1 of 3 folds missing"
  with pytest.raises(ValueError, match=words):
    experiment(student(home, runs=str(tmp_path / "all")))
  shutil.copytree(home / "all" / "fold_1", tmp_path / "all" / "fold_1")
  only = next((tmp_path / "all" / "fold_1" / "checkpoints").iterdir())
  only.rename(only.with_name("1"))
  with pytest.raises(ValueError, match=r"runs: .*fold_1: stands at step 1 of 2; train it"):
    experiment(student(home, runs=str(tmp_path / "all")))


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    ({"runs": ()}, r"teacher\.runs: \(\); expected the folder of a cross-validation"),
    ({"runs": 3}, r"teacher\.runs: 3; expected the folder"),
    ({"runs": "nowhere"}, r"teacher\.runs: nowhere/config\.json: not found"),
    ({"runs": "a", "run": "b"}, r"teacher\.runs: beside run='b'; expected one of the two"),
    ({"name": "unet"}, r"config\.networks\.teacher: is never trained here and has no weights"),
    ({"runs": "all", "widths": (2, 2)}, r"teacher\.widths: \(2, 2\) beside runs="),
  ],
)
@pytest.mark.usefixtures("nothing_prepared")
def test_teachers_that_are_none_are_told(home, spec, words, monkeypatch):
  monkeypatch.chdir(home)
  config = student(home)
  config["networks"] = {"teacher": spec}
  with pytest.raises((ValueError, FileNotFoundError), match=words):
    experiment(config)


def test_the_network_that_predicts_is_one(home):
  config = student(home, network={"runs": str(home / "all")})
  with pytest.raises(ValueError, match=r"config\.network\.runs: several networks, but 'distillat"):
    compose.complete(config)


def test_runs_of_different_networks_are_refused(home, tmp_path):
  write(tmp_path, "other", network=SMALL | {"widths": (4, 6)})
  runs = (str(home / "all" / "fold_0"), str(tmp_path / "other"))
  words = r"teacher\.runs: .*other: config\.network\.widths is \(4, 8\) there, \(4, 6\) here"
  with pytest.raises(ValueError, match=words):
    compose.complete(student(home, runs=runs))
  with pytest.raises(ValueError, match=r"fold_0 is named twice"):
    compose.complete(student(home, runs=(runs[0], runs[0])))
  with pytest.raises(ValueError, match=r"fold_0 is named twice"):
    compose.complete(student(home, runs=(runs[0], str(home / "all" / ".." / "all" / "fold_0"))))


@pytest.mark.usefixtures("nothing_prepared")
def test_a_teacher_that_has_seen_voxels_of_another_size_is_refused(home):
  config = student(home)
  config["data"]["resampling"] = {"size": (64, 64)}
  words = r"resampling\.size \(\) is not this run's \(64, 64\); expected a run on images"
  with pytest.raises(ValueError, match=words):
    experiment(config)


@pytest.mark.usefixtures("nothing_prepared")
def test_runs_that_are_no_folds_of_one_cross_validation_are_refused(home, tmp_path):
  shutil.copytree(home / "all" / "fold_0", tmp_path / "again")
  runs = (*(str(home / "all" / f"fold_{fold}") for fold in range(FOLDS)), str(tmp_path / "again"))
  with pytest.raises(ValueError, match=r"case '.*' validates in fold_0, again; expected the folds"):
    experiment(student(home, runs=runs))


def test_seeds_that_hold_out_the_same_cases_teach_together(home, tmp_path):
  shutil.copytree(home / "all" / "fold_0", tmp_path / "again")
  assert unseen.folds([home / "all" / "fold_0", tmp_path / "again"]) == {}


def divided(folder, names, held, *, cases=30):
  """Lets a run folder tell of a set of so many cases, some of which its run validated on."""
  sides = {"training": [name for name in names if name not in held], "validation": held}
  for file, change in (("dataset.json", sides), ("config.json", {})):
    told = json.loads((folder / file).read_text()) | change
    told.pop(sealed.DIGESTS, None)
    if file == "config.json":
      told["data"]["source"]["cases"] = cases
    (folder / file).write_text(json.dumps(told))


@pytest.mark.usefixtures("nothing_prepared")
def test_teachers_that_have_learnt_from_a_group_that_validates_are_refused(home, tmp_path):
  """Of 30 cases in three groups of ten, as of three patients."""
  names = [f"phantom_{number:04d}" for number in range(30)]
  shutil.copytree(home / "all", tmp_path / "all")
  fold = tmp_path / "all" / "fold_0"
  config = student(home)
  config["data"]["source"] |= {"cases": 30}
  config["networks"] = {"teacher": {"run": str(fold)}}
  split = {"name": "explicit", "group": r"_(00\d)", "validation": names[3:10], "train": names[10:]}
  # none of this run's cases, but others of its patient
  divided(fold, names[:3] + names[10:], names[10:20])
  words = (
    r"config\.networks\.teacher: .*fold_0: has learnt from 3 cases of groups that validate here, "
    r"as 'phantom_0000' \(config\.data\.split\.group='_\(00.*; expected validation cases that no"
  )
  config["data"]["split"] = split
  with pytest.raises(ValueError, match=words):
    experiment(config)
  config["data"]["split"] = {name: of for name, of in split.items() if name != "group"}
  with pytest.raises(pytest.fail.Exception, match="prepared"):
    experiment(config)


def test_folds_that_tear_groups_apart_hold_no_case_out(home, tmp_path):
  names = [f"p{patient}_{frame}" for patient in range(3) for frame in range(2)]
  shutil.copytree(home / "all", tmp_path / "all")
  runs = [tmp_path / "all" / f"fold_{fold}" for fold in range(FOLDS)]
  for fold, run in enumerate(runs):
    divided(run, names, names[2 * fold : 2 * fold + 2])
  expected = {name: at // 2 for at, name in enumerate(names)}
  assert unseen.folds(runs, group=r"(p\d)_") == unseen.folds(runs) == expected
  for fold, run in enumerate(runs):
    divided(run, names, names[fold::FOLDS])
  assert len(unseen.folds(runs)) == 6
  words = r"fold_0: validates on case 'p0_0' and has learnt from 'p0_1' of the same group \(config"
  with pytest.raises(ValueError, match=words):
    unseen.folds(runs, group=r"(p\d)_")


@pytest.mark.usefixtures("nothing_prepared")
def test_a_patch_that_does_not_suit_the_teacher_is_refused(home):
  config = student(home)
  config["data"]["patch"] = (16, 15)
  words = r"config\.data\.patch: \(16, 15\), but the network of config\.networks\.teacher\.runs"
  with pytest.raises(ValueError, match=words):
    experiment(config)


def test_a_patch_of_another_size_is_told(home):
  config = student(home)
  config["data"]["patch"] = (32, 16)
  notes = experiment(config).notes
  assert any("learnt from patches of (16, 16), here they are (32, 16)" in note for note in notes)


def test_numbers_of_normalisation_that_are_far_apart_are_refused(home, monkeypatch):
  config, told = compose.complete(student(home)), folder.describe(home / "all" / "fold_0")

  def scans(mean, std):
    numbers = {"name": "ct", "lower": -100.0, "upper": 300.0, "mean": mean, "std": std}
    return Preparation(("ct",), 2, (numbers,))

  monkeypatch.setattr(folder, "describe", lambda _: told._replace(preparation=scans(50.0, 100.0)))
  networks.check_numbers(config, scans(55.0, 105.0))
  for far in (scans(80.0, 100.0), scans(50.0, 120.0)):
    with pytest.raises(ValueError, match=r"fold_0: its channel 'ct' is normalised by .*; expected"):
      networks.check_numbers(config, far)
