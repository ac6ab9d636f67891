"""Checkpoints: what is damage and what is not, what is set aside, what a save proves."""

import errno
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest
import run_folders

from jaxseg import files
from jaxseg.method import Learner, State
from jaxseg.runs import checkpoint, orbax_store
from jaxseg.runs import folder as run_folder
from jaxseg.runs.keeper import Keeper


def state(step: int) -> State:
  params = {"conv": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3) + step}}
  return jax.device_put(State(np.int32(step), {"network": Learner(params, {}, ())}))


ABSTRACT = jax.eval_shape(lambda: state(0))
PLACES = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), ABSTRACT)


@pytest.fixture
def kept(tmp_path):
  """A run folder with the checkpoints of the steps 2 and 4."""
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (2, 4):
    checkpoints.save(state(step), {"best": 0.25})
  return checkpoints


def resumed(checkpoints) -> int | None:
  """The step that a run would resume at; its weights must be those of that step."""
  found = checkpoint.restore(checkpoints, ABSTRACT, PLACES)
  if found is None:
    return None
  kernel = found[0].learners["network"].params["conv"]["kernel"]
  np.testing.assert_array_equal(
    kernel, state(int(found[0].step)).learners["network"].params["conv"]["kernel"]
  )
  assert found[1]["step"] == found[0].step
  return int(found[0].step)


def edit(change):
  """A damage to the note: `change` acts on what it holds."""

  def damage(folder):
    path = folder / checkpoint.NOTE
    path.write_text(json.dumps(change(json.loads(path.read_text()))))

  return damage


