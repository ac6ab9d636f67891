"""Several runs in one program: each is the run of its own, bit for bit on one device."""

import json

import numpy as np
import pytest
import tiny
from closeness import assert_close
from test_loop import rows, stop_after, weights, without_clock

from jaxseg import loop, sharding
from jaxseg.runs import checkpoint, keeper

SEEDS = (3, 4)
OPTIONS = {"steps": 5, "log_every": 2, "checkpoint_every": 2, "evaluate.every": 3}
SGD = {"optimiser.name": "sgd", "optimiser.weight_decay": 0.0, "optimiser.schedule.power": 0.0}


def runs(**changes):
  return [tiny.experiment(seed=seed, **{**OPTIONS, **changes}) for seed in SEEDS]


def folds(**changes):
  """Two runs whose training and validation cases differ; they share three."""
  first, second = runs(**changes)
  return [
    tiny.with_main(first, cases=(1, 2, 3, 5))._replace(validation=(0, 4), watched=(0,)),
    tiny.with_main(second, cases=(5, 0, 1, 4, 2))._replace(validation=(3,), watched=(3,)),
  ]


def folders(path):
  return [path / f"seed_{seed}" for seed in SEEDS]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The folders of both runs, trained one after the other."""
  places = folders(tmp_path_factory.mktemp("alone"))
  for run, place in zip(runs(), places, strict=True):
    loop.train(run, place)
  return places


def assert_same_run(ours, theirs):
  """Weights, best weights, log and report, wall clock aside."""
  for kind in (checkpoint.LATEST, checkpoint.BEST):
    a, b = weights(ours, kind), weights(theirs, kind)
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)
  assert without_clock(ours) == without_clock(theirs)
  assert (ours / "report.json").read_text() == (theirs / "report.json").read_text()


@pytest.mark.bits
def test_each_of_several_seeds_is_the_run_of_its_own(alone, tmp_path):
  reports = loop.train_together(runs(), folders(tmp_path))
  assert [report["step"] for report in reports] == [5, 5]
  for ours, theirs in zip(folders(tmp_path), alone, strict=True):
    assert_same_run(ours, theirs)
    for name in ("config.json", "dataset.json"):
      assert json.loads((ours / name).read_text()) == json.loads((theirs / name).read_text())
    assert list((ours / "tensorboard").iterdir())
    assert (ours / "panels" / "final.png").is_file()
  first, second = (weights(place) for place in folders(tmp_path))
  assert any((first[name] != second[name]).any() for name in first), "seeds differ"


@pytest.mark.bits
def test_each_of_several_folds_is_the_run_of_its_own(tmp_path):
  together, own = folders(tmp_path / "together"), folders(tmp_path / "own")
  loop.train_together(folds(), together)
  for run, ours, theirs in zip(folds(), together, own, strict=True):
    loop.train(run, theirs)
    assert_same_run(ours, theirs)
    names = {run.main.dataset.names[i] for i in run.validation}
    assert set(json.loads((ours / "report.json").read_text())["cases"]) == names


@pytest.mark.bits
def test_another_cache_gives_the_same_bits(alone, tmp_path):
  loop.train_together(runs(**{"data.cache": "host"}), folders(tmp_path))
  for ours, theirs in zip(folders(tmp_path), alone, strict=True):
    a, b = weights(ours), weights(theirs)
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("make", [runs, folds])
def test_over_devices_each_is_the_run_of_its_own(make, tmp_path):
  layout = sharding.layout(batches={"data.batch": 2}, members=2, batch=1, member=2)
  together, own = folders(tmp_path / "together"), folders(tmp_path / "own")
  loop.train_together(make(**SGD), together, layout)
  for run, ours, theirs in zip(make(**SGD), together, own, strict=True):
    loop.train(run, theirs)
    a, b = weights(ours), weights(theirs)
    assert a.keys() == b.keys()
    for name in a:
      assert_close(a[name], b[name], atol=1e-6)
    assert [row["step"] for row in rows(ours)] == [row["step"] for row in rows(theirs)]


@pytest.mark.bits
def test_stopped_and_resumed_is_as_uninterrupted_in_every_folder(alone, tmp_path):
  for steps in (1, 2):  # at step 1, then 3: no multiple of anything
    stop_after(runs(), steps, folders(tmp_path))
    assert len({checkpoint.Checkpoints(of).steps[0] for of in folders(tmp_path)}) == 1
  loop.train_together(runs(), folders(tmp_path))
  for ours, theirs in zip(folders(tmp_path), alone, strict=True):
    assert_same_run(ours, theirs)


@pytest.mark.bits
def test_killed_between_two_saves_all_go_on_from_the_step_that_all_have(alone, tmp_path, capsys):
  """The second folder's last checkpoint is missing, as if its writing had never begun."""
  stop_after(runs(), 4, folders(tmp_path))
  checkpoints = [checkpoint.Checkpoints(of) for of in folders(tmp_path)]
  assert [of.steps for of in checkpoints] == [[4, 3], [4, 3]]
  (checkpoints[1].folder / "4").rename(tmp_path / "away")
  loop.train_together(runs(), folders(tmp_path))
  assert "seed_3: saved at step 4, others not; all go on from step 3" in capsys.readouterr().err
  for ours, theirs in zip(folders(tmp_path), alone, strict=True):
    assert_same_run(ours, theirs)


def test_a_run_that_went_on_alone_is_refused_together_and_nothing_is_lost(tmp_path, capsys):
  stop_after(runs(), 2, folders(tmp_path))
  capsys.readouterr()
  first, second = folders(tmp_path)
  stop_after(runs()[0], 1, first)
  assert "seed_3: was trained together with seed_4 until step 2; from" in capsys.readouterr().err
  before = checkpoint.Checkpoints(first).steps
  with pytest.raises(ValueError, match=r"went on without \(seed_3 at 3, seed_4 at 2\)"):
    loop.train_together(runs(), folders(tmp_path))
  assert checkpoint.Checkpoints(first).steps == before == [3, 2]
  # alone it goes on, and then they stand at one step
  stop_after(runs()[1], 1, second)
  assert len(loop.train_together(runs(), folders(tmp_path))) == 2


def test_a_run_that_has_not_begun_is_not_trained_with_others_that_have(tmp_path):
  first, second = folders(tmp_path)
  loop.train(runs(steps=2)[0], first)
  with pytest.raises(ValueError, match=r"without \(seed_3 at 2, seed_4 at 0\)"):
    loop.train_together(runs(), [first, second])
  # and so before any data are prepared
  with pytest.raises(ValueError, match=r"without \(seed_3 at 2, seed_4 at 0\)"):
    keeper.check_level([first, second])
  assert checkpoint.Checkpoints(first).steps == [2]


def test_one_that_diverges_is_named_and_the_others_last_checkpoints_stay(tmp_path):
  first, second = runs()
  broken = tiny.diverging(first, step=3)
  with pytest.raises(loop.Diverged, match=r"step 3 is kept in .*seed_3/checkpoints"):
    loop.train_together([broken, second], folders(tmp_path))
  assert {checkpoint.Checkpoints(of).steps[0] for of in folders(tmp_path)} == {3}