def largest(folder):
  return max(
    (p for p in (folder / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
  )


def flip(folder):
  path = largest(folder)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def cut(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[:-1])


def as_folder(folder):
  path = largest(folder)
  path.unlink()
  path.mkdir()


DAMAGES = {
  "a bit": flip,
  "cut off": cut,
  "file gone": lambda folder: largest(folder).unlink(),
  "a folder for a file": as_folder,
  "arrays gone": lambda folder: shutil.rmtree(folder / checkpoint.STATE),
  "note gone": lambda folder: (folder / checkpoint.NOTE).unlink(),
  "note empty": lambda folder: (folder / checkpoint.NOTE).write_bytes(b""),
  "note no text": lambda folder: (folder / checkpoint.NOTE).write_bytes(b"\xff\xfe{}"),
  "note a list": edit(lambda note: []),
  "note without digest": edit(lambda note: {k: v for k, v in note.items() if k != "digest"}),
  "note without arrays": edit(lambda note: {k: v for k, v in note.items() if k != "arrays"}),
  "note of another type": edit(lambda note: note | {"arrays": {"step": ["int23", []]}}),
  "note's score": edit(lambda note: note | {"best": 9.9}),
  "note's step": edit(lambda note: note | {"step": 3}),
  "everything gone": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(kept, damage, caplog):
  damage(kept.folder / "4")
  assert resumed(kept) == 2
  assert kept.steps == [2]
  assert kept.aside == ["4.damaged-1"]
  (record,) = caplog.records
  assert "falling back to the one before" in record.getMessage()
  assert "\n" not in record.getMessage()
  assert len(record.getMessage()) < 400


def test_what_was_set_aside_is_never_overwritten(kept):
  flip(kept.folder / "4")
  before = largest(kept.folder / "4").read_bytes()
  assert resumed(kept) == 2
  kept.save(state(4), {})
  cut(kept.folder / "4")
  assert resumed(kept) == 2
  assert kept.aside == ["4.damaged-1", "4.damaged-2"]
  assert largest(kept.folder / "4.damaged-1").read_bytes() == before


def test_without_a_sound_checkpoint_nothing_starts_from_the_beginning_unasked(kept):
  for step in (2, 4):
    flip(kept.folder / str(step))
  for _ in range(2):  # the next start as well
    with pytest.raises(ValueError, match=r"no checkpoint can be read.*2\.damaged-1, 4\.damaged-1"):
      resumed(kept)
  for name in kept.aside:
    shutil.rmtree(kept.folder / name)
  assert resumed(kept) is None


def test_a_step_renamed_to_another_number_is_not_taken_for_it(kept):
  (kept.folder / "4").rename(kept.folder / "99")
  assert resumed(kept) == 2
  assert kept.aside == ["99.damaged-1"]


ERRORS = {
  "stale handle": OSError(errno.ESTALE, "Stale file handle"),
  "input or output": OSError(errno.EIO, "Input/output error"),
  "memory": MemoryError("Unable to allocate 3 GiB"),
  "device": RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 GiB"),
  "another Orbax": ValueError("Unknown checkpoint format version 9"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(
  "reader",
  [resumed, lambda kept: checkpoint.load_learners(kept.folder.parent)],
  ids=["resume", "predict"],
)
def test_what_is_no_damage_passes_on_and_changes_nothing(kept, monkeypatch, error, reader):
  def failing(*args, **options):
    raise error

  monkeypatch.setattr(orbax_store.ocp.Checkpointer, "restore", failing)
  with pytest.raises(OSError, match=r"checkpoints/4/state: cannot be read now .*nothing was"):
    reader(kept)
  monkeypatch.undo()
  assert kept.steps == [4, 2]
  assert resumed(kept) == 4


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO, errno.ENOMEM])
def test_a_file_that_cannot_be_opened_is_no_damage(kept, monkeypatch, number):
  def failing(path):
    raise OSError(number, "no luck", str(path))

  monkeypatch.setattr(checkpoint, "_file_digest", failing)
  with pytest.raises(OSError, match=r"cannot be read now .no luck.; nothing was changed"):
    resumed(kept)
  assert kept.steps == [4, 2]


def test_a_reader_falls_back_and_renames_nothing(kept, caplog):
  flip(kept.folder / "4")
  learner = checkpoint.load_learners(kept.folder.parent)["network"]
  assert learner.params["conv"]["kernel"][0, 0] == 2
  assert "falling back to the one before" in caplog.text
  assert kept.steps == [4, 2]
  flip(kept.folder / "2")
  with pytest.raises(FileNotFoundError, match=r"no readable checkpoint there .*bytes are not"):
    checkpoint.load_learners(kept.folder.parent)


def test_a_save_that_orbax_skips_or_spoils_is_told(tmp_path, monkeypatch):
  checkpoints = checkpoint.Checkpoints(tmp_path)
  write = orbax_store.ocp.Checkpointer.save
  monkeypatch.setattr(orbax_store.ocp.Checkpointer, "save", lambda *args, **options: False)
  with pytest.raises(OSError, match="cannot be read now"):
    checkpoints.save(state(1), {})

  def spoiled(self, path, args):
    write(
      self, path, args=orbax_store.ocp.args.StandardSave({k: v + 1 for k, v in args.item.items()})
    )

  monkeypatch.setattr(orbax_store.ocp.Checkpointer, "save", spoiled)
  with pytest.raises(OSError, match="does not read back as it was written"):
    checkpoints.save(state(1), {})
  monkeypatch.undo()
  assert checkpoints.steps == []
  checkpoints.save(state(1), {})
  assert resumed(checkpoints) == 1


def test_a_step_before_the_latest_one_is_written_too(kept):
  kept.save(state(3), {})
  assert resumed(kept) == 3, "what was saved last counts"


NAMES = ["unet[v2]", "a*b", "a**b", "q?", "back\\slash", "x.__lock", "gs:", "new\nline", "ü %41#"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder_will_do(tmp_path, name):
  checkpoints = checkpoint.Checkpoints(tmp_path / name / "[0-9]")
  for step in (1, 2, 3):
    checkpoints.save(state(step), {})
  assert checkpoints.steps == [3, 2]
  assert resumed(checkpoints) == 3
  learner = checkpoint.load_learners(tmp_path / name / "[0-9]")["network"]
  assert learner.params["conv"]["kernel"][0, 0] == 3


def test_a_full_disk_is_told_before_and_while_writing(tmp_path, monkeypatch):
  checkpoints = checkpoint.Checkpoints(tmp_path)
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
  with pytest.raises(files.DiskFull, match=r"checkpoints.*the disk is full; .*free room"):
    checkpoints.save(state(1), {})
  monkeypatch.undo()

  def full(*args, **options):
    raise ValueError('RESOURCE_EXHAUSTED: Error writing "x" [No space left on device]')

  monkeypatch.setattr(orbax_store.ocp.Checkpointer, "save", full)
  with pytest.raises(files.DiskFull, match="the disk is full"):
    checkpoints.save(state(1), {})
  assert checkpoints.steps == []


def test_what_killed_processes_left_is_removed_and_checkpoints_stay(kept):
  for name in (".saving-6", ".removing-1", "6.orbax-checkpoint-tmp"):
    (kept.folder / name / "state").mkdir(parents=True)
  (kept.folder / "mine").mkdir()
  kept.tidy()
  assert sorted(p.name for p in kept.folder.iterdir()) == ["2", "4", "mine"]


def test_the_best_score_is_found_again(tmp_path):
  keeper = Keeper(tmp_path, "dice")
  keeper.keep(state(2), 0.5)
  keeper.keep(state(4), 0.25)
  again = Keeper(tmp_path, "dice")
  again.resume(ABSTRACT, PLACES)
  assert again.score == 0.5
  assert again.best.steps == [2]


@pytest.mark.parametrize("damage", [flip, shutil.rmtree], ids=["damaged", "deleted"])
def test_a_best_checkpoint_that_is_lost_is_told_and_the_next_one_counts(tmp_path, damage, caplog):
  keeper = Keeper(tmp_path, "dice")
  keeper.keep(state(2), 0.5)
  keeper.keep(state(4), 0.25)
  damage(keeper.best.folder / "2")
  again = Keeper(tmp_path, "dice")
  again.resume(ABSTRACT, PLACES)
  assert "the best checkpoint (score 0.5) is gone" in caplog.text
  assert again.score is None
  assert again.best.steps == []
  again.keep(state(6), 0.1)
  assert again.best.steps == [6]
  assert again.best.note(6)["best"] == 0.1


def test_of_distances_the_smallest_is_best_and_nothing_undefined_ever_is(tmp_path):
  keeper = Keeper(tmp_path, "hd95")
  for step, score in ((2, np.nan), (4, 7.0), (6, np.inf), (8, 3.0), (10, np.nan), (12, 5.0)):
    keeper.keep(state(step), score)
  assert (keeper.score, keeper.best.steps) == (3.0, [8])
  assert keeper.best.note(8)["metric"] == "hd95"


def test_a_best_that_another_metric_judged_is_not_compared(tmp_path, caplog):
  keeper = Keeper(tmp_path, "dice")
  keeper.keep(state(2), 0.9)
  keeper.best.save(state(2), {"best": 0.9})  # by a version that knew Dice alone
  again = Keeper(tmp_path, "hd95")
  again.resume(ABSTRACT, PLACES)
  assert "was judged by dice, config.evaluate.best is hd95 now" in caplog.text
  assert again.score is None
  again.keep(state(4), 30.0)
  assert (again.score, again.best.steps) == (30.0, [4])
  same = Keeper(tmp_path, "hd95")
  same.resume(ABSTRACT, PLACES)
  assert same.score == 30.0


def test_metrics_since_the_last_row_come_back_bit_for_bit(tmp_path):
  rows = [
    {"loss": np.float32(0.1), "count": np.int32(7)},
    {"loss": np.float32("nan"), "count": np.int32(8)},
  ]
  Keeper(tmp_path, "dice").keep(state(2), None, rows)
  _, pending = Keeper(tmp_path, "dice").resume(ABSTRACT, PLACES)
  for before, after in zip(rows, pending, strict=True):
    for name in before:
      assert after[name].dtype == before[name].dtype
      np.testing.assert_array_equal(after[name], before[name])


def copy_of(checkpoints, step, name):
  """A checkpoint that a kill left beside the newer one which replaces it."""
  shutil.copytree(checkpoints.folder / str(step), checkpoints.folder / name)


def test_what_a_kill_left_beside_the_best_and_the_latest_is_removed(tmp_path):
  keeper = Keeper(tmp_path, "dice")
  for step, score in ((2, 0.5), (4, 0.6), (6, 0.1), (8, 0.7)):
    keeper.keep(state(step), score)
    if step == 2:
      copy_of(keeper.best, 2, "kept")
  (keeper.best.folder / "kept").rename(keeper.best.folder / "2")
  (keeper.latest.folder / "4").mkdir()  # half removed by an earlier version
  assert keeper.best.steps == [8, 2]
  again = Keeper(tmp_path, "dice")
  again.resume(ABSTRACT, PLACES)
  assert (again.score, again.best.steps, again.latest.steps) == (0.7, [8], [8, 6])


def test_a_best_checkpoint_ahead_of_the_resumed_step_waits_for_its_score(tmp_path):
  keeper = Keeper(tmp_path, "dice")
  keeper.keep(state(2), 0.5)
  keeper.keep(state(4), 0.1)
  keeper.best.save(state(6), {"best": 0.6})  # killed before the latest was saved
  again = Keeper(tmp_path, "dice")
  again.resume(ABSTRACT, PLACES)
  assert (again.score, again.best.steps) == (0.5, [6])
  again.keep(state(6), 0.6)
  assert (again.score, again.best.steps, again.latest.steps) == (0.6, [6], [6, 4])


def as_before(folder):
  """Makes of a checkpoint one of the time when a digest of the arrays alone was noted."""
  note = json.loads((folder / checkpoint.NOTE).read_text())
  arrays = checkpoint.flatten(state(note["step"]))
  total = hashlib.sha256()
  for name in sorted(arrays):
    array = np.asarray(arrays[name])
    total.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
  old = {name: note[name] for name in ("best", "step", "arrays")} | {"digest": total.hexdigest()}
  (folder / "note").mkdir()
  (folder / "note" / "metadata").write_text(json.dumps(old))
  (folder / checkpoint.NOTE).unlink()


def test_checkpoints_of_earlier_versions_are_read_and_verified(kept):
  for step in (2, 4):
    as_before(kept.folder / str(step))
  assert resumed(kept) == 4
  path = kept.folder / "4" / "note" / "metadata"
  note = json.loads(path.read_text())
  path.write_text(json.dumps(note | {"digest": "0" * 64}))
  assert resumed(kept) == 2
  assert kept.aside == ["4.damaged-1"]


def test_a_checkpoint_of_another_run_is_told_and_stays(tmp_path):
  one, other = (run_folders.write(tmp_path / str(seed), seed=seed) for seed in (0, 1))
  again = run_folders.write(tmp_path / "again" / "deeper", seed=0)
  # the same run elsewhere is the same run
  assert run_folder.identity(again) == run_folder.identity(one) != run_folder.identity(other)
  shutil.rmtree(one / "checkpoints" / "0")
  shutil.copytree(other / "checkpoints" / "0", one / "checkpoints" / "0")
  with pytest.raises(ValueError, match=r"checkpoints/0: is a checkpoint of another run than"):
    checkpoint.load_learners(one)
  with pytest.raises(ValueError, match="is a checkpoint of another run"):
    checkpoint.Checkpoints(one).newest_sound()
  assert checkpoint.Checkpoints(one).steps == [0]
  # of a copy without dataset.json nothing tells whose it is
  (one / "dataset.json").unlink()
  assert checkpoint.load_learners(one)
